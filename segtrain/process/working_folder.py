"""Restrict imports from the working folder to the modules in `trusted_modules`.

Libraries try to import optional packages (pandas, psutil, jax, sklearn, torch): with the working folder on the module
search path, a file of such a name next to the data would be executed.
"""

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _TrustedModules:
    """Meta path finder for the trusted modules of one folder; comes after all installed packages."""

    def __init__(self, folder: str, names: Collection[str]) -> None:
        self._folder = folder
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a top-level module; Python finds submodules of a package itself."""
        return PathFinder.find_spec(name, [self._folder], target) if path is None and name in self._names else None


def take_off_path() -> None:
    """Remove the working folder from the module search path, where `python -m` and PYTHONPATH add it."""
    here = current()
    if here is None or not any(_is_same(entry, here) for entry in sys.path):
        return
    import sysconfig

    # Keep the folder of an uninstalled checkout, and site-packages if it is the working folder.
    needed = {os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")), *sysconfig.get_paths().values()}
    if not any(_is_same(entry, here) for entry in needed):
        sys.path[:] = [entry for entry in sys.path if not _is_same(entry, here)]


@contextmanager
def kept_off_children() -> Iterator[None]:
    """Keep the working folder off the module search path of processes that are started within the context."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before


def trust(names: Collection[str], folder: str | None) -> None:
    """Make only these modules of a folder importable; replaces the modules of earlier calls."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _TrustedModules)]
    if names and folder is not None:
        sys.meta_path.append(_TrustedModules(folder, {name.partition(".")[0] for name in names}))


def is_module_of(name: str, folder: str | None) -> bool:
    """Whether a folder contains a top-level module of this name."""
    return folder is not None and PathFinder.find_spec(name.partition(".")[0], [folder]) is not None


def current() -> str | None:
    """Return the working folder; None if it has been removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _is_same(entry: str, here: str) -> bool:
    return os.path.realpath(entry or here) == os.path.realpath(here)
