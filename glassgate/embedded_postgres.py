"""A PostgreSQL of our own for trials and tests: a foreground child that dies with us.

Passwords only (SCRAM-SHA-256), a Unix socket only unless TLS on loopback is asked for. Root runs it as the
user `nobody`. A cluster's directory holds

    data/           the cluster            sockets/  the socket, unless the path would be too long
    password        of the superuser, 0600  postgres.log
    in-use          locked while a process of ours runs it
    programs/       a copy of the binaries, only where `nobody` cannot reach the installed ones

Evaluation and tests, not production: there is no replica and no backup.
"""

import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from glassgate.parent_death import die_with
from glassgate.postgres_binaries import (
    BinariesNotFound,
    find_binaries,
    major_version,
    readable_copy,
)

__all__ = [
    "EmbeddedPostgres",
    "PostgresFailed",
    "PostgresInUse",
    "Tls",
    "default_directory",
    "free_port",
    "postgres_dsn",
]

SUPERUSER: Final = "postgres"
MAX_SOCKET_PATH: Final = 60  # bytes; the system's own limit is 107 (sun_path), tools append to it
READY_POLL_S: Final = 0.01
LOG_KEPT_BYTES: Final = 8 * 1024 * 1024


class PostgresFailed(Exception):
    """The embedded PostgreSQL cannot be used; the text says why, for the person who started us."""


class PostgresInUse(PostgresFailed):
    """Another process of ours runs this cluster; it can be connected to, not started."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Also listen on 127.0.0.1:`port`, TLS only, with this certificate. Files are copied for the server's user."""

    port: int
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class _Place:
    directory: Path

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def password(self) -> Path:
        return self.directory / "password"

    @property
    def log(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def lock(self) -> Path:
        return self.directory / "in-use"

    @property
    def programs(self) -> Path:
        return self.directory / "programs"

    @property
    def access(self) -> Path:
        return self.directory / "pg_hba.conf"


def default_directory(for_path: Path) -> Path:
    """A short directory of its own for whatever lives at `for_path` (a checkout, an installation).

    Root's lies in the system's data directory, because the user `nobody` must be able to enter it.
    """
    short = hashlib.sha256(str(for_path.resolve()).encode()).hexdigest()[:8]
    if os.geteuid() == 0:
        return Path("/var/lib/glassgate") / short
    home = os.environ.get("XDG_DATA_HOME", "")
    base = Path(home) if home else Path("~/.local/share").expanduser()
    return base / "glassgate" / short


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_dsn(socket_directory: Path, port: int, user: str, password: str, database: str) -> str:
    """A DSN over the Unix socket, as asyncpg and libpq read it."""
    return (
        f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@/{quote(database, safe='')}"
        f"?host={quote(str(socket_directory), safe='/')}&port={port}"
    )


class EmbeddedPostgres:
    """One cluster. `start` in the main thread, before the event loop; `stop` whenever; both are blocking."""

    def __init__(
        self,
        directory: Path,
        *,
        bin_dir: Path | None = None,
        tls: Tls | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._place = _Place(directory.absolute())
        self._wanted_bin = bin_dir
        self._tls = tls
        self._settings = dict(settings or {})
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._sockets = _socket_directory(self._place.directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self.port = tls.port if tls else 5432
        self.bin_dir = Path()

    @property
    def socket_directory(self) -> Path:
        return self._sockets

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def superuser_dsn(self, database: str = "postgres") -> str:
        return postgres_dsn(self._sockets, self.port, SUPERUSER, self._password(), database)

    def dsn(self, user: str, password: str, database: str) -> str:
        return postgres_dsn(self._sockets, self.port, user, password, database)

    def start(self, timeout_s: float = 30.0) -> None:
        """Make the cluster if there is none, run it, return once it answers. Raises PostgresFailed."""
        if threading.current_thread() is not threading.main_thread():
            # The death signal is tied to the thread that forked: a worker thread's end would stop the server.
            raise PostgresFailed("the embedded PostgreSQL must be started from the main thread")
        deadline = time.monotonic() + timeout_s
        self._prepare_directory()
        self._take_lock()
        try:
            self._wait_for_orphan(deadline)
            self.bin_dir = self._programs()
            if not (self._place.data / "PG_VERSION").is_file():
                self._initdb()
            self._check_version()
            self._run(deadline)
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout_s: float = 10.0) -> None:
        """Fast shutdown: sessions end, everything is written. Without effect when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if process.poll() is None:
                    process.send_signal(how)
                try:
                    process.wait(timeout_s)
                    break
                except subprocess.TimeoutExpired:
                    continue
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _password(self) -> str:
        return self._place.password.read_text().strip()

    def _prepare_directory(self) -> None:
        place = self._place.directory
        if self._user is None:
            try:
                pwd.getpwuid(os.geteuid())
            except KeyError:
                raise PostgresFailed(
                    f"PostgreSQL needs an entry in the user database for the user id {os.geteuid()}, and there is none"
                ) from None
        if not place.is_dir():
            place.mkdir(parents=True, mode=0o711 if self._user else 0o700)
            if self._user:
                place.chmod(0o711)  # whatever the umask: entered by `nobody`, listed by root alone
        elif place.stat().st_uid != os.geteuid():
            raise PostgresFailed(f"{place} belongs to another user")
        if self._user and not all(_passable(p, self._user) for p in (place, *place.parents)):
            raise PostgresFailed(
                f"PostgreSQL does not run as root, and the user {self._user.pw_name}, as whom it runs instead, "
                f"cannot enter {place}; choose another directory, for example {default_directory(place)}"
            )
        self._prepare_sockets()

    def _prepare_sockets(self) -> None:
        """In a shared directory somebody else may have put a link of that name since we looked: what we give away is
        what we have opened, and that is no link."""
        with suppress(FileExistsError):
            self._sockets.mkdir(mode=0o700)
        try:
            opened = os.open(self._sockets, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as cause:
            raise PostgresFailed(f"{self._sockets} is no directory of ours ({cause.strerror}); remove it") from cause
        try:
            if os.fstat(opened).st_uid not in _owners():
                raise PostgresFailed(f"{self._sockets} belongs to another user; remove it")
            os.fchmod(opened, 0o700)
            if self._user is not None:
                os.fchown(opened, self._user.pw_uid, self._user.pw_gid)
        finally:
            os.close(opened)

    def _give(self, path: Path, mode: int) -> None:
        path.chmod(mode)
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _take_lock(self) -> None:
        # 0600: whoever may open a file may lock it, and keep us out with that.
        lock = os.fdopen(os.open(self._place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
        os.fchmod(lock.fileno(), 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise PostgresInUse(
                f"another process (pid {holder}) runs the PostgreSQL in {self._place.directory}; stop that one first"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _wait_for_orphan(self, deadline: float) -> None:
        """After a `kill -9` of ours the old server is still shutting down: wait until it is gone.

        A pid file of a dead process stays; PostgreSQL itself finds it stale and goes on.
        """
        while self._orphan_alive():
            if time.monotonic() > deadline:
                raise PostgresFailed(
                    f"a PostgreSQL (pid {self._orphan()}) still runs in {self._place.data} and does not stop"
                )
            time.sleep(READY_POLL_S)

    def _orphan(self) -> int:
        try:
            return int((self._place.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return 0

    def _orphan_alive(self) -> bool:
        pid = self._orphan()
        if pid <= 1:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return False  # a stranger's process got the number
        try:
            # Somebody else may have got the number since: only a process in our data directory is ours.
            return Path(f"/proc/{pid}/cwd").resolve(strict=True) == self._place.data.resolve()
        except OSError:
            return not Path("/proc/self").exists()

    def _programs(self) -> Path:
        try:
            found = self._wanted_bin or find_binaries(os.environ)
            return readable_copy(found, self._place.programs, self._user) if self._user else found
        except BinariesNotFound as cause:
            raise PostgresFailed(str(cause)) from cause

    def _initdb(self) -> None:
        """Into a directory beside, renamed when complete: an interrupted one is thrown away, never started."""
        if self._place.data.exists():
            raise PostgresFailed(f"{self._place.data} exists but is no PostgreSQL cluster; nothing was touched")
        half = self._place.data.with_name("data.new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        self._give(half, 0o700)
        password = secrets.token_urlsafe(32)
        self._write_private(self._place.password, password + "\n")
        with tempfile.NamedTemporaryFile("w", dir=self._place.directory, prefix=".pw-") as handed_over:
            handed_over.write(password + "\n")
            handed_over.flush()
            self._give(Path(handed_over.name), 0o400)
            done = subprocess.run(
                [
                    *(str(self.bin_dir / "initdb"), "-D", str(half), "-U", SUPERUSER, "-A", "scram-sha-256"),
                    *("--pwfile", handed_over.name, "-E", "UTF8", "--locale=C.UTF-8"),
                    *(("--no-sync",) if self._settings.get("fsync") == "off" else ()),
                ],
                capture_output=True,
                check=False,
                env=_environment(),
                preexec_fn=die_with(os.getpid(), signal.SIGINT),  # fast shutdown
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
            )
        if done.returncode != 0:
            shutil.rmtree(half, ignore_errors=True)
            raise PostgresFailed(f"initdb failed: {done.stderr.decode(errors='replace').strip()[-2000:]}")
        half.rename(self._place.data)

    def _write_private(self, path: Path, text: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)

    def _check_version(self) -> None:
        made_by = (self._place.data / "PG_VERSION").read_text().strip()
        program = major_version(self.bin_dir)
        if made_by != str(program):
            raise PostgresFailed(
                f"the cluster in {self._place.data} was made by PostgreSQL {made_by}, the programs in "
                f"{self.bin_dir} are {program}; set GLASSGATE_PG_BIN to PostgreSQL {made_by}'s or move the data by dump"
            )
        if not self._place.password.is_file():
            raise PostgresFailed(f"the superuser's password file {self._place.password} is missing")

    def _arguments(self) -> list[str]:
        """Everything by command line: what stands in the data directory is never edited by us."""
        access = ["local all all scram-sha-256"]
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "port": str(self.port),
            "hba_file": str(self._place.access),
            "timezone": "GMT",  # known to the server without a time zone database
            "log_timezone": "GMT",
            "password_encryption": "scram-sha-256",
            # A failing statement's text can hold what belongs in no log file.
            "log_min_error_statement": "panic",
            "log_parameter_max_length_on_error": "0",
        }
        if self._tls is not None:
            access += ["hostssl all all 127.0.0.1/32 scram-sha-256"]
            certificate, key = (self._place.directory / name for name in ("server.crt", "server.key"))
            self._write_private(certificate, self._tls.certificate.read_text())
            self._write_private(key, self._tls.key.read_text())
            self._give(certificate, 0o600)
            self._give(key, 0o600)
            settings |= {
                "listen_addresses": "127.0.0.1",
                "ssl": "on",
                "ssl_cert_file": str(certificate),
                "ssl_key_file": str(key),
                "ssl_min_protocol_version": "TLSv1.2",
            }
        self._write_private(self._place.access, "\n".join(access) + "\n")
        self._give(self._place.access, 0o600)
        settings |= self._settings
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _run(self, deadline: float) -> None:
        log = self._place.log
        if log.exists() and log.stat().st_size > LOG_KEPT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        arguments = self._arguments()
        while True:
            begins = log.stat().st_size if log.exists() else 0
            with log.open("ab") as out:
                log.chmod(0o600)
                self._process = subprocess.Popen(
                    [str(self.bin_dir / "postgres"), "-D", str(self._place.data), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=_environment(),
                    cwd="/",
                    # A session of its own: Ctrl-C at the terminal must reach us first, or the records in
                    # flight would lose their database before we have drained.
                    start_new_session=True,
                    preexec_fn=die_with(os.getpid(), signal.SIGINT),  # fast shutdown
                    user=self._user.pw_uid if self._user else None,
                    group=self._user.pw_gid if self._user else None,
                    extra_groups=[] if self._user else None,
                )
            if self._became_ready(deadline):
                return
            with log.open("rb") as read:
                read.seek(begins)
                said = read.read(4000).decode(errors="replace").strip()
            # A server that was killed leaves its children for an instant, and they hold the shared memory.
            if "still in use" in said and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            raise PostgresFailed(f"PostgreSQL did not start: {said[-1500:] or 'no answer in time'}")

    def _became_ready(self, deadline: float) -> bool:
        """The eighth line of postmaster.pid is the server's own word for it (what pg_ctl waits for)."""
        process = self._process
        assert process is not None
        state = self._place.data / "postmaster.pid"
        while process.poll() is None:
            try:
                lines = state.read_text().split("\n")
            except OSError:
                lines = []
            if len(lines) >= 8 and lines[0].strip() == str(process.pid) and lines[7].strip() == "ready":
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(READY_POLL_S)
        return False


def _passable(directory: Path, user: pwd.struct_passwd) -> bool:
    """Whether `user` may pass through this one directory."""
    mode = directory.stat().st_mode
    return bool(mode & 0o001) or (directory.stat().st_uid == user.pw_uid and bool(mode & 0o100))


def _socket_directory(directory: Path) -> Path:
    """Beside the data, or in the system's temporary directory where the path would be too long for a socket."""
    beside = directory / "sockets"
    if len(os.fsencode(beside / ".s.PGSQL.65535")) <= MAX_SOCKET_PATH:
        return beside
    short = hashlib.sha256(str(directory).encode()).hexdigest()[:8]
    place = Path(tempfile.gettempdir()) / f"glassgate-{os.geteuid()}-{short}"
    if place.is_symlink():  # somebody else's doing: names in a shared directory can be taken beforehand
        raise PostgresFailed(f"{place} is a symbolic link; remove it")
    if place.exists() and place.stat().st_uid not in _owners():
        raise PostgresFailed(f"{place} belongs to another user; remove it")
    return place


def _owners() -> set[int]:
    """Whose a directory for sockets may be: ours, or the server's."""
    return {os.geteuid()} | ({pwd.getpwnam("nobody").pw_uid} if os.geteuid() == 0 else set())


def _environment() -> dict[str, str]:
    """Nothing of ours: tokens in our environment are no business of the server's."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
