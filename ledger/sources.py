"""Where a verification reads a log from: a server, a folder, a database. Each is a `Source` of ledger.verify."""

import asyncio
import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ledger.tiles import PathRefused, parse_path
from ledger.verify import Unavailable

__all__ = ["DatabaseSource", "FolderSource", "HttpSource"]

MAX_RESPONSE_BYTES: Final = 512 * 1024 * 1024
TIMEOUT_S: Final = 30.0


class HttpSource:
    """A log server, over one kept connection. `headers` carry the reader's credential, which bodies need."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"a log's address is http(s)://host[:port][/prefix], not {url!r}")
        self._host, self._port, self._secure = parts.hostname, parts.port, parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        self._headers = dict(headers or {})
        self._tls = tls
        self._connection: http.client.HTTPConnection | None = None

    def fetch(self, path: str) -> bytes:
        """Asks once more on a fresh connection if a kept one has gone away."""
        for kept in (self._connection is not None, False):
            try:
                return self._get(path)
            except (OSError, http.client.HTTPException) as cause:
                self.close()
                if not kept:
                    raise Unavailable(f"{path}: {type(cause).__name__}: {cause}") from cause
        raise AssertionError("the second attempt returns or raises")

    def _get(self, path: str) -> bytes:
        if self._connection is None:
            self._connection = (
                http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=self._tls)
                if self._secure
                else http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
            )
        self._connection.request("GET", f"{self._prefix}/{path}", headers=self._headers)
        response = self._connection.getresponse()
        data = response.read(MAX_RESPONSE_BYTES + 1)
        if response.status != 200 or len(data) > MAX_RESPONSE_BYTES:
            missing = response.getheader("Glassgate-Missing-Entry", "")
            said = data[:200].decode(errors="replace").strip()
            index = int(missing) if missing.isascii() and missing.isdigit() and len(missing) < 19 else None
            raise Unavailable(f"{path}: {response.status} {said!r}", index)
        return data

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class FolderSource:
    """A log as files under a folder, each at its resource's path. A partial resource may be cut from the full file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, path: str) -> bytes:
        if path != "checkpoint":
            try:
                parse_path(path)  # nothing outside the folder has such a path
            except PathRefused as cause:
                raise Unavailable(f"{path}: {cause}") from cause
        try:
            return (self._folder / path).read_bytes()
        except OSError as cause:
            raise Unavailable(f"{path}: {cause.strerror}") from cause


class DatabaseSource:
    """The gate's own database, with the reader's rights: for where no server runs. Used from outside any event loop.

    One snapshot for the whole reading, so that a log that grows meanwhile is seen at one size.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._runner = asyncio.Runner()
        self._connection: Any = None
        self._reader: Any = None

    def __enter__(self) -> "DatabaseSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fetch(self, path: str) -> bytes:
        return self._runner.run(self._fetch(path))

    async def _fetch(self, path: str) -> bytes:
        # Imported here: who reads over HTTP needs no database driver.
        import asyncpg

        from ledger.reader import LogReader, ResourceMissing

        try:
            if self._reader is None:
                self._connection = await asyncpg.connect(self._dsn, timeout=TIMEOUT_S)
                await self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                self._reader = LogReader(self._connection)
            if path == "checkpoint":
                return bytes(await self._reader.checkpoint())
            return bytes(await self._reader.read(parse_path(path)))
        except ResourceMissing as cause:
            raise Unavailable(str(cause), cause.index) from cause
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
            raise Unavailable(f"{path}: {type(cause).__name__}: {cause}") from cause

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
            self._runner.run(asyncio.sleep(0))
        self._runner.close()
