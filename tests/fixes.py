"""Run what a message prints after `Fix:`, as a user who pastes it into bash."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser


def fix_of(message: str) -> str:
    """The text after the last `Fix:`."""
    return message.rpartition("Fix: ")[2].strip()


def run(message: str, folder: Path) -> dict[str, Any]:
    """Run the command of a message in bash, and read the overrides of `dataset` behind it as Hydra does.

    Returns:
        The values by key without `dataset.`; a fix is a command, overrides, or a command, ", then " and overrides.
    """
    command, _, overrides = fix_of(message).rpartition(", then ")
    if not command and not re.match(r"['\"$]*[\w.]+=", overrides):
        command, overrides = overrides, ""
    if command:
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    words = shlex.split(overrides)
    parsed = OverridesParser.create().parse_overrides(words)
    return {each.key_or_group.removeprefix("dataset."): each.value() for each in parsed}
