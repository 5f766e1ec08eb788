"""The gate logs in at the store; pure, up to the store's first ReadyForQuery.

SCRAM, with channel binding where the store offers it; a cleartext password only inside TLS; MD5 only if the
caller allows it. A store that asks for no password at all is refused: it would let in everybody who can reach
it, and the gate would not be the way in.
"""

import hashlib
import struct
from collections.abc import Mapping
from typing import Final

from proxy.postgres.errors import ProtocolError
from proxy.postgres.messages import message, read_error, read_parameter_status, startup_message
from proxy.postgres.scram import ScramClient, ScramFailed

__all__ = ["StoreLogin", "StoreRefused"]

MAX_MESSAGE_BYTES: Final = 64 * 1024  # before ReadyForQuery nothing needs more
MAX_PARAMETERS: Final = 256

_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12


class StoreRefused(Exception):
    """The store did not let the gate in, or is not one to talk to. The text is for our own log only."""


class StoreLogin:
    def __init__(
        self,
        parameters: Mapping[str, str],
        password: str,
        nonce: str,
        *,
        secure: bool,
        end_point: bytes = b"",
        allow_md5: bool = False,
    ) -> None:
        self._parameters = parameters
        self._password = password
        self._nonce = nonce
        self._secure = secure
        self._end_point = end_point
        self._allow_md5 = allow_md5
        self._buffer = b""
        self._scram: ScramClient | None = None
        self._answered = False  # a password was sent that the store has yet to accept
        self._proven = False
        self.ready = False
        self.reported: dict[str, str] = {}  # ParameterStatus
        self.pid = 0
        self.key = b""

    def start(self) -> bytes:
        return startup_message(self._parameters)

    def receive(self, data: bytes) -> bytes:
        """What to send in answer to `data`. May take long (SCRAM): not for the event loop's thread.

        Raises StoreRefused or ProtocolError.
        """
        self._buffer += data
        out = b""
        while len(self._buffer) >= 5 and not self.ready:
            kind, length = struct.unpack_from(">BI", self._buffer)
            if not 4 <= length <= MAX_MESSAGE_BYTES:
                raise ProtocolError("the store sent a message of impossible length")
            if len(self._buffer) < 1 + length:
                break
            body, self._buffer = memoryview(self._buffer[5 : 1 + length]), self._buffer[1 + length :]
            out += self._message(kind, body)
        if self.ready and self._buffer:
            raise ProtocolError("the store spoke out of turn")
        return out

    def _message(self, kind: int, body: memoryview) -> bytes:
        if kind == ord("R"):
            return self._authentication(body)
        if kind == ord("E"):
            fields = read_error(body)
            raise StoreRefused(f"{fields.get('C', '')}: {fields.get('M', 'no reason given')}")
        if kind == ord("N"):
            return b""
        if not self._proven:
            raise ProtocolError("the store spoke before it had let the gate in")
        if kind == ord("S"):
            name, value = read_parameter_status(body)
            if len(self.reported) >= MAX_PARAMETERS:
                raise ProtocolError("the store reports too many settings")
            self.reported[name] = value
        elif kind == ord("K"):
            if len(body) < 8:
                raise ProtocolError("the store's cancel key is too short")
            self.pid, self.key = int.from_bytes(body[:4], "big"), bytes(body[4:])
        elif kind == ord("Z"):
            self.ready = True
        else:
            raise ProtocolError("the store's login is out of order")
        return b""

    def _authentication(self, body: memoryview) -> bytes:
        if len(body) < 4:
            raise ProtocolError("malformed authentication message")
        (method,) = struct.unpack_from(">I", body)
        rest = bytes(body[4:])
        if method == _OK:
            if not self._answered:
                raise StoreRefused("the store let the gate in without a password")
            self._proven = True
            return b""
        if self._answered and method not in (_SASL_CONTINUE, _SASL_FINAL):
            raise ProtocolError("the store asks for a second password")
        if method == _CLEARTEXT:
            if not self._secure:
                raise StoreRefused("the store asks for a cleartext password outside TLS")
            self._answered = True
            return message(b"p", self._password.encode() + b"\0")
        if method == _MD5 and len(rest) == 4:
            return self._md5(rest)
        try:
            return self._sasl(method, rest)
        except ScramFailed as cause:
            raise StoreRefused(str(cause)) from cause

    def _sasl(self, method: int, rest: bytes) -> bytes:
        if method == _SASL:
            offered = [name.decode("ascii", "replace") for name in rest.split(b"\0") if name]
            self._scram = ScramClient(self._password, self._nonce, offered, self._end_point)
            first = self._scram.first()
            return message(b"p", self._scram.mechanism.encode() + b"\0" + struct.pack(">I", len(first)) + first)
        if method == _SASL_CONTINUE and self._scram is not None:
            return message(b"p", self._scram.final(rest))
        if method == _SASL_FINAL and self._scram is not None:
            self._scram.verify(rest)
            self._answered = True
            return b""
        raise StoreRefused(f"the store asks for authentication method {method}, which this gate does not have")

    def _md5(self, salt: bytes) -> bytes:
        if not self._allow_md5:
            raise StoreRefused("the store asks for an MD5 password, which is not allowed")
        user = self._parameters["user"]
        inner = hashlib.md5((self._password + user).encode(), usedforsecurity=False).hexdigest()
        outer = hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest()
        self._answered = True
        return message(b"p", b"md5" + outer.encode() + b"\0")
