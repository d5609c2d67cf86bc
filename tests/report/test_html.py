"""The page of a report: names are text, nothing is requested, the size is bounded."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from segtrain.errors import DataError
from segtrain.evaluation.confusion import confusion_matrix, scores
from segtrain.evaluation.intervals import intervals
from segtrain.evaluation.per_image import PerImage
from segtrain.report.html import MAX_PAGE_BYTES, render
from segtrain.report.per_image import write_per_image
from segtrain.report.scores import write_scores
from segtrain.report.thumbnails import chosen, write_thumbnail

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "{{ 7 * 7 }}")
COLORS = np.uint8([(0, 0, 0), (200, 0, 0), (0, 0, 220)])


class Totals:
    """What `write_scores` reads."""

    def __init__(self, matrix):
        self.matrix, self.scores, self.loss, self.heads, self.metrics = matrix, scores(matrix), 0.4, {}, {}


def write_run(folder, names=HOSTILE):
    run = folder / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("name: a\nloss: </pre><script>alert(3)</script>\n")
    content = {"class_names": list(names), "colors": COLORS.tolist(), "ignore_class": 255, "flip_pairs": []}
    (run / "classes.json").write_text(json.dumps(content))
    lines = [{"epoch": epoch, "step": epoch, "loss": 1 / epoch, "val_mean_iou": epoch / 9} for epoch in (1, 2, 3)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def write_evaluation(folder, number=6, names=HOSTILE, size=(60, 80), prefix="town/<b>"):
    evaluation = folder / "evaluation"
    evaluation.mkdir()
    rng, images, total = np.random.default_rng(0), PerImage(), np.zeros((3, 3), np.int64)
    for index in range(number):
        labels = rng.integers(0, 3, size).astype(np.uint8)
        predicted = np.where(rng.random(size) < index / number, labels, 0).astype(np.uint8)
        matrix = confusion_matrix(labels, predicted, 3, 255)
        total += matrix
        confidence = rng.random(size).astype(np.float32)
        images.add(f"{prefix}{index}", matrix, 0.3, labels, predicted, confidence)
        image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        write_thumbnail(evaluation, f"{prefix}{index}", image, labels, predicted, COLORS)
    metadata = {"split": "val", "images": number, "step": 3, "run": str(folder / "run")}
    further = {"intervals": intervals(images.counts, names), "per_image": images.means()}
    write_scores(evaluation, Totals(total), names, metadata, further)
    write_per_image(evaluation, images, names)
    return evaluation


class Page(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.texts.append(data)


def test_names_from_a_run_are_text_never_markup(tmp_path):
    page = Page(render(write_run(tmp_path), write_evaluation(tmp_path)))
    assert page.tags.count("script") == 1  # the page's own
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    text = "".join(page.texts)
    assert all(name in text for name in HOSTILE) and "</pre><script>alert(3)</script>" in text
    assert "49" not in [each.strip() for each in page.texts]  # a name is no template either


def test_nothing_is_requested(tmp_path):
    text = render(write_run(tmp_path), write_evaluation(tmp_path))
    page = Page(text)
    targets = [value for _, name, value in page.attributes if name in ("src", "href", "action", "data", "srcset")]
    assert targets and all(value.startswith(("data:image/", "#")) for value in targets)
    assert "url(" not in text and "@import" not in text
    [policy] = [value for _, name, value in page.attributes if name == "content" and "default-src" in value]
    assert policy.startswith("default-src 'none'")


def test_every_class_image_and_interval_is_there(tmp_path):
    names = ("wall", "door", "roof")
    text = render(write_run(tmp_path, names), write_evaluation(tmp_path, names=names, prefix="a"))
    page = Page(text)
    assert len([value for tag, name, value in page.attributes if (tag, name) == ("figure", "data-name")]) == 6
    content = json.loads((tmp_path / "evaluation" / "scores.json").read_text())
    low, high = content["intervals"]["mean_iou"]
    assert f"{low:.3f} to {high:.3f}" in text and f"{content['mean_iou']:.4f}" in text
    assert [re.sub(r"\s", "", each) for each in page.texts if each.strip() in names][:3] == list(names)


def test_three_hundred_images_stay_below_fifteen_megabytes(tmp_path):
    # Noise, which no format compresses.
    evaluation = write_evaluation(tmp_path, 300, ("a", "b", "c"), (240, 320), "i")
    text = render(write_run(tmp_path, ("a", "b", "c")), evaluation)
    assert len(text) < 15_000_000 and MAX_PAGE_BYTES < 15_000_000


def test_an_evaluation_without_copies_has_a_page_without_images(tmp_path):
    evaluation = write_evaluation(tmp_path)
    for path in sorted((evaluation / "thumbnails").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert "report=true" in render(write_run(tmp_path), evaluation)


def test_a_copy_that_is_no_image_is_refused(tmp_path):
    evaluation = write_evaluation(tmp_path, prefix="i")
    (evaluation / "thumbnails" / "i0.jpg").write_text("root:x:0:0")
    with pytest.raises(DataError, match="no image.*Fix: segtrain eval"):
        render(write_run(tmp_path), evaluation)


def test_an_evaluation_of_another_version_is_one_line(tmp_path):
    evaluation = write_evaluation(tmp_path)
    (evaluation / "scores.json").write_text("{}")
    with pytest.raises(DataError, match="misspell.*Fix: segtrain eval"):
        render(write_run(tmp_path), evaluation)


def test_of_many_images_the_worst_the_doubtful_and_the_best_are_chosen():
    images = PerImage()
    for index in range(100):
        hits = np.array([index, 0, 5])
        occurs = np.array([100, 0, 5])
        images.add(f"{index:02d}", np.diag(hits), 0.1, *np.zeros((2, 4, 4), np.uint8), np.full((4, 4), index / 100))
        images.records[-1] = images.records[-1]._replace(hits=hits, occurs=occurs, predicted=occurs)
    names = chosen(images, (), limit=20)
    assert len(names) == len(set(names)) == 20 and {"00", "01", "99"} <= set(names)


@pytest.mark.parametrize("name", ["../../secret", "/etc/secret", "a/../../secret"])
def test_a_name_that_leads_out_of_the_folder_embeds_nothing(tmp_path, name):
    evaluation = write_evaluation(tmp_path, prefix="i")
    for path in (evaluation / "thumbnails").glob("i0*"):
        path.rename(tmp_path / path.name.replace("i0", "secret"))
    table = evaluation / "per_image.csv"
    table.write_text(table.read_text().replace("i0,", f"{name},"))
    with pytest.raises(DataError, match="leads out of"):
        render(write_run(tmp_path), evaluation)
