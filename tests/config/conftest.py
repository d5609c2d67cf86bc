"""The fixtures of the commands' tests: a folder to run in, and a call of the command line."""

from commands.conftest import eager, segtrain, workplace

__all__ = ["eager", "segtrain", "workplace"]
