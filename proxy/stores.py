"""The stores that the policy in force defines, found by name and by host.

Pure. The policy document is the canonical JSON that `proxy_sync` delivers; its digest is checked before a
word of it is believed.
"""

import hashlib
from typing import Any, Final

import msgspec

from approvals.store_definition import StoreDefinition, definition_digest
from ledger.encoding import NotCanonical, decode

__all__ = ["PolicyRefused", "Stores"]

NO_DIGEST: Final = ""


class PolicyRefused(ValueError):
    """The policy that was delivered is not what its digest says, or does not have its shape."""


class Stores:
    """An immutable view; a changed policy makes a new one."""

    __slots__ = ("_by_host", "_by_name", "policy")

    def __init__(self, definitions: tuple[StoreDefinition, ...] = (), policy: str = NO_DIGEST) -> None:
        self.policy = policy
        self._by_name = {d.name: (d, definition_digest(d)) for d in definitions}
        self._by_host = {host.lower(): d.name for d in definitions for host in d.hosts}

    @classmethod
    def from_policy(cls, document: str, digest: str) -> "Stores":
        """Read the stores out of a policy document; raises PolicyRefused."""
        data = document.encode()
        if hashlib.sha256(data).hexdigest() != digest:
            raise PolicyRefused("the policy document does not have the digest it came with")
        try:
            policy: Any = decode(data)
            stores = msgspec.convert(policy["stores"], dict[str, StoreDefinition])
        except (NotCanonical, KeyError, TypeError, msgspec.ValidationError) as cause:
            raise PolicyRefused(f"the policy document cannot be read: {cause}") from cause
        for name, definition in stores.items():
            if definition.name != name:
                raise PolicyRefused(f"store {name!r} is defined under the name {definition.name!r}")
        return cls(tuple(stores.values()), digest)

    def by_name(self, name: str) -> tuple[StoreDefinition, str] | None:
        """The definition and its digest."""
        return self._by_name.get(name)

    def by_host(self, host: str) -> tuple[StoreDefinition, str] | None:
        """The store that this host name leads to; `host` is without port, in any case."""
        name = self._by_host.get(host.lower())
        return self._by_name[name] if name is not None else None

    def names(self) -> list[str]:
        return sorted(self._by_name)
