"""The whole state of the emulated Slack, and the few rules that belong to state: ids, clock, membership."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["App", "Channel", "Clock", "Message", "Trigger", "User", "View", "Workspace", "World"]

Json = dict[str, Any]

TRIGGER_LIFETIME_S = 3.0


class Clock:
    """Wall time that a test can push forward."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds


@dataclass
class Workspace:
    id: str
    name: str
    domain: str


@dataclass
class User:
    id: str
    team: str
    name: str
    real_name: str
    email: str = ""
    deleted: bool = False
    is_bot: bool = False
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    is_stranger: bool = False


@dataclass
class Channel:
    """`members` are user ids. A shared channel has members of several workspaces; a DM has exactly two."""

    id: str
    name: str
    members: set[str] = field(default_factory=set)
    is_im: bool = False
    is_archived: bool = False


@dataclass
class Message:
    channel: str
    ts: str
    user: str
    text: str
    blocks: list[Json]
    bot_id: str = ""
    edits: int = 0
    deleted: bool = False
    ephemeral_for: str = ""  # a user id; such a message cannot be updated
    metadata: Json | None = None


@dataclass
class View:
    """A modal as one person sees it; `stack` order is by `World.views_of`."""

    id: str
    hash: str
    user: str
    team: str
    body: Json
    root: str = ""
    previous: str = ""
    open: bool = True


@dataclass
class Trigger:
    id: str
    user: str
    made_at: float
    used: bool = False


@dataclass
class App:
    """One installed app with its bot, as one workspace installed it."""

    id: str
    team: str
    bot_user: str
    bot_id: str
    bot_token: str
    app_token: str
    signing_secret: str
    scopes: set[str]
    request_url: str = ""  # where signed HTTP goes; empty: Socket Mode
    verification_token: str = "verification-token-nobody-should-use"


class World:
    """Everything there is. Changes are announced through `changed`, so that nobody has to poll."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.workspaces: dict[str, Workspace] = {}
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.apps: list[App] = []
        self.messages: list[Message] = []
        self.views: dict[str, View] = {}
        self.triggers: dict[str, Trigger] = {}
        self.failures: list[str] = []
        self.calls: list[tuple[str, Json]] = []
        self._counter = 0
        self._changed = asyncio.Condition()

    # --- building -------------------------------------------------------------------------------------------
    def add_workspace(self, team: str, name: str, domain: str = "") -> Workspace:
        self.workspaces[team] = Workspace(team, name, domain or name.lower().replace(" ", "-"))
        return self.workspaces[team]

    def add_user(self, team: str, user: str, name: str, real_name: str = "", **flags: Any) -> User:
        self.users[user] = User(user, team, name, real_name or name.title(), **flags)
        return self.users[user]

    def add_channel(self, channel: str, name: str, members: set[str]) -> Channel:
        self.channels[channel] = Channel(channel, name, set(members))
        return self.channels[channel]

    def add_app(self, app: App) -> App:
        self.add_user(app.team, app.bot_user, "glassgate", "glassgate", is_bot=True)
        self.apps.append(app)
        return app

    # --- finding --------------------------------------------------------------------------------------------
    def user(self, name: str) -> User:
        """By id or by handle."""
        for user in self.users.values():
            if name in (user.id, user.name):
                return user
        raise LookupError(f"nobody here is called {name!r}")

    def channel(self, name: str) -> Channel | None:
        """By id or by name, with or without `#`."""
        for channel in self.channels.values():
            if name.removeprefix("#") in (channel.id, channel.name) and not channel.is_archived:
                return channel
        return None

    def im(self, one: str, other: str) -> Channel:
        """The direct conversation of two users, made when first asked for."""
        for channel in self.channels.values():
            if channel.is_im and channel.members == {one, other}:
                return channel
        made = Channel(f"D0{self.number():06d}", "", {one, other}, is_im=True)
        self.channels[made.id] = made
        return made

    def visible(self, channel: str, viewer: str = "") -> list[Message]:
        """What stands in a channel for one viewer: no deleted messages, ephemeral ones only for their reader."""
        return [
            message
            for message in self.messages
            if message.channel == channel and not message.deleted and message.ephemeral_for in ("", viewer)
        ]

    def message(self, channel: str, ts: str) -> Message | None:
        return next((m for m in self.messages if m.channel == channel and m.ts == ts and not m.deleted), None)

    def views_of(self, user: str) -> list[View]:
        """The open modals of a person, lowest first."""
        return [view for view in self.views.values() if view.user == user and view.open]

    # --- counting and time ----------------------------------------------------------------------------------
    def number(self) -> int:
        self._counter += 1
        return self._counter

    def timestamp(self) -> str:
        """A message's `ts`: unique in the world, ordered."""
        return f"{int(self.clock.now())}.{self.number():06d}"

    def new_trigger(self, user: str) -> str:
        trigger = Trigger(f"{self.number()}.{int(self.clock.now())}.trigger", user, self.clock.now())
        self.triggers[trigger.id] = trigger
        return trigger.id

    def use_trigger(self, text: str) -> tuple[Trigger | None, str]:
        """The trigger and an error word, one of them empty."""
        trigger = self.triggers.get(text)
        if trigger is None:
            return None, "invalid_trigger_id"
        if trigger.used:
            return None, "exchanged_trigger_id"
        if self.clock.now() - trigger.made_at > TRIGGER_LIFETIME_S:
            return None, "expired_trigger_id"
        trigger.used = True
        return trigger, ""

    # --- telling --------------------------------------------------------------------------------------------
    def fail(self, text: str) -> None:
        """Remember that the product did what this emulator does not serve: a test that sees this has failed."""
        self.failures.append(text)

    async def announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        """Wait for the condition to be true and return its value; TimeoutError with the world's failures else."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(condition), timeout_s)
            except TimeoutError:
                raise TimeoutError(f"never happened; failures so far: {self.failures}") from None
        return condition()
