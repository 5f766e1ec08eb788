"""The outbox's Slack channel: one message per request that tells the truth, and direct messages to who asked.

Whatever happened, by whomever and through whichever door, the message is drawn anew from the request as it is now.
So an event delivered twice or late does no harm, and after an outage the newest state is what people see first.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from approvals.notify.channel import Event
from approvals.notify.slack import messages
from approvals.notify.slack.blocks import request_message
from approvals.notify.slack.client import MessageGone, SlackClient
from approvals.notify.slack.direct import TOLD, direct_message
from approvals.notify.slack.messages import Posted
from approvals.policy import Policy
from approvals.queries import Queries
from approvals.views import RequestView

__all__ = ["SlackChannel", "names_in"]

_log = logging.getLogger(__name__)

OVERSEERS: Final = "overseers"


class SlackChannel:
    """`channel` is where the overseers are; `pool` connects as glassgate_approvals."""

    name = "slack"

    def __init__(self, client: SlackClient, queries: Queries, pool: Any, channel: str) -> None:
        self._client, self._queries, self._pool, self._channel = client, queries, pool, channel

    async def deliver(self, event: Event) -> None:
        if not event.request:
            return
        view = await self._queries.request(event.request)
        if event.topic == "review.recorded" and view.state != "pending":
            return  # the review decided: the event of the decision, written with it, comes next
        policy = await self._policy()
        names = names_in(policy)
        await self._show(view, names)
        if event.topic in TOLD:
            await self._tell(view, event.topic, names, policy)

    async def _show(self, view: RequestView, names: Mapping[str, str]) -> None:
        """Update the message, or post it where there is none to update."""
        message = request_message(view, names)
        posted = await messages.find(self._pool, view.id, OVERSEERS)
        if posted is not None:
            try:
                await self._client.update(posted.channel, posted.ts, message)
                return
            except MessageGone as gone:
                _log.info("the message of %s is gone (%s): posting it anew", view.id, gone)
        channel, ts = await self._client.post(self._channel, message)
        await messages.remember(self._pool, view.id, OVERSEERS, Posted(channel, ts))

    async def _tell(self, view: RequestView, topic: str, names: Mapping[str, str], policy: Policy | None) -> None:
        """Tell the requester once per topic, if the policy knows their Slack account."""
        entry = policy.people.get(view.requester) if policy else None
        if entry is None or not entry.active or not entry.slack:
            return
        role = f"told:{topic}"
        if await messages.find(self._pool, view.id, role) is not None:
            return
        conversation = await self._client.direct(entry.slack.partition(":")[2])
        channel, ts = await self._client.post(conversation, direct_message(view, topic, names))
        await messages.remember(self._pool, view.id, role, Posted(channel, ts))

    async def _policy(self) -> Policy | None:
        in_force = await self._queries.policy()
        return in_force.policy if in_force else None


def names_in(policy: Policy | None) -> dict[str, str]:
    """Person id -> "Olga Example (Zurich Data Oversight)", of everybody who was ever enrolled."""
    if policy is None:
        return {}
    return {
        person: f"{entry.name} ({policy.organisations[entry.organisation].name})"
        for person, entry in policy.people.items()
    }
