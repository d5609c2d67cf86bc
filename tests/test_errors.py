import pytest

from segtrain.errors import ConfigError, DataError, argument, naming
from segtrain.shell import setting


def test_an_argument_stands_alone_until_a_path_is_put_before_it():
    error = ConfigError(f"{argument('depth')}=7: expected 18. Fix: {setting(argument('depth'), 18)}")
    assert str(error) == "depth=7: expected 18. Fix: depth=18"
    error.locate("backbone")
    assert str(error) == "backbone.depth=7: expected 18. Fix: backbone.depth=18"


def test_a_path_comes_within_the_quotes_that_a_shell_needs():
    error = DataError("Fix: " + setting(argument("root"), "/my data") + " " + setting(argument("root"), "a\nb"))
    error.locate("dataset")
    assert str(error) == """Fix: 'dataset.root="/my data"' $'dataset.root="a\\x0ab"'"""


def test_each_part_on_the_way_out_adds_its_name():
    with pytest.raises(DataError) as caught, naming("dataset"), naming(argument("datasets.cihp")):
        raise DataError(f"{argument('root')}=/data: no such folder")
    assert str(caught.value) == "dataset.datasets.cihp.root=/data: no such folder"


def test_text_that_resembles_a_key_stays():
    with pytest.raises(DataError) as caught, naming("loss"), naming("dataset"):
        raise DataError(f"{argument('root')}=/data/root=1/dataset.root: empty")
    assert str(caught.value) == "dataset.root=/data/root=1/dataset.root: empty"


def test_a_refusal_of_the_part_itself_names_its_node():
    error = ConfigError("the backbone has no stage at stride 4")
    error.locate_node("model")
    assert str(error) == "model: the backbone has no stage at stride 4"
