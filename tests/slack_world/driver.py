"""People at their Slack: they type a command, click what they see, fill in a modal, read a channel.

A person can only do what Slack's client would let them do: click a button that stands there, choose an option
that is offered, submit a modal whose required inputs are filled.
"""

from dataclasses import dataclass
from typing import Any

from tests.slack_world import payloads, render
from tests.slack_world.delivery import Answer, Delivery
from tests.slack_world.methods import new_view
from tests.slack_world.world import App, Message, User, View, World

__all__ = ["Person", "Submitted"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Submitted:
    """How a submission ended: closed, or errors beside their labels, or `view`, what is shown now."""

    errors: dict[str, str]
    view: View | None
    failed: str = ""

    @property
    def accepted(self) -> bool:
        return not self.errors and not self.failed


class Person:
    """One user of one workspace, with the app as their workspace sees it."""

    def __init__(self, world: World, delivery: Delivery, app: App, user: User) -> None:
        self.world, self._delivery, self._app, self.account = world, delivery, app, user

    # --- doing ----------------------------------------------------------------------------------------------
    async def slash(self, command: str, text: str = "", channel: str = "general") -> Answer:
        """Type a command. The answer's text, if any, is shown to this person only. Commands of an app are not
        offered to people of other organisations."""
        if self.account.team != self._app.team:
            raise LookupError(f"{self.account.name} is of another organisation and sees no such command")
        place = self.world.channel(channel)
        if place is None:
            raise LookupError(f"no channel {channel!r}")
        payload = payloads.slash_command(self.world, self._app, self.account, place.id, command, text)
        answer = await self._delivery.deliver(self._app, "slash_commands", payload)
        if answer.body:
            self._ephemeral(place.id, answer.body)
        await self.world.announce()
        return answer

    async def click(self, message: Message, label: str) -> Answer:
        """Click the button of that label in a message this person can see."""
        if self.account.id not in self.world.channels[message.channel].members:
            raise LookupError(f"{self.account.name} is not in that channel")
        element, block_id = _button(message.blocks, label)
        payload = payloads.block_actions(self.world, self._app, self.account, message, element, block_id)
        answer = await self._delivery.deliver(self._app, "interactive", payload)
        await self.world.announce()
        return answer

    async def submit(self, view: View, values: dict[str, Any] | None = None) -> Submitted:
        """Fill inputs by their label (text; option text; list of option texts) and send the modal off."""
        filled = _fill(view.body["blocks"], values or {})
        payload = payloads.view_submission(self.world, self._app, self.account, view, filled)
        answer = await self._delivery.deliver(self._app, "interactive", payload)
        submitted = self._answered(view, answer)
        await self.world.announce()
        return submitted

    def _answered(self, view: View, answer: Answer) -> Submitted:
        if answer.error:
            return Submitted({}, view, answer.error)
        action = answer.body.get("response_action")
        if action == "errors":
            labels = {
                block.get("block_id"): block["label"]["text"] for block in view.body["blocks"] if "label" in block
            }
            unknown = set(answer.body["errors"]) - set(labels)
            if unknown:
                self.world.fail(f"errors for blocks that are no inputs of this view: {sorted(unknown)}")
            return Submitted({labels.get(at, at): text for at, text in answer.body["errors"].items()}, view)
        if action == "update":
            view.body = answer.body["view"]
            return Submitted({}, view)
        if action == "push":
            return Submitted({}, new_view(self.world, self.account.id, answer.body["view"], view))
        if action not in (None, "clear"):
            self.world.fail(f"response_action {action!r} is not served")
        for mine in self.world.views_of(self.account.id):
            if action == "clear" or mine is view:
                mine.open = False
        return Submitted({}, None)

    def _ephemeral(self, channel: str, body: Json) -> None:
        self.world.messages.append(
            Message(
                channel,
                self.world.timestamp(),
                self._app.bot_user,
                body.get("text", ""),
                body.get("blocks", []),
                bot_id=self._app.bot_id,
                ephemeral_for=self.account.id,
            )
        )

    # --- seeing ---------------------------------------------------------------------------------------------
    def messages(self, channel: str) -> list[Message]:
        place = self.world.channel(channel)
        if place is None or self.account.id not in place.members:
            raise LookupError(f"{self.account.name} sees no channel {channel!r}")
        return self.world.visible(place.id, self.account.id)

    def direct(self) -> list[Message]:
        """The conversation with the app."""
        return self.world.visible(self.world.im(self._app.bot_user, self.account.id).id, self.account.id)

    def sees(self, channel: str) -> str:
        """The whole channel as text."""
        return "\n\n".join(render.message_text(message) for message in self.messages(channel))

    def sees_direct(self) -> str:
        return "\n\n".join(render.message_text(message) for message in self.direct())

    async def message(self, channel: str, containing: str = "", timeout_s: float = 10.0) -> Message:
        """The newest message of a channel that contains a text, waited for."""

        def found() -> Message | None:
            return next((m for m in reversed(self.messages(channel)) if containing in render.message_text(m)), None)

        newest: Message = await self.world.until(found, timeout_s)
        return newest

    async def direct_message(self, containing: str = "", timeout_s: float = 10.0) -> Message:
        def found() -> Message | None:
            return next((m for m in reversed(self.direct()) if containing in render.message_text(m)), None)

        newest: Message = await self.world.until(found, timeout_s)
        return newest

    async def modal(self, timeout_s: float = 10.0) -> View:
        """The modal in front of this person, waited for."""
        view: View = await self.world.until(self.top_view, timeout_s)
        return view

    def top_view(self) -> View | None:
        stack = self.world.views_of(self.account.id)
        return stack[-1] if stack else None

    def close_modals(self) -> None:
        for view in self.world.views_of(self.account.id):
            view.open = False


def _button(blocks: list[Json], label: str) -> tuple[Json, str]:
    offered = []
    for number, block in enumerate(blocks):
        elements = list(block.get("elements", [])) if block["type"] == "actions" else []
        if "accessory" in block:
            elements.append(block["accessory"])
        for element in elements:
            offered.append(element["text"]["text"])
            if element["text"]["text"] == label:
                return element, block.get("block_id", f"b{number}")
    raise LookupError(f"no button {label!r} here, only {offered}")


def _fill(blocks: list[Json], values: dict[str, Any]) -> Json:
    """`state.values`: initial values, overlaid by what the person chose."""
    inputs = {block["label"]["text"]: block for block in blocks if block["type"] == "input"}
    unknown = set(values) - set(inputs)
    if unknown:
        raise LookupError(f"no input {sorted(unknown)} here, only {sorted(inputs)}")
    state: Json = {}
    for label, block in inputs.items():
        element = block["element"]
        value = _typed(element, values[label]) if label in values else _initial(element)
        if not block.get("optional") and not (value.get("value") or _chosen(value)):
            raise LookupError(f"the client asks to complete {label!r} first")
        state.setdefault(block["block_id"], {})[element["action_id"]] = value
    return state


def _chosen(value: Json) -> Any:
    return value.get("selected_option") or value.get("selected_options")


def _initial(element: Json) -> Json:
    kind = element["type"]
    if kind == "plain_text_input":
        return {"type": kind, "value": element.get("initial_value") or None}
    if kind == "checkboxes":
        return {"type": kind, "selected_options": element.get("initial_options", [])}
    return {"type": kind, "selected_option": element.get("initial_option")}


def _typed(element: Json, wanted: Any) -> Json:
    kind = element["type"]
    if kind == "plain_text_input":
        if len(wanted) > element.get("max_length", 3000):
            raise LookupError(f"the client lets nobody type more than {element.get('max_length', 3000)} characters")
        return {"type": kind, "value": wanted or None}
    if kind == "checkboxes":
        return {"type": kind, "selected_options": [_option(element, text) for text in wanted]}
    return {"type": kind, "selected_option": _option(element, wanted)}


def _option(element: Json, text: str) -> Json:
    for option in element["options"]:
        if option["text"]["text"] == text:
            return dict(option)
    raise LookupError(f"no option {text!r}, only {[option['text']['text'] for option in element['options']]}")
