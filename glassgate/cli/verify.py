"""log verify: recompute the whole log from what is served, here, and name the first entry that is not as it was."""

import base64
import binascii
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from glassgate.cli import profile
from glassgate.cli.http import check_server
from glassgate.cli.output import grouped, remark, visible
from glassgate.cli.profile import Profile
from glassgate.cli.session import No, Session, command

if TYPE_CHECKING:
    from ledger.verify import Verdict
    from ledger.writers import Remark

SHOWN: Final = 10
UNREAD: Final = "source"
"""The part that a verdict names when it could not read something, as against having read something wrong."""


@command(name="verify")
@click.option("--url", help="Where the log is served. Default: what the gate says.")
@click.option("--vkey", help="The log's verifier key. Default: the one pinned when you first logged in.")
@click.option("--host-key", "host_keys", multiple=True, help="A trusted host's key (base64, repeatable).")
def verify(session: Session, url: str | None, vkey: str | None, host_keys: tuple[str, ...]) -> None:
    """Verify the log: every entry, every signature, every hash. Exit status 1 names the first bad entry.

    Reads everything, so it is for overseers and stewards; that it was read is recorded. Everything is checked on
    this machine, against a key that does not come from the log.
    """
    known = profile.load(session.directory, session.name) or Profile()
    if url is None or vkey is None:
        known = session.profile
        url, vkey = _from_gate(session, known, url, vkey)
    verdict = _verified(known, check_server(url), vkey, host_keys)
    told = {
        "verified": verdict.ok,
        "origin": verdict.origin,
        "size": verdict.size,
        "root": verdict.root.hex(),
        "entries": verdict.entries,
        "writers": verdict.writers,
        "anchored": verdict.anchored,
        "faults": [{"index": one.index, "part": one.part, "text": one.text} for one in verdict.faults],
        "remarks": [_told(one) for one in verdict.remarks],
        "remarked": verdict.remarked,
    }
    session.answer(told, _shown(verdict))
    for line in remarks_of(verdict):
        remark(line)
    if not verdict.anchored and verdict.ok:
        remark("The writers' host key was taken from the log's first entry; --host-key checks it against one you know.")
    if not verdict.ok:
        raise SystemExit(1)


def _from_gate(session: Session, known: Profile, url: str | None, vkey: str | None) -> tuple[str, str]:
    """Where the gate says its log is; the key is the pinned one, and a gate that shows another is told on."""
    if {"overseer", "steward"}.isdisjoint(session.api.get("/whoami")["roles"]):
        raise No(
            "verifying reads what every entry says, which is for overseers and stewards. "
            f"What is about you: {session.command_line('log', 'search', '--request', 'ID')}"
        )
    info = session.api.get("/log")
    if vkey is None and known.log_key and known.log_key != info["verifier_key"]:
        remark("WARNING: the gate shows another log key than the one pinned at login. Verifying with the pinned one.")
    return url or info["url"], vkey or known.log_key or info["verifier_key"]


def _verified(known: Profile, url: str, vkey: str, host_keys: tuple[str, ...]) -> "Verdict":
    import ssl

    from approvals.kinds import validate
    from ledger.note import NoteRefused
    from ledger.sources import HttpSource
    from ledger.verify import verify_log

    headers = {"Authorization": f"Bearer {known.session}"} if same_server(known, url) else {}
    tls = ssl.create_default_context(cadata=known.ca or None) if url.startswith("https:") else None
    source = HttpSource(url, headers, tls)
    try:
        return verify_log(source, vkey, [_key(text) for text in host_keys], validate)
    except NoteRefused as cause:
        raise No(f"{visible(vkey)} is not a verifier key: {visible(cause)}.") from cause
    finally:
        source.close()


def same_server(known: Profile, url: str) -> bool:
    """Whether the session may be sent there: only to the server that gave it."""
    if not known.session or not known.server:
        return False
    own, other = urlsplit(known.server), urlsplit(url)
    return (own.scheme, own.hostname, own.port) == (other.scheme, other.hostname, other.port)


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise click.UsageError(f'--host-key takes 32 bytes in base64, got "{text}"')
    return key


def _told(one: "Remark") -> dict[str, Any]:
    return {"kind": type(one).__name__.lower(), "text": str(one), **asdict(one)}


def remarks_of(verdict: "Verdict") -> list[str]:
    """One line each, the first SHOWN of them, then how many there are beyond."""
    lines = [f"Remark: {visible(one)}." for one in verdict.remarks[:SHOWN]]
    if verdict.remarked > SHOWN:
        lines.append(f"… and {verdict.remarked - SHOWN} more remarks; --json tells {len(verdict.remarks)} of them.")
    return lines


def _shown(verdict: "Verdict") -> str:
    first = verdict.first
    if first is None:
        return (
            f"verified: {visible(verdict.origin)}, {verdict.entries} entries by {verdict.writers} writers, "
            f"root {grouped(verdict.root.hex())}"
        )
    if first.part == UNREAD:
        head = f"NOT VERIFIED: the log could not be read whole (from entry {first.index} on)."
    elif first.index < verdict.size:
        head = f"NOT VERIFIED: entry {first.index} is the first that is not as it was written."
    else:
        head = "NOT VERIFIED."
    faults = [f"  {visible(one)}" for one in verdict.faults[:SHOWN]]
    if len(verdict.faults) > SHOWN:
        faults.append(f"  … and {len(verdict.faults) - SHOWN} more")
    return "\n".join([head, *faults])
