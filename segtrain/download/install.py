"""Install a dataset: download, verify and unpack its archives, then move the finished folder into place.

Unfinished work is in `<root>/.<name>.unfinished`. After a killed command, the next one resumes partial downloads there
and unpacks again from the start.
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

from segtrain.download.connection import RetryPolicy
from segtrain.download.extract import extract
from segtrain.download.fetch import checksum_mismatch, compute_checksums, fetch
from segtrain.download.sources import Archive, Source
from segtrain.download.transfer import SPARE_DISK
from segtrain.errors import ConfigError, DataError, ResourceError
from segtrain.storage import lock

RECORD = "segtrain_download.json"
_MAX_DEPTH = 4  # folders in an archive above the dataset's own
_NO_SYMLINK = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Installed:
    """An installed dataset.

    Attributes:
        folder: Folder of the dataset.
        files: Number of unpacked files; 0 if the dataset was installed before.
        trusted: SHA-256 of each archive without a published checksum, by file name.
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
    policy: RetryPolicy | None = None,
) -> Installed:
    """Install a dataset in `root / source.folder`; a dataset that is already there is left unchanged.

    Args:
        name: Name of the dataset in `SOURCES`.
        source: Entry of the dataset in `SOURCES`.
        root: Folder that contains all datasets; created if missing.
        given: Local archives to use instead of downloading, or the one folder that contains them.
        keep: Whether to keep the archives in `root`.
        policy: Timeouts and retries of downloads.

    Raises:
        ConfigError: The dataset has no public link and no archive was given.
        DataError: An archive differs from the published one, or an incomplete folder is at the destination.
        ResourceError: Network, disk or permission problem, or another command is downloading the dataset.
    """
    folder = root / source.folder
    if folder.exists():
        _require_complete(folder, source)
        if (root / f".{name}.unfinished").exists():  # left by a command that was killed after the final rename
            with contextlib.suppress(ResourceError), _work_folder(root, name):
                pass
        return Installed(folder)
    local = _by_archive(name, source, given)
    with _work_folder(root, name) as work:
        _require_room(work, source, local)
        records, files = [], 0
        merged = work / "merged"
        for number, archive in enumerate(source.archives):
            path, record = _obtain(archive, local.get(archive.file), work, policy or RetryPolicy())
            records.append(record)
            files += _unpack(archive, path, work / f"unpacked-{number}", merged)
        _write_record(merged, name, source, records)
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.rename(merged, folder)
        if keep:
            for archive in source.archives:
                if _part(work, archive).exists():
                    os.replace(_part(work, archive), root / archive.file)
    trusted = {str(each["file"]): str(each["sha256"]) for each in records if not each["published"]}
    return Installed(folder, files, trusted)


def _require_complete(folder: Path, source: Source) -> None:
    missing = [name for name in source.gives if not (folder / name).exists()]
    if missing:
        raise DataError(
            f"incomplete dataset in {folder}: missing {', '.join(missing)}. Fix: move the folder away, or choose "
            f"another root=DIR"
        )


def _by_archive(name: str, source: Source, given: Sequence[Path]) -> dict[str, Path]:
    """Match local files with the dataset's archives by name; a single file for a single archive may have any name."""
    files = [archive.file for archive in source.archives]
    paths = [path / file for path in given for file in files] if given and given[0].is_dir() else list(given)
    if len(files) == 1 and len(given) == 1 and given[0].is_file():
        return {files[0]: given[0]}
    found = {path.name: path for path in paths if path.name in files and path.is_file()}
    if given and len(found) < len(files) or not given and source.login:
        reason = f"{name}: {source.login}" if source.login else f"archive={', '.join(map(str, given))}"
        missing = ", ".join(file for file in files if file not in found)
        raise ConfigError(
            f"{reason}, expected {missing}. Fix: get {'them' if len(files) > 1 else 'it'} from {source.home}, then run "
            f"segtrain download {name} archive=FOLDER"
        )
    return found


@contextlib.contextmanager
def _work_folder(root: Path, name: str) -> Iterator[Path]:
    """Create and lock the folder for unfinished work; removed on success, kept with partial downloads on failure."""
    work = root / f".{name}.unfinished"
    try:
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(work, _NO_SYMLINK)
    except OSError as error:
        raise ResourceError(f"cannot use {work}: {error.strerror}. Fix: choose another root=DIR") from error
    try:
        with contextlib.suppress(OSError):  # a network file system without locks
            if not lock(handle):
                raise ResourceError(
                    f"another segtrain download is using {work}. Fix: wait until it ends, or choose another root=DIR"
                )
        _remove_folders(work)
        for rejected in work.glob("*.rejected"):
            rejected.unlink()
        try:
            yield work
        except BaseException:
            _remove_folders(work)
            with contextlib.suppress(OSError):
                work.rmdir()  # fails if a partial download is kept
            raise
        shutil.rmtree(work)
    finally:
        os.close(handle)


def _remove_folders(work: Path) -> None:
    """Remove partly unpacked folders; partial downloads stay."""
    for path in work.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def _require_room(work: Path, source: Source, local: Mapping[str, Path]) -> None:
    """Require disk space before the download; images hardly compress, so each archive's size counts twice."""
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
            f"its files. Fix: free disk space, or choose another disk with root=DIR"
        )


def _part(work: Path, archive: Archive) -> Path:
    return work / f"{archive.file}.part"


def _obtain(archive: Archive, local: Path | None, work: Path, policy: RetryPolicy) -> tuple[Path, dict[str, Any]]:
    """Download or verify one archive. Returns its path and its entry for the record file."""
    if local is None:
        path = _part(work, archive)
        origin, checksums = fetch(archive, path, policy)
    else:
        path, origin, checksums = local, str(local.resolve()), compute_checksums(local, bool(archive.md5))
        if problem := checksum_mismatch(archive, checksums):
            raise DataError(
                f"{local} is not the published {archive.file}: {problem}. Fix: download it again, or unpack it "
                f"yourself if you trust it"
            )
    published = bool(archive.sha256 or archive.md5)
    return path, {
        "file": archive.file,
        "from": origin,
        "bytes": checksums.size,
        "sha256": checksums.sha256,
        "published": published,
    }


def _unpack(archive: Archive, path: Path, folder: Path, merged: Path) -> int:
    """Unpack one archive and move its dataset files into `merged`. Returns the number of files."""
    folder.mkdir()
    files = extract(path, folder)
    if archive.inner and (inside := next(folder.rglob(archive.inner), None)):
        files += extract(inside, inside.parent) - 1
        inside.unlink()
    found = _folder_with(folder, archive.gives)
    if found is None:
        seen = ", ".join(sorted(entry.name for entry in folder.iterdir())[:5])
        raise DataError(
            f"{path.name} holds {seen}, expected a folder with {', '.join(archive.gives)}. Fix: pass the "
            f"publisher's archive with archive=FILE"
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
    """Return the shallowest folder, `folder` included, that contains all of the names, or None."""
    level = [folder]
    for _ in range(_MAX_DEPTH + 1):
        for each in level:
            if all((each / name).exists() for name in names):
                return each
        level = sorted(entry for each in level for entry in each.iterdir() if entry.is_dir())
    return None


def _merge(found: Path, merged: Path, name: str) -> None:
    """Move the contents of one folder into another; a file in both, such as a license, is kept once."""
    for entry in sorted(found.iterdir()):
        target = merged / entry.name
        if not target.exists():
            os.rename(entry, target)
        elif entry.is_dir() or target.is_dir():
            raise DataError(f"{name} holds {entry.name}, which is also in another archive of the dataset")


def _write_record(folder: Path, name: str, source: Source, archives: list[dict[str, Any]]) -> None:
    """Record the origin and the checksums of the archives next to the data."""
    content = {
        "dataset": name,
        "home": source.home,
        "license": source.license,
        "installed": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "archives": archives,
    }
    (folder / RECORD).write_text(json.dumps(content, indent=1) + "\n")
