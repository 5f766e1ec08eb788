"""bolt's listeners: each reads its payload, calls the desk, acknowledges. Nothing is decided here."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from approvals.notify.slack import forms, payloads
from approvals.notify.slack.blocks import APPROVE, DENY, END, SHOW_ALL
from approvals.notify.slack.desk import Acknowledgement, Desk
from approvals.notify.slack.payloads import PayloadRefused, Submission

__all__ = ["register"]

_log = logging.getLogger(__name__)

Ack = Callable[..., Awaitable[Any]]


def register(app: Any, desk: Desk, command: str) -> None:
    """Add the listeners to a bolt AsyncApp. `command` is the slash command's name, `/access`."""
    app.command(command)(_asking(desk))
    for action in (APPROVE, DENY, END, SHOW_ALL):
        app.action(action)(_clicking(desk))
    app.view(forms.ASK_FORM)(_sending(desk.asked))
    app.view(forms.APPROVE_FORM)(_sending(desk.approved))
    app.view(forms.DENY_FORM)(_sending(desk.denied))
    app.view(forms.END_FORM)(_sending(desk.ended))


def _asking(desk: Desk) -> Callable[[Ack, dict[str, Any]], Awaitable[None]]:
    async def listener(ack: Ack, body: dict[str, Any]) -> None:
        try:
            await ack(**await desk.ask(payloads.command(body)))
        except PayloadRefused as refused:
            await _unreadable(ack, refused)

    return listener


def _clicking(desk: Desk) -> Callable[[Ack, dict[str, Any]], Awaitable[None]]:
    async def listener(ack: Ack, body: dict[str, Any]) -> None:
        try:
            click = payloads.button_click(body)
        except PayloadRefused as refused:
            await _unreadable(ack, refused)
            return
        await ack()  # nothing is decided by opening a modal, and its trigger lives for three seconds only
        await desk.clicked(click)

    return listener


def _sending(
    act: Callable[[Submission], Awaitable[Acknowledgement]],
) -> Callable[[Ack, dict[str, Any]], Awaitable[None]]:
    async def listener(ack: Ack, body: dict[str, Any]) -> None:
        try:
            await ack(**await act(payloads.submission(body)))
        except PayloadRefused as refused:
            await _unreadable(ack, refused)

    return listener


async def _unreadable(ack: Ack, refused: PayloadRefused) -> None:
    """Signed, but not shaped like anything of ours: nothing happens, and it is not sent again."""
    _log.warning("a payload from Slack was not understood: %s", refused)
    await ack()
