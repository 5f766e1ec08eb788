"""A store as policy defines it: everything about it that could weaken a promise, under one digest.

The gate's own addresses and the secret itself are local configuration; which upstream, which credential by
name, how it is recorded and classified are policy, and decisions carry the digest.
"""

import hashlib
from typing import Literal

import msgspec

from approvals.scope import Action
from ledger.encoding import encode

__all__ = ["StoreDefinition", "definition_digest"]


class StoreDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One protected upstream. Every field is in the digest, defaults included."""

    name: str
    protocol: Literal["http", "postgres"]
    upstream: str  # http: "https://host:port"; postgres: "host:port/database"
    tls: Literal["verify-full", "off"] = "verify-full"  # "off" only towards loopback
    tls_ca: str = ""  # SHA-256 (hex) of the CA bundle that vouches for the upstream; "" = the system's
    credential: str = ""  # the name under which the proxy's own configuration holds the secret
    data_class: Literal["personal", "internal", "public"] = "personal"
    regions: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ("read",)  # what can be asked for at all
    hosts: tuple[str, ...] = ()  # host names that lead to this store (http)
    classifier: str = ""  # "" = "rest" for http, "sql" for postgres
    reads: tuple[str, ...] = ()  # rest: "GET /path/*" patterns that read; anything else is no read
    writes: tuple[str, ...] = ()  # rest: patterns that write
    recording: Literal["database", "journal"] = "database"
    outcome: Literal["queued", "held"] = "queued"
    overlap_reads: bool = False  # a read may be forwarded while its intent is being committed
    max_body_bytes: int = 64 * 1024 * 1024
    max_text_bytes: int = 1024 * 1024  # SQL text or inspected body; larger is refused, never truncated


def definition_digest(definition: StoreDefinition) -> str:
    """SHA-256 over the canonical bytes, hex."""
    return hashlib.sha256(encode(definition)).hexdigest()
