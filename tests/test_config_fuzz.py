"""A sample of the corruptions of `config_fuzz`, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tensorflow


def test_every_corruption_is_one_line_that_names_the_key(tmp_path):
    program = [sys.executable, str(Path(__file__).with_name("config_fuzz.py")), "15"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "0 of 15 wrong" in done.stdout
