"""From YAML to parts: where the configs lie, what must hold before a command runs, how a node is built."""

from segtrain.config.build import build, raised, validate_calls
from segtrain.config.files import config_dir, groups, options, refuse_clashes, set_up
from segtrain.config.run_config import read_stored, recorded_config, stored_config, validate_stored
from segtrain.config.tree import dotted_keys, resolved
from segtrain.config.validation import validate_root

__all__ = [
    "build",
    "config_dir",
    "dotted_keys",
    "groups",
    "options",
    "raised",
    "read_stored",
    "recorded_config",
    "refuse_clashes",
    "resolved",
    "set_up",
    "stored_config",
    "validate_calls",
    "validate_root",
    "validate_stored",
]
