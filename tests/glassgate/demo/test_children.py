"""Child processes of the trial: heard when they fail, gone when we are."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glassgate.demo.children import Child, ChildFailed, wait_until

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def _gone(pid: int, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_the_last_words_of_a_child_are_told(tmp_path: Path) -> None:
    child = Child(
        "the shop", [sys.executable, "-c", "import sys; sys.exit('out of glue')"], log=tmp_path / "log", env={}
    )
    with pytest.raises(ChildFailed, match=r"the shop ended \(exit status 1\)(.|\n)*out of glue"):
        wait_until("the shop", lambda: False, [child])


def test_waiting_ends(tmp_path: Path) -> None:
    child = Child("the shop", SLEEPER, log=tmp_path / "log", env={})
    try:
        with pytest.raises(ChildFailed, match="did not come up within 0 s"):
            wait_until("the shop", lambda: False, [child], timeout_s=0.05)
    finally:
        child.stop()
    assert _gone(child.pid)


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    deaf = (
        f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(ready)!r}, 'w'); time.sleep(60)"
    )
    child = Child("the shop", [sys.executable, "-c", deaf], log=tmp_path / "log", env={})
    wait_until("the shop", ready.exists, [child])
    child.stop(timeout_s=0.1)
    assert _gone(child.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_children_die_with_us_after_kill_minus_nine(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = (
        "import pathlib, sys, time\n"
        "from glassgate.demo.children import Child\n"
        f"child = Child('x', {SLEEPER!r}, log=pathlib.Path({str(tmp_path / 'log')!r}), env={{}})\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid) + chr(10))\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).resolve().parents[3]
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    try:
        deadline = time.monotonic() + 20
        while not (pid_file.exists() and pid_file.read_text().endswith("\n")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert _gone(int(pid_file.read_text()))
