"""scripts/install.sh, run on a toy project and a toy package index: a folder of wheels made here."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "toy"
version = "1.0"
"""
# The smallest backend that `pip install --editable` takes: a wheel that holds its own metadata only.
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{folder}/toy-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: toy\\nVersion: 1.0\\n")
        wheel.writestr("toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("toy-1.0.dist-info/RECORD", "")
    return "toy-1.0-py3-none-any.whl"
"""


def write_wheel(folder: Path, name: str, version: str, *metadata: str) -> str:
    """Write a wheel of no modules. Returns its line for the lock."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata]
        wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose lock pins `cover` and `plugin`; `plugin` asks for an extra of `cover`, as pytest-cov does."""
    index, project = tmp_path / "index", tmp_path / "project"
    for folder in (index, project / "scripts"):
        folder.mkdir(parents=True)
    shutil.copy(REPOSITORY / "scripts/install.sh", project / "scripts")
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "backend.py").write_text(BACKEND)
    pins = [
        write_wheel(index, "cover", "1.0", "Provides-Extra: toml"),
        write_wheel(index, "plugin", "1.0", "Requires-Dist: cover[toml]>=1.0"),
    ]
    (project / "requirements.lock").write_text("".join(pins))
    return project


def install(project: Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment |= {"PYTHON": sys.executable, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}
    environment |= {"PIP_FIND_LINKS": str(project.parent / "index"), **variables}
    command = ["bash", str(project / "scripts/install.sh")]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def installed(project: Path) -> set[str]:
    return {path.name for path in (project / ".venv").glob("lib/*/site-packages/*.dist-info")} - {"pip"}


def test_a_release_after_the_lock_changes_nothing(project):
    write_wheel(project.parent / "index", "cover", "1.1", "Provides-Extra: toml")
    finished = install(project)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert {"cover-1.0.dist-info", "plugin-1.0.dist-info", "toy-1.0.dist-info"} <= installed(project)


def test_constraints_and_choices_of_other_projects_in_pips_configuration_change_nothing(project, tmp_path):
    (tmp_path / "constraints.txt").write_text("cover<1\n")
    (tmp_path / "pip.conf").write_text(
        f"[global]\nconstraint = {tmp_path}/constraints.txt\nuser = true\nno-binary = :all:\n"
        f"extra-index-url = file://{tmp_path}/none\n"
    )
    finished = install(project, PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "cover-1.0.dist-info" in installed(project)


def test_without_an_index_one_line_states_what_to_do(project):
    # Port 9 of this machine refuses connections, as an index does where there is no network.
    finished = install(
        project, PIP_NO_INDEX="", PIP_FIND_LINKS="", PIP_INDEX_URL="http://127.0.0.1:9/", PIP_RETRIES="0"
    )
    assert finished.returncode == 1
    assert len(finished.stderr.splitlines()) == 1, finished.stderr
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: the package index cannot be reached") and "Fix: " in line
    assert not (project / ".venv/installed").exists()


def test_a_lock_that_misses_a_dependency_is_refused(project):
    lock = (project / "requirements.lock").read_text()
    (project / "requirements.lock").write_text(lock[lock.index("plugin") :])
    finished = install(project)
    assert finished.returncode == 1
    assert "plugin 1.0 requires cover" in finished.stderr and "Fix: make lock" in finished.stderr


def test_another_python_is_refused_by_name(project, tmp_path):
    (tmp_path / "python3.10").write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.4\nexit 1\n')
    (tmp_path / "python3.10").chmod(0o755)
    finished = install(project, PYTHON=str(tmp_path / "python3.10"))
    assert finished.returncode == 1
    assert "Python 3.10.4" in finished.stderr and "Fix: make install PYTHON=" in finished.stderr
