"""The `segtrain` command: its first word chooses the primary config, Hydra does the rest.

Nothing here imports TensorFlow, and nothing but a command's own run imports Hydra, so that help answers at once.
"""

import difflib
import errno
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from segtrain import __version__
from segtrain.errors import ConfigError, ResourceError, SegtrainError

if TYPE_CHECKING:
    from omegaconf import DictConfig

COMMANDS = {  # command: function of segtrain.commands.<command>, and what --help says
    "train": ("train", "train one network and leave a run folder under runs/train"),
    "eval": ("evaluate", "score a run on a split and draw overlays"),
    "summary": ("summary", "print the network of a config: taps, parameters, multiply-adds"),
}
USAGE = f"""segtrain {__version__}: train semantic segmentation networks from a folder of YAML.

usage: segtrain COMMAND [key=value ...] [flags]

commands
{chr(10).join(f"  {name:<12}{meaning}" for name, (_, meaning) in COMMANDS.items())}
  completion  print a script that completes commands, options and keys: bash or zsh

segtrain COMMAND --help lists its options and keys; segtrain COMMAND --cfg job prints the whole config.

examples
  segtrain train +experiment=people
  segtrain eval
  segtrain summary +experiment=people backbone=resnet50
"""
# Hydra's flags, by how many words follow them. Its parser wants all of them before the first override.
SWITCHES = ("--help", "-h", "--hydra-help", "--resolve", "--run", "-r", "--multirun", "-m", "--shell-completion", "-sc")
VALUED = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    "--experimental-rerun",
)
INFO = ("--info", "-i")
INFO_CHOICES = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
DISK_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
INTERRUPTED, BROKEN_PIPE = 130, 141  # what a shell reports for SIGINT and SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0, 1 for a bug, 130 for Ctrl-C, else the error class's own."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except SegtrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `segtrain ... | head`: nobody reads on, so the interpreter's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _dispatch(words: list[str]) -> int:
    command, rest = (words[0], words[1:]) if words else ("--help", [])
    if command in ("--help", "-h", "help"):
        print(USAGE, end="")
        return 0
    if command == "--version" or "--version" in rest:
        print(f"segtrain {__version__}")
        return 0
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"unknown command {command!r}{hint} Commands: {', '.join(COMMANDS)}. Fix: segtrain --help")
    return run(command, rest)


def run(command: str, words: list[str]) -> int:
    """Give one command's flags and overrides to Hydra."""
    import hydra

    from segtrain.config import config_dir, set_up

    flags, overrides = split_flags(words)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    set_up()
    job = Job(command)
    argv, sys.argv = sys.argv, [sys.argv[0], *flags, *overrides]
    try:
        hydra.main(version_base="1.3", config_path=config_dir(), config_name=command)(job)()
    finally:
        sys.argv = argv
    return 0


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags first, each with its value, then overrides: Hydra's parser wants the overrides in one piece."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name = word.partition("=")[0]
        if not word.startswith("-"):
            overrides.append(word)
        elif name in SWITCHES or "=" in word:
            flags.append(word)
        elif name in INFO:
            flags.append(f"--info={rest.pop(0) if rest and rest[0] in INFO_CHOICES else 'all'}")
        elif name in VALUED:
            if not rest:
                raise ConfigError(f"{name} is not given a value. Fix: {name} VALUE")
            flags += [word, rest.pop(0)]
        else:
            raise ConfigError(f"unknown flag {word}")
    return flags, overrides


class Job:
    """What Hydra calls for each job."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __call__(self, cfg: "DictConfig") -> Any:
        from segtrain.config import check_root, set_up

        set_up()
        check_root(cfg, self.command)
        module = importlib.import_module(f"segtrain.commands.{self.command}")
        return getattr(module, COMMANDS[self.command][0])(cfg)
