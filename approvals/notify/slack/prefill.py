"""`/access customers-db 1h INC-42 order missing`: what a command line says already, for the form to show."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from approvals.notify.slack import words
from approvals.views import ReasonView, StoreView

__all__ = ["Prefill", "prefill"]

MAX_TICKET_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class Prefill:
    """What to show in the form at first. A person reads and sends it; nothing is decided from this."""

    store: str = ""
    duration_s: int = 0
    reason: str = ""
    ticket: str = ""
    purpose: str = ""


def prefill(text: str, stores: Sequence[StoreView]) -> Prefill:
    """Read a command's text: store, duration and ticket in any order at its start, the rest is the purpose.

    A word that fits nothing starts the purpose, so nothing that was typed is lost.
    """
    names = {store.name for store in stores}
    reasons = {reason.code: reason for store in stores for reason in store.reasons}
    store, duration_s, reason, ticket = "", 0, "", ""
    rest = text.strip()
    while rest:
        word, _, after = rest.partition(" ")
        if not store and word in names:
            store = word
        elif not duration_s and words.duration_s(word):
            duration_s = words.duration_s(word) or 0
        elif not ticket and (found := _reason_of(word, reasons.values())):
            reason, ticket = found.code, word
        else:
            break
        rest = after.strip()
    return Prefill(store, duration_s, reason, ticket, rest)


def _reason_of(word: str, reasons: Iterable[ReasonView]) -> ReasonView | None:
    """The reason whose tickets are spelled like that word."""
    if len(word) > MAX_TICKET_CHARS:
        return None
    for reason in reasons:
        if reason.ticket and re.fullmatch(reason.ticket, word):
            return reason
    return None
