"""What of a config a resumed run may change."""

import pytest
from omegaconf import OmegaConf

from segtrain.commands.changes import changes_of
from segtrain.errors import ConfigError

CFG = {"batch_size": 8, "epochs": 10, "workers": 2, "optimizer": {"learning_rate": 0.1}, "model": {"channels": [8, 8]}}


def _changes(**values):
    return changes_of(OmegaConf.create(CFG), OmegaConf.create({**CFG, **values}))


def test_what_numbers_depend_on_is_listed_and_the_rest_is_not():
    assert _changes() == []
    assert _changes(workers=9, save_minutes=1) == []
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
