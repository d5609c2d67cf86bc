"""Build the sdist and, from it, the wheel; check their contents; run the wheel in an empty environment elsewhere.

make wheel                                      everything: about two minutes, most of it in pip
.venv/bin/python scripts/check_wheel.py --out dist --no-run     build and check only, and keep both files
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
# Path fragments that must not occur in a package.
FORBIDDEN = (
    "/.venv/",
    "/runs/train/",
    "/runs/eval/",
    "/dist/",
    "/build/",
    "/__pycache__/",
    "/.git/",
    ".pyc",
    ".safetensors",
    ".h5",
)
RUN_COMMAND = ["train", "+experiment=people", "epochs=1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder to copy the sdist and the wheel to (default: not kept)")
    parser.add_argument("--no-run", action="store_true", help="do not install and run the wheel")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segtrain-wheel-") as scratch:
        sdist, wheel = build(Path(scratch) / "dist")
        check_sdist(sdist)
        check_wheel(wheel)
        if not arguments.no_run:
            run_elsewhere(wheel, Path(scratch))
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
            for made in (sdist, wheel):
                shutil.copy(made, arguments.out)
    print("wheel: ok")


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, then the wheel out of the sdist, with the locked hatchling of this environment."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        sys.exit(f"error: the build failed\n{finished.stdout}{finished.stderr}")
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def check_sdist(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = files("segtrain", "*.py") | files("configs", "*.yaml") | files("tests", "*.py") | files("scripts", "*")
    compare(sdist, names, expected | {"pyproject.toml", "Makefile", "requirements.lock", "README.md", "LICENSE"})


def check_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    compare(wheel, names, files("segtrain", "*.py") | {f"segtrain/{name}" for name in files("configs", "*.yaml")})
    # A top-level folder of any other name would be installed next to other packages.
    if unexpected := {name for name in names if not name.startswith(("segtrain/", "segtrain_keras-"))}:
        sys.exit(f"error: {wheel.name} holds {', '.join(sorted(unexpected)[:5])} outside segtrain/")
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        sys.exit(f"error: {wheel.name} holds no LICENSE")


def files(folder: str, pattern: str) -> set[str]:
    """Return the paths of the work tree's files that the packages must contain."""
    found = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / folder).rglob(pattern) if path.is_file()}
    return {name for name in found if "__pycache__" not in name}


def is_forbidden(name: str) -> bool:
    return "/tests/golden/" not in name and any(each in name for each in FORBIDDEN)


def compare(package: Path, names: set[str], expected: set[str]) -> None:
    if missing := sorted(expected - names):
        sys.exit(f"error: {package.name} lacks {len(missing)} files: {', '.join(missing[:5])}")
    if unexpected := sorted(name for name in names if is_forbidden(f"/{name}")):
        sys.exit(f"error: {package.name} holds {len(unexpected)} files it must not: {', '.join(unexpected[:5])}")
    print(f"{package.name}: {len(names)} files, {package.stat().st_size / 1e3:.0f} kB")


def run_elsewhere(wheel: Path, scratch: Path) -> None:
    """Install the wheel with the versions that pip selects, and train from another folder."""
    environment, elsewhere = scratch / "venv", scratch / "elsewhere"
    elsewhere.mkdir()
    # Hide this checkout: neither its path nor its environment may be used.
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    python = environment / "bin/python"

    def run(*command: object) -> str:
        finished = subprocess.run(
            [str(part) for part in command], cwd=elsewhere, env=outside, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if finished.returncode:
            shown = " ".join(str(part) for part in command)
            sys.exit(f"error: exit code {finished.returncode} of {shown}\n{finished.stdout[-4000:]}")
        return finished.stdout

    run(sys.executable, "-m", "venv", environment)
    print("installing the wheel in an empty environment: about a minute", flush=True)
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", wheel)
    run(python, "-m", "pip", "check")
    if "nvidia" in (installed := run(python, "-m", "pip", "list")):
        sys.exit(f"error: without the extra gpu, pip installed CUDA packages\n{installed}")
    run(environment / "bin/segtrain", *RUN_COMMAND)
    checkpoints = list(elsewhere.glob("runs/train/*_people/checkpoints/*/state.safetensors"))
    if not checkpoints:
        sys.exit(f"error: {' '.join(RUN_COMMAND)} left no checkpoint under {elsewhere}")
    print(f"segtrain {' '.join(RUN_COMMAND)}: trained from another folder")


if __name__ == "__main__":
    main()
