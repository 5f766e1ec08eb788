"""Block Kit as values: the few blocks and elements we use, each within Slack's limits by construction.

Limits are those of docs.slack.dev/reference/block-kit. Text that people typed goes in through `typed` (plain_text,
emoji off); `ours` is mrkdwn for our own words, whose variable parts went through `words.escaped`.
"""

from collections.abc import Sequence
from typing import Any, Final

from approvals.notify.slack import words

__all__ = [
    "actions",
    "button",
    "checkboxes",
    "chunks",
    "context",
    "field",
    "fields",
    "header",
    "input_block",
    "modal",
    "option",
    "ours",
    "section",
    "select",
    "text_input",
    "typed",
]

Block = dict[str, Any]

SECTION: Final = 3000
FIELD: Final = 2000
HEADER: Final = 150
BUTTON: Final = 75
OPTION: Final = 75
OPTIONS: Final = 100
TITLE: Final = 24
HINT: Final = 2000


def typed(text: str, most: int = SECTION) -> Block:
    """Inert text. Never empty, since Slack refuses empty text."""
    return {"type": "plain_text", "text": words.clipped(words.plain(text), most)[0] or "–", "emoji": False}


def ours(text: str, most: int = SECTION) -> Block:
    """Our own words, with `*bold*`. `verbatim` keeps Slack from turning names into links."""
    return {"type": "mrkdwn", "text": words.clipped(text, most)[0], "verbatim": True}


def section(text: Block, accessory: Block | None = None) -> Block:
    return {"type": "section", "text": text} | ({"accessory": accessory} if accessory else {})


def field(label: str, value: str) -> Block:
    """A label of ours over a value that may hold anything."""
    return typed(f"{label}\n{value}", FIELD)


def fields(items: Sequence[Block]) -> Block:
    """At most ten."""
    return {"type": "section", "fields": list(items[:10])}


def header(text: str) -> Block:
    return {"type": "header", "text": typed(text, HEADER)}


def context(*items: Block) -> Block:
    return {"type": "context", "elements": list(items[:10])}


def actions(*items: Block) -> Block:
    return {"type": "actions", "elements": list(items)}


def button(label: str, action: str, value: str, style: str = "") -> Block:
    made = {"type": "button", "text": typed(label, BUTTON), "action_id": action, "value": value}
    return made | ({"style": style} if style else {})


def option(label: str, value: str) -> Block:
    return {"text": typed(label, OPTION), "value": value}


def select(action: str, options: Sequence[Block], initial: str = "") -> Block:
    """A list to choose one of; the first hundred options, which is all that Slack takes."""
    offered = list(options[:OPTIONS])
    made: Block = {"type": "static_select", "action_id": action, "options": offered}
    chosen = [item for item in offered if item["value"] == initial]
    return made | ({"initial_option": chosen[0]} if chosen else {})


def checkboxes(action: str, options: Sequence[Block], initial: Sequence[str]) -> Block:
    offered = list(options[:10])
    made: Block = {"type": "checkboxes", "action_id": action, "options": offered}
    chosen = [item for item in offered if item["value"] in initial]
    return made | ({"initial_options": chosen} if chosen else {})


def text_input(action: str, *, most: int, initial: str = "", multiline: bool = False) -> Block:
    """`initial` must fit: Slack refuses a form whose initial value is longer than its own limit."""
    made: Block = {"type": "plain_text_input", "action_id": action, "max_length": most}
    if multiline:
        made["multiline"] = True
    return made | ({"initial_value": initial[:most]} if initial else {})


def input_block(block: str, label: str, element: Block, *, hint: str = "", optional: bool = False) -> Block:
    made: Block = {"type": "input", "block_id": block, "label": typed(label), "element": element}
    if hint:
        made["hint"] = typed(hint, HINT)
    return made | ({"optional": True} if optional else {})


def modal(title: str, form: str, blocks: Sequence[Block], *, submit: str = "", metadata: str = "") -> Block:
    """A view. Without `submit` there is nothing to send, only to read."""
    made: Block = {
        "type": "modal",
        "callback_id": form,
        "title": typed(title, TITLE),
        "close": typed("Close" if not submit else "Cancel", TITLE),
        "blocks": list(blocks[:100]),
    }
    if submit:
        made["submit"] = typed(submit, TITLE)
    return made | ({"private_metadata": metadata} if metadata else {})


def chunks(text: str, size: int = SECTION - 100) -> list[Block]:
    """A long text, whole, as as many sections as it takes."""
    shown = words.plain(text)
    return [section(typed(shown[start : start + size])) for start in range(0, len(shown), size)] or [section(typed(""))]
