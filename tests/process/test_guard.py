"""A command under `ulimit -v`: however it dies, one line, exit code 5 and no unused run folder."""

import os
import resource
import signal
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from segtrain.process import guard

def command():
    folder = Path("runs/train/one")
    folder.mkdir(parents=True)
    guard.announce(folder, "checkpoints")
{body}

sys.exit(guard.guarded(command))
"""


def start(tmp_path, body, **options):
    program = PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), "    "))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        **{"cwd": tmp_path, "env": environment, "stderr": subprocess.PIPE, "text": True, **options},
    )


@pytest.mark.parametrize(
    ("end", "named"),
    [
        ("os.abort()", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGBUS)", "SIGBUS"),
        ("os._exit(1)", "a library ended the process"),
        ("os._exit(0)", "a library ended the process"),
    ],
)
def test_a_command_that_dies_is_one_line_and_leaves_no_unused_run_folder(tmp_path, end, named):
    process = start(tmp_path, end)
    _, err = process.communicate()
    assert process.returncode == 5
    assert err.startswith("error: out of memory") and err.count("\n") == 1
    assert named in err and "Fix: lower batch_size" in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_with_checkpoints_stays(tmp_path):
    assert start(tmp_path, "(folder / 'checkpoints').mkdir(); os.abort()").wait() == 5
    assert (tmp_path / "runs/train/one/checkpoints").is_dir()


@pytest.mark.parametrize("code", [0, 1, 3, 143])
def test_a_command_that_ends_keeps_its_exit_code_and_its_folder(tmp_path, code):
    process = start(tmp_path, f"return {code}")
    assert process.communicate()[1] == "" and process.returncode == code
    assert (tmp_path / "runs/train/one").is_dir()


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_signals_reach_the_command(tmp_path, number):
    body = f"""
        seen = []
        signal.signal(signal.{number}, lambda *_: seen.append(1))
        print("ready", flush=True)
        while not seen:
            time.sleep(0.01)
        return 9
    """
    process = start(tmp_path, body, stdout=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(getattr(signal, number))
    assert process.wait(10) == 9


def test_the_command_line_is_guarded_where_memory_is_limited(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (700_000_000, 700_000_000))

    process = subprocess.run(
        [sys.executable, "-m", "segtrain", "train", "backbone.weights=null", f"dataset.root={tmp_path / 'people'}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    *_, line = process.stderr.splitlines()
    assert process.returncode == 5 and "Traceback" not in process.stderr
    assert line.startswith("error: out of memory (`ulimit -v` allows this process 0.7 GB)")
    assert not (tmp_path / "runs").exists()
