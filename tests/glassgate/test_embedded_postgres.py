"""The embedded PostgreSQL: started for real, killed for real, as root and as an ordinary user."""

import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import asyncpg
import pytest

from glassgate.embedded_postgres import EmbeddedPostgres, PostgresFailed, default_directory
from glassgate.postgres_binaries import BinariesNotFound, find_binaries, major_version, readable_copy
from tests.support.postgres import UNSAFE_BUT_FAST, short_directory

ROOT = os.geteuid() == 0


@pytest.fixture
def place():
    with short_directory() as directory:
        yield directory


def cluster(place: Path, **options) -> EmbeddedPostgres:
    return EmbeddedPostgres(place / "pg", settings=UNSAFE_BUT_FAST, **options)


async def ask(server: EmbeddedPostgres, statement: str, **options):
    connection = await asyncpg.connect(server.superuser_dsn(), **options)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_starts_cold_and_warm_and_keeps_what_was_written(place):
    with cluster(place) as server:
        assert await ask(server, "SHOW server_encoding") == "UTF8"
        await ask(server, "CREATE TABLE kept AS SELECT 7 AS n")
    assert not server.running
    with cluster(place) as server:
        assert await ask(server, "SELECT n FROM kept") == 7


async def test_needs_the_password_and_listens_on_no_network(place):
    with cluster(place) as server:
        assert await ask(server, "SHOW listen_addresses") == ""
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.dsn("postgres", "guessed", "postgres"))
        assert await ask(server, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'") == 0
        for private in ("password", "postgres.log", "pg_hba.conf"):
            assert stat.S_IMODE((place / "pg" / private).stat().st_mode) == 0o600
        assert stat.S_IMODE((place / "pg" / "data").stat().st_mode) == 0o700


async def test_the_superusers_password_is_in_no_other_file(place):
    with cluster(place) as server:
        await ask(server, "SELECT 1")
        password = (place / "pg" / "password").read_bytes().strip()
    holders = [p for p in place.rglob("*") if p.is_file() and password in p.read_bytes()]
    assert holders == [place / "pg" / "password"]


def test_a_second_start_is_told_who_holds_it(place):
    with cluster(place), pytest.raises(PostgresFailed, match=rf"another process \(pid {os.getpid()}\)"):
        cluster(place).start()


def test_a_worker_thread_is_refused(place):
    refused = []

    def attempt():
        try:
            cluster(place).start()
        except PostgresFailed as cause:
            refused.append(str(cause))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert refused == ["the embedded PostgreSQL must be started from the main thread"]


PARENT = """
import os, signal, sys
from pathlib import Path
from glassgate.embedded_postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
server.start()
print(server.pid, flush=True)
sys.stdin.readline()
"""


async def test_dies_with_us_even_after_kill_9_and_starts_again(place):
    parent = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop
        [sys.executable, "-c", PARENT, str(place / "pg")], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    server_pid = int(parent.stdout.readline())
    watched = os.pidfd_open(server_pid)
    parent.kill()
    parent.wait()
    with cluster(place) as again:  # at once: it must wait for the orphan by itself
        assert await ask(again, "SELECT 1") == 1
    assert select.select([watched], [], [], 10)[0], "the server outlived its parent"
    os.close(watched)
    parent.stdin.close()
    parent.stdout.close()


async def test_starts_after_the_server_itself_was_killed(place):
    with cluster(place) as server:
        await ask(server, "CREATE TABLE kept ()")
        os.kill(server.pid, signal.SIGKILL)
        os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - nothing else runs in this loop
        assert not server.running
    assert (place / "pg" / "data" / "postmaster.pid").exists()
    with cluster(place) as server:
        assert await ask(server, "SELECT to_regclass('kept') IS NOT NULL")


async def test_a_pid_file_that_names_a_stranger_is_stale(place):
    with cluster(place) as server:
        await ask(server, "SELECT 1")
    pid_file = place / "pg" / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{place}/pg/data\n1\n5432\n{place}/pg/sockets\n\n  1 1\nready   \n")
    shutil.chown(pid_file, (place / "pg" / "data").stat().st_uid)
    with cluster(place) as server:
        assert await ask(server, "SELECT 1") == 1


def test_an_interrupted_initdb_is_begun_again(place):
    half = place / "pg" / "data.new"
    half.mkdir(parents=True)
    (place / "pg").chmod(0o711)
    (half / "PG_VERSION").write_text("18\n")
    with cluster(place) as server:
        assert server.running
    assert not half.exists()


def test_a_directory_that_is_no_cluster_is_left_alone(place):
    (place / "pg" / "data").mkdir(parents=True)
    (place / "pg").chmod(0o711)
    (place / "pg" / "data" / "mine.txt").write_text("dear diary")
    with pytest.raises(PostgresFailed, match="no PostgreSQL cluster; nothing was touched"):
        cluster(place).start()
    assert (place / "pg" / "data" / "mine.txt").read_text() == "dear diary"


def test_a_cluster_of_another_version_is_named(place):
    with cluster(place):
        pass
    (place / "pg" / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresFailed, match="was made by PostgreSQL 9, the programs in"):
        cluster(place).start()


def test_a_bad_setting_is_reported_in_the_servers_words(place):
    server = EmbeddedPostgres(place / "pg", settings=UNSAFE_BUT_FAST | {"shared_buffers": "plenty"})
    with pytest.raises(PostgresFailed, match="shared_buffers"):
        server.start()
    assert not server.running
    with cluster(place) as again:
        assert again.running


def test_a_long_path_gets_its_socket_elsewhere(place):
    deep = place / ("d" * 40) / ("e" * 40)
    server = EmbeddedPostgres(deep / "pg", settings=UNSAFE_BUT_FAST)
    assert len(str(server.socket_directory / ".s.PGSQL.5432")) <= 60
    with server:
        assert server.running
    shutil.rmtree(server.socket_directory)


def test_a_link_put_in_the_sockets_place_is_not_followed(place):
    """Between the look at the shared temporary directory and the use of it: root would give the target away."""
    server = EmbeddedPostgres(place / ("d" * 40) / ("e" * 40) / "pg", settings=UNSAFE_BUT_FAST)
    target = place / "target"
    target.mkdir(mode=0o755)
    server.socket_directory.symlink_to(target)
    try:
        before = target.stat()
        with pytest.raises(PostgresFailed, match="is no directory of ours"):
            server.start()
        after = target.stat()
        assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
    finally:
        server.socket_directory.unlink()


def test_nobody_else_can_take_the_lock(place):
    with cluster(place):
        assert stat.S_IMODE((place / "pg" / "in-use").stat().st_mode) == 0o600


def test_no_mode_of_a_parent_is_changed(place):
    (place / "home").mkdir(mode=0o700)
    server = EmbeddedPostgres(place / "home" / "pg", settings=UNSAFE_BUT_FAST)
    if ROOT:
        with pytest.raises(PostgresFailed, match="cannot enter"):
            server.start()
    else:
        with server:
            assert server.running
    assert stat.S_IMODE((place / "home").stat().st_mode) == 0o700


def test_settings_of_ours_do_not_reach_the_server(place, monkeypatch):
    monkeypatch.setenv("GLASSGATE_TEST_SECRET", "xoxb-should-stay-here")
    with cluster(place) as server:
        environment = Path(f"/proc/{server.pid}/environ").read_bytes()
    assert b"xoxb" not in environment


if ROOT:  # Only root runs the server as somebody else, and can try what an ordinary user sees all the time.

    def test_unreachable_programs_are_copied_for_nobody(place):
        wheel = find_binaries({}).parent.parent
        hidden = place / "venv" / wheel.name
        (place / "venv").mkdir(mode=0o700)
        shutil.copytree(wheel / "pginstall", hidden / "pginstall", symlinks=True)
        shutil.copytree(wheel.with_name(wheel.name + ".libs"), hidden.with_name(wheel.name + ".libs"))
        nobody = pwd.getpwnam("nobody")
        source = hidden / "pginstall" / "bin"
        copied = readable_copy(source, place / "copy", nobody)
        assert copied != source
        assert stat.S_IMODE((place / "venv").stat().st_mode) == 0o700
        assert not (place / "copy" / wheel.name / "pginstall" / "include").exists()
        made = (place / "copy" / "copied-from").stat().st_mtime_ns
        assert readable_copy(source, place / "copy", nobody) == copied
        assert (place / "copy" / "copied-from").stat().st_mtime_ns == made
        with EmbeddedPostgres(place / "pg", bin_dir=source, settings=UNSAFE_BUT_FAST) as server:
            assert server.bin_dir.is_relative_to(place / "pg" / "programs")

    def test_runs_for_an_ordinary_user(place):
        nobody = pwd.getpwnam("nobody")
        home = place / "h"
        home.mkdir(mode=0o700)
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        reader, writer = os.pipe()
        child = os.fork()  # not a new interpreter: where root's is, an ordinary user may not come
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(nobody.pw_gid)
                os.setuid(nobody.pw_uid)
                os.environ["XDG_DATA_HOME"] = str(home)
                for _ in range(2):
                    with EmbeddedPostgres(default_directory(Path("/somewhere")), settings=UNSAFE_BUT_FAST) as server:
                        os.write(writer, f"{Path(f'/proc/{server.pid}').owner()}\n".encode())
            except BaseException as cause:
                os.write(writer, f"failed: {cause!r}\n".encode())
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as said:
            lines = said.read().splitlines()
        assert lines == ["nobody", "nobody"]
        (directory,) = (home / "glassgate").iterdir()
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_directories_are_short_and_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/h")
    one, other = default_directory(tmp_path / "a"), default_directory(tmp_path / "b")
    assert one != other == default_directory(tmp_path / "b")
    assert len(str(one / "sockets" / ".s.PGSQL.5432")) <= 60


def test_programs_are_found_where_the_environment_says(tmp_path):
    with pytest.raises(BinariesNotFound, match="GLASSGATE_PG_BIN: no initdb and postgres to run in"):
        find_binaries({"GLASSGATE_PG_BIN": str(tmp_path)})
    found = find_binaries({})
    assert find_binaries({"GLASSGATE_PG_BIN": str(found)}) == found
    assert major_version(found) >= 15
    with pytest.raises(BinariesNotFound, match="no PostgreSQL found: install the extra"):
        find_binaries({}, ("no_such_wheel",))
