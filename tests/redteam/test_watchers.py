"""One session's trouble must not keep another one open."""

from approvals.reasons import Reason
from tests.proxy.test_live_grants import grant, view


def test_a_watcher_that_fails_does_not_shield_the_others() -> None:
    live = view(grant("gr_1"), grant("gr_2"))
    told: list[Reason] = []

    def broken(reason: Reason) -> None:
        raise RuntimeError("a transport in a state of its own")

    for name in ("gr_1", "gr_2"):
        live.watch(name, broken)
        live.watch(name, told.append)
    live.expire(1e12)
    assert told == [Reason.GRANT_EXPIRED, Reason.GRANT_EXPIRED]
