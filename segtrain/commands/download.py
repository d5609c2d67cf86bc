"""`segtrain download NAME`: a public dataset fetched, verified, unpacked and checked."""

import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, ListConfig

from segtrain import config
from segtrain.download.sources import SOURCES, Source
from segtrain.errors import ConfigError
from segtrain.shell import override, setting
from segtrain.suggest import did_you_mean
from segtrain.terminal import printable

if TYPE_CHECKING:
    from segtrain.download.install import Installed

LIST = "list"


def download(cfg: DictConfig) -> None:
    """Bring one dataset to the root, or list what there is.

    Raises:
        ConfigError: Unknown dataset, or it has no public link and no archive was given.
        DataError: An archive is not what it should be, or the check has found errors.
        ResourceError: Net, disk or permission is lacking.
    """
    if cfg.name == LIST:
        _print_sources()
        return
    if cfg.name not in SOURCES:
        near = did_you_mean(cfg.name, SOURCES) or ";"
        raise ConfigError(
            f"name={printable(cfg.name)}: no such dataset to download{near} expected {', '.join(SOURCES)}"
        )
    source = SOURCES[cfg.name]
    if not cfg.root:
        raise ConfigError("root: empty, expected a folder for datasets. Fix: root=.")
    root = Path(cfg.root).expanduser().absolute()
    print(f"{source.title}. License: {source.license}; read {source.home}")
    # Imported here because requests takes long to import, and `list` does not need it.
    from segtrain.download.connection import RetryPolicy
    from segtrain.download.install import install

    policy = RetryPolicy(timeout=cfg.timeout, attempts=cfg.attempts)
    try:
        done = install(cfg.name, source, root, _paths(cfg.archive), cfg.keep_archive, policy)
    except KeyboardInterrupt:
        print("Partial download kept. Run the same command to resume.", file=sys.stderr)
        raise
    _print_installed(done)
    for line in command_lines(source, done.folder):
        print(f"  {line}")
    if cfg.check and done.files and source.dataset:
        _check(source.dataset, done.folder)


def command_lines(source: Source, folder: Path) -> list[str]:
    """Print the next commands for a dataset in its folder."""
    folders = {"folder": folder, "root": Path(*folder.parts[: -len(PurePath(source.folder).parts)])}
    lines = [" ".join(_word(word.format(**folders)) for word in line.split()) for line in source.then]
    root = _word(f"dataset.root={folder}")
    if source.dataset:
        experiment = Path(config.config_dir(), "experiment", f"{source.dataset}.yaml")
        chosen = f"+experiment={source.dataset}" if experiment.is_file() else f"dataset={source.dataset}"
        lines += [
            f"segtrain check dataset={source.dataset} {root}",
            f"segtrain train {chosen} {root}",
        ]
    return lines


def _word(word: str) -> str:
    """Quote a word of a command line for Hydra and for the shell."""
    key, equals, value = word.partition("=")
    return setting(key, value) if equals else word


def _paths(archive: Any) -> list[Path]:
    """The user's archives as paths.

    Raises:
        ConfigError: One of them is not there.
    """
    given = list(archive) if isinstance(archive, ListConfig) else [] if archive is None else [archive]
    paths = [Path(str(each)).expanduser() for each in given]
    for path in paths:
        if not path.exists():
            raise ConfigError(f"archive={path}: file or folder not found. Fix: archive=FILE")
    return paths


def _print_installed(done: "Installed") -> None:
    if not done.files:
        print(f"{done.folder} is already present and intact; nothing to do")
        return
    print(f"{done.folder}: {done.files:,} files")
    for file, sha256 in (done.trusted or {}).items():
        print(f"No sum of {file} has been published, so it was trusted as it came: SHA-256 {sha256}")


def _print_sources() -> None:
    for name, source in SOURCES.items():
        size = f"{source.size / 1e9:.1f} GB" if source.size else source.about or ""
        known = all(archive.sha256 or archive.md5 for archive in source.archives)
        sums = "sums published" if known else "no sums published: trusted at the first download"
        way = f"archives of your own, {source.login}" if source.login else sums
        print(f"{name:<12}{size:>7}  {source.title}")
        print(f"{'':<21}{f'ROOT/{source.folder}'}{f', dataset={source.dataset}' if source.dataset else ''}")
        print(f"{'':<21}{source.license}; {way}")
    print("segtrain download NAME root=ROOT")


def _check(dataset: str, folder: Path) -> None:
    from segtrain.commands.check import check

    cfg = hydra.compose("check", [f"dataset={dataset}", override("dataset.root", folder.resolve())])
    config.validate_root(cfg, "check")
    check(cfg)
