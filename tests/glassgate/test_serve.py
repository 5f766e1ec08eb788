"""The program whole: init, migrate, serve, as real processes on a real PostgreSQL."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import asyncpg
import pytest

from glassgate.config import load
from glassgate.database import open_database
from glassgate.migrate import ROLES
from ledger.checkpoint import open_checkpoint
from ledger.note import parse_vkey
from tests.support.gate import Installation, installation
from tests.support.postgres import Database, in_thread


@pytest.fixture
def gate():
    with installation() as made:
        yield made


@pytest.fixture
def migrated(gate):
    done = gate.run("migrate")
    assert done.returncode == 0, done.stderr
    return gate


def entries(gate: Installation) -> list[tuple[str, dict]]:
    """Everything numbered, as kind and facts; the gate is down, so its PostgreSQL is started for it."""

    async def read(dsn: str) -> list[tuple[str, dict]]:
        reader = await asyncpg.connect(dsn)
        try:
            rows = await reader.fetch(
                "SELECT e.leaf, b.facts FROM ledger.entry e JOIN ledger.body b USING (idx) ORDER BY idx"
            )
            return [(json.loads(row["leaf"])["kind"], json.loads(row["facts"])) for row in rows]
        finally:
            await reader.close()

    with open_database(load(gate.config, gate.environ), join=True) as dsns:
        return in_thread(lambda: read(dsns.get("reader")))


def test_serves_says_what_it_is_and_stops_in_good_order(migrated):
    process = migrated.serve().wait_ready()
    assert migrated.get("diagnostics", "/healthz") == (200, b'{"status": "ok"}')
    assert b"glassgate_sequencer_leading 1.0" in migrated.get("diagnostics", "/metrics")[1]
    status, note = migrated.get("api", "/log/acme/checkpoint")
    vkey = parse_vkey((migrated.directory / "keys" / "log.vkey").read_text().strip())
    checkpoint, _ = open_checkpoint(note, vkey)
    assert (status, checkpoint.origin) == (200, "gate.acme.example/log/acme")
    assert migrated.get("api", "/api/v1/whoami")[0] == 401
    assert migrated.get("http", "/", Host="nowhere.localhost")[0] in (404, 421)
    assert process.terminate() == 0
    assert "placement.L0" in process.events() and "trial" in process.events()
    kinds = [kind for kind, _ in entries(migrated)]
    assert kinds[0] == "log.created"
    assert kinds.count("process.started") == kinds.count("process.stopped") == 2
    assert "policy.changed" in kinds


def test_bodies_of_entries_are_not_for_strangers(migrated):
    migrated.serve().wait_ready()
    assert migrated.get("api", "/log/acme/body/000.p/1") == (403, b"bodies are for enrolled readers\n")
    assert migrated.get("api", "/log/acme/body/000.p/1", Authorization="Bearer ggs_" + "0" * 40)[0] == 403


def test_survives_kill_9_and_names_its_predecessors(migrated):
    first = migrated.serve().wait_ready()
    first.popen.kill()
    first.popen.wait(10)
    second = migrated.serve().wait_ready()
    assert second.terminate() == 0
    started = [facts for kind, facts in entries(migrated) if kind == "process.started"]
    assert len(started) == 4
    for role in ("approvals", "proxy"):
        before, after = (facts for facts in started if facts["role"] == role)
        assert before["predecessor"] == ""
        assert after["predecessor"] and after["predecessor_counter"] >= 0


def test_a_person_is_let_in_while_it_runs(migrated):
    migrated.serve().wait_ready()
    made = migrated.run("person", "code", "ada")
    assert made.returncode == 0, made.stderr
    assert len(made.stdout.strip()) == 19
    refused = migrated.run("person", "code", "mallory")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "No such person is enrolled here" in refused.stderr


def test_a_second_one_is_told_what_is_taken(migrated):
    migrated.serve().wait_ready()
    second = migrated.run("serve")
    assert second.returncode == 1
    assert f"api.listen: cannot listen on 127.0.0.1:{migrated.ports['api']}: Address already in use" in second.stderr


def test_a_port_shared_by_reuseport_is_taken_too(migrated):
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        squatter.bind(("127.0.0.1", migrated.ports["postgres"]))
        squatter.listen()
        refused = migrated.run("serve")
    assert refused.returncode == 1
    assert "proxy.postgres.listen: cannot listen on" in refused.stderr


def test_ends_with_1_when_its_postgresql_ends(migrated):
    process = migrated.serve().wait_ready()
    pid_file = migrated.directory / "postgresql" / "data" / "postmaster.pid"
    os.kill(int(pid_file.read_text().split("\n")[0]), signal.SIGQUIT)
    assert process.popen.wait(15) == 1
    assert "process.must_stop" in process.events()
    assert process.lines()[-1]["reason"] == "the embedded PostgreSQL ended by itself"


def test_is_told_to_migrate_first(gate):
    refused = gate.run("serve")
    assert refused.returncode == 1
    assert "run `glassgate migrate`" in refused.stderr


def test_a_policy_that_is_none_stops_a_first_start_with_every_fault(migrated):
    policy = migrated.directory / "policy.toml"
    policy.write_text(
        policy.read_text().replace('member = "acme"', 'member = "other"').replace("max_duration", "duration")
    )
    refused = migrated.run("serve")
    assert refused.returncode == 1
    assert "policy.toml:" in refused.stderr and "duration" in refused.stderr


def test_a_changed_policy_file_changes_nothing(migrated):
    migrated.serve().wait_ready().terminate()
    policy = migrated.directory / "policy.toml"
    policy.write_text(policy.read_text().replace("Ada Example", "Ada Changed"))
    process = migrated.serve().wait_ready()
    assert "policy.file_differs" in process.events()
    policy.write_text("not = [toml")
    assert process.terminate() == 0
    again = migrated.serve().wait_ready()
    assert "policy.file_unusable" in again.events()
    again.terminate()
    assert [kind for kind, _ in entries(migrated)].count("policy.changed") == 1


def test_a_trial_cannot_become_a_real_installation(migrated):
    migrated.serve().wait_ready().terminate()
    refused = migrated.run("serve", GLASSGATE_GATE__TRIAL="false")
    assert refused.returncode == 1
    assert "gate.trial: expected true, as this log has it for good, got false" in refused.stderr


def test_embedded_serves_one_process_only(migrated):
    refused = migrated.run("serve", "--role", "proxy")
    assert refused.returncode == 1
    assert "database.dsn_proxy: is required for --role proxy" in refused.stderr


def use(gate: Installation, database: Database) -> None:
    """Any PostgreSQL by DSN: the roles' passwords are the cluster's, which other tests use too."""
    for role in ("owner", *ROLES):
        (gate.directory / "keys" / f"db-{role}.password").write_text(database.cluster.passwords[role] + "\n")
    gate.environ["GLASSGATE_DSN"] = database.dsn("owner")


async def test_any_postgresql_by_dsn(gate, empty_database):
    use(gate, empty_database)
    migrated = await asyncio.to_thread(gate.run, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    process = await asyncio.to_thread(lambda: gate.serve().wait_ready())
    assert not (gate.directory / "postgresql").exists()
    assert await asyncio.to_thread(process.terminate) == 0
    owner = await empty_database.connect()
    roles = await owner.fetch("SELECT DISTINCT log FROM ledger.writer_head")
    assert [row["log"] for row in roles] == ["gate.acme.example/log/acme"]


async def test_roles_apart_each_with_its_own_dsn(gate, empty_database):
    use(gate, empty_database)
    done = await asyncio.to_thread(gate.run, "migrate")
    assert done.returncode == 0, done.stderr
    del gate.environ["GLASSGATE_DSN"]
    environs = {
        "sequencer": {"GLASSGATE_DATABASE__DSN_SEQUENCER": empty_database.dsn("sequencer")},
        "approvals": {
            "GLASSGATE_DATABASE__DSN_APPROVALS": empty_database.dsn("approvals"),
            "GLASSGATE_DATABASE__DSN_READER": empty_database.dsn("reader"),
        },
        "proxy": {"GLASSGATE_DATABASE__DSN_PROXY": empty_database.dsn("proxy")},
    }
    processes = {}
    for role, environ in environs.items():
        from glassgate.embedded_postgres import free_port

        port = str(free_port())
        # The embedded directory of the file means nothing beside a DSN.
        config = gate.config.read_text()
        gate.config.write_text("\n".join(line for line in config.splitlines() if not line.startswith("embedded_dir")))
        more = environ | {"GLASSGATE_DIAGNOSTICS__LISTEN": f"127.0.0.1:{port}", "PORT": port}
        processes[role] = await asyncio.to_thread(lambda role=role, more=more: gate.serve(role, **more).wait_ready())
    assert all("placement.L0" not in process.events() for process in processes.values())
    for role in ("proxy", "approvals", "sequencer"):
        assert await asyncio.to_thread(processes[role].terminate) == 0, role
    owner = await empty_database.connect()
    facts = [json.loads(row["facts"]) for row in await owner.fetch("SELECT facts FROM ledger.body ORDER BY idx")]
    assert [f["role"] for f in facts if "last_counter" in f] == ["proxy", "approvals", "sequencer"]
    assert await owner.fetchval("SELECT count(*) FROM ledger.quarantine") == 0


def test_nothing_secret_is_in_its_log_lines(migrated):
    process = migrated.serve().wait_ready()
    process.terminate()
    said = process.log.read_text()
    for file in (migrated.directory / "keys").iterdir():
        if file.name.endswith((".password", ".key")):
            assert file.read_text().strip().splitlines()[-1] not in said or file.name.endswith(".key"), file
    assert "PRIVATE KEY" not in said


def test_keys_that_others_can_read_are_refused(migrated):
    (migrated.directory / "keys" / "host.key").chmod(0o644)
    refused = migrated.run("serve")
    assert refused.returncode == 1
    assert "host.key is open to others (mode 0644); run: chmod 600" in refused.stderr
    assert Path(migrated.directory / "keys" / "host.key").exists()


def test_a_start_that_fails_half_way_still_takes_its_leave(migrated):
    policy = migrated.directory / "policy.toml"
    good = policy.read_text()
    policy.write_text("not = [toml")
    assert migrated.run("serve").returncode == 1
    policy.write_text(good)
    assert migrated.serve().wait_ready().terminate() == 0
    kinds = [kind for kind, _ in entries(migrated)]
    assert kinds.count("process.started") == kinds.count("process.stopped") == 3
