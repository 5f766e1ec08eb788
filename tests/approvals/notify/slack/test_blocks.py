"""What people read, kept as text, and Slack's limits against the largest and most hostile request there can be."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.errors import Fault, Refusal
from approvals.notify.slack import forms
from approvals.notify.slack.blocks import request_message
from approvals.notify.slack.direct import direct_message, next_command
from approvals.notify.slack.payloads import Carried, PayloadRefused, Submission, carry
from approvals.notify.slack.prefill import Prefill
from approvals.reasons import Reason
from approvals.views import QuorumView, RequestView
from tests.approvals.notify.slack.views import (
    ASKED_AT,
    GRANT,
    NAMES,
    REQUEST,
    active,
    approved,
    denied,
    request,
    review,
    revoked,
    stores,
)
from tests.slack_world import limits, render
from tests.slack_world.world import View
from tests.support.snapshots import matches

SNAPSHOTS = Path(__file__).parent / "snapshots"

STATES: dict[str, RequestView] = {
    "pending": request(),
    "pending_signed": request(assurance="signed"),
    "pending_partly": request(
        quorum=(
            QuorumView("overseer:zurich", "Zurich Data Oversight", 1, ("olga",)),
            QuorumView("member", "Acme AG", 1, ()),
        ),
        reviews=(review(),),
    ),
    "denied": denied(),
    "cancelled": request(state="cancelled", closed_by="ada", closed_at=ASKED_AT),
    "expired_unanswered": request(state="expired", closed_at=ASKED_AT + timedelta(hours=12)),
    "approved_narrowed": approved(),
    "approved_as_asked": replace(
        approved(duration_s=3600, actions=("read", "write")),
        reviews=(review(duration_s=3600, actions=("read", "write"), comment=""),),
    ),
    "active": active(),
    "revoked": revoked(),
    "ended": active(state="ended", closed_by="ada", closed_at=ASKED_AT + timedelta(minutes=15)),
    "expired": active(state="expired", closed_at=ASKED_AT + timedelta(minutes=40)),
    "expired_unused": approved(state="expired", closed_at=ASKED_AT + timedelta(minutes=65)),
}
HOSTILE = "<!channel> <@U0OLGA> <https://evil.example|Approve> *bold* `code` :rotating_light: \u202eevorppa &amp;"


def modal_text(body: dict[str, Any]) -> str:
    return render.view_text(View("V1", "h", "U", "T", body))


@pytest.mark.parametrize("name", STATES)
def test_the_message_in_each_state(name: str) -> None:
    message = request_message(STATES[name], NAMES)
    assert limits.check_message(message.blocks) == ("", [])
    matches(SNAPSHOTS / f"message_{name}.txt", f"({message.text})\n\n{render.blocks_text(message.blocks)}")


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("approved_narrowed", "request.approved"),
        ("expired_unused", "request.approved"),
        ("denied", "request.denied"),
        ("expired_unanswered", "request.expired"),
        ("revoked", "grant.revoked"),
        ("expired", "grant.expired"),
    ],
)
def test_the_direct_message(name: str, topic: str) -> None:
    message = direct_message(STATES[name], topic, NAMES)
    assert limits.check_message(message.blocks) == ("", [])
    said = render.blocks_text(message.blocks)
    assert ("glassgate connect" in said) == (name == "approved_narrowed"), "the command only while it works"
    matches(SNAPSHOTS / f"direct_{topic}_{name}.txt", f"({message.text})\n\n{said}")


def test_the_next_command_fits_the_protocol() -> None:
    assert next_command(request()) == "glassgate connect customers-db"
    assert next_command(request(protocol="http", store="crm-api")) == "glassgate curl crm-api /"


def test_the_forms() -> None:
    shown = {
        "ask": forms.ask_form(stores(), Prefill()),
        "ask_filled": forms.ask_form(stores(), Prefill("customers-db", 2700, "incident", "INC-42", "order missing")),
        "approve": forms.approve_form(request()),
        "deny": forms.deny_form(request()),
        "end": forms.end_form(active()),
        "whole": forms.show_all(request()),
    }
    for name, body in shown.items():
        assert limits.check_view(body) == ("", []), name
        matches(SNAPSHOTS / f"form_{name}.txt", modal_text(body))


def test_buttons_carry_the_digest_of_what_was_shown() -> None:
    blocks = request_message(request(), NAMES).blocks
    values = [item["value"] for block in blocks if block["type"] == "actions" for item in block["elements"]]
    assert [json.loads(value) for value in values] == [{"request": REQUEST, "digest": "5f" * 32}] * 2


def test_only_what_can_be_done_has_a_button() -> None:
    offered = {name: render.buttons(request_message(view, NAMES).blocks) for name, view in STATES.items()}
    assert {name: labels for name, labels in offered.items() if labels} == {
        "pending": ["Approve", "Deny"],
        "pending_signed": ["Deny"],
        "pending_partly": ["Approve", "Deny"],
        "approved_narrowed": ["End now"],
        "approved_as_asked": ["End now"],
        "active": ["End now"],
    }


def largest() -> RequestView:
    return request(
        purpose="p" * 2000,
        ticket="T" * 64,
        resources=tuple("r" * 200 for _ in range(50)),
        reviews=tuple(review(comment="c" * 2000) for _ in range(20)),
        requester_name="n" * 200,
        reason_text="t" * 200,
        rule="u" * 200,
        store="s" * 63,
    )


def test_the_largest_request_stays_below_ten_thousand_characters() -> None:
    message = request_message(largest(), NAMES)
    assert limits.check_message(message.blocks) == ("", [])
    assert limits.characters(message.blocks) < 10_000
    assert "[Show all]" in render.blocks_text(message.blocks)


def test_what_is_cut_in_the_channel_is_whole_where_it_is_approved() -> None:
    view = request(purpose="p" * 1900 + " and the end", resources=tuple(f"table_{n:03}" for n in range(50)))
    assert "and the end" not in render.blocks_text(request_message(view, NAMES).blocks)
    for body in (forms.approve_form(view), forms.show_all(view), forms.approve_form(largest())):
        assert limits.check_view(body) == ("", [])
    for body in (forms.approve_form(view), forms.show_all(view)):
        assert "and the end" in modal_text(body)
        assert "table_049" in modal_text(body)


def test_hostile_text_stays_text_everywhere() -> None:
    view = replace(
        revoked(),
        purpose=HOSTILE,
        ticket=HOSTILE[:64],
        requester_name=HOSTILE,
        resources=(HOSTILE,),
        reviews=(review(comment=HOSTILE),),
        reason_text=HOSTILE,
        rule=HOSTILE,
        store=HOSTILE,
    )
    hostile_names = NAMES | {"olga": HOSTILE}
    assert view.grant is not None
    for shown in (view, replace(view, state="pending"), replace(view, grant=replace(view.grant, comment=HOSTILE))):
        message = request_message(shown, hostile_names)
        direct = direct_message(shown, "grant.revoked", hostile_names)
        for made in (message, direct):
            assert limits.check_message(made.blocks) == ("", [])
            assert "⟦" not in render.blocks_text(made.blocks)
            assert "<" not in made.text
            assert "\u202e" not in json.dumps(made.blocks, ensure_ascii=False)
    for body in (forms.approve_form(view), forms.end_form(view), forms.show_all(view)):
        assert limits.check_view(body) == ("", [])
        assert "⟦" not in modal_text(body)


@settings(max_examples=60)
@given(st.text(max_size=2100), st.text(max_size=70), st.text(max_size=80), st.lists(st.text(max_size=200), max_size=50))
def test_any_text_gives_a_message_that_slack_takes(purpose: str, ticket: str, name: str, resources: list[str]) -> None:
    view = request(purpose=purpose, ticket=ticket, requester_name=name, resources=tuple(resources))
    assert limits.check_message(request_message(view, NAMES).blocks) == ("", [])
    for body in (forms.approve_form(view), forms.show_all(view), forms.deny_form(view)):
        assert limits.check_view(body) == ("", [])


def sent(texts: dict[str, str], choices: dict[str, tuple[str, ...]]) -> Submission:
    return Submission(None, "V1", "form", carry(Carried(REQUEST, "", GRANT)), texts, choices)  # type: ignore[arg-type]


def test_what_was_filled_in_goes_to_the_service_as_it_is() -> None:
    asked = forms.asked(
        sent(
            {"ticket": " INC-42 ", "purpose": "why"},
            {"store": ("customers-db",), "actions": ("read",), "reason": ("incident",), "duration": ("3600",)},
        )
    )
    assert (asked.store, asked.actions, asked.reason) == ("customers-db", ("read",), "incident")
    assert (asked.ticket, asked.purpose, asked.duration_s) == ("INC-42", "why", 3600)


def test_nothing_filled_in_is_nothing_and_no_default() -> None:
    asked = forms.asked(sent({}, {}))
    assert (asked.store, asked.actions, asked.reason, asked.purpose, asked.duration_s) == ("", (), "", "", 0)
    assert forms.narrowing(sent({}, {})).actions == ()


@pytest.mark.parametrize("value", ["1h", "-1", "９", "1" * 30, "3600.0"])
def test_a_duration_that_no_form_of_ours_offers(value: str) -> None:
    with pytest.raises(PayloadRefused, match="duration"):
        forms.narrowing(sent({}, {"duration": (value,)}))


def test_faults_stand_beside_their_fields() -> None:
    refusal = Refusal(
        Reason.REQUEST_INVALID,
        faults=[
            Fault("duration_s", "at most 1 h"),
            Fault("purpose", "must not be empty"),
            Fault("resources", "too many"),
        ],
    )
    assert forms.errors(refusal, ["store", "duration", "purpose"], "store") == {
        "duration": "at most 1 h",
        "purpose": "must not be empty",
        "store": "too many",
    }
    assert forms.errors(Refusal(Reason.NO_RULE), ["store"], "store") == {"store": Refusal(Reason.NO_RULE).public}
