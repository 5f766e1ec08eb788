"""Slack's signature over the raw bytes of a request, checked before anything parses them.

`X-Slack-Signature: v0=` + hex HMAC-SHA256(signing secret, `v0:{timestamp}:{raw body}`), with the timestamp in
`X-Slack-Request-Timestamp` (docs.slack.dev/authentication/verifying-requests-from-slack). Any bytes are fit to
be refused: a library that decodes first fails on a stray byte before it has decided anything.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

__all__ = ["MAX_AGE_S", "MAX_BODY_BYTES", "SignatureRefused", "sign", "verify"]

MAX_AGE_S: Final = 300
"""Slack's own advice; a clock that is further away than this is the receiver's to repair."""
MAX_BODY_BYTES: Final = 256 * 1024
"""Ours. A submission of our largest form is below 64 KiB."""

_TIMESTAMP: Final = re.compile(rb"[0-9]{1,12}")


class SignatureRefused(ValueError):
    """Not from Slack, or not now. The text is for our own log: the sender only learns that it was refused."""


def sign(secret: bytes, timestamp: bytes, body: bytes) -> bytes:
    """The header's value for that body at that time."""
    return b"v0=" + hmac.new(secret, b"v0:" + timestamp + b":" + body, hashlib.sha256).hexdigest().encode()


def verify(secret: bytes, timestamps: Sequence[bytes], signatures: Sequence[bytes], body: bytes, now: float) -> None:
    """Raise SignatureRefused unless exactly one timestamp and one signature are there, fresh and right.

    `timestamps` and `signatures` are all values of the two headers as received; `now` is Unix seconds.
    1. a secret is configured: an empty key would accept what anybody can compute
    2. each header is there once: with two, we might check one and somebody else use the other
    3. the timestamp is a plain number within five minutes
    4. the signature matches, compared in constant time
    """
    if not secret:
        raise SignatureRefused("no signing secret is configured")
    if len(timestamps) != 1 or len(signatures) != 1:
        raise SignatureRefused("expected one timestamp and one signature header")
    timestamp = timestamps[0]
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise SignatureRefused("the timestamp is no number")
    if abs(now - int(timestamp)) > MAX_AGE_S:
        raise SignatureRefused("the timestamp is outside five minutes: a replay, or a wrong clock")
    if not hmac.compare_digest(sign(secret, timestamp, body), signatures[0]):
        raise SignatureRefused("the signature does not match")
