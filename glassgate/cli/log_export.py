"""log prove, export, check: proofs and evidence packs, for people who were not there."""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from glassgate.cli.http import Api, check_server
from glassgate.cli.output import grouped, remark, visible, when
from glassgate.cli.session import No, Session, command
from glassgate.cli.verify import same_server

if TYPE_CHECKING:
    from glassgate.packs import Listed, LogBytes
    from ledger.pack.anchors import Anchors
    from ledger.pack.verify import PackVerdict

__all__ = ["check", "export", "prove"]

SHOWN: Final = 10
PAGE: Final = 200
UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
MAX_ANCHORS_BYTES: Final = 512 * 1024

_OUTPUT: Final = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write."
)
_URL: Final = click.option("--url", help="Where the log is served. Default: what the gate says.")


@command(name="prove")
@click.argument("entry")
@_OUTPUT
@_URL
def prove(session: Session, entry: str, output: Path, url: str | None) -> None:
    """Prove that one entry is in the log: its index, or its id.

    Writes a proof (c2sp.org/tlog-proof) and beside it, as FILE.leaf, the entry's leaf. Together with the log's
    verifier key these are all that a verifier needs, ours or anybody's.
    """
    if not (entry.isascii() and entry.isdecimal() and len(entry) < 17) and not UUID.fullmatch(entry):
        raise click.UsageError(f'ENTRY is an index or an entry\'s id, got "{visible(entry)}"')
    with _log(session, url) as log:
        index = int(entry) if entry.isdecimal() else log.index_of(entry)
        if index >= log.size:
            raise No(f"there is no entry {index} in a log of {log.size}.")
        proof, leaf = bytes(log.proof(index)), log.leaf(index)
    beside = output.with_name(output.name + ".leaf")
    _write(output, proof)
    _write(beside, leaf)
    told = {"index": index, "size": log.size, "proof": str(output), "leaf": str(beside)}
    session.answer(told, f"entry {index} of {log.size}: {visible(output)}, {visible(beside)}")


@command(name="export")
@click.option("--grant", help="Everything about this grant.")
@click.option("--request", help="Everything about this request, and its grant.")
@click.option("--store", help="What belongs to this store; with --period, in that time.")
@click.option("--period", help="FROM/UNTIL in RFC 3339, e.g. 2026-03-01T00:00:00Z/2026-03-02T00:00:00Z.")
@click.option("--no-content", is_flag=True, help="Leave out what people and programs typed.")
@_OUTPUT
@_URL
def export(
    session: Session,
    grant: str | None,
    request: str | None,
    store: str | None,
    period: str | None,
    no_content: bool,
    output: Path,
    url: str | None,
) -> None:
    """Write an evidence pack: entries, what they say, and proofs, to be checked without this gate.

    For overseers and stewards; that the log was read is recorded. Content in a pack stays readable for whoever gets
    the file, for ever.
    """
    from glassgate.packs import Asked, collect
    from ledger.pack.archive import PackRefused
    from ledger.pack.contents import pack_bytes

    if sum(map(bool, (grant, request, store or period))) != 1:
        raise click.UsageError("say what the pack is about: --grant, --request, --store, --period (or these two)")
    between = _period(period) if period else None
    if grant or request:
        asked = Asked("grant" if grant else "request", grant or request or "")
    else:
        asked = Asked("store" if store else "period", store or "", between)
    _check_reader(session)
    with _log(session, url) as log:
        pack = collect(log, _Search(session.api), asked, content=not no_content)
        try:
            data = pack_bytes(pack)
        except PackRefused as cause:
            raise No(f"this is too much for one pack: {visible(cause)}. Export it by period, in parts.") from cause
        verdict = _own_verdict(session, data, log)
    if not verdict.ok:
        raise No("what the log gave does not verify, so no pack was written:\n" + _faults(verdict))
    _write(output, data)
    completeness = verdict.completeness.text if verdict.completeness is not None else ""
    told = {
        "file": str(output),
        "bytes": len(data),
        "entries": verdict.entries,
        "size": verdict.size,
        "complete": verdict.complete,
        "completeness": completeness,
    }
    session.answer(told, f"{visible(output)}: {verdict.entries} entries of {verdict.size}. {visible(completeness)}")
    if not verdict.complete and asked.kind in ("grant", "request"):
        remark("A grant's accesses are counted some time after it is over; a pack made then can be shown complete.")


@command(name="check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--anchors", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Whom you trust.")
@click.option("--incomplete-ok", is_flag=True, help="Exit status 0 also where it is not shown to be complete.")
def check(session: Session, file: Path, anchors: Path | None, incomplete_ok: bool) -> None:
    """Check an evidence pack, without any server.

    The anchors file says whom to trust, and must not come from whoever gave you the pack. Exit status 1: something is
    wrong, the keys are not anchored, or the pack is not shown to be complete.
    """
    from approvals.evidence import check_story
    from approvals.kinds import validate
    from ledger.pack.archive import MAX_MEMBERS, MAX_PACK_BYTES
    from ledger.pack.verify import verify_pack

    trusted = _anchors(anchors) if anchors is not None else None
    data = _read(file, MAX_PACK_BYTES + MAX_MEMBERS * 256)
    verdict = verify_pack(data, trusted, validate, check_story)
    session.answer(_told(verdict), _shown(verdict))
    if not verdict.ok or not (verdict.complete or incomplete_ok):
        raise SystemExit(1)


# what is asked of the gate


class _Search:
    """The gate's own search as a catalogue. Reading it is recorded, once a minute."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def find(self, *, kind: str = "", grant: str = "", request: str = "", store: str = "") -> Iterator["Listed"]:
        from glassgate.packs import Listed

        chosen = {"kind": kind, "grant": grant, "request": request, "store": store}
        query: dict[str, Any] = {name: value for name, value in chosen.items() if value}
        after = -1
        while True:
            found = self._api.get("/log/entries", {**query, "after": after, "limit": PAGE, "watch": True})
            for entry in found["entries"]:
                yield Listed(entry["idx"], entry["kind"], entry["writer"], entry["facts"])
            if len(found["entries"]) < PAGE:
                return
            after = found["next"]


def _check_reader(session: Session) -> None:
    if {"overseer", "steward"}.isdisjoint(session.api.get("/whoami")["roles"]):
        raise No("a pack holds what every one of its entries says, so making one is for overseers and stewards.")


@contextmanager
def _log(session: Session, url: str | None) -> Iterator["LogBytes"]:
    """The log where the gate serves it; whatever it cannot give is said in one sentence."""
    import ssl

    from glassgate.packs import LogBytes, NotCollected
    from ledger.proof import ProofRefused
    from ledger.sources import HttpSource
    from ledger.verify import Unavailable

    known = session.profile
    address = check_server(url or session.api.get("/log")["url"])
    headers = {"Authorization": f"Bearer {known.session}"} if same_server(known, address) else {}
    tls = ssl.create_default_context(cadata=known.ca or None) if address.startswith("https:") else None
    source = HttpSource(address, headers, tls)
    try:
        yield LogBytes(source)
    except (NotCollected, Unavailable, ProofRefused) as cause:
        raise No(f"{visible(cause)}.") from cause
    finally:
        source.close()


def _own_verdict(session: Session, data: bytes, log: "LogBytes") -> "PackVerdict":
    """A first check, of what was just collected: against the pinned log key, and the hosts that the log names."""
    from approvals.evidence import check_story
    from approvals.kinds import validate
    from glassgate.packs import hosts_of
    from ledger.pack.anchors import Anchors
    from ledger.pack.contents import read_pack
    from ledger.pack.verify import verify_pack
    from ledger.trust import parse_trust

    vkey = session.profile.log_key or session.api.get("/log")["verifier_key"]
    anchors = Anchors(parse_trust(f"log {vkey}\nquorum none\n"), hosts_of(read_pack(data)))
    return verify_pack(data, anchors, validate, check_story)


def _period(text: str) -> tuple[datetime, datetime]:
    since, slash, until = text.partition("/")
    try:
        between = datetime.fromisoformat(since), datetime.fromisoformat(until)
    except ValueError:
        between = None
    if not slash or between is None or between[0].tzinfo is None or between[1].tzinfo is None:
        raise click.UsageError(f'--period is FROM/UNTIL, two times with their zone, got "{visible(text)}"')
    if between[0] >= between[1]:
        raise click.UsageError("--period ends before it begins")
    return between[0].astimezone(UTC), between[1].astimezone(UTC)


# files and words


def _anchors(path: Path) -> "Anchors":
    from ledger.pack.anchors import AnchorsRefused, parse_anchors

    try:
        return parse_anchors(_read(path, MAX_ANCHORS_BYTES).decode())
    except (AnchorsRefused, UnicodeDecodeError) as cause:
        raise No(f"{visible(path)}: {visible(cause)}.") from cause


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as cause:
        raise No(f"{visible(path)} cannot be read: {cause.strerror}.") from cause
    if len(data) > most:
        raise No(f"{visible(path)} is larger than {most} bytes.")
    return data


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and for its owner only: there may be customers' data in it."""
    try:
        descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(made).replace(path)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise
    except OSError as cause:
        raise No(f"{visible(path)} cannot be written: {cause.strerror}.") from cause


def _told(verdict: "PackVerdict") -> dict[str, Any]:
    scope = verdict.scope
    return {
        "verified": verdict.ok,
        "complete": verdict.complete,
        "completeness": verdict.completeness.text if verdict.completeness is not None else "",
        "origin": verdict.origin,
        "member": verdict.member,
        "about": {"kind": scope.kind, "name": scope.name} if scope is not None else None,
        "size": verdict.size,
        "root": verdict.root.hex(),
        "cosigned": verdict.cosigned,
        "entries": verdict.entries,
        "writers": verdict.writers,
        "releases": dict(verdict.releases),
        "content_not_here": {str(index): form for index, form in verdict.unreadable.items()},
        "faults": [{"file": one.file, "text": one.text} for one in verdict.faults],
    }


def _shown(verdict: "PackVerdict") -> str:
    if not verdict.ok:
        return "NOT VERIFIED.\n" + _faults(verdict)
    assert verdict.scope is not None and verdict.completeness is not None
    lines = [
        f"verified: {verdict.scope.kind} {visible(verdict.scope.name)} of {visible(verdict.origin)}, "
        f"{verdict.entries} entries by {verdict.writers} writers, root {grouped(verdict.root.hex())} "
        f"of {verdict.size} entries",
        visible(verdict.completeness.text),
        f"cosigned by {_cosigners(verdict)}",
        f"written by {_releases(verdict.releases.items())}",
    ]
    for form in ("sealed", "erased", "withheld"):
        count = sum(1 for one in verdict.unreadable.values() if one == form)
        if count:
            lines.append(f"content of {count} entries is {form}")
    return "\n".join(lines)


def _faults(verdict: "PackVerdict") -> str:
    lines = [f"  {visible(one)}" for one in verdict.faults[:SHOWN]]
    if len(verdict.faults) > SHOWN:
        lines.append(f"  … and {len(verdict.faults) - SHOWN} more")
    return "\n".join(lines)


def _cosigners(verdict: "PackVerdict") -> str:
    named = [f"{visible(name)} ({_moment(time)})" for name, time in sorted(verdict.cosigned.items())]
    return ", ".join(named) or "nobody that your anchors name"


def _moment(seconds: int) -> str:
    try:
        return when(datetime.fromtimestamp(seconds, UTC).isoformat())
    except (ValueError, OverflowError, OSError):
        return f"at {seconds} s"  # a cosignature may claim a time beyond any calendar


def _releases(releases: Iterable[tuple[str, str]]) -> str:
    named = [f"{visible(version)} (release {digest or 'none'})" for digest, version in releases]
    return ", ".join(named) or "nobody"
