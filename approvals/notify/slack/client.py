"""The Web API calls we make, through slack-sdk with one session, and its failures in our own words.

Two clients share the session. The one that answers a person in front of a modal waits out a short rate limit
itself; the one that delivers from the outbox does not wait while it holds a row, it gives the wish back and the
outbox keeps it. Neither reads proxies from the environment: where this process talks to is configuration.
"""

import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import aiohttp

from approvals.notify.channel import Undeliverable, Unreachable
from approvals.notify.slack.blocks import Message

__all__ = ["SLACK_API", "MessageGone", "SlackClient"]

_log = logging.getLogger(__name__)

SLACK_API: Final = "https://slack.com/api/"
TIMEOUT_S: Final = 10

GONE: Final = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
"""The message cannot be changed any more, by deletion, age or rights: post it anew."""
WAIT: Final = frozenset(
    {
        # Slack's own trouble
        *(
            "internal_error",
            "fatal_error",
            "service_unavailable",
            "request_timeout",
            "ratelimited",
            "team_added_to_org",
        ),
        # ours to repair: losing events to a wrong token or a missing invitation would be silent
        *("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope"),
        *("not_allowed_token_type", "not_in_channel", "channel_not_found", "is_archived", "restricted_action"),
    }
)
"""Errors that hold for whatever would be sent next: the channel waits until somebody has mended it."""


class MessageGone(Exception):
    """The message is not there to be updated."""


class SlackClient:
    """Raises Unreachable, Undeliverable or MessageGone, nothing of the library's."""

    def __init__(self, bot_token: str, api_url: str = SLACK_API, timeout_s: float = TIMEOUT_S) -> None:
        from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
        from slack_sdk.web.async_client import AsyncWebClient

        timeout = aiohttp.ClientTimeout(total=timeout_s)
        # The library's own timeout does not apply to a session that it is given.
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)

        def client(retry_handlers: list[Any], token: str | None = bot_token) -> AsyncWebClient:
            made = AsyncWebClient(
                token=token,
                base_url=api_url,
                timeout=int(timeout_s) or 1,
                session=self._session,
                retry_handlers=retry_handlers,
            )
            made.proxy = None  # set by the library from HTTP(S)_PROXY when it is not given
            return made

        self._interactive = client([AsyncRateLimitErrorRetryHandler(max_retry_count=1)])
        # No retry on a broken connection either: a lost answer would post the message twice within a second.
        self._delivery = client([])
        # For bolt's own use: it opens sockets with the app token and is told our token per request.
        self.for_bolt = client([], token=None)

    async def close(self) -> None:
        await self._session.close()

    async def open_view(self, trigger: str, view: Mapping[str, Any]) -> None:
        """Show a modal to the person whose act made the trigger, within 3 s of it."""
        await _call(self._interactive.views_open(trigger_id=trigger, view=dict(view)))

    async def whisper(self, channel: str, user: str, text: str) -> None:
        """A message that only that person sees, and only now. `text` is mrkdwn: escape what is not ours."""
        await _call(self._interactive.chat_postEphemeral(channel=channel, user=user, text=text))

    async def post(self, channel: str, message: Message) -> tuple[str, str]:
        """(channel, ts) of the new message."""
        answer = await _call(
            self._delivery.chat_postMessage(
                channel=channel, text=message.text, blocks=message.blocks, unfurl_links=False, unfurl_media=False
            )
        )
        return str(answer["channel"]), str(answer["ts"])

    async def update(self, channel: str, ts: str, message: Message) -> None:
        await _call(self._delivery.chat_update(channel=channel, ts=ts, text=message.text, blocks=message.blocks))

    async def direct(self, user: str) -> str:
        """The channel id of the conversation with that person."""
        answer = await _call(self._delivery.conversations_open(users=[user]))
        return str(answer["channel"]["id"])


async def _call(call: Awaitable[Any]) -> Any:
    from slack_sdk.errors import SlackApiError, SlackClientError

    try:
        return await call
    except SlackApiError as cause:
        raise _translated(cause) from cause
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as cause:
        raise Unreachable(f"{type(cause).__name__} at Slack") from cause


def _translated(cause: Any) -> Exception:
    """The library's one exception for every refusal, taken apart."""
    answer = cause.response
    status = int(getattr(answer, "status_code", 0) or getattr(answer, "status", 0) or 0)
    data = getattr(answer, "data", None)
    word = data.get("error", "") if isinstance(data, dict) else ""
    if status == 429 or word == "ratelimited":
        return Unreachable("rate limited", _retry_after_s(getattr(answer, "headers", {})))
    if status >= 500 or not word:
        return Unreachable(f"HTTP {status}")
    if word in GONE:
        return MessageGone(word)
    if word in WAIT:
        return Unreachable(word)
    details = data.get("response_metadata", {}).get("messages", []) if isinstance(data, dict) else []
    return Undeliverable(f"{word} {'; '.join(map(str, details))}".strip()[:400])


def _retry_after_s(headers: Mapping[str, Any]) -> float | None:
    """Retry-After in seconds, at most an hour; None where it is missing or no number."""
    for name, value in headers.items():
        if name.lower() == "retry-after":
            text = value[0] if isinstance(value, list) else value
            return min(float(text), 3600.0) if str(text).isdigit() else None
    return None
