"""Directories and ports of the trial: nobody else's, never twice, found again."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from glassgate.demo import place
from glassgate.demo.place import Place, PlaceTaken, choose_ports, demo_directory, port_is_free, tour_directory
from glassgate.embedded_postgres import free_port


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


def test_a_port_with_a_listener_is_not_free(listener: int) -> None:
    assert not port_is_free(listener)


def test_a_listener_that_shares_its_port_still_has_it() -> None:
    with socket.socket() as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(("127.0.0.1", 0))
        shared.listen()
        assert not port_is_free(int(shared.getsockname()[1]))


def test_taken_ports_are_replaced_and_named(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "PORTS", {"api": listener, "crm-api": listener})
    ports, remarks = choose_ports()
    assert listener not in ports.values()
    assert len(set(ports.values())) == 2
    assert remarks == [
        f"Port {listener} is taken, so the gate's API listens on {ports['api']}.",
        f"Port {listener} is taken, so crm-api listens on {ports['crm-api']}.",
    ]


def test_free_ports_are_the_usual_ones_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {name: free_port() for name in place.PORTS}
    monkeypatch.setattr(place, "PORTS", usual)
    assert choose_ports() == (usual, [])


def test_one_trial_at_a_time(tmp_path: Path) -> None:
    here = Place(tmp_path / "trial")
    with here.take(), pytest.raises(PlaceTaken, match=f"process {os.getpid()}"):
        here.take()
    here.take().close()


def test_the_directory_is_closed_to_others(tmp_path: Path) -> None:
    here = Place(tmp_path / "trial")
    with here.take():
        here.renew()
        assert here.directory.stat().st_mode & 0o066 == 0
        assert all(private.stat().st_mode & 0o077 == 0 for private in (here.home, here.logs, here.crm))


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlaceTaken, match="GLASSGATE_DEMO_DIR"):
        Place(tmp_path / "file" / "trial").take()


def test_every_checkout_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLASSGATE_DEMO_DIR", raising=False)
    assert demo_directory(tmp_path / "a") != demo_directory(tmp_path / "b")
    monkeypatch.setenv("GLASSGATE_DEMO_DIR", str(tmp_path / "chosen"))
    assert demo_directory(tmp_path / "a") == tmp_path / "chosen"


def test_a_new_trial_forgets_the_gate_and_keeps_the_stores(tmp_path: Path) -> None:
    here = Place(tmp_path / "trial")
    with here.take():
        here.renew()
        for directory in (here.gate, here.postgres, here.customers):
            directory.mkdir()
        (here.home / "profile").write_text("")
        (here.crm / "crm.db").write_text("")
        here.renew()
    assert not here.gate.exists() and not here.postgres.exists()
    assert here.customers.exists() and (here.crm / "crm.db").exists()
    assert list(here.home.iterdir()) == []


def test_a_postgresql_that_still_runs_is_not_swept_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "ORPHANS_S", 0.05)
    here = Place(tmp_path / "trial")
    data = here.postgres / "data"
    with here.take():
        data.mkdir(parents=True)
        wait = "import sys; sys.stdin.read()"
        with subprocess.Popen([sys.executable, "-c", wait], stdin=subprocess.PIPE, cwd=data) as orphan:
            (data / "postmaster.pid").write_text(f"{orphan.pid}\n{data}\n")
            with pytest.raises(PlaceTaken, match="still runs"):
                here.renew()
        here.renew()
    assert not here.postgres.exists()


def test_nothing_is_left_after_a_tour(tmp_path: Path) -> None:
    here = Place(tmp_path / "trial")
    with here.take():
        here.renew()
        here.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_tour_has_a_place_of_its_own(tmp_path: Path) -> None:
    demo = demo_directory(tmp_path)
    assert tour_directory(demo) != demo
    assert tour_directory(demo).parent == demo.parent
