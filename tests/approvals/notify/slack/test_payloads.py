"""Payloads read strictly: real shapes in, anything else PayloadRefused."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.notify.slack import payloads
from approvals.notify.slack.payloads import Account, Carried, PayloadRefused, carry
from tests.approvals.notify.slack.views import GRANT, REQUEST

CLICK: dict[str, Any] = {
    "type": "block_actions",
    "user": {"id": "U0OLGA", "username": "olga", "name": "olga", "team_id": "T0ZURICH"},
    "api_app_id": "A0GATE",
    "trigger_id": "1.2.x",
    "team": {"id": "T0ACME", "domain": "acme"},
    "channel": {"id": "C0ACCESS", "name": "access"},
    "actions": [
        {"action_id": "gg.approve", "block_id": "b", "type": "button", "value": carry(Carried(REQUEST, "5f" * 32))}
    ],
}
SENT: dict[str, Any] = {
    "type": "view_submission",
    "team": {"id": "T0ZURICH"},
    "user": {"id": "U0OLGA", "team_id": "T0ZURICH"},
    "view": {
        "id": "V1",
        "callback_id": "gg.approve",
        "private_metadata": carry(Carried(REQUEST, "5f" * 32, GRANT)),
        "state": {
            "values": {
                "comment": {"v": {"type": "plain_text_input", "value": "fine"}},
                "ticket": {"v": {"type": "plain_text_input", "value": None}},
                "duration": {"v": {"type": "static_select", "selected_option": {"value": "1800"}}},
                "store": {"v": {"type": "static_select", "selected_option": None}},
                "actions": {"v": {"type": "checkboxes", "selected_options": [{"value": "read"}]}},
            }
        },
    },
}
COMMAND = {"team_id": "T0ACME", "user_id": "U0ADA", "channel_id": "C1", "trigger_id": "1.2.x", "text": "customers-db"}


def test_a_click_is_the_users_and_not_the_installing_sides() -> None:
    click = payloads.button_click(CLICK)
    assert click.account == Account("T0ZURICH", "U0OLGA")
    assert click.carried == Carried(REQUEST, "5f" * 32)
    assert (click.action, click.channel) == ("gg.approve", "C0ACCESS")


def test_a_submission() -> None:
    sent = payloads.submission(SENT)
    assert sent.account == Account("T0ZURICH", "U0OLGA")
    assert sent.carried == Carried(REQUEST, "5f" * 32, GRANT)
    assert sent.texts == {"comment": "fine", "ticket": "", "store": ""}
    assert sent.choices == {"duration": ("1800",), "actions": ("read",)}


def test_a_command() -> None:
    assert payloads.command(COMMAND).account == Account("T0ACME", "U0ADA")


@pytest.mark.parametrize("name", ["team_id", "user_id", "channel_id", "trigger_id"])
@pytest.mark.parametrize("value", [None, "", 7, "x" * 300, ["T0ACME"], "T0 ACME", "T0:ACME"])
def test_a_command_without_one_of_them(name: str, value: Any) -> None:
    if name == "trigger_id" and value in ("T0 ACME", "T0:ACME"):
        return
    with pytest.raises(PayloadRefused):
        payloads.command(COMMAND | {name: value})


@pytest.mark.parametrize(
    "value",
    [
        *("", "{}", "approve", '{"request":"gr_01k8x3m5q0000000000000000b"}', '{"request":"req_x"}', "[1]", "\ud800"),
        *(carry(Carried(REQUEST))[:-1] + ',"more":1}', '{"request":["' + REQUEST + '"]}'),
        '{"request":"' + REQUEST + '","digest":"' + "f" * 65 + '"}',
    ],
)
def test_a_button_that_is_none_of_ours(value: str) -> None:
    click = copy.deepcopy(CLICK)
    click["actions"][0]["value"] = value
    with pytest.raises(PayloadRefused, match="value"):
        payloads.button_click(click)


@pytest.mark.parametrize("actions", [[], CLICK["actions"] * 2, None, {}])
def test_exactly_one_action(actions: Any) -> None:
    with pytest.raises(PayloadRefused):
        payloads.button_click(CLICK | {"actions": actions})


def test_half_a_surrogate_pair_is_no_text() -> None:
    sent = copy.deepcopy(SENT)
    sent["view"]["state"]["values"]["comment"]["v"]["value"] = "a\ud800b"
    with pytest.raises(PayloadRefused, match="not text"):
        payloads.submission(sent)


def test_a_user_without_a_team_is_nobody() -> None:
    with pytest.raises(PayloadRefused, match="team_id"):
        payloads.submission(SENT | {"user": {"id": "U0OLGA"}})


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(_json, st.sampled_from(["user", "view", "actions", "channel", "trigger_id", "team_id"]))
def test_anything_else_is_refused_and_nothing_else_is_raised(value: Any, field: str) -> None:
    for read, body in ((payloads.command, COMMAND), (payloads.button_click, CLICK), (payloads.submission, SENT)):
        for given_body in (value, body | {field: value}):
            try:
                read(given_body)
            except PayloadRefused as refused:
                assert len(str(refused)) < 400
