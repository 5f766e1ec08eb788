"""How far an end has reached the proxies."""

from datetime import timedelta

from approvals.revocation import Worker, acknowledgement
from tests.approvals.world import START


def worker(name: str, applied: int, *, first: int = 3, seen: float = 0) -> Worker:
    return Worker(name, applied, first, START + timedelta(seconds=seen))


def state(*workers: Worker, after: float = 1) -> tuple[str, tuple[str, ...]]:
    view = acknowledgement(7, START, workers, START + timedelta(seconds=after))
    assert view.version == 7
    return view.state, view.waiting_for


def test_states() -> None:
    assert state() == ("REVOKE_DONE", ())
    assert state(worker("a", 7), worker("b", 9)) == ("REVOKE_DONE", ())
    assert state(worker("b", 6), worker("a", 7), worker("c", 0)) == ("REVOKE_PENDING", ("b", "c"))
    # In contact and not enforcing it for longer than the contact limit.
    assert state(worker("a", 6, seen=10.5), after=11) == ("REVOKE_FAILED", ("a",))
    # Out of contact for as long: it serves nothing.
    assert state(worker("a", 6, seen=0), after=11) == ("REVOKE_DONE", ())
    assert state(worker("a", 6, seen=0), after=9) == ("REVOKE_PENDING", ("a",))
    # Came later: the first thing it heard was that the grant is over.
    assert state(worker("a", 0, first=7, seen=0.5)) == ("REVOKE_DONE", ())
    # Came after the end was written and before it was committed: it heard that the grant lives.
    assert state(worker("a", 0, first=6, seen=0.5)) == ("REVOKE_PENDING", ("a",))
