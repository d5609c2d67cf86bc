"""The `segtrain` command: its first word chooses the primary config, Hydra does the rest.

Nothing here imports TensorFlow, and nothing but a command's own run imports Hydra: help answers at once.
"""

import atexit
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segtrain.cli.failures import INTERRUPTED, report_error, wants_trace
from segtrain.cli.job import COMMANDS
from segtrain.cli.run import run
from segtrain.errors import ConfigError, SegtrainError
from segtrain.process import guard, working_folder
from segtrain.process.threads import left_running
from segtrain.suggest import did_you_mean
from segtrain.version import __version__

if TYPE_CHECKING:
    pass

USAGE = f"""segtrain {__version__}: train semantic segmentation networks from a folder of YAML.

usage: segtrain COMMAND [key=value ...] [flags]

commands
{chr(10).join(f"  {name:<12}{meaning}" for name, (_, meaning) in COMMANDS.items())}
  completion  print a script that completes commands, options and keys: bash, zsh or fish

segtrain COMMAND --help lists its options and keys; segtrain COMMAND --cfg job prints the complete config.

examples
  segtrain train +experiment=people
  segtrain eval
  segtrain summary +experiment=people backbone=resnet50
  segtrain compare keras_io_2021 cihp
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: The words after `segtrain`; the process's own by default.

    Returns:
        The exit code: 0, 1 for a bug, 130 for Ctrl-C, else that of the error's class.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None and guard.is_limited():
        return guard.guarded(lambda: _exit_code(words))
    code = _exit_code(words)
    if hung := left_running():
        # A thread that comes back from a library while the interpreter finalizes would abort the process.
        print(f"reads that hang are abandoned: {', '.join(hung)}", file=sys.stderr)
        atexit.register(_leave, code)
    return code


def _leave(code: int) -> None:
    if left_running():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_code(words: list[str]) -> int:
    working_folder.take_off_path()
    try:
        with working_folder.kept_off_children():
            code = _dispatch(words)
        sys.stdout.flush()
        return code
    except (SegtrainError, OSError, MemoryError) as error:
        return report_error(error, wants_trace(), dict(word.split("=", 1) for word in words if "=" in word))
    except SystemExit as exit:  # Hydra's --help, and a job that has failed
        return exit.code if isinstance(exit.code, int) else 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _dispatch(words: list[str]) -> int:
    command, rest = (words[0], words[1:]) if words else ("--help", [])
    if command in ("--help", "-h", "help"):
        print(USAGE, end="")
        return 0
    if command == "--version" or "--version" in rest:
        print(f"segtrain {__version__}")
        return 0
    if command == "completion":
        from segtrain.cli import completion

        return completion.main(rest)
    if command not in COMMANDS:
        known = [*COMMANDS, "completion"]
        near = did_you_mean(command, known)
        raise ConfigError(f"no command {command!r}{near or ';'} commands: {', '.join(known)}")
    return run(command, rest)
