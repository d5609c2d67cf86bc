"""Python files of the working folder run only if `trusted_modules` names them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import shadows
from segtrain.config.targets import find_target
from segtrain.errors import ConfigError
from segtrain.process import working_folder

COMMAND = [str(Path(sys.executable).with_name("segtrain"))]
MODULE = [sys.executable, "-m", "segtrain"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder; the module search path and finders are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    return tmp_path


@pytest.mark.parametrize(
    ("program", "words"),
    [
        pytest.param(COMMAND, ["summary", "+experiment=people", "backbone=mobilenet_v3_small"], id="summary"),
        pytest.param(COMMAND, ["train", "dataset=binary", "dataset.root=x", "seed=1,2", "-m"], id="sweep"),
        pytest.param(MODULE, ["doctor"], id="module"),
        pytest.param(MODULE, ["train", "--info", "plugins"], id="plugins"),
    ],
)
@pytest.mark.tensorflow
def test_no_file_of_the_working_folder_runs(folder, program, words):
    ran = shadows.write_shadows(folder)
    assert len(shadows.NAMES) >= 60
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run([*program, *words], capture_output=True, text=True, timeout=120, env=environment)
    assert "Traceback" not in done.stderr
    assert not ran.exists(), ran.read_text()


@pytest.mark.parametrize("entry", ["", ".", "{folder}", "{folder}/"])
def test_the_working_folder_is_taken_off_the_path_however_it_is_spelled(folder, entry):
    sys.path.insert(0, entry.format(folder=folder))
    working_folder.take_off_path()
    assert all(os.path.realpath(each) != os.path.realpath(folder) for each in sys.path)


def test_a_checkout_that_is_the_working_folder_stays_importable(folder, monkeypatch):
    checkout = str(Path(working_folder.__file__).parents[2])
    monkeypatch.chdir(checkout)
    sys.path.insert(0, checkout)
    working_folder.take_off_path()
    assert checkout in sys.path


def test_only_trusted_modules_are_found(folder):
    for name in ("mine_one", "mine_two"):
        (folder / f"{name}.py").write_text("def part():\n    return 1\n")
    working_folder.trust(["mine_one.sub"], str(folder))  # what is below a package brings the package
    assert __import__("mine_one").part() == 1
    with pytest.raises(ModuleNotFoundError):
        __import__("mine_two")
    working_folder.trust([], str(folder))
    with pytest.raises(ModuleNotFoundError):
        __import__("mine_three")


def test_an_installed_module_comes_before_one_of_the_working_folder(folder):
    (folder / "colorsys.py").write_text("raise RuntimeError\n")
    working_folder.trust(["colorsys"], str(folder))
    assert __import__("colorsys").rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_a_trusted_module_that_imports_another_says_which_to_trust(folder):
    (folder / "mine_user.py").write_text("import mine_helper\n\ndef part():\n    return 1\n")
    (folder / "mine_helper.py").write_text("")
    working_folder.trust(["mine_user"], str(folder))
    with pytest.raises(ConfigError, match=r"imports mine_helper.*Fix: trusted_modules=\[mine_user,mine_helper\]"):
        find_target("mine_user.part", ["mine_user"], "loss")
    working_folder.trust(["mine_user", "mine_helper"], str(folder))
    assert find_target("mine_user.part", ["mine_user", "mine_helper"], "loss")() == 1


def test_children_do_not_get_the_working_folder(folder):
    ran = shadows.write_shadows(folder, ["shadow_of_a_child"])
    with working_folder.kept_off_children():
        code = subprocess.run([sys.executable, "-c", "import shadow_of_a_child"], capture_output=True).returncode
    assert code != 0 and not ran.exists()
