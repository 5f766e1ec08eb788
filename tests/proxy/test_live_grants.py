"""The proxy's view of grants: watchers are told once, the dead stay dead, age is what makes it worthless."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from approvals.reasons import Reason
from approvals.scope import Scope
from proxy import live_grants
from proxy.live_grants import FRESH_S, STALE_S, GrantRow, KeyRow, LiveGrants, Sync

START = datetime(2026, 1, 1, tzinfo=UTC)


def grant(name: str = "gr_1", **changes: Any) -> GrantRow:
    row = GrantRow(
        grant=name,
        request="req_1",
        subject="ada",
        store="crm",
        scope=Scope("crm", ("read",)),
        state="active",
        starts_at=START,
        ends_at=START + timedelta(hours=1),
        store_def="d",
        decision="e",
        assurance="click",
        cnf="",
    )
    return msgspec.structs.replace(row, **changes)


def key(name: str = "k7f3", grant: str = "gr_1", **changes: Any) -> KeyRow:
    row = KeyRow(
        key=name, grant=grant, subject="ada", store="crm", sha256="ab" * 32, scram="SCRAM-SHA-256$x", live=True
    )
    return msgspec.structs.replace(row, **changes)


def view(*grants: GrantRow, keys: tuple[KeyRow, ...] = ()) -> LiveGrants:
    live = LiveGrants()
    live.apply(Sync(version=1, full=True, grants=list(grants), keys=list(keys)), now=0.0)
    return live


def test_age_decides_how_good_the_view_is() -> None:
    live = LiveGrants()
    assert live.freshness(0.0) == "stale"  # never heard from anybody
    live.apply(Sync(version=1, full=True, grants=[], keys=[]), now=100.0)
    assert live.freshness(100.0 + FRESH_S) == "fresh"
    assert live.freshness(100.1 + FRESH_S) == "late"
    assert live.freshness(100.0 + STALE_S) == "late"
    assert live.freshness(100.1 + STALE_S) == "stale"


@pytest.mark.parametrize(
    ("state", "reason"),
    [("revoked", Reason.GRANT_REVOKED), ("ended", Reason.GRANT_ENDED), ("expired", Reason.GRANT_EXPIRED)],
)
def test_the_end_is_told_once_and_with_its_own_reason(state: Any, reason: Reason) -> None:
    live = view(grant())
    told: list[Reason] = []
    live.watch("gr_1", told.append)
    for version in (2, 3):
        live.apply(Sync(version=version, full=False, grants=[grant(state=state)], keys=[]), now=1.0)
    assert told == [reason]


def test_once_ended_always_ended() -> None:
    live = view(grant(state="revoked"))
    live.apply(Sync(version=2, full=False, grants=[grant(state="active")], keys=[]), now=1.0)
    known = live.grant("gr_1")
    assert known is not None
    assert known.state == "revoked"


def test_a_report_from_the_past_changes_nothing_and_does_not_refresh() -> None:
    live = view(grant())
    live.apply(Sync(version=5, full=False, grants=[grant(state="revoked")], keys=[]), now=1.0)
    live.apply(Sync(version=4, full=True, grants=[grant("gr_2")], keys=[]), now=50.0)
    assert live.version == 5
    assert live.grant("gr_2") is None
    assert live.freshness(50.0) == "stale"


def test_a_grant_missing_from_a_full_report_is_over() -> None:
    live = view(grant(), grant("gr_2"), keys=(key(),))
    told: list[Reason] = []
    live.watch("gr_1", told.append)
    live.apply(Sync(version=2, full=True, grants=[grant("gr_2")], keys=[]), now=1.0)
    assert told == [Reason.GRANT_ENDED]
    assert live.key("crm", "ada") is None


def test_expiry_is_told_and_kills_the_keys() -> None:
    live = view(grant(), keys=(key(),))
    told: list[Reason] = []
    live.watch("gr_1", told.append)
    live.expire((START + timedelta(minutes=59)).timestamp())
    assert told == []
    live.expire((START + timedelta(hours=1)).timestamp())
    assert told == [Reason.GRANT_EXPIRED]
    assert live.key("crm", "ada", "k7f3") is None
    known = live.grant("gr_1")
    assert known is not None
    assert known.state == "expired"


def test_the_newest_key_answers_to_the_plain_name() -> None:
    live = view(grant(), keys=(key("aaaa"), key("bbbb")))
    assert (found := live.key("crm", "ada")) is not None
    assert found.key == "bbbb"
    assert (found := live.key("crm", "ada", "aaaa")) is not None
    assert found.key == "aaaa"
    live.apply(Sync(version=2, full=False, grants=[], keys=[key("bbbb", live=False)]), now=1.0)
    assert (found := live.key("crm", "ada")) is not None
    assert found.key == "aaaa"
    assert live.key("crm", "eve") is None
    assert live.key("other", "ada") is None


def test_losing_contact_cuts_what_is_watched_but_forgets_nothing() -> None:
    live = view(grant())
    told: list[Reason] = []
    live.watch("gr_1", told.append)
    live.cut_all(Reason.VIEW_STALE)
    assert told == [Reason.VIEW_STALE]
    assert live.grant("gr_1") is not None


def test_who_stops_watching_is_not_told() -> None:
    live = view(grant())
    told: list[Reason] = []
    stop = live.watch("gr_1", told.append)
    stop()
    stop()
    live.apply(Sync(version=2, full=False, grants=[grant(state="revoked")], keys=[]), now=1.0)
    assert told == []


def test_a_watcher_may_stop_others_while_being_told() -> None:
    live = view(grant())
    told: list[str] = []
    stops = []

    def first(_: Reason) -> None:
        told.append("first")
        for stop in stops:
            stop()

    live.watch("gr_1", first)
    stops.append(live.watch("gr_1", lambda _: told.append("second")))
    live.apply(Sync(version=2, full=False, grants=[grant(state="revoked")], keys=[]), now=1.0)
    assert told == ["first", "second"]  # told together: both sessions are over whatever the first one does


def test_the_dead_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_grants, "MAX_OVER", 3)
    live = view(grant("gr_live"))
    for number in range(9):
        dead = grant(f"gr_{number}", state="revoked")
        live.apply(Sync(version=2 + number, full=False, grants=[dead], keys=[]), now=1.0)
    assert [name for name in ("gr_5", "gr_6", "gr_7", "gr_8", "gr_live") if live.grant(name)] == [
        "gr_6",
        "gr_7",
        "gr_8",
        "gr_live",
    ]
