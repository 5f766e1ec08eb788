"""Whom to trust, from a file that did not come with the pack.

A policy file of c2sp.org/tlog-policy (log, witness, group, quorum lines), and one line more:

    host <base64 of a raw Ed25519 public key> [<name>]      a host that may certify writers; at least one

The overseer publishes it at an origin of its own.
"""

import base64
from dataclasses import dataclass
from typing import Final

from ledger.trust import MAX_POLICY_BYTES, Trust, parse_trust

__all__ = ["Anchors", "AnchorsRefused", "parse_anchors"]

MAX_HOSTS: Final = 1000


class AnchorsRefused(ValueError):
    """Not an anchors file; names the first line that is wrong."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Logs, witnesses and their quorum; and the raw keys of the hosts that may certify writers, with their names."""

    trust: Trust
    hosts: dict[bytes, str]


def parse_anchors(text: str) -> Anchors:
    """Raises AnchorsRefused."""
    if len(text) > MAX_POLICY_BYTES:
        raise AnchorsRefused("longer than any anchors file")
    hosts: dict[bytes, str] = {}
    others = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if words[:1] != ["host"]:
            others.append(line)
            continue
        others.append("")  # so that the numbers of the other lines stay
        key = _key(words[1]) if 2 <= len(words) <= 3 else None
        if key is None or key in hosts or len(hosts) == MAX_HOSTS:
            raise AnchorsRefused(f"line {number}: expected host, 32 bytes in base64 that stand here once, and a name")
        hosts[key] = words[2] if len(words) == 3 else ""
    if not hosts:
        raise AnchorsRefused("no host line: nobody could have certified a writer")
    try:
        trust = parse_trust("\n".join(others))
    except ValueError as cause:  # TrustRefused, or a number of thousands of digits
        raise AnchorsRefused(str(cause)) from cause
    if not trust.logs:
        raise AnchorsRefused("no log line: no log is trusted")
    for other in (*trust.logs, *trust.witnesses.values()):
        if other.public_key in hosts:
            raise AnchorsRefused(f"the key of {other.name} stands in a host line too: one key, one role")
    return Anchors(trust, hosts)


def _key(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return key if len(key) == 32 and base64.b64encode(key).decode() == text else None
