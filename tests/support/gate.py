"""A gate as its operator runs it: real processes of `glassgate`, started, asked, stopped, killed."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glassgate.embedded_postgres import free_port
from glassgate.init import Options, create
from tests.support.postgres import short_directory
from tests.support.source_tree import ROOT

WAIT_S = 30.0


@dataclass
class Installation:
    """What `glassgate init` made, on ports that were free."""

    directory: Path
    ports: dict[str, int]
    environ: dict[str, str] = field(default_factory=dict)
    _running: list["Process"] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.directory / "glassgate.toml"

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(
            [*_PROGRAM, *arguments, "--config", str(self.config)],
            env=self._environ(environ),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )

    def serve(self, role: str = "all", **environ: str) -> "Process":
        """A serving process; not waited for."""
        log = self.directory / f"serve-{role}.log"
        with log.open("ab") as out:
            popen = subprocess.Popen(
                [*_PROGRAM, "serve", "--config", str(self.config), "--role", role],
                env=self._environ(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        process = Process(popen, log, int(environ.get("PORT", self.ports["diagnostics"])))
        self._running.append(process)
        return process

    def get(self, port: str, path: str, **headers: str) -> tuple[int, bytes]:
        return get(self.ports[port], path, **headers)

    def end_all(self) -> None:
        for process in self._running:
            if process.popen.poll() is None:
                process.popen.kill()
            process.popen.wait(WAIT_S)

    def _environ(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GLASSGATE_") or k == "GLASSGATE_PG_BIN"}
        return kept | {"PYTHONPATH": str(ROOT)} | self.environ | dict(more)


_PROGRAM = (sys.executable, "-P", "-c", "from glassgate.cli.main import main; main()")


@dataclass
class Process:
    popen: subprocess.Popen[bytes]
    log: Path
    diagnostics: int

    def wait_ready(self) -> "Process":
        """Until /readyz says yes; fails with the process's own words when it ends or takes too long."""
        deadline = time.monotonic() + WAIT_S
        while True:
            assert self.popen.poll() is None, f"ended with {self.popen.returncode}:\n{self.log.read_text()[-3000:]}"
            try:
                if get(self.diagnostics, "/readyz")[0] == 200:
                    return self
            except OSError:
                pass
            assert time.monotonic() < deadline, f"not ready:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.03)

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(WAIT_S)

    def lines(self) -> list[dict[str, Any]]:
        """Its log lines so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines()]


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def installation(**options: Any) -> Iterator[Installation]:
    """A trial's installation in a short directory; whatever still runs is killed at the end."""
    ports = {name: free_port() for name in ("api", "http", "postgres", "diagnostics")}
    with short_directory() as directory:
        place = directory / "g"
        addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        create(place, Options(**({"trial": True} | addresses | options)), datetime.now(UTC))
        made = Installation(place, ports)
        try:
            yield made
        finally:
            made.end_all()
