"""The whole story, and the trial that stays: as a newcomer runs them, from outside."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from glassgate.demo.commands import program_line
from glassgate.demo.dataset import LOST_ORDER
from glassgate.demo.place import PORTS
from glassgate.demo.tour import COPY, LOOK, WRITE
from tests.support.postgres import short_directory
from tests.support.source_tree import ROOT

START_S = 60.0


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GLASSGATE_")} | {
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "100",
    }


def _demo(directory: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        program_line("demo", "--directory", str(directory / "d"), *options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
    )


def _until(process: subprocess.Popen[str], text: str) -> str:
    """What it prints up to and with a line that contains `text`."""
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if text in line:
            return "".join(said)
    raise AssertionError(f"it ended ({process.wait()}) without saying {text!r}:\n{''.join(said)}")


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_the_story_is_about_an_order_that_is_there() -> None:
    assert str(LOST_ORDER) in LOOK
    assert str(LOST_ORDER) in WRITE
    assert "pg_sleep" in COPY


def test_the_guided_tour_tells_all_of_it() -> None:
    with short_directory() as directory:
        began = time.monotonic()
        with _ended(_demo(directory, "--tour")) as tour:
            assert tour.stdout is not None
            said = tour.stdout.read()
            status = tour.wait()
        took = time.monotonic() - began
        left = [path for path in directory.iterdir() if path.name != "d"]
    assert status == 0, said
    last = json.loads(said.splitlines()[-1])
    assert last.keys() == {"tour", "request", "grant", "accesses", "refused", "checkpoint_size", "verified"}
    assert last["tour"] == "ok" and last["verified"] is True
    assert re.fullmatch(r"req_[0-9a-z]{26}", last["request"])
    assert re.fullmatch(r"gr_[0-9a-z]{26}", last["grant"])
    assert last["accesses"] >= 3 and last["refused"] >= 3 and last["checkpoint_size"] > 20
    for word in ("L0", "emulator", "trial", "42501", "HTTP 401", "log verify", "for 30 min, asked 1 h"):
        assert word in said, word
    assert took < START_S
    assert not left, "the tour throws its own data away"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the children in /proc")
def test_the_trial_comes_back_after_kill_minus_nine() -> None:
    with short_directory() as directory, socket.socket() as somebody:
        # Somebody has one of the usual ports, whoever that is; the trial takes another and says so.
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            somebody.bind(("127.0.0.1", PORTS["api"]))
            somebody.listen()
        with _ended(_demo(directory)) as first:
            said = _until(first, "Ctrl-C ends it")
            assert f"Port {PORTS['api']} is taken, so the gate's API listens on" in said
            assert "export PATH=" in said and "export GLASSGATE_HOME=" in said
            children = _descendants(first.pid)
            assert len(children) >= 4
            first.send_signal(signal.SIGKILL)
            first.wait()
        assert _all_gone(children), "children outlived a trial that was killed"
        with _ended(_demo(directory)) as second:
            _until(second, "Ctrl-C ends it")
            again = subprocess.run(
                program_line("demo", "--directory", str(directory / "d")),
                capture_output=True, text=True, env=_environment(), check=False,
            )  # fmt: skip
            assert again.returncode == 1
            assert f"running already (process {second.pid})" in again.stdout
            children = _descendants(second.pid)
            second.send_signal(signal.SIGINT)
            assert second.wait(30) == 0
        assert _all_gone(children)


def test_a_trial_that_cannot_start_says_so_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("in the way")
    done = subprocess.run(
        program_line("demo"),
        capture_output=True,
        text=True,
        env=_environment() | {"GLASSGATE_DEMO_DIR": str(tmp_path / "d")},
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "cannot keep its data" in done.stdout


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    queue = [pid]
    while queue:
        for task in Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            for child in map(int, task.read_text().split()):
                found.add(child)
                queue.append(child)
    return found


def _all_gone(pids: set[int], timeout_s: float = 15.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
