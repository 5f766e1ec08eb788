"""The desk by itself: what a person is shown when the service refuses."""

from typing import Any

import pytest

from approvals.errors import Fault, Refusal
from approvals.notify.slack.desk import Desk
from approvals.notify.slack.payloads import Account, Carried, Submission, carry
from approvals.reasons import TEXT, Reason
from tests.approvals.notify.slack.views import GRANT, REQUEST


class Refusing:
    """A service that knows everybody and refuses everything."""

    queries: Any = None

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal

    async def person_by_slack(self, team: str, user: str) -> Any:
        if self.refusal.reason is Reason.PERSON_UNKNOWN:
            raise self.refusal
        return type("Person", (), {"id": "olga"})

    async def review(self, *_: Any, **__: Any) -> None:
        raise self.refusal

    create_request = revoke = review


SENT = Submission(
    Account("T0ZURICH", "U0OLGA"),
    "V1",
    "gg.approve",
    carry(Carried(REQUEST, "5f" * 32, GRANT)),
    {"comment": "yes", "purpose": "", "ticket": ""},
    {"duration": ("1800",), "actions": ("read",)},
)


def desk(refusal: Refusal) -> Desk:
    return Desk(Refusing(refusal), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("act", ["approved", "denied", "ended"])
async def test_what_may_pass_keeps_the_form_open(act: str) -> None:
    answer = await getattr(desk(Refusal(Reason.UNAVAILABLE)), act)(SENT)
    assert answer == {"response_action": "errors", "errors": {"comment": TEXT[Reason.UNAVAILABLE]}}


@pytest.mark.parametrize("act", ["approved", "denied", "ended"])
@pytest.mark.parametrize(
    "reason", [Reason.SELF_REVIEW, Reason.ALREADY_REVIEWED, Reason.PERSON_UNKNOWN, Reason.SHOWN_OTHER]
)
async def test_what_will_not_pass_replaces_it(act: str, reason: Reason) -> None:
    answer = await getattr(desk(Refusal(reason, cause="private")), act)(SENT)
    assert answer["response_action"] == "update"
    assert answer["view"]["blocks"][0]["text"]["text"] == TEXT[reason]
    assert "private" not in str(answer)


async def test_faults_stand_beside_their_fields() -> None:
    faults = [Fault("comment", "too long"), Fault("duration_s", "too long too")]
    answer = await desk(Refusal(Reason.REQUEST_INVALID, faults=faults)).approved(SENT)
    assert answer["errors"] == {"comment": "too long", "duration": "too long too"}


@pytest.mark.parametrize("reason", [Reason.NO_RULE, Reason.UNAVAILABLE, Reason.CONFLICT])
async def test_asking_that_is_refused_keeps_what_was_typed(reason: Reason) -> None:
    answer = await desk(Refusal(reason)).asked(SENT)
    assert answer == {"response_action": "errors", "errors": {"store": TEXT[reason]}}


async def test_a_stranger_who_sends_a_form() -> None:
    answer = await desk(Refusal(Reason.PERSON_UNKNOWN)).asked(SENT)
    assert answer["response_action"] == "update"
