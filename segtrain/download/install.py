"""A dataset from the table to its folder: fetched, checked, unpacked and only then put in its place, all at once.

Everything unfinished lies in `<root>/.<name>.unfinished`. A command that was killed there goes on with the parts of
archives, and unpacks anew.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segtrain.download.connection import Patience
from segtrain.download.extract import extract
from segtrain.download.fetch import fetch, sums_of, wrong_sums
from segtrain.download.sources import Archive, Source
from segtrain.download.transfer import SPARE_DISK
from segtrain.errors import ConfigError, DataError, ResourceError
from segtrain.storage import lock

RECORD = "segtrain_download.json"
_DEEPEST = 4  # folders that an archive may put around a dataset
_NO_SYMLINK = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Installed:
    """A dataset in its place.

    Attributes:
        folder: Where.
        files: How many were unpacked; none when it was there before.
        trusted: Archives that no published sum vouches for, with the SHA-256 they had.
    """

    folder: Path
    files: int = 0
    trusted: Mapping[str, str] | None = None


def install(
    name: str,
    source: Source,
    root: Path,
    given: Sequence[Path] = (),
    keep: bool = False,
    patience: Patience | None = None,
) -> Installed:
    """Bring a dataset to `root / source.folder`; does nothing where it is already.

    Args:
        name: Of the dataset.
        source: What the table says of it.
        root: The folder that all datasets are in; made where it is not there.
        given: Archives that the user has, instead of the net's; or the one folder that has them.
        keep: Leave the archives in `root`.
        patience: How long to wait for servers.

    Raises:
        ConfigError: There is no public link and no archive was given.
        DataError: An archive is not what it should be, or another folder lies at this place.
        ResourceError: Net, disk or permission is lacking, or another command is at it.
    """
    folder = root / source.folder
    if folder.exists():
        _require_complete(folder, source)
        if (root / f".{name}.unfinished").exists():  # of a command that was killed at its very end
            with contextlib.suppress(ResourceError), _work_folder(root, name):
                pass
        return Installed(folder)
    local = _by_archive(name, source, given)
    with _work_folder(root, name) as work:
        _require_room(work, source, local)
        facts, files = [], 0
        merged = work / "merged"
        for number, archive in enumerate(source.archives):
            path, fact = _obtain(archive, local.get(archive.file), work, patience or Patience())
            facts.append(fact)
            files += _unpack(archive, path, work / f"unpacked-{number}", merged)
        _write_record(merged, name, source, facts)
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.rename(merged, folder)
        if keep:
            for archive in source.archives:
                if _part(work, archive).exists():
                    os.replace(_part(work, archive), root / archive.file)
    trusted = {str(fact["file"]): str(fact["sha256"]) for fact in facts if not fact["published"]}
    return Installed(folder, files, trusted)


def _require_complete(folder: Path, source: Source) -> None:
    missing = [name for name in source.gives if not (folder / name).exists()]
    if missing:
        raise DataError(
            f"{folder} is there and lacks {', '.join(missing)}, so it is not a whole dataset. Fix: move it away, or "
            f"name another root=DIR"
        )


def _by_archive(name: str, source: Source, given: Sequence[Path]) -> dict[str, Path]:
    """Match the user's files with the table's archives, by name; an only one may have any."""
    files = [archive.file for archive in source.archives]
    paths = [path / file for path in given for file in files] if given and given[0].is_dir() else list(given)
    if len(files) == 1 and len(given) == 1 and given[0].is_file():
        return {files[0]: given[0]}
    found = {path.name: path for path in paths if path.name in files and path.is_file()}
    if given and len(found) < len(files) or not given and source.login:
        why = f"{name}: {source.login}" if source.login else f"archive={', '.join(map(str, given))}"
        lacking = ", ".join(file for file in files if file not in found)
        raise ConfigError(
            f"{why}, expected {lacking}. Fix: get {'them' if len(files) > 1 else 'it'} from {source.home} and then "
            f"segtrain download {name} archive=FOLDER"
        )
    return found


@contextlib.contextmanager
def _work_folder(root: Path, name: str) -> Iterator[Path]:
    """Have the folder of all that is unfinished to oneself; it goes when all is done, and stays when not."""
    work = root / f".{name}.unfinished"
    try:
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(work, _NO_SYMLINK)
    except OSError as error:
        raise ResourceError(f"cannot use {work}: {error.strerror}. Fix: name another root=DIR") from error
    try:
        with contextlib.suppress(OSError):  # of a network disk without locks
            if not lock(handle):
                raise ResourceError(
                    f"another segtrain download is at work in {work}. Fix: wait for its end, or name another root=DIR"
                )
        _remove_folders(work)
        for rejected in work.glob("*.rejected"):
            rejected.unlink()
        try:
            yield work
        except BaseException:
            _remove_folders(work)
            with contextlib.suppress(OSError):
                work.rmdir()  # unless a part is kept
            raise
        shutil.rmtree(work)
    finally:
        os.close(handle)


def _remove_folders(work: Path) -> None:
    """Remove what was being unpacked; the parts of archives stay."""
    for path in work.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def _require_room(work: Path, source: Source, local: Mapping[str, Path]) -> None:
    """Refuse beforehand what cannot fit: images hardly shrink in an archive, so each length counts twice."""
    needed = SPARE_DISK
    for archive in source.archives:
        part = _part(work, archive)
        if archive.file in local:
            needed += local[archive.file].stat().st_size
        else:
            needed += 2 * (archive.size or 0) - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(work).free
    if needed > free:
        raise ResourceError(
            f"no room in {work.parent}: {free / 1e9:.1f} GB free, expected {needed / 1e9:.1f} GB for the archive and "
            f"what it unpacks to. Fix: free some space, or name another disk: root=DIR"
        )


def _part(work: Path, archive: Archive) -> Path:
    return work / f"{archive.file}.part"


def _obtain(archive: Archive, local: Path | None, work: Path, patience: Patience) -> tuple[Path, dict[str, Any]]:
    """Have one archive on the disk, with the right sums. Returns its path and what to record of it."""
    if local is None:
        path = _part(work, archive)
        origin, sums = fetch(archive, path, patience)
    else:
        path, origin, sums = local, str(local.resolve()), sums_of(local, bool(archive.md5))
        if problem := wrong_sums(archive, sums):
            raise DataError(
                f"{local} is not the published {archive.file}: {problem}. Fix: get it anew, or unpack it yourself if "
                f"you trust it"
            )
    published = bool(archive.sha256 or archive.md5)
    facts = {"file": archive.file, "from": origin, "bytes": sums.size, "sha256": sums.sha256, "published": published}
    return path, facts


def _unpack(archive: Archive, path: Path, folder: Path, merged: Path) -> int:
    """Unpack one archive and put what it gives into the dataset's folder. Returns the number of files."""
    folder.mkdir()
    files = extract(path, folder)
    if archive.inner and (inside := next(folder.rglob(archive.inner), None)):
        files += extract(inside, inside.parent) - 1
        inside.unlink()
    found = _folder_with(folder, archive.gives)
    if found is None:
        seen = ", ".join(sorted(entry.name for entry in folder.iterdir())[:5])
        raise DataError(
            f"{path.name} holds {seen}, expected a folder with {', '.join(archive.gives)}. Fix: give the archive of "
            f"the publisher, archive=FILE"
        )
    target = merged / archive.into
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        os.rename(found, target)
    else:
        _merge(found, target, path.name)
    shutil.rmtree(folder, ignore_errors=True)
    return files


def _folder_with(folder: Path, names: Sequence[str]) -> Path | None:
    """The shallowest folder, this one among them, that has all of the names."""
    level = [folder]
    for _ in range(_DEEPEST + 1):
        for each in level:
            if all((each / name).exists() for name in names):
                return each
        level = sorted(entry for each in level for entry in each.iterdir() if entry.is_dir())
    return None


def _merge(found: Path, merged: Path, name: str) -> None:
    """Move the contents of one folder into another; of files that both have, such as a licence, one is enough."""
    for entry in sorted(found.iterdir()):
        target = merged / entry.name
        if not target.exists():
            os.rename(entry, target)
        elif entry.is_dir() or target.is_dir():
            raise DataError(f"{name} holds {entry.name}, which another archive of the dataset has brought")


def _write_record(folder: Path, name: str, source: Source, facts: list[dict[str, Any]]) -> None:
    """Leave beside the data where it came from, and by which sums it can be told from another version."""
    content = {
        "dataset": name,
        "home": source.home,
        "licence": source.licence,
        "installed": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "archives": facts,
    }
    (folder / RECORD).write_text(json.dumps(content, indent=1) + "\n")
