"""One access (an execution, or a Parse or Describe of its own) and what the log says of it; pure."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from approvals.kinds import (
    AccessIntent,
    AccessOutcome,
    AccessProgress,
    AccessRefused,
    SessionEnded,
    SessionStarted,
    SqlContent,
)
from ledger.entry import Draft
from proxy.barrier import Barrier
from proxy.classify.redact import redact
from proxy.enforce import LiveGrant
from proxy.postgres.messages import Bind

__all__ = ["Access", "Identity", "SessionTotals", "content_of", "parameters_of"]

VALUE_BYTES: Final = 4 * 1024  # a longer value stands in the record by its length and digest
TAGS: Final = 32  # command tags of one access that are written out; further ones only count


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a session is, as every one of its entries says."""

    session: str
    grant: LiveGrant
    store_def: str
    key: str
    client_address: str
    address_grade: str = "direct"

    def draft(self, kind: str, facts: Any, content: Any = None, entry_id: str = "") -> Draft:
        return Draft(kind, facts, content, grant=self.grant.decision, store_def=self.store_def, entry_id=entry_id)

    def started(self, application: str, tls: str) -> Draft:
        facts = SessionStarted(
            session=self.session,
            grant=self.grant.grant,
            request=self.grant.request,
            subject=self.grant.subject,
            store=self.grant.store,
            key=self.key,
            client_address=self.client_address,
            address_grade=self.address_grade,  # type: ignore[arg-type]
            application=application,
            tls=tls,
        )
        return self.draft("session.started", facts)

    def ended(self, how: str, totals: "SessionTotals", duration_us: int) -> Draft:
        facts = SessionEnded(
            session=self.session,
            how=how,
            statements=totals.statements,
            rows=totals.rows,
            bytes_out=totals.bytes_out,
            duration_us=duration_us,
        )
        return self.draft("session.ended", facts)

    def refused(self, reason: str, detail: str, named: "Named", content: SqlContent | None, sequence: int) -> Draft:
        facts = AccessRefused(
            reason=reason,
            protocol="postgres",
            operation=named.operation,
            client_address=self.client_address,
            address_grade=self.address_grade,  # type: ignore[arg-type]
            store=self.grant.store,
            grant=self.grant.grant,
            request=self.grant.request,
            subject=self.grant.subject,
            credential=self.key,
            actions=list(named.actions),
            resources=list(named.resources),
            session=self.session,
            sequence=sequence,
            detail=detail,
        )
        return self.draft("access.refused", facts, content)

    def idle_progress(self, bytes_out: int) -> Draft:
        """Accounts for what the store says while no statement is open (a notification, a notice)."""
        return self.draft("access.progress", AccessProgress(access=self.session, bytes_out=bytes_out, rows=0))


@dataclass(frozen=True, slots=True)
class Named:
    """What an access does, in the log's words."""

    operation: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    fingerprint: str = ""
    parameters: int = 0


@dataclass(slots=True)
class SessionTotals:
    statements: int = 0
    rows: int = 0
    bytes_out: int = 0


@dataclass(slots=True, eq=False)
class Access:
    """One access between its intent and its outcome. Times are monotonic seconds."""

    id: str
    named: Named
    barrier: Barrier
    started: float
    rows: int = 0
    bytes_in: int = 0
    bytes_out: int = 0  # of the store's answer, whether or not they have left
    tags: list[str] = field(default_factory=list)
    finished: bool = False
    copy_in: bool = False  # it takes CopyData
    effects: list[Any] = field(default_factory=list)  # provisional names that its success confirms
    _digest: Any = None

    def intent(self, who: Identity, sequence: int, content: SqlContent) -> Draft:
        facts = AccessIntent(
            grant=who.grant.grant,
            request=who.grant.request,
            subject=who.grant.subject,
            store=who.grant.store,
            protocol="postgres",
            actions=list(self.named.actions),
            operation=self.named.operation,
            resources=list(self.named.resources),
            client_address=who.client_address,
            address_grade=who.address_grade,  # type: ignore[arg-type]
            credential=who.key,
            session=who.session,
            sequence=sequence,
            fingerprint=self.named.fingerprint,
            parameters=self.named.parameters,
        )
        return who.draft("access.intent", facts, content, self.id)

    def took(self, payload: memoryview | bytes) -> None:
        """Copy data on its way to the store: counted and digested, never recorded itself."""
        if self._digest is None:
            self._digest = hashlib.sha256()
        self._digest.update(payload)
        self.bytes_in += len(payload)

    def tagged(self, tag: str, rows: int) -> None:
        if len(self.tags) < TAGS:
            self.tags.append(tag)
        if self.copy_in or not self.rows:
            self.rows += rows  # rows that were sent are counted one by one; a tag counts those only changed

    def progress(self, who: Identity, released: int) -> Draft:
        facts = AccessProgress(access=self.id, bytes_out=released, rows=self.rows)
        return who.draft("access.progress", facts)

    def outcome(self, who: Identity, result: str, sqlstate: str, now: float) -> Draft:
        facts = AccessOutcome(
            access=self.id,
            result=result,  # type: ignore[arg-type]
            sqlstate=sqlstate,
            command="; ".join(self.tags),
            rows=self.rows,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            duration_us=max(0, round((now - self.started) * 1_000_000)),
            body_digest=self._digest.hexdigest() if self._digest is not None else "",
        )
        return who.draft("access.outcome", facts)


def content_of(text: str, bind: Bind | None, oids: Sequence[int], cap: int, continues: str = "") -> SqlContent | None:
    """The text with its secrets taken out, and the parameters; None if that is longer than may be recorded."""
    if len(text) > cap:
        return None
    clear, redacted = redact(text)
    parameters = parameters_of(bind, oids, cap) if bind is not None else []
    return SqlContent(text=clear, parameters=parameters, redacted=list(redacted), continues=continues)


def parameters_of(bind: Bind, oids: Sequence[int], cap: int) -> list[dict[str, str | int | None]]:
    """Each value by its type: text as text, binary in base64, long ones by length and SHA-256.

    Once `cap` bytes stand there in full, whatever is longer than its digest is written as one.
    """
    parameters: list[dict[str, str | int | None]] = []
    room = cap
    for index, value in enumerate(bind.values):
        entry: dict[str, str | int | None] = {"oid": oids[index] if index < len(oids) else 0}
        if value is None:
            entry["text"] = None
        elif len(value) > VALUE_BYTES or len(value) > max(room, 64):
            entry["bytes"] = len(value)
            entry["sha256"] = hashlib.sha256(value).hexdigest()
        else:
            room -= len(value)
            entry |= _clear(value, bind.format(index))
        parameters.append(entry)
    return parameters


def _clear(value: bytes, code: int) -> dict[str, str]:
    if code == 0:
        try:
            return {"text": value.decode()}
        except UnicodeDecodeError:
            pass  # the store will refuse it; the record holds it as it came
    return {"base64": base64.b64encode(value).decode()}
