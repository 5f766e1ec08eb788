"""A whole small log in memory, with one story in it, and packs of it; no database."""

import base64
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.decisions import decision_digest
from approvals.evidence import check_story
from approvals.kinds import validate
from approvals.requests import PENDING_FOR, Request, shown
from approvals.scope import Scope
from approvals.timestamps import rfc3339
from glassgate.packs import Asked, LogBytes, ScanCatalogue, collect
from ledger.batch import Writer, unpack
from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.encoding import decode, encode
from ledger.entry import Draft, Entry
from ledger.framing import body_bytes, bundle
from ledger.genesis import started
from ledger.merkle import leaf_hash
from ledger.note import COSIGNATURE, Note, Signer, parse_note
from ledger.pack.anchors import Anchors, parse_anchors
from ledger.pack.contents import Held, Pack, pack_bytes
from ledger.pack.count import Counter
from ledger.pack.page import page
from ledger.pack.verify import PackVerdict, verify_pack
from ledger.tiles import Edge, FullTile, parse_path
from ledger.verify import Unavailable
from tests.ledger.world import MEMBER, ORIGIN

ACCESSES = 14
GRANT = Asked("grant", "gr_1")
DOCUMENT = encode({"version": 1, "member": MEMBER, "note": "the policy, as far as these tests need one"})
POLICY = hashlib.sha256(DOCUMENT).hexdigest()
STORE_DEF = "5d" * 32


@dataclass
class MemoryLog:
    """Numbers what it is given; a `Source` of the result."""

    signer: Signer
    entries: list[Entry] = field(default_factory=list)
    edge: Edge = field(default_factory=Edge)
    tiles: dict[tuple[int, int], FullTile] = field(default_factory=dict)
    witness: Signer | None = None

    def number(self, batch: bytes) -> list[int]:
        first = len(self.entries)
        fresh = unpack(batch)
        self.entries += fresh
        for tile in self.edge.append([leaf_hash(entry.leaf) for entry in fresh]):
            self.tiles[tile.level, tile.n] = tile
        return list(range(first, len(self.entries)))

    def fetch(self, path: str) -> bytes:
        if path == "checkpoint":
            note = sign_checkpoint(Checkpoint(ORIGIN, self.edge.size, self.edge.root()), self.signer)
            if self.witness is None:
                return note
            parsed = parse_note(note)
            return bytes(Note(parsed.text, (*parsed.signatures, self.witness.sign(parsed.text, 1_800_000_000))))
        at = parse_path(path)
        window = self.entries[at.n * 256 : at.n * 256 + at.width]
        if at.kind == "entries":
            return bundle([entry.leaf for entry in window])
        if at.kind == "body":
            return b"".join(body_bytes(entry.facts, entry.content) for entry in window)
        full = self.tiles.get((at.level, at.n))
        data = full.hashes if full is not None else self.edge.partial(at.level)
        if len(data) < at.width * 32:
            raise Unavailable(path)
        return data[: at.width * 32]


@dataclass
class PackWorld:
    """Entry 0 begins the log; approvals and two proxies write; gr_1 has `accesses` accesses and a refusal and is over,
    gr_2 is under way."""

    filler: int = 0  # entries that belong to nothing, so that the tree has more than one tile
    summed: bool = True
    accesses: int = ACCESSES
    host: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    witness: Signer = field(
        default_factory=lambda: Signer("overseer.example/w1", Ed25519PrivateKey.generate(), COSIGNATURE)
    )
    now: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.log = MemoryLog(Signer(ORIGIN, Ed25519PrivateKey.generate()), witness=self.witness)
        log, root = self.log.signer.verifier, Writer(ORIGIN, MEMBER, self.host, trial=True)
        self.write(root, Draft("log.created", _created(log.name, log.vkey, self.host)))
        self.approvals = self.begin("approvals")
        self.write(self.approvals, Draft("policy.changed", _changed(), DOCUMENT))
        self.approvals.policy = POLICY
        self.proxies = [self.begin("proxy"), self.begin("proxy")]
        for proxy in self.proxies:
            proxy.policy = POLICY
        for n in range(self.filler):
            self.write(self.approvals, _read(n))
        self.decisions: dict[str, str] = {}
        self.grant("gr_1", "req_1")
        self.grant("gr_2", "req_2")
        for n in range(self.accesses):
            # Accesses of both grants share flushes, so that a pack of one needs stubs of the other.
            drafts = [*self.access("gr_1", n), *self.access("gr_2", n)]
            self.write(self.proxies[n % 2], *drafts)
        self.write(self.proxies[0], self.refused("gr_1"))
        self.write(
            self.approvals,
            Draft("grant.closed", {"grant": "gr_1", "how": "ended"}, grant=self.decisions["gr_1"], store_def=STORE_DEF),
        )
        if self.summed:
            self.write(self.approvals, self.sum("gr_1"))

    def begin(self, role: str) -> Writer:
        writer = Writer(ORIGIN, MEMBER, Ed25519PrivateKey.generate(), release="7e" * 32, trial=True, validate=validate)
        self.write(writer, started(writer, self.host, role=role, host="h1", version="0.1.0"))
        return writer

    def write(self, writer: Writer, *drafts: Draft) -> list[int]:
        self.now += timedelta(milliseconds=250)
        batch = writer.pack(drafts, self.now, os.urandom)
        writer.accepted()
        return self.log.number(batch.data)

    def grant(self, grant: str, request: str) -> None:
        asked, said = self.request(request)
        facts = {
            "request": request,
            "requester": "ada",
            "organisation": "acme",
            "store": "customers-db",
            "actions": ["read", "write"],
            "resources": ["*"],
            "limits": {},
            "reason": "incident",
            "duration_s": 3600,
            "assurance": "click",
            "rule": "customer data",
            "digest": asked.digest,
            "expires_at": rfc3339(asked.expires_at),
            "via": "cli",
            "cnf": "",
        }
        self.write(self.approvals, Draft("request.created", facts, said, store_def=STORE_DEF))
        granted = Scope("customers-db", ("read",), ("*",))
        decision = self.decisions[grant] = decision_digest(asked, granted, 1800, ["olga"])
        review = {
            "request": request,
            "review": f"rev_{request}",
            "reviewer": "olga",
            "organisation": "zurich",
            "verdict": "approve",
            "shown_digest": asked.digest,
            "via": "slack",
            "assurance": "click",
            "actions": ["read"],
            "resources": ["*"],
            "limits": {},
            "duration_s": 1800,
        }
        issued = {
            "grant": grant,
            "request": request,
            "subject": "ada",
            "organisation": "acme",
            "store": "customers-db",
            "actions": ["read"],
            "resources": ["*"],
            "limits": {},
            "duration_s": 1800,
            "use_by": rfc3339(self.now + timedelta(hours=1)),
            "assurance": "click",
            "decision": decision,
            "approvers": ["olga"],
            "cnf": "",
        }
        activated = {
            "grant": grant,
            "subject": "ada",
            "starts_at": rfc3339(self.now),
            "ends_at": rfc3339(self.now + timedelta(seconds=1800)),
            "via": "cli",
        }
        stub = {"grant": decision, "store_def": STORE_DEF}
        self.write(
            self.approvals,
            Draft("review.recorded", review, {"comment": "half an hour <b>is</b> enough"}, store_def=STORE_DEF),
            Draft("grant.issued", issued, **stub),
            Draft("grant.activated", activated, **stub),
        )

    def request(self, name: str) -> tuple[Request, dict[str, str]]:
        said = {"purpose": "order 1881 is missing <script>alert(1)</script>", "ticket": "INC-42"}
        made = Request(
            id=name,
            requester="ada",
            organisation="acme",
            scope=Scope("customers-db", ("read", "write"), ("*",)),
            store_def=STORE_DEF,
            reason="incident",
            purpose=said["purpose"],
            ticket=said["ticket"],
            duration_s=3600,
            rule="customer data",
            assurance="click",
            cnf="",
            created_at=self.now,
            expires_at=self.now + PENDING_FOR,
            digest="",
            state="pending",
            version=0,
            step=0,
        )
        digest = hashlib.sha256(shown(made)).hexdigest()
        return Request(**{slot: getattr(made, slot) for slot in made.__slots__} | {"digest": digest}), said

    def access(self, grant: str, n: int) -> list[Draft]:
        intent = {
            "grant": grant,
            "request": f"req_{grant[-1]}",
            "subject": "ada",
            "store": "customers-db",
            "protocol": "postgres",
            "actions": ["read"],
            "operation": "SELECT",
            "resources": ["public.orders"],
            "client_address": "192.0.2.7",
            "address_grade": "direct",
            "credential": "k7f3",
            "session": f"ses_{n % 2}",
            "sequence": n,
            "fingerprint": "",
            "parameters": 0,
            "declared_bytes": -1,
        }
        access = f"0195{n:04x}-0000-7000-8000-00000000000{grant[-1]}"
        outcome = {"access": access, "result": "complete", "rows": n, "bytes_out": 100 * n}
        stub = {"grant": self.decisions[grant], "store_def": STORE_DEF}
        content = {"text": f"SELECT * FROM orders WHERE id = {n}"}
        return [
            Draft("access.intent", intent, content, entry_id=access, **stub),
            Draft("access.outcome", outcome, **stub),
        ]

    def refused(self, grant: str) -> Draft:
        facts = {
            "reason": "outside_scope",
            "protocol": "postgres",
            "operation": "DELETE",
            "client_address": "192.0.2.7",
            "address_grade": "direct",
            "grant": grant,
            "session": "ses_0",
        }
        return Draft("access.refused", facts, {"text": "DELETE FROM orders"}, grant=self.decisions[grant])

    def sum(self, grant: str, **changed: Any) -> Draft:
        """What a right counter says now."""
        counter = Counter()
        for entry in self.log.entries:
            if entry.stub.grant == self.decisions[grant]:
                counter.add(entry.stub.id, entry.stub.kind, entry.facts.data)
        total = counter.total()
        facts = {name: getattr(total, name) for name in total.__struct_fields__}
        facts |= {"grant": grant, "upto": len(self.log.entries)} | changed
        return Draft("grant.summed", facts, grant=self.decisions[grant])

    def collected(self, asked: Asked = GRANT, **options: Any) -> Pack:
        log = LogBytes(self.log)
        return collect(log, ScanCatalogue(log), asked, **options)

    def pack(self, asked: Asked = GRANT, **options: Any) -> bytes:
        return pack_bytes(self.collected(asked, **options))

    def anchors(self, *, witnessed: bool = True) -> Anchors:
        host = base64.b64encode(self.host.public_key().public_bytes_raw()).decode()
        lines = [f"log {self.log.signer.verifier.vkey}", f"host {host} h1"]
        lines += [f"witness w1 {self.witness.verifier.vkey}", "quorum w1"] if witnessed else ["quorum none"]
        return parse_anchors("\n".join(lines) + "\n")

    def check(self, data: bytes, anchors: Anchors | None = None) -> PackVerdict:
        return verify_pack(data, anchors or self.anchors(), validate, check_story)


def _created(origin: str, vkey: str, host: Ed25519PrivateKey) -> dict[str, str]:
    key = base64.b64encode(host.public_key().public_bytes_raw()).decode()
    return {"origin": origin, "log_key": vkey, "member": MEMBER, "host_key": key}


def _changed() -> dict[str, Any]:
    return {"digest": POLICY, "previous": "", "stores": {"customers-db": STORE_DEF}}


def _read(n: int) -> Draft:
    return Draft("log.read", {"person": "olga", "organisation": "zurich", "what": f"entry {n}", "entries": 1})


def repaged(pack: Pack) -> Pack:
    return replace(pack, page=page(pack.origin, pack.member, pack.scope, pack.checkpoint, pack.entries))


def without(pack: Pack, drop: Callable[[Held], bool]) -> Pack:
    """As a dishonest exporter would: the entries left out, and whatever else is needed kept as stubs."""
    gone = [held for held in pack.entries if drop(held)]
    stubs = dict(pack.stubs)
    for held in gone:
        said = decode(held.leaf)
        stubs[said["writer"], said["counter"]] = held.leaf
    left = repaged(replace(pack, entries=tuple(held for held in pack.entries if not drop(held))))
    return needed(replace(left, stubs=stubs))


def needed(pack: Pack) -> Pack:
    """Without the stubs that lead to no entry."""
    held = {(decode(one.leaf)["writer"], decode(one.leaf)["counter"]) for one in pack.entries}
    kept: dict[tuple[str, int], bytes] = {}
    for at in sorted(pack.stubs):
        if (at[0], at[1] - 1) in held | kept.keys():
            kept[at] = pack.stubs[at]
    return replace(pack, stubs=kept)


def kind_of(held: Held) -> str:
    return str(decode(held.leaf)["kind"])


def faults(verdict: PackVerdict) -> str:
    return "\n".join(map(str, verdict.faults))
