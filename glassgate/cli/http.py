"""The HTTP API as seen from the command line: http.client, because aiohttp alone takes longer to import than
`glassgate --help` may take.

Redirects are not followed: an answer must not be able to send the session token somewhere else.
"""

import http.client
import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

__all__ = ["Answer", "Api", "ApiRefused", "ServerRefused", "ServerUnreachable", "check_server", "is_loopback"]

PREFIX: Final = "/api/v1"
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
TIMEOUT_S: Final = 30.0


class ServerRefused(Exception):
    """The address cannot be used as a gate's address; the text says what was expected."""


class ServerUnreachable(Exception):
    """Nobody answered, or what answered is not a gate's API."""


class ApiRefused(Exception):
    """The gate said no: its HTTP status and its problem document (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(f"{status} {self.code}")

    @property
    def code(self) -> str:
        return str(self.problem.get("code", ""))

    @property
    def detail(self) -> str:
        return str(self.problem.get("detail") or self.problem.get("title") or f"HTTP status {self.status}")

    @property
    def faults(self) -> list[tuple[str, str]]:
        return [(str(fault.get("field", "")), str(fault.get("text", ""))) for fault in self.problem.get("faults", [])]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine: a loopback address, `localhost`, or a name below it (RFC 6761 §6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_server(server: str) -> str:
    """The base URL without a final slash. Raises ServerRefused: https anywhere, plain http on loopback only."""
    parts = urlsplit(server)
    try:
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        port_fits = False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits:
        raise ServerRefused(f'expected a URL like https://gate.example or http://127.0.0.1:8470, got "{server}"')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ServerRefused(f'expected a URL without user, query or fragment, got "{parts.hostname}…"')
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        # A session token over plain HTTP is anybody's who listens on the way.
        raise ServerRefused(f'"{server}" is plain http and not this machine: use https')
    return server.rstrip("/")


class Api:
    """One gate's API, as one person. `ca` is a PEM bundle, "" for the system's."""

    def __init__(self, server: str, session: str = "", ca: str = "", user_agent: str = "glassgate-cli") -> None:
        self.server = check_server(server)
        self._session = session
        self._ca = ca
        self._user_agent = user_agent

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        given = {name: value for name, value in (query or {}).items() if value not in (None, "", False)}
        given = {name: "true" if value is True else value for name, value in given.items()}
        return self._json("GET", path + ("?" + urlencode(given) if given else ""), None, {})

    def post(self, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> Any:
        return self._json("POST", path, {} if body is None else body, dict(headers or {}))

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None, headers: dict[str, str]) -> Any:
        answer = self.send(method, PREFIX + path, None if body is None else json.dumps(body).encode(), headers)
        if answer.status == 204:
            return None
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError) as cause:
            raise ServerUnreachable(
                f"{self.server} answered with something that is not the gate's API (HTTP status {answer.status})"
            ) from cause
        if answer.status >= 400:
            raise ApiRefused(answer.status, value if isinstance(value, dict) else {})
        if answer.status >= 300:
            raise ServerUnreachable(f"{self.server} answered with a redirect; give the gate's own address")
        return value

    def send(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """One request on one connection. Raises ServerUnreachable."""
        connection = self._connection()
        sent = {"User-Agent": self._user_agent, "Accept": "application/json", **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        if self._session:
            sent["Authorization"] = f"Bearer {self._session}"
        try:
            connection.request(method, urlsplit(self.server).path + target, body=body, headers=sent)
            response = connection.getresponse()
            data = response.read(MAX_ANSWER_BYTES + 1)
            if response.length and len(data) <= MAX_ANSWER_BYTES:
                # read(n) takes an early end for the end; half an answer must not pass for a whole one.
                raise http.client.IncompleteRead(data, response.length)
        except (OSError, http.client.HTTPException) as cause:
            raise ServerUnreachable(f"{self.server} does not answer: {_said(cause)}") from cause
        finally:
            connection.close()
        if len(data) > MAX_ANSWER_BYTES:
            raise ServerUnreachable(f"{self.server} answered with more than {MAX_ANSWER_BYTES} bytes")
        return Answer(response.status, data)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.server)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
        try:
            context = ssl.create_default_context(cadata=self._ca or None)
        except ssl.SSLError as cause:
            raise ServerUnreachable("the CA in the profile is not a PEM certificate. Log in again with --ca") from cause
        return http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT_S, context=context)


def _said(cause: Exception) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message}); `glassgate login --ca FILE` names another CA"
    if isinstance(cause, TimeoutError | socket.timeout):
        return f"no answer within {TIMEOUT_S:.0f} seconds"
    return (cause.strerror if isinstance(cause, OSError) else str(cause)) or type(cause).__name__
