"""Keys of version 0.1 under their names of today: reported on a command line, renamed in the config of an old run."""

from typing import Any

from segtrain.shell import override, quote

ROOT_KEYS = {
    "accumulate": "gradient_accumulation_steps",
    "ema": "ema_decay",
    "head": "reset_classifier",
    "multipliers": "lr_multipliers",
    "precise_norm": "precise_bn_batches",
    "recompute": "activation_checkpointing",
    "save_minutes": "checkpoint_every_minutes",
}
# Root keys that configs of 0.1 lack, with what their runs did.
ADDED = {"tta": "none", "tiles": "off"}
# Of parts, at any depth.
ARGUMENTS = {"min_share": "top_k_fraction", "swap_pairs": "flip_pairs"}
_RESET = {"keep": False, "reset": True}  # values of `head`


def rename_hint(key: str, value: Any = ..., *, text: str | None = None) -> str:
    """End a message about an unknown key: `: renamed to ema_decay. Fix: ema_decay=0.9`; empty for other keys.

    Args:
        key: Dotted key.
        value: Its value, where it is known.
        text: Its value as the command line spells it, where that is known instead.
    """
    parent, _, name = key.rpartition(".")
    new = ARGUMENTS.get(name) if parent else ROOT_KEYS.get(name)
    if parent and new is None and parent in ROOT_KEYS:  # multipliers.backbone
        new, parent = name, ROOT_KEYS[parent]
    if new is None:
        return ""
    new = f"{parent}.{new}" if parent else new
    if text is not None and text not in _RESET:
        return f": renamed to {new}. Fix: {quote(f'{new}={text}')}"
    value = text if text is not None else value
    if value is ...:
        return f": renamed to {new}. Fix: {new}=..."
    return f": renamed to {new}. Fix: {override(new, _renamed_value(key, value))}"


def rename_stored(tree: Any) -> Any:
    """Return the tree of a stored config with today's keys; of a key in both spellings today's counts."""
    if not isinstance(tree, dict):
        return tree
    renamed = {}
    for key, value in tree.items():
        new = ROOT_KEYS.get(key, key)
        if new == key or new not in tree:
            renamed[new] = _rename_arguments(_renamed_value(key, value))
    return renamed


def _renamed_value(key: str, value: Any) -> Any:
    return _RESET.get(value, value) if key == "head" and isinstance(value, str) else value


def _rename_arguments(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_rename_arguments(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    is_own = str(tree.get("_target_", "")).startswith("segtrain.")
    return {ARGUMENTS.get(key, key) if is_own else key: _rename_arguments(value) for key, value in tree.items()}
