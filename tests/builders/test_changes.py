"""What of a config a resumed run may change."""

import pytest
from omegaconf import OmegaConf

from segtrain.builders.changes import changes_of
from segtrain.errors import ConfigError

CFG = {"batch_size": 8, "epochs": 10, "workers": 2, "optimizer": {"learning_rate": 0.1}, "model": {"channels": [8, 8]}}


def _changes(**values):
    return changes_of(OmegaConf.create(CFG), OmegaConf.create({**CFG, **values}))


def test_what_numbers_depend_on_is_listed_and_the_rest_is_not():
    assert _changes() == []
    assert _changes(workers=9, checkpoint_every_minutes=1) == []
    assert _changes(epochs=20, optimizer={"learning_rate": 0.01}) == [
        "epochs 10 -> 20",
        "optimizer.learning_rate 0.1 -> 0.01",
    ]


def test_another_batch_size_is_refused_since_progress_is_counted_in_its_steps():
    with pytest.raises(ConfigError, match=r"^batch_size 8 -> 4: a resumed run keeps its network, data and batches, "):
        _changes(batch_size=4)


def test_another_network_is_refused():
    with pytest.raises(ConfigError, match=r"^model\.channels \[8, 8\] -> \[8\]: a resumed run keeps its network"):
        _changes(model={"channels": [8]})


FOLDER = {"_target_": "segtrain.data.Folder", "val_images": "val"}
FURTHER = {"test_images": "test", "test_labels": "testannot", "test_list": None, "splits": {"night": {"list": "n.txt"}}}


def _dataset_changes(now, then=FOLDER, **values):
    return changes_of(OmegaConf.create({"dataset": then}), OmegaConf.create({"dataset": now, **values}))


def test_a_test_split_is_no_change_of_a_run_that_had_none():
    # As of the CamVid YAML, which names its test split since 0.1: resume=auto still finds runs made before.
    assert _dataset_changes({**FOLDER, **FURTHER}) == []
    parts = [{"_target_": "segtrain.data.Concat", "datasets": {"a": each}} for each in (FOLDER, {**FOLDER, **FURTHER})]
    assert _dataset_changes(parts[1], parts[0]) == []


def test_a_test_split_that_validates_is_a_change_of_the_data():
    with pytest.raises(ConfigError, match=r"dataset\.test_images None -> test"):
        _dataset_changes({**FOLDER, **FURTHER}, validation_split="test")


def test_an_argument_of_a_users_dataset_is_a_change_whatever_its_name():
    mine = {"_target_": "mine.Data", "splits": [0.8, 0.2]}
    with pytest.raises(ConfigError, match=r"dataset\.splits \[0\.8, 0\.2\] -> \[0\.9, 0\.1\]"):
        _dataset_changes({**mine, "splits": [0.9, 0.1]}, mine)
