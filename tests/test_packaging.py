"""What gets installed: the lock, and the sdist and wheel. Asks no package index."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from segtrain.config import config_dir
from segtrain.config.hydra_errors import EXTRAS

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LOCK = (REPOSITORY / "requirements.lock").read_text()
# "numpy==2.4.6 ; python_full_version < '3.12' \" -> numpy, 2.4.6; then its hashes, indented.
PINS = re.findall(r"^([a-z0-9-]+)==(\S+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", LOCK, re.MULTILINE)


def locked() -> set[str]:
    return {name for name, _, _ in PINS}


def test_the_lock_names_no_host_and_no_folder():
    assert not re.findall(r"://|^\s*-(?!-hash)|^/|@ ", LOCK, re.MULTILINE)


def test_every_line_of_the_lock_is_a_pin_with_hashes():
    lines = [line for line in LOCK.splitlines() if line and not line.lstrip().startswith(("#", "--hash"))]
    assert len(lines) == len(PINS) > 50


@pytest.mark.parametrize("wanted", [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]])
def test_the_lock_has_every_dependency_at_its_floor_or_above(wanted):
    name, floor = re.match(r"([A-Za-z0-9-]+)>=([0-9.]+)", wanted).groups()
    versions = [version for pinned, version, _ in PINS if pinned == name.lower()]
    assert versions
    assert all(numbers(version) >= numbers(floor) for version in versions)


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def test_a_plain_install_brings_no_cuda():
    assert not [name for name in locked() if name.startswith("nvidia") or "cuda" in name]
    assert not [wanted for wanted in PROJECT["project"]["dependencies"] if "and-cuda" in wanted]


def test_one_package_owns_cv2_and_one_tensorflow():
    assert locked() & {"opencv-python", "opencv-python-headless", "opencv-contrib-python"} == {"opencv-python-headless"}
    assert locked() & {"tensorflow", "tensorflow-cpu", "tf-nightly"} == {"tensorflow"}


def test_every_import_of_the_package_is_a_declared_dependency():
    modules = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml", "hydra": "hydra-core"}
    sources = [path.read_text() for path in (REPOSITORY / "segtrain").rglob("*.py")]
    imported = {name for text in sources for name in re.findall(r"^\s*(?:from|import) (\w+)[ .\n]", text, re.MULTILINE)}
    third_party = imported - set(sys.stdlib_module_names) - {"segtrain"}
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [*PROJECT["project"]["dependencies"], *(each for extra in extras for each in extra)]
    declared = {re.match(r"[A-Za-z0-9-]+", each).group() for each in wanted}
    # TensorBoard's events are written through tf.summary, which asks for the package when it runs; trackers are
    # imported by their names, only where a config asks for one.
    by_name = {"tensorboard", *re.findall(r'^    package = "(\w+)"$', "".join(sources), re.MULTILINE)}
    # Hydra finds its plugins by itself; segtrain knows what they bring, and which extras bring them.
    plugins = [each for extra in set(EXTRAS.values()) for each in PROJECT["project"]["optional-dependencies"][extra]]
    by_name |= {re.match(r"[A-Za-z0-9-]+", each).group() for each in plugins if each.startswith("hydra-")}
    assert by_name <= declared
    assert {modules.get(name, name) for name in third_party} == declared - by_name


def test_the_configs_of_a_checkout_are_found():
    assert Path(config_dir()) == REPOSITORY / "configs"


def test_the_wheel_made_from_the_sdist_holds_every_config_and_module(tmp_path):
    command = [sys.executable, str(REPOSITORY / "scripts/check_wheel.py"), "--no-run", "--out", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = next(archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    configs = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "configs").rglob("*.yaml")}
    assert {f"segtrain/{name}" for name in configs} == {name for name in names if name.endswith(".yaml")}
    assert "segtrain = segtrain.cli.main:main" in entry_points
