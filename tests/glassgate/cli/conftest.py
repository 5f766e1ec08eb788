"""A running gate's API and people at their terminals."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner

from glassgate.cli import session
from glassgate.cli.main import main
from tests.approvals.api.world import World, a_world
from tests.support.postgres import Database


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Terminals:
    """`type` runs a command in this process, one at a time since they share its standard output; `spawn` in a process
    of its own (for what becomes another program, or goes on beside others)."""

    world: World
    home: Path

    def environment(self, who: str) -> dict[str, str]:
        return {"GLASSGATE_HOME": str(self.home), "GLASSGATE_PROFILE": who}

    async def type(self, who: str, *words: str, given: str = "") -> Done:
        run = CliRunner(env=self.environment(who)).invoke
        result = await asyncio.to_thread(run, main, list(words), input=given, prog_name="glassgate")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    async def spawn(self, who: str, *words: str, given: bytes = b"", **variables: str) -> Done:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from glassgate.cli.main import main; main(prog_name='glassgate')",
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.environment(who), **variables},
        )
        out, err = await process.communicate(given)
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    async def login(self, *people: str) -> None:
        for who in people:
            code = await self.world.service.login_code(who)
            done = await self.type(who, "login", "--server", self.world.url, given=code + "\n")
            assert done.status == 0, done.err

    async def asked(self, who: str = "ada", store: str = "customers-db", *more: str) -> Any:
        """A pending request, made at the terminal."""
        purpose = ("--purpose", "order 1881 missing", "--reason", "incident", "--ticket", "INC-42")
        done = await self.type(who, "request", "create", store, *purpose, *more, "--json")
        assert done.status == 0, done.err
        return done.json

    async def granted(self, store: str = "customers-db") -> Any:
        """A grant of ada's, approved by olga, not yet active."""
        made = await self.asked(store=store)
        done = await self.type("olga", "request", "review", made["id"], "--approve", "--comment", "ok", "--json")
        assert done.status == 0, done.err
        return done.json["grant"]


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with a_world(database) as made:
        yield made


@pytest.fixture
async def at(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminals]:
    """Terminals where ada, olga and sam are logged in. Waiting looks every 20 ms."""
    monkeypatch.setattr(session, "POLL_S", 0.02)
    # The service runs in this very process here: its own log must not land on the terminal's standard output.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    made = Terminals(world, tmp_path / "home")
    await made.login("ada", "olga", "sam")
    yield made
    structlog.reset_defaults()
