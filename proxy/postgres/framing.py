"""Bytes to messages, both directions (PostgreSQL protocol 3, "Message Formats"); pure and bounded.

Every message after the startup is one type byte and an Int32 length that counts itself. Lengths are read
unsigned and checked before any arithmetic: 0..3 is refused, and so is whatever exceeds the type's bound.
An unknown type is refused too, never skipped: who cannot name a message cannot record it.

Towards the store (`Frontend`) a message is delivered whole, CopyData in pieces. From the store (`Backend`) the
chunk stays as it was received and is only tiled: runs of rows by offset, everything else as whole messages.
"""

import struct
from dataclasses import dataclass
from typing import Final

from proxy.postgres.errors import ProtocolError

__all__ = ["COPY_DATA", "ROWS", "Backend", "CopyPiece", "Frame", "Frontend", "Tile"]

_HEADER: Final = struct.Struct(">BI").unpack_from
HEADER_BYTES: Final = 5

SMALL_BYTES: Final = 64 * 1024  # names, formats and passwords: PostgreSQL itself allows 30,000 bytes
TEXT_BYTES: Final = 16 * 1024 * 1024  # Query, Parse: held whole, because the text is judged and recorded
BIND_BYTES: Final = 64 * 1024 * 1024  # Bind: held whole, because its parameters are recorded
STREAM_BYTES: Final = 0x7FFFFFFF  # CopyData and DataRow are never held
STORE_MESSAGE_BYTES: Final = 16 * 1024 * 1024  # any other message of the store's: errors can quote a whole text

COPY_DATA: Final = ord("d")
ROWS: Final = ord("D")
_ROW_TYPES: Final = frozenset(b"Dd")

_FRONTEND_CAPS: Final = {
    ord("Q"): TEXT_BYTES,
    ord("P"): TEXT_BYTES,
    ord("B"): BIND_BYTES,
    COPY_DATA: STREAM_BYTES,
} | dict.fromkeys(b"DECHSXFcfp", SMALL_BYTES)
_FRONTEND_CAPS[ord("F")] = TEXT_BYTES  # refused, but in step

_BACKEND_TYPES: Final = frozenset(b"123ACDEGHIKNRSTVWZcdnstv")


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole message of the client's. `raw` is exactly what came, header included."""

    type: int
    raw: bytes

    @property
    def body(self) -> memoryview:
        return memoryview(self.raw)[HEADER_BYTES:]


@dataclass(frozen=True, slots=True)
class CopyPiece:
    """Part of a CopyData message as it came. `payload` says how many of its bytes are the client's data."""

    raw: bytes
    payload: int


class Frontend:
    """Messages from the client after its login has begun."""

    __slots__ = ("_buffer", "_copy_left", "_need")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = 0  # how long the buffer must be before looking at it again is worth it
        self._copy_left = 0  # bytes of the current CopyData that have not come yet

    @property
    def partial(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._buffer or self._copy_left)

    def receive(self, data: bytes) -> list[Frame | CopyPiece]:
        """What `data` completes. Raises ProtocolError; nothing may be fed after that."""
        frames: list[Frame | CopyPiece] = []
        if self._copy_left:
            size = min(self._copy_left, len(data))
            self._copy_left -= size
            frames.append(CopyPiece(data[:size], size))
            data = data[size:]
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return frames
            data = bytes(self._buffer)
            self._buffer.clear()
        self._buffer += data[self._take(data, frames) :]
        return frames

    def _take(self, data: bytes, frames: list[Frame | CopyPiece]) -> int:
        position, size = 0, len(data)
        self._need = HEADER_BYTES
        while size - position >= HEADER_BYTES:
            kind, length = _HEADER(data, position)
            cap = _FRONTEND_CAPS.get(kind)
            if cap is None:
                raise ProtocolError("unknown message type")
            if length < 4:
                raise ProtocolError("message length below its own size")
            if length > cap:
                raise ProtocolError("message longer than this gate takes", "54000")
            end = position + 1 + length
            if kind == COPY_DATA:
                stop = min(end, size)
                frames.append(CopyPiece(data[position:stop], stop - position - HEADER_BYTES))
                self._copy_left = end - stop
                position = stop
            elif end > size:
                self._need = end - position
                break
            else:
                frames.append(Frame(kind, data[position:end]))
                position = end
        return position


@dataclass(frozen=True, slots=True)
class Tile:
    """A range of the buffer. `type` is ROWS for rows and copy data (perhaps cut by the chunk's end; `rows` counts
    the messages that begin in it, `left` the bytes that are missing), else the type of exactly one message."""

    type: int
    start: int
    end: int
    rows: int = 0
    left: int = 0


class Backend:
    """Messages from the store after login."""

    __slots__ = ("_carry", "_left", "_need")

    def __init__(self) -> None:
        self._carry = bytearray()
        self._need = 0  # how long the carry must be before looking at it again is worth it
        self._left = 0  # bytes of the current row that have not come yet

    def receive(self, data: bytes) -> tuple[bytes, list[Tile]]:
        """The buffer to read the tiles in, and tiles that cover it from 0 without a gap.

        What follows the last tile is the beginning of a message and is kept. Raises ProtocolError.
        """
        if self._carry:
            self._carry += data
            if len(self._carry) < self._need:
                return b"", []
            data = bytes(self._carry)
            self._carry.clear()
        self._need = HEADER_BYTES
        tiles: list[Tile] = []
        position = self._rows(data, 0, tiles)
        size = len(data)
        while size - position >= HEADER_BYTES:
            kind, length = _HEADER(data, position)
            if kind in _ROW_TYPES:
                position = self._rows(data, position, tiles)
                continue
            if kind not in _BACKEND_TYPES:
                raise ProtocolError("the store sent an unknown message type")
            if not 4 <= length <= STORE_MESSAGE_BYTES:
                raise ProtocolError("the store sent a message of impossible length")
            end = position + 1 + length
            if end > size:
                self._need = end - position
                break
            tiles.append(Tile(kind, position, end))
            position = end
        self._carry += data[position:]
        return data, tiles

    def _rows(self, data: bytes, position: int, tiles: list[Tile]) -> int:
        """One run of rows from `position`: per row this costs an unpack and two additions."""
        start, size, rows = position, len(data), 0
        if self._left:
            position = min(self._left, size)
            self._left -= position
        while size - position >= HEADER_BYTES:
            kind, length = _HEADER(data, position)
            if kind not in _ROW_TYPES:
                break
            if not 4 <= length <= STREAM_BYTES:
                raise ProtocolError("the store sent a row of impossible length")
            rows += 1
            position += 1 + length
            if position > size:
                self._left = position - size
                position = size
        if position > start:
            tiles.append(Tile(ROWS, start, position, rows, self._left))
        return position
