"""The container of a pack: a zip file (APPNOTE.TXT 6.3.10) in the one form that its members have.

Members are stored, not compressed, sorted by name, with the time 1980-01-01 and no attributes; nothing stands before,
between or after them; there are no extra fields, no comments and no data descriptors. So equal members are equal bytes,
every zip program opens the file, and a reader can demand exactly the bytes that a writer would have made: no bomb, no
second directory, no hidden bytes, no name twice.
"""

import re
import struct
import zlib
from collections.abc import Mapping
from typing import Final

__all__ = ["MAX_MEMBERS", "MAX_PACK_BYTES", "PackRefused", "is_member_name", "read_archive", "write_archive"]

MAX_PACK_BYTES: Final = 1024 * 1024 * 1024
MAX_MEMBERS: Final = 400_000

_LOCAL: Final = struct.Struct("<IHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<IHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<IHHHHIIH")
_END64: Final = struct.Struct("<IQHHIIQQQQ")
_LOCATOR: Final = struct.Struct("<IIQI")
_LOCAL_MARK: Final = 0x04034B50
_CENTRAL_MARK: Final = 0x02014B50
_VERSION: Final = 10  # needed to extract a stored file
_DATE: Final = 0x21  # 1980-01-01; the time is 0
_MANY: Final = 0xFFFF  # from so many members on the counts stand in the zip64 record

_NUMBER: Final = "(?:0|[1-9][0-9]{0,15})"
# Nothing with a slash at its start, a dot segment, a backslash or a drive can be spelled in this language.
_NAME: Final = re.compile(
    r"checkpoint|index\.html|manifest\.json"
    rf"|entries/{_NUMBER}\.(?:leaf|facts|facts-blind|content|content-blind)"
    rf"|proofs/{_NUMBER}\.tlog-proof"
    rf"|stubs/[0-9a-f]{{32}}-{_NUMBER}\.leaf",
    re.ASCII,
)
MAX_NAME_BYTES: Final = 64


class PackRefused(ValueError):
    """Not a pack: `file` is the member (or "pack" for the container itself) and the text says what about it."""

    def __init__(self, file: str, text: str) -> None:
        super().__init__(f"{file}: {text}")
        self.file = file
        self.text = text


def is_member_name(name: str) -> bool:
    """Whether a pack may have a member of this name."""
    return len(name) <= MAX_NAME_BYTES and _NAME.fullmatch(name) is not None


def write_archive(members: Mapping[str, bytes]) -> bytes:
    """The archive of these members. Raises PackRefused beyond MAX_MEMBERS or MAX_PACK_BYTES, or for a foreign name."""
    if len(members) > MAX_MEMBERS:
        raise PackRefused("pack", f"has {len(members)} members; at most {MAX_MEMBERS} fit")
    out: list[bytes] = []
    directory: list[bytes] = []
    at = 0
    for name in sorted(members):
        if not is_member_name(name):
            raise PackRefused("pack", f"a member cannot be called {name!r}")
        data = members[name]
        crc = zlib.crc32(data)
        header = _local(name, crc, len(data))
        directory.append(_central(name, crc, len(data), at))
        out += (header, data)
        at += len(header) + len(data)
        if at > MAX_PACK_BYTES:
            raise PackRefused("pack", f"is larger than {MAX_PACK_BYTES} bytes")
    return b"".join((*out, *directory, _end(len(members), sum(map(len, directory)), at)))


def read_archive(data: bytes) -> dict[str, bytes]:
    """The members of an archive, which is exactly what write_archive makes of them; raises PackRefused."""
    if len(data) > MAX_PACK_BYTES + MAX_MEMBERS * 256:
        raise PackRefused("pack", f"is larger than {MAX_PACK_BYTES} bytes")
    members: dict[str, bytes] = {}
    directory: list[bytes] = []
    at = 0
    last = ""
    while data[at : at + 4] == _LOCAL_MARK.to_bytes(4, "little"):
        name, part, crc, end = _member(data, at)
        if name <= last:
            raise PackRefused(name, f"stands out of order, or twice (byte {at})")
        if len(members) == MAX_MEMBERS:
            raise PackRefused("pack", f"has more than {MAX_MEMBERS} members")
        members[name] = part
        directory.append(_central(name, crc, len(part), at))
        at, last = end, name
    tail = b"".join((*directory, _end(len(members), sum(map(len, directory)), at)))
    if data[at:] != tail:
        raise _tail_differs(data, at, tail, list(members), directory)
    return members


def _member(data: bytes, at: int) -> tuple[str, bytes, int, int]:
    """Name, bytes, checksum and the position behind the member at `at`."""
    start = at + _LOCAL.size
    if start > len(data):
        raise PackRefused("pack", f"ends inside a member's header (byte {at})")
    fields = _LOCAL.unpack_from(data, at)
    crc, size, name_size = fields[6], fields[7], fields[9]
    raw = data[start : start + min(name_size, MAX_NAME_BYTES + 1)]
    name = raw.decode("ascii", "replace")
    if not is_member_name(name):
        raise PackRefused("pack", f"a member is called {name!r}, which no member of a pack is (byte {start})")
    begin = start + name_size
    part = data[begin : begin + size]
    if data[at:begin] != _local(name, crc, size):
        raise PackRefused(name, f"its header in the archive is not as it was written (byte {at} on)")
    if len(part) != size:
        raise PackRefused(name, f"is cut short: {len(part)} of {size} bytes (byte {begin} on)")
    if zlib.crc32(part) != crc:
        raise PackRefused(name, f"its bytes are not those its checksum was made over (byte {at} to {begin + size - 1})")
    return name, part, crc, begin + size


def _tail_differs(data: bytes, at: int, tail: bytes, names: list[str], directory: list[bytes]) -> PackRefused:
    """What is wrong behind the last member, and where."""
    found = data[at:]
    where = next((i for i, (one, other) in enumerate(zip(found, tail, strict=False)) if one != other), None)
    if where is None:
        where = min(len(found), len(tail))
        text = "bytes behind its end" if len(found) > len(tail) else "is cut short"
        return PackRefused("pack", f"{text} (byte {at + where})")
    behind = where
    for name, entry in zip(names, directory, strict=True):
        if behind < len(entry):
            return PackRefused(
                name, f"its entry in the archive's directory is not as it was written (byte {at + where})"
            )
        behind -= len(entry)
    return PackRefused("pack", f"the end of the archive's directory is not as it was written (byte {at + where})")


def _local(name: str, crc: int, size: int) -> bytes:
    raw = name.encode()
    return _LOCAL.pack(_LOCAL_MARK, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(raw), 0) + raw


def _central(name: str, crc: int, size: int, at: int) -> bytes:
    raw = name.encode()
    fields = (_VERSION, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(raw), 0, 0, 0, 0, 0, at)
    return _CENTRAL.pack(_CENTRAL_MARK, *fields) + raw


def _end(count: int, size: int, at: int) -> bytes:
    """The end of the directory, which has `count` entries in `size` bytes and begins at `at`."""
    if count < _MANY:
        return _END.pack(0x06054B50, 0, 0, count, count, size, at, 0)
    record = _END64.pack(0x06064B50, _END64.size - 12, 45, 45, 0, 0, count, count, size, at)
    locator = _LOCATOR.pack(0x07064B50, 0, at + size, 1)
    return record + locator + _END.pack(0x06054B50, 0, 0, _MANY, _MANY, size, at, 0)
