"""From a store's name to something a tool can present: the live grant, its token, or an access key made here."""

import os
from dataclasses import dataclass
from typing import Any

from approvals import access_key
from glassgate.cli import profile
from glassgate.cli.http import Api
from glassgate.cli.output import visible
from glassgate.cli.request import path_part, wait_for_decision
from glassgate.cli.session import No, Session

__all__ = ["Key", "ca_file", "connection", "live_grant", "make_key", "mint"]


@dataclass(frozen=True, slots=True)
class Key:
    """An access key as a tool needs it: user name and password."""

    login: str
    secret: str


def live_grant(session: Session, api: Api, store: str, grant_id: str | None, *, wait: bool) -> Any:
    """A grant of one's own for that store, active from here on. Raises No when there is none."""
    found = api.get(f"/grants/{path_part(grant_id)}") if grant_id else _usable(api, store)
    if found is None:
        found = _when_approved(session, api, store, wait)
    if found["store"] != store:
        raise No(f"{visible(found['id'])} is for {visible(found['store'])}, not for {visible(store)}.")
    # Activating is the holder's own act, and done again it changes nothing.
    return api.post(f"/grants/{path_part(found['id'])}/activate")


def _usable(api: Api, store: str) -> Any | None:
    """The active grant that lives longest, else the newest that waits to be used."""
    grants = api.get("/grants", {"store": store, "mine": True, "state": "active"})["items"]
    if grants:
        return max(grants, key=lambda one: str(one["ends_at"]))
    grants = api.get("/grants", {"store": store, "mine": True, "state": "issued"})["items"]
    return grants[0] if grants else None


def _when_approved(session: Session, api: Api, store: str, wait: bool) -> Any:
    pending = api.get("/requests", {"store": store, "mine": True, "state": "pending", "limit": 1})["items"]
    if not pending:
        ask = session.command_line(
            "request", "create", store, "--for", "1h", "--action", "read", "--reason", "…", "--purpose", '"…"'
        )
        raise No(f"you hold no grant for {visible(store)}. Ask for one:\n  {ask}")
    request_id = pending[0]["id"]
    if not wait:
        raise No(f"{visible(request_id)} is still waiting for approval. Add --wait to wait for it.")
    seen = wait_for_decision(session, api, path_part(request_id))
    if seen["grant"] is None:
        raise No(f"{visible(request_id)} was {visible(seen['state'])}.")
    return seen["grant"]


def mint(api: Api, grant: dict[str, Any]) -> Any:
    """A fresh token for an active grant."""
    return api.post(f"/grants/{path_part(grant['id'])}/tokens")


def make_key(api: Api, grant: dict[str, Any]) -> Key:
    """A fresh access key, made here: the gate is sent what checks it, never the key."""
    secret = access_key.make(os.urandom(access_key.ENTROPY_BYTES))
    view = api.post(
        f"/grants/{path_part(grant['id'])}/keys",
        {
            "key": access_key.key_id(os.urandom(5)),
            "sha256": access_key.sha256(secret),
            "scram": access_key.scram_verifier(secret, os.urandom(access_key.SALT_BYTES)),
        },
    )
    return Key(view["login"], secret)


def connection(api: Api, store: str) -> Any:
    """How to reach the gate for that store."""
    return api.get(f"/connection/{path_part(store)}")


def ca_file(session: Session, info: dict[str, Any]) -> str:
    """A file with the CA that vouches for the gate; "system" where the system's own list does."""
    if not info["ca"]:
        return "system"
    path = session.directory / "ca" / f"{path_part(info['store'])}.pem"
    profile.private_file(path, info["ca"].encode())
    return str(path)
