"""What happens when a person does something in Slack: who is it, what do they see, what does the service say.

Knows nothing of HTTP, Socket Mode or bolt: each method takes what payloads.py read and returns what to acknowledge
with. A click that only opens a modal is acknowledged at once; whatever decides is committed by the service first
and acknowledged after, so that a modal which closes means that it happened.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from approvals.errors import Refusal
from approvals.identity.subject import Person
from approvals.notify.channel import Undeliverable, Unreachable
from approvals.notify.slack import forms, outcome, words
from approvals.notify.slack.blocks import APPROVE, DENY, END, SHOW_ALL
from approvals.notify.slack.client import SlackClient
from approvals.notify.slack.payloads import Account, ButtonClick, Carried, Command, Submission
from approvals.notify.slack.prefill import prefill
from approvals.notify.slack.telling import names_in
from approvals.reasons import Reason
from approvals.service import Approvals
from approvals.views import RequestView

__all__ = ["Acknowledgement", "Desk"]

_log = logging.getLogger(__name__)

Acknowledgement = dict[str, Any]
"""Arguments of bolt's `ack`: nothing closes the modal; `text`; `response_action` with `errors` or `view`."""


class Desk:
    """`nudge` tells the outbox that something was committed just now."""

    def __init__(self, service: Approvals, client: SlackClient, nudge: Callable[[], None] = lambda: None) -> None:
        self._service, self._queries, self._client, self._nudge = service, service.queries, client, nudge

    # --- asking -----------------------------------------------------------------------------------------------

    async def ask(self, said: Command) -> Acknowledgement:
        """`/access …`: open the form, or say in one sentence why not."""
        try:
            person = await self._person(said.account)
            stores = await self._queries.stores(person.id)
            if not any(store.askable for store in stores):
                raise Refusal(Reason.NO_RULE)
        except Refusal as refusal:
            return {"text": words.escaped(refusal.public), "response_type": "ephemeral"}
        view = forms.ask_form(stores, prefill(said.text, [store for store in stores if store.askable]))
        await self._open(said.trigger, view)
        return {}

    async def asked(self, sent: Submission) -> Acknowledgement:
        """The form, sent off. The view's id makes a repeated delivery the same request."""
        try:
            person = await self._person(sent.account)
            request = await self._service.create_request(
                person.id, forms.asked(sent), via="slack", idempotency_key=f"slack:{sent.view}"
            )
        except Refusal as refusal:
            if refusal.reason is Reason.PERSON_UNKNOWN:
                return _not_done(refusal)
            return {"response_action": "errors", "errors": forms.errors(refusal, _ASKED, "store")}
        self._nudge()
        waiting = words.listed([slot.label for slot in request.quorum])
        text = f"{waiting} will be asked. You get a message here when it is decided.\n\nRequest {request.id}"
        return {"response_action": "update", "view": forms.note("Asked", text)}

    # --- deciding ---------------------------------------------------------------------------------------------

    async def clicked(self, click: ButtonClick) -> None:
        """A button under a request: show the modal that belongs to it, or tell the person why not."""
        try:
            person = await self._person(click.account)
            view = await self._queries.request(click.carried.request, viewer=person.id)
            modal = await self._modal(click.action, click.carried, view, person)
        except Refusal as refusal:
            await self._whisper(click, refusal.public)
        else:
            await self._open(click.trigger, modal)

    async def _modal(self, action: str, carried: Carried, view: RequestView, person: Person) -> dict[str, Any]:
        if action == SHOW_ALL:
            return forms.show_all(view)
        if action == END:
            if view.grant is None or view.grant.state not in ("issued", "active"):
                raise await self._over(Reason.GRANT_NOT_ACTIVE, view)
            return forms.end_form(view)
        if view.state != "pending":
            raise await self._over(Reason.REQUEST_NOT_PENDING, view)
        if carried.digest != view.digest:
            raise Refusal(Reason.SHOWN_OTHER)
        if person.id == view.requester:
            raise Refusal(Reason.SELF_REVIEW)
        if any(review.reviewer == person.id for review in view.reviews):
            raise Refusal(Reason.ALREADY_REVIEWED)
        return {APPROVE: forms.approve_form, DENY: forms.deny_form}[action](view)

    async def _over(self, reason: Reason, view: RequestView) -> Refusal:
        """It is decided: the refusal says how, since the message may be older than the decision."""
        in_force = await self._queries.policy()
        return Refusal(reason, outcome.plain_notification(view, names_in(in_force.policy if in_force else None)))

    async def approved(self, sent: Submission) -> Acknowledgement:
        return await self._decide(sent, self._approve)

    async def denied(self, sent: Submission) -> Acknowledgement:
        return await self._decide(sent, self._deny)

    async def ended(self, sent: Submission) -> Acknowledgement:
        return await self._decide(sent, self._end)

    async def _approve(self, person: Person, sent: Submission) -> None:
        carried, comment = sent.carried, sent.texts.get("comment", "")
        await self._service.review(
            person.id, carried.request, "approve", comment, forms.narrowing(sent), carried.digest, via="slack"
        )

    async def _deny(self, person: Person, sent: Submission) -> None:
        carried, comment = sent.carried, sent.texts.get("comment", "")
        await self._service.review(person.id, carried.request, "deny", comment, None, carried.digest, via="slack")

    async def _end(self, person: Person, sent: Submission) -> None:
        await self._service.revoke(person.id, sent.carried.grant, sent.texts.get("comment", ""), via="slack")

    async def _decide(self, sent: Submission, act: Callable[[Person, Submission], Awaitable[None]]) -> Acknowledgement:
        """Committed when this returns. Faults stand beside their fields, and what was typed stays there; any other
        refusal replaces the modal, since nothing that could be typed in it would change the answer."""
        try:
            await act(await self._person(sent.account), sent)
        except Refusal as refusal:
            if refusal.faults or refusal.reason in _TRY_AGAIN:
                return {"response_action": "errors", "errors": forms.errors(refusal, _blocks_of(sent), "comment")}
            return _not_done(refusal)
        self._nudge()
        return {}

    # --- both -------------------------------------------------------------------------------------------------

    async def _person(self, account: Account) -> Person:
        return await self._service.person_by_slack(account.team, account.user)

    async def _open(self, trigger: str, view: dict[str, Any]) -> None:
        """A modal that cannot be opened is a click that did nothing: the person clicks again."""
        try:
            await self._client.open_view(trigger, view)
        except (Unreachable, Undeliverable) as cause:
            _log.warning("a modal could not be opened: %s", cause)

    async def _whisper(self, click: ButtonClick, text: str) -> None:
        try:
            await self._client.whisper(click.channel, click.account.user, words.escaped(text))
        except (Unreachable, Undeliverable) as cause:
            _log.warning("a refusal could not be shown: %s", cause)


_TRY_AGAIN = frozenset({Reason.WIDER_THAN_ASKED, Reason.UNAVAILABLE})
_ASKED = ("store", "actions", "duration", "reason", "ticket", "purpose")


def _blocks_of(sent: Submission) -> list[str]:
    return [*sent.texts, *sent.choices]


def _not_done(refusal: Refusal) -> Acknowledgement:
    return {"response_action": "update", "view": forms.note("Not done", refusal.public)}
