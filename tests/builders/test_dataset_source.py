"""An error about a dataset's root says where the dataset comes from and what it must hold."""

from pathlib import Path

import pytest
import yaml

from segtrain import config
from segtrain.builders.dataset_source import with_source
from segtrain.data.listing.roots import require_root
from segtrain.download.sources import SOURCES
from segtrain.errors import ConfigError, DataError, naming

OPTIONS = sorted(path.stem for path in Path(config.config_dir(), "dataset").glob("*.yaml"))
MISSING = ConfigError("dataset.root is not given. Fix: dataset.root=...")


def node_of(option):
    return yaml.safe_load(Path(config.config_dir(), "dataset", f"{option}.yaml").read_text())


@pytest.mark.parametrize("option", SOURCES)
def test_a_public_dataset_without_root_names_its_download_and_its_layout(option):
    if option not in OPTIONS:
        pytest.skip("no dataset= of its own")
    text = str(with_source(MISSING, node_of(option), option))
    source = SOURCES[option]
    assert all(part in text for part in source.gives) and source.home in text and source.license in text
    fix = text.rpartition("Fix: ")[2]
    assert fix.startswith(f"segtrain download {option}")
    assert fix.endswith(f", then dataset.root=data/{source.folder}")


@pytest.mark.parametrize("option", SOURCES)
def test_a_public_dataset_whose_root_is_not_there_names_its_download(option, tmp_path):
    with pytest.raises(DataError) as caught, naming("dataset"):
        require_root(tmp_path / "gone", ["a", "b"])
    text = str(with_source(caught.value, {}, option))
    assert text.startswith(
        f"dataset.root={tmp_path / 'gone'}: no such folder, looked for a, b: {SOURCES[option].title}"
    )
    assert f"Fix: segtrain download {option}" in text


def test_a_dataset_of_ones_own_names_the_layout_looked_for():
    text = str(with_source(MISSING, node_of("binary"), "binary"))
    assert "holds images, masks, train.txt, val.txt. Fix: dataset.root=/path/to/dataset" in text


def test_each_member_of_several_datasets_is_described():
    lines = [
        f"dataset.datasets.{name}.root is not given. Fix: dataset.datasets.{name}.root=..." for name in ("cihp", "lip")
    ]
    error = ConfigError("\n  - ".join(["2 problems in the configuration:", *lines]))
    text = str(with_source(error, {"datasets": {"cihp": {}, "lip": {}}}, "human_parsing"))
    assert "segtrain download cihp, then dataset.datasets.cihp.root=data/" in text
    assert "segtrain download lip " in text and text.count("\n") == 2


def test_other_errors_stay():
    error = ConfigError("epochs=0: expected at least 1")
    assert with_source(error, {}, "cihp") is error
