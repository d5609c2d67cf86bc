"""Run folders of strangers through every command that reads one: nothing outside changes, starts or connects.

A few by default; SEGTRAIN_HOSTILE_RUNS=all takes all of them, which needs half an hour, best below `unshare -n`.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

import toys
from commands import hostile_runs
from commands.conftest import TINY
from commands.warm import starter

pytestmark = pytest.mark.tensorflow

# Runs in the process that commands are forked from; they record what they do in `audit` of their working folder.
RECORDER = """
import os, sys
_server, _busy = os.getpid(), []
_EVENTS = ("os.remove os.rename os.mkdir os.rmdir os.link os.symlink os.truncate os.chmod os.chown os.utime os.mkfifo "
    "shutil.rmtree subprocess.Popen os.posix_spawn os.exec os.system os.fork os.forkpty pty.spawn socket.__new__ "
    "socket.connect socket.bind socket.getaddrinfo socket.gethostbyname ctypes.dlopen.no").split()
def _record(event, args):
    if os.getpid() == _server or _busy or not (event in _EVENTS or event == "open"):
        return
    if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        return
    _busy.append(1)
    try:
        with open("audit", "a") as file:
            path = str(args[0]) if args and isinstance(args[0], int) else ""
            if args and isinstance(args[0], (str, bytes, os.PathLike)) and event.startswith(("open", "os.", "shutil")):
                # Of a call with dir_fd, the path is relative to that folder.
                is_below = event in ("os.remove", "os.rmdir", "os.mkdir") and args[-1] is not None and args[-1] >= 0
                base = os.readlink(f"/proc/self/fd/{args[-1]}") if is_below else os.getcwd()
                folder, name = os.path.split(os.path.normpath(os.path.join(base, os.fsdecode(args[0]))))
                path = os.path.join(os.path.realpath(folder), name)
            file.write(f"{event}\\t{path}\\t{args!r:.200}\\n")
    finally:
        _busy.clear()
sys.addaudithook(_record)
sys.dont_write_bytecode = True
"""
COMMANDS = {
    "doctor": ["doctor", "run=RUN"],
    "eval": ["eval", "run=RUN", "overlays=1", "trusted_modules=[]"],
    "weights": ["train", "weights=RUN", "+experiment=binary", "dataset.root=ROOT", *TINY, "epochs=1"],
    "compare": ["compare", "RUN", "people"],
    "resume": ["train", "resume=RUN", "epochs=2"],
}
FEW = [
    *("config: BackupAndRestore", "config: draws elsewhere", "checkpoints/.tmp-step-00000009: folder"),
    *("train.log: secret.txt", "lock: pipe"),
]
IS_ALL = os.environ.get("SEGTRAIN_HOSTILE_RUNS") == "all"
CHOSEN = list(hostile_runs.CORPUS) if IS_ALL else FEW


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with starter(RECORDER, HOME=str(home), XDG_CACHE_HOME=str(home), XDG_CONFIG_HOME=str(home)) as made:
        yield made


@pytest.fixture(scope="module")
def template(warm, tmp_path_factory):
    """A run of one epoch, and its dataset."""
    folder = tmp_path_factory.mktemp("template")
    root = toys.draw_binary(folder)
    words = ["train", "+experiment=binary", f"dataset.root={root}", *TINY, "epochs=1"]
    assert warm.start(folder / "work", words).poll(120) == 0, (folder / "work" / "log").read_text()
    (run,) = (folder / "work" / "runs" / "train").iterdir()
    return run, root


@pytest.mark.parametrize("name", CHOSEN)
def test_a_run_of_a_stranger_does_nothing_beyond_its_folder(name, warm, template, tmp_path):
    run, root = template
    outside, work = tmp_path / "outside", tmp_path / "work"
    hostile_runs.write_outside(outside)
    for command in commands_for(name):
        words = COMMANDS[command]
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(tmp_path / "moved", ignore_errors=True)
        copy = work / "run" / "theirs"
        shutil.copytree(run, copy)
        (work / "evil.py").write_text("open('audit', 'a').write('evil\\tran\\t')\n")
        hostile_runs.CORPUS[name](copy, outside)
        before = contents(outside) | contents(root)
        known = {"RUN": str(copy), "ROOT": str(root)}
        given = [word.replace("RUN", known["RUN"]).replace("ROOT", known["ROOT"]) for word in words]
        running = warm.start(work, given)
        code = running.poll(90)
        if code is None:
            running.send(signal.SIGKILL)
            running.poll(10)
        log = (work / "log").read_text(errors="replace")
        assert code is not None, f"{command} hangs: {log[-500:]}"
        assert contents(outside) | contents(root) == before, f"{command}: {log}"
        assert beyond(work) == [], f"{command}: {log}"
        if IS_ALL:
            kind = "TRACEBACK" if "Traceback" in log else ""
            print(f"\t{name}\t{command}\t{code}\t{kind}\t{log.strip().splitlines()[-1][:150] if log.strip() else ''}")
        assert code >= 0, f"{command}: {log}"


def commands_for(name: str) -> list[str]:
    """Those that read what is hostile: weights= reads checkpoints alone."""
    if not IS_ALL:
        return ["doctor", "resume"]
    return [
        each for each in COMMANDS if each != "weights" or name.startswith(("checkpoints", "manifest")) or name in FEW
    ]


def contents(folder: Path) -> dict[str, tuple]:
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns if path.is_file() else 0, data)
    return found


def beyond(work: Path) -> list[str]:
    """What a command did beyond the run folder, `runs` and the system's folder for temporary files."""
    lines = (work / "audit").read_text().splitlines() if (work / "audit").exists() else []
    return [line for line in lines if not is_own(work, *line.split("\t", 2))]


def is_own(work: Path, event: str, path: str, arguments: str) -> bool:
    if event in ("subprocess.Popen", "os.posix_spawn"):
        return sys.executable in arguments or os.path.realpath(sys.executable) in arguments
    if not event.startswith(("open", "os.", "shutil.")) or event in ("os.fork", "os.exec", "os.system"):
        return False
    if event == "os.mkdir" and path == str(work):  # Hydra makes sure of the working folder
        return True
    folders = [str(work / each) for each in ("runs", "run/theirs", "log")]
    is_temporary = path.startswith("/tmp/") and not path.startswith(str(work.parent))
    return is_temporary or path.isdigit() or path.startswith((*folders, "/dev/null", "/proc/self"))
