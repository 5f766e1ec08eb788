"""Messages and modals as a person reads them, in plain text. Also what text tests compare with."""

import re
from typing import Any

from tests.slack_world.world import Message, View

__all__ = ["blocks_text", "buttons", "message_text", "view_text"]

Json = dict[str, Any]


def message_text(message: Message) -> str:
    """The blocks where there are any, else the text; Slack shows the text only in notifications then."""
    body = blocks_text(message.blocks) if message.blocks else _mrkdwn(message.text)
    return body + (" (edited)" if message.edits and not message.blocks else "")


def view_text(view: View) -> str:
    """A modal with its title, its blocks and its buttons."""
    body = view.body
    foot = [f"[{body[name]['text']}]" for name in ("close", "submit") if name in body]
    return "\n".join([f"== {body['title']['text']} ==", blocks_text(body["blocks"]), " ".join(foot)]).rstrip()


def blocks_text(blocks: list[Json]) -> str:
    return "\n".join(_block(block) for block in blocks)


def buttons(blocks: list[Json]) -> list[str]:
    """The labels of all buttons, in reading order."""
    found = [item for block in blocks for item in [*block.get("elements", []), block.get("accessory", {})]]
    return [item["text"]["text"] for item in found if item.get("type") == "button"]


def _block(block: Json) -> str:
    kind = block["type"]
    if kind == "divider":
        return "----"
    if kind == "header":
        return f"# {_text(block['text'])}"
    if kind == "context":
        return "· " + " · ".join(_text(item) for item in block["elements"])
    if kind == "actions":
        return " ".join(_element(item) for item in block["elements"])
    if kind == "input":
        optional = " (optional)" if block.get("optional") else ""
        hint = f"  ({_text(block['hint'])})" if "hint" in block else ""
        return f"{_text(block['label'])}{optional}: {_element(block['element'])}{hint}"
    lines = [_text(block["text"])] if "text" in block else []
    lines.extend(_text(item).replace("\n", ": ", 1) for item in block.get("fields", []))
    if "accessory" in block:
        lines.append(_element(block["accessory"]))
    return "\n".join(lines)


def _element(element: Json) -> str:
    kind = element["type"]
    if kind == "button":
        return f"[{_text(element['text'])}]"
    if kind == "plain_text_input":
        return f"<{element.get('initial_value', '')}>"
    if kind == "checkboxes":
        chosen = element.get("initial_options", [])
        return " ".join(
            f"[{'x' if option in chosen else ' '}] {_text(option['text'])}" for option in element["options"]
        )
    chosen_text = _text(element["initial_option"]["text"]) if "initial_option" in element else ""
    return f"<{chosen_text}> of " + " | ".join(_text(option["text"]) for option in element["options"])


def _text(value: Json) -> str:
    return _mrkdwn(value["text"]) if value["type"] == "mrkdwn" else value["text"]


_CONTROL = re.compile(r"<([^<>]*)>")


def _mrkdwn(text: str) -> str:
    """What Slack makes of mrkdwn: links, mentions and broadcasts come alive and are shown as such (`⟦…⟧`).

    A test that looks for `⟦` finds text that was meant to be inert and is not.
    """
    shown = _CONTROL.sub(lambda found: f"⟦{found.group(1)}⟧", text)
    for entity, plain in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        shown = shown.replace(entity, plain)
    return shown
