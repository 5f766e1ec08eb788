"""Where the trial keeps its things, and on which ports: short paths, nobody else's directory, no port taken twice.

    <place>/                 0711 for root (PostgreSQL runs as `nobody` and must pass), else 0700
      running                locked while a trial runs here
      gate/                  the installation: configuration, keys, policy
      pg/                    the gate's own PostgreSQL
      shop/                  customers-db: a PostgreSQL cluster of its own
      crm/                   crm-api: SQLite file and token
      home/                  profiles of the trial's people (GLASSGATE_HOME)
      logs/                  what each process says

Every start is a new trial with a new log; only customers-db and crm-api keep what is in them.
"""

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from glassgate.embedded_postgres import EmbeddedPostgres, default_directory, free_port

__all__ = ["PORTS", "Place", "PlaceTaken", "choose_ports", "demo_directory", "port_is_free", "tour_directory"]

PORTS: Final = {
    "api": 8470,
    "http": 8480,
    "postgres": 5480,
    "diagnostics": 8490,
    "customers-db": 5481,
    "crm-api": 8481,
    "slack": 8460,
}
"""What the trial listens on when nobody else does, all on 127.0.0.1."""

_WHAT: Final = {
    "api": "the gate's API",
    "http": "the gate for HTTP stores",
    "postgres": "the gate for PostgreSQL",
    "diagnostics": "the gate's health page",
    "slack": "the emulated Slack",
}
ORPHANS_S: Final = 10.0


class PlaceTaken(Exception):
    """A trial runs here already, or the directory cannot be used; the text says so to a person."""


@dataclass(frozen=True, slots=True)
class Place:
    """One trial's directory. `take` it, then `renew` it, before anything else."""

    directory: Path

    @property
    def gate(self) -> Path:
        return self.directory / "gate"

    @property
    def postgres(self) -> Path:
        return self.directory / "pg"

    @property
    def customers(self) -> Path:
        return self.directory / "shop"  # short, for the socket's path

    @property
    def crm(self) -> Path:
        return self.directory / "crm"

    @property
    def home(self) -> Path:
        return self.directory / "home"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    def take(self) -> IO[str]:
        """Lock the place. The lock ends with the returned file, or with us."""
        with self._usable():
            self._own()
            return self._lock()

    def renew(self) -> None:
        """Make room for a new trial: the gate's things go, the stores' stay. The lock must be held."""
        with self._usable():
            for former in (self.gate, self.postgres, self.home, self.logs):
                self._remove(former)
            for private in (self.crm, self.home, self.logs):
                private.mkdir(exist_ok=True, mode=0o700)

    def remove(self) -> None:
        """Everything, for good. The lock must be held."""
        for cluster in (self.postgres, self.customers):
            # May lie in the temporary directory, where the place's own path is too long for a socket.
            shutil.rmtree(EmbeddedPostgres(cluster).socket_directory, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _own(self) -> None:
        root = os.geteuid() == 0
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o755 if root else 0o700)
        if self.directory.stat().st_uid != os.geteuid():
            raise PlaceTaken(f"{self.directory} belongs to another user; name another with GLASSGATE_DEMO_DIR")
        self.directory.chmod(0o711 if root else 0o700)

    def _lock(self) -> IO[str]:
        # 0600: whoever may open a file may lock it, and keep us out with that.
        lock = os.fdopen(os.open(self.directory / "running", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
        os.fchmod(lock.fileno(), 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise PlaceTaken(
                f"this checkout's trial is running already (process {holder}); end that one first"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as cause:
            raise PlaceTaken(
                f"the trial cannot keep its data in {self.directory} ({cause.strerror}); "
                "name another directory with GLASSGATE_DEMO_DIR"
            ) from cause

    def _remove(self, former: Path) -> None:
        """After a kill -9 the former trial's PostgreSQL takes a moment to stop: not under its feet."""
        deadline = time.monotonic() + ORPHANS_S
        while _runs(former / "data" / "postmaster.pid"):
            if time.monotonic() > deadline:
                raise PlaceTaken(f"a PostgreSQL of a former trial still runs in {former} and does not stop")
            time.sleep(0.02)
        if former.exists():
            shutil.rmtree(former)


def demo_directory(checkout: Path) -> Path:
    """Where the trial of that checkout lives."""
    chosen = os.environ.get("GLASSGATE_DEMO_DIR", "")
    return Path(chosen).absolute() if chosen else default_directory(checkout)


def tour_directory(demo: Path) -> Path:
    """The guided tour's own place, thrown away afterwards: what it breaks on purpose must not be the trial's."""
    return demo.with_name(f"{demo.name}t")


def choose_ports() -> tuple[dict[str, int], list[str]]:
    """Ports by name, and a sentence for each that is not the usual one because somebody has that."""
    ports: dict[str, int] = {}
    remarks = []
    for name, usual in PORTS.items():
        ports[name] = usual if port_is_free(usual) and usual not in ports.values() else _another(ports)
        if ports[name] != usual:
            remarks.append(f"Port {usual} is taken, so {_WHAT.get(name, name)} listens on {ports[name]}.")
    return ports, remarks


def port_is_free(port: int) -> bool:
    """Whether nobody listens on it. An exclusive bind: with SO_REUSEPORT a second listener would share it silently."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are only dying do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _another(taken: dict[str, int]) -> int:
    while (port := free_port()) in taken.values() or port in PORTS.values():
        continue
    return port


def _runs(pid_file: Path) -> bool:
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == pid_file.parent.resolve()
    except (OSError, ValueError):
        return False
