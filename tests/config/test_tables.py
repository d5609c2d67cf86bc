"""A table of classes, of stored values or of a mapping is replaced as one, wherever the later one stands."""

from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from segtrain import config
from segtrain.config import tables
from segtrain.errors import ConfigError

SHIPPED = ("binary", "cityscapes", "pets")  # with both tables
TWO = {"background": [0, 0, 0], "cell": [255, 255, 255]}


def compose(*overrides: str, folder: Path | None = None) -> Any:
    """The dataset of a command line of `check`, as plain containers."""
    config.set_up()
    words = [*overrides, *([f"hydra.searchpath=[{folder}]"] if folder else [])]
    with initialize_config_dir(config.config_dir(), version_base="1.3"):
        return OmegaConf.to_container(hydra.compose("check", words))["dataset"]


def write(folder: Path, text: str) -> Path:
    (folder / "dataset").mkdir()
    (folder / "dataset" / "mine.yaml").write_text(text)
    return folder


@pytest.mark.parametrize("option", SHIPPED)
@pytest.mark.parametrize(
    ("written", "expected"),
    [("[background,cell]", list(TWO)), ("{background: [0,0,0], cell: [255,255,255]}", TWO)],
    ids=["list", "mapping"],
)
def test_classes_of_a_command_line_replace_a_yamls(option, written, expected):
    assert compose(f"dataset={option}", f"dataset.classes={written}")["classes"] == expected


@pytest.mark.parametrize("option", SHIPPED)
@pytest.mark.parametrize(
    ("written", "expected"),
    [("{0: 0, 128: ignore, 255: 1}", {0: 0, 128: "ignore", 255: 1}), ("ids", "ids")],
)
def test_stored_values_of_a_command_line_replace_a_yamls(option, written, expected):
    assert compose(f"dataset={option}", f"dataset.label_values={written}")["label_values"] == expected


@pytest.mark.parametrize("base", SHIPPED)
@pytest.mark.parametrize(
    ("classes", "values"), [(list(TWO), "ids"), (TWO, {3: "cell", 4: "background"})], ids=["list", "mapping"]
)
def test_a_users_file_replaces_the_tables_it_gives(tmp_path, base, classes, values):
    given = OmegaConf.to_yaml({"classes": classes, "label_values": values})
    found = compose("dataset=mine", folder=write(tmp_path, f"defaults: [{base}, _self_]\n{given}"))
    assert (found["classes"], found["label_values"]) == (classes, values)
    assert found["train_images"] == compose(f"dataset={base}")["train_images"]


def test_an_experiment_and_then_the_command_line_replace_a_file(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = (
        "# @package _global_\ndefaults: [{override /dataset: pets}]\ndataset: {classes: {a: [1, 2, 3], b: [3, 2, 1]}}\n"
    )
    (tmp_path / "experiment" / "own.yaml").write_text(text)
    assert compose("+experiment=own", folder=tmp_path)["classes"] == {"a": [1, 2, 3], "b": [3, 2, 1]}
    assert compose("+experiment=own", "dataset.classes=[c,d]", folder=tmp_path)["classes"] == ["c", "d"]


def test_tables_of_datasets_within_another_are_tables_too(tmp_path):
    text = "defaults: [binary@datasets.one, _self_]\ndatasets: {one: {classes: {x: [0, 0, 0]}}}\n"
    words = ["dataset=mine", "dataset.datasets.one.label_values={7: 0}"]
    one = compose(*words, folder=write(tmp_path, text))["datasets"]["one"]
    assert (one["classes"], one["label_values"]) == ({"x": [0, 0, 0]}, {7: 0})


@pytest.mark.parametrize(
    ("written", "lip"), [("dataset.mapping={}", None), ("dataset.mapping.lip={Hat: ignore}", {"Hat": "ignore"})]
)
def test_a_mapping_of_classes_is_replaced(written, lip):
    assert compose("dataset=human_parsing", written)["mapping"].get("lip") == lip


def test_a_single_entry_still_changes_alone():
    classes = compose("dataset=pets", "dataset.classes.pet=[1,2,3]")["classes"]
    assert classes == {"background": [0, 0, 0], "pet": [1, 2, 3]}


def test_what_hydra_has_loaded_is_not_changed():
    for _ in range(2):  # human_parsing loads folder.yaml twice
        found = compose("dataset=human_parsing")["datasets"]
        assert found["lip"]["label_values"] == found["atr"]["label_values"] == "ids"
        assert len(found["lip"]["classes"]) == 20 and len(found["atr"]["classes"]) == 18


@pytest.mark.parametrize(
    ("override", "twice"),
    [
        ("dataset.classes={a: [1,2,3], a: [4,5,6], b: [0,0,0]}", "a"),
        ("dataset.label_values={0: 0, 128: ignore, 0: 1}", "0"),
        ("++dataset.label_values={0:0,0 : 1}", "0"),
        ("dataset.datasets.lip.classes={a b: [1,2,3], a b: [1,2,3]}", "a b"),
    ],
)
def test_a_key_given_twice_is_refused(override, twice):
    assert len(OverridesParser.create().parse_override(override).value()) < override.count(": ") + override.count(":0")
    with pytest.raises(ConfigError, match=rf"^dataset\.[\w.]+: the key {twice} is given twice"):
        tables.overridden_table(override)


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("dataset.classes=[a,b]", ("dataset", "classes")),
        ("++dataset.classes={a: [1,2,3], b: '{a: 1, a: 2}'}", ("dataset", "classes")),
        ("dataset.classes.a=[1,2,3]", ("dataset", "classes", "a")),
        ("dataset.label_values=ids", None),
        ("dataset.flip_pairs=[[a,b]]", None),
        ("loss.classes=[1]", None),
        ("dataset=pets", None),
        ("~dataset.classes", None),
    ],
)
def test_only_lists_and_mappings_of_tables_are_cleared_first(override, path):
    assert tables.overridden_table(override) == path


def test_changes_of_eval_replace_tables_of_a_stored_dataset():
    stored = OmegaConf.create(
        {"root": "a", "classes": {"x": [0, 0, 0], "y": [1, 1, 1]}, "label_values": {1: "x", 2: "y"}}
    )
    changes = OmegaConf.create({"root": "b", "classes": ["y", "x"], "label_values": {5: "x"}})
    assert tables.merge_dataset(stored, changes) == {"root": "b", "classes": ["y", "x"], "label_values": {5: "x"}}
    assert tables.merge_dataset(stored, OmegaConf.create({"root": "b"})) == {**stored, "root": "b"}
    assert list(stored.classes) == ["x", "y"]
