"""The trial's way into the emulated Slack: a process of its own, announced by one line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from glassgate.demo.children import ChildFailed
from glassgate.demo.slack import Message, Slack, SlackRefused, start_slack
from tests.support.source_tree import ROOT


@pytest.fixture
def slack(tmp_path: Path) -> Iterator[Slack]:
    made = start_slack(ROOT, 0, tmp_path / "slack.log")
    yield made
    made.child.stop()


def test_it_announces_itself(slack: Slack) -> None:
    assert slack.api_url.startswith("http://127.0.0.1:")
    assert slack.channel == "C0ACCESS"
    assert slack.connections() == 0


def test_what_is_not_there_is_said(slack: Slack) -> None:
    with pytest.raises(SlackRefused):
        slack.sees("olga", "nothing of the kind", wait_s=0.05)
    with pytest.raises(SlackRefused, match="no such message"):
        slack.click("olga", Message(slack.channel, "1.0", "", ()), "Approve")
    with pytest.raises(SlackRefused, match="no such modal"):
        slack.submit("olga", "V0", {})


def test_an_emulator_that_is_gone_is_said(slack: Slack) -> None:
    slack.child.stop()
    with pytest.raises(SlackRefused, match="does not answer"):
        slack.connections()


def test_without_a_checkout_there_is_no_emulator(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="checkout"):
        start_slack(tmp_path, 0, tmp_path / "log")
