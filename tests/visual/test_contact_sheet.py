"""What a contact sheet and its page show, by their pixels and their text."""

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from segtrain.report.contact_page import write_page
from segtrain.visual.contact_sheet import SIDE, Row, draw_sheet, fractions, hatch, percent, view

NAMES = ("wall", "door", "roof")
COLORS = np.array([(200, 0, 0), (0, 190, 10), (20, 0, 180)], np.uint8)
VOID = 255


def halves(left=0, right=1, size=(36, 60), level=100):
    """One class on the left, another on the right, over an even gray."""
    labels = np.full(size, left, np.uint8)
    labels[:, size[1] // 2 :] = right
    return np.full((*size, 3), level, np.uint8), labels


# View -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(36, 60), (720, 1200), (1200, 720), (1, 1), (3, 4000)])
def test_the_longest_side_has_one_length(size):
    shown = view("x", *halves(size=size), COLORS, 0.5)
    assert max(shown.image.shape) == SIDE and shown.image.shape == shown.overlay.shape
    assert shown.image.shape[0] / shown.image.shape[1] == pytest.approx(size[0] / size[1], abs=1 / SIDE)


def test_classes_are_painted_and_their_border_drawn():
    # Half of gray 100 and half of (200, 0, 0) are (150, 50, 50); of (0, 190, 10) they are (50, 145, 55).
    shown = view("x", *halves(), COLORS, 0.5)
    assert shown.overlay[100, 20].tolist() == [150, 50, 50]
    assert shown.overlay[100, 340].tolist() == [50, 145, 55]
    assert (shown.overlay[100, 170:190] == (32, 32, 32)).all(1).sum() == 1
    assert (shown.image == 100).all()


def test_void_is_hatched_and_the_photograph_shines_through():
    shown = view("x", *halves(right=VOID), COLORS, 0.5)
    stripes = np.unique(shown.overlay[:, 190:, 0])
    assert len(stripes) == 2 and stripes[1] - stripes[0] > 80  # half of white and of dark over the same gray
    brighter = view("x", *halves(right=VOID, level=200), COLORS, 0.5)
    assert (brighter.overlay[:, 190:] > shown.overlay[:, 190:]).all()


def test_the_share_of_void_is_told():
    assert view("draw 1", *halves(right=VOID), COLORS, 0.5).title == "draw 1, 50.0 % ignored"
    assert view("draw 1", *halves(), COLORS, 0.5).title == "draw 1"


def test_small_labels_are_enlarged_without_new_ids():
    labels = np.array([[0, 2]], np.uint8)
    shown = view("x", np.zeros((1, 2, 3), np.uint8), labels, COLORS, 1)
    colors = {tuple(color) for color in shown.overlay.reshape(-1, 3)}
    assert colors == {(200, 0, 0), (20, 0, 180), (32, 32, 32)}  # never class 1's, which lies between


def test_counts_are_of_the_photographs_own_pixels():
    counts = view("x", *halves(size=(720, 1200)), COLORS, 0.5).counts
    assert counts[0] == counts[1] == 720 * 600 and counts.sum() == 720 * 1200


def test_shares_are_of_all_pixels():
    counts = np.zeros(256, int)
    counts[[0, 2, 255]] = 10, 50, 40
    of_class, of_void = fractions(counts, 3)
    assert of_class.tolist() == [0.1, 0, 0.5] and of_void == 0.4
    assert fractions(np.zeros(256, int), 3)[1] == 0


@pytest.mark.parametrize(("share", "said"), [(0, "0.0 %"), (1e-6, "< 0.1 %"), (0.123, "12.3 %"), (1, "100.0 %")])
def test_what_is_there_never_reads_as_nothing(share, said):
    assert percent(share) == said


# Sheet ------------------------------------------------------------------------------------------------------------


def rows(*names, draws=2):
    views = [view(f"view {place}", *halves(right=VOID), COLORS, 0.5) for place in range(draws + 1)]
    return [Row(name, views) for name in names]


def test_a_sheet_has_every_view_of_every_row():
    sheet = np.asarray(draw_sheet(rows("a", "b"), "title", NAMES, COLORS))
    # 3 views of 360 x 216, image above labels, in 2 rows; some letters have gray 100 at their rim, too.
    assert (sheet == 100).all(2).sum() == pytest.approx(2 * 3 * 360 * 216, abs=50)
    assert ((sheet == (150, 50, 50)).all(2)).sum() > 2 * 3 * 179 * 215
    assert sheet.shape[1] == 3 * 370 + 10


def test_its_legend_has_the_classes_that_are_there_and_void():
    sheet = np.asarray(draw_sheet(rows("a"), "title", NAMES, COLORS))
    has = [(sheet == color).all(2).any() for color in COLORS]
    assert has == [True, False, False]
    pattern = hatch(15, 15)
    found = np.lib.stride_tricks.sliding_window_view(sheet[-60:, :400], (15, 15, 3))[:, :, 0]
    assert (found == pattern).all((2, 3, 4)).any()


def test_many_classes_take_several_lines():
    labels = np.arange(60, dtype=np.uint8)[None].repeat(20, 0)
    many = [f"a class of a long name {index}" for index in range(60)]
    colors = np.full((60, 3), 90, np.uint8)
    row = Row("a", [view("x", np.zeros((20, 60, 3), np.uint8), labels, colors, 0.5)])
    sheet = draw_sheet([row], "title", many, colors)
    assert sheet.height > 60 * 22 / 2  # one or two entries a line of 360 pixels


# Page -------------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Opened and closed tags, addresses and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page_of(*names, class_names=NAMES, title="title", notes=("note",)):
    return write_page(rows(*names), title, notes, class_names, COLORS)


def test_a_page_needs_nothing_but_itself():
    page = page_of("a", "b")
    found = Tags(page)
    assert found.open == []  # all closed
    assert not {"script", "link", "iframe", "object", "form", "base"} & {*found.tags}
    assert len(found.addresses) == 2 * 3 * 2 and all(
        each.startswith("data:image/jpeg;base64,") for each in found.addresses
    )
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style and "http" not in page.replace(";base64", "")[:3000]


def test_its_pictures_are_the_views():
    address = Tags(page_of("a")).addresses[1]
    written = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
    picture = cv2.cvtColor(cv2.imdecode(written, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_allclose(picture[50, 30], (150, 50, 50), atol=8)


def test_whatever_a_name_holds_is_text():
    nasty = "<script>alert('x')</script>&\"'"
    page = page_of(nasty, class_names=(nasty, "<b>", "&amp;"), title=nasty, notes=(nasty,))
    found = Tags(page)
    assert found.open == [] and "script" not in found.tags and "b" not in found.tags
    text = "".join(found.text)
    assert text.count(nasty) == 6  # title twice, note, heading of the row, table, legend
    assert "<b>" in text and "&amp;" in text


def test_the_table_tells_shares_before_and_after():
    before, after = view("36x60", *halves(), COLORS, 0.5), view("draw 1", *halves(0, VOID), COLORS, 0.5)
    page = write_page([Row("a", [before, after])], "title", [], NAMES, COLORS)
    lines = [re.sub("<.*?>", " ", line).split() for line in page.splitlines() if line.startswith("<tr")]
    assert lines[0][:5] == ["0", "wall", "1", "50.0", "%"] and lines[0][5:] == ["50.0", "%"]
    assert lines[1] == ["1", "door", "1", "50.0", "%", "0.0", "%"]
    assert lines[2] == ["2", "roof", "0", "0.0", "%", "0.0", "%"]
    assert lines[3][:1] == ["ignored"] and lines[3][-4:] == ["0.0", "%", "50.0", "%"]
