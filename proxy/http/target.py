"""The request target: what is refused, and the one reading of what is left (RFC 9112 §3.2, RFC 3986 §3.3).

Refuse, never normalise: policy, record and store get the same bytes. Whatever two readers could take for two
different paths is refused, so that decoding the rest once gives the only path it can mean.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.http.faults import Fault, HeadError

__all__ = ["MAX_TARGET_BYTES", "decoded_path"]

MAX_TARGET_BYTES: Final = 16 * 1024

_PLAIN_PATH: Final = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)+/?|/")
"""Paths with nothing to look at twice: no percent sign, no segment that begins with a dot."""
_QUERY_FORBIDDEN: Final = bytes(range(0x21)) + bytes(range(0x7F, 0x100)) + b"#"
_PCHAR: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@%/"
_BAD_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_DELIMITER: Final = re.compile(rb"%(?:2[fF]|5[cC]|[01][0-9A-Fa-f]|7[fF])")
_DOUBLE: Final = re.compile(rb"%25(?=[0-9A-Fa-f]{2})")


def decoded_path(target: bytes, method: bytes) -> str:
    """The path that `target` names, decoded once; "*" for the asterisk-form. Raises HeadError.

    Only origin-form, and `*` for OPTIONS: a gateway is no forward proxy.
    """
    if len(target) > MAX_TARGET_BYTES:
        raise HeadError(Fault.TARGET_TOO_LONG)
    path, question, query = target.partition(b"?")
    if question and len(query.translate(None, _QUERY_FORBIDDEN)) != len(query):
        raise HeadError(Fault.FRAGMENT if b"#" in query else Fault.TARGET_CHARACTER)
    if _PLAIN_PATH.fullmatch(path):
        return path.decode("ascii")
    if path == b"*" and method == b"OPTIONS" and not question:
        return "*"
    return _careful(path)


def _careful(path: bytes) -> str:
    if not path.startswith(b"/"):
        raise HeadError(Fault.TARGET_FORM)
    for byte, fault in ((b"#", Fault.FRAGMENT), (b"\\", Fault.BACKSLASH), (b";", Fault.PATH_PARAMETER)):
        if byte in path:
            raise HeadError(fault)
    if path.translate(None, _PCHAR):
        raise HeadError(Fault.TARGET_CHARACTER)
    if _BAD_PERCENT.search(path):
        raise HeadError(Fault.PERCENT_ENCODING)
    if _DELIMITER.search(path):
        raise HeadError(Fault.ENCODED_DELIMITER)
    if _DOUBLE.search(path):
        raise HeadError(Fault.DOUBLE_ENCODING)
    segments = path.split(b"/")[1:]
    if b"" in segments[:-1]:
        raise HeadError(Fault.EMPTY_SEGMENT)
    plain = [unquote_to_bytes(segment) for segment in segments]
    if b"." in plain or b".." in plain:
        raise HeadError(Fault.DOT_SEGMENT)
    try:
        return "/" + "/".join(part.decode("utf-8") for part in plain)
    except UnicodeDecodeError:
        # Latin-1 to one reader, an error or U+FFFD to another.
        raise HeadError(Fault.PERCENT_ENCODING) from None
