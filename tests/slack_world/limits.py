"""What Block Kit refuses: unknown or missing fields, wrong types, lengths and counts.

Only the blocks and elements named here are served; any other is an emulator gap (`Unserved`), never silence.
The numbers are in table.py.
"""

from collections.abc import Callable
from typing import Any

from tests.slack_world import table

__all__ = ["MESSAGE_TOTAL_CHARACTERS", "Unserved", "check_message", "check_view"]

Json = dict[str, Any]
Faults = list[str]

MESSAGE_TOTAL_CHARACTERS = 13_200
"""Not documented; seen by users of bolt-js as `msg_blocks_too_long`."""


class Unserved(Exception):
    """Valid at Slack perhaps, but this emulator has no rule for it: the test must fail, not pass by luck."""


def check_message(blocks: list[Json]) -> tuple[str, Faults]:
    """An error word and its details; ("", []) when Slack would take the message's blocks."""
    faults: Faults = []
    if len(blocks) > table.MESSAGE_BLOCKS_MAX_ITEMS:
        faults.append(f"no more than {table.MESSAGE_BLOCKS_MAX_ITEMS} items allowed [json-pointer:/blocks]")
    for index, block in enumerate(blocks):
        _block(block, f"/blocks/{index}", faults, surface="message")
    _unique(blocks, faults)
    if faults:
        return "invalid_blocks", faults
    if characters(blocks) > MESSAGE_TOTAL_CHARACTERS:
        return "msg_blocks_too_long", [f"{characters(blocks)} characters"]
    return "", []


def check_view(view: Json) -> tuple[str, Faults]:
    """The same for a modal."""
    faults: Faults = []
    _fields(view, "/view", faults, {"type", "title", "blocks"}, _VIEW_OPTIONAL)
    if view.get("type") != "modal":
        raise Unserved(f"a view of type {view.get('type')!r}")
    for name, limit in (
        ("title", table.VIEW_TITLE_MAX_LENGTH),
        ("submit", table.VIEW_SUBMIT_MAX_LENGTH),
        ("close", table.VIEW_CLOSE_MAX_LENGTH),
    ):
        if name in view:
            _text(view[name], f"/view/{name}", faults, limit, plain=True)
    _length(view.get("private_metadata", ""), "/view/private_metadata", faults, table.VIEW_PRIVATE_METADATA_MAX_LENGTH)
    _length(view.get("callback_id", ""), "/view/callback_id", faults, table.VIEW_CALLBACK_ID_MAX_LENGTH)
    blocks = view.get("blocks", [])
    if len(blocks) > table.VIEW_BLOCKS_MAX_ITEMS:
        faults.append(f"no more than {table.VIEW_BLOCKS_MAX_ITEMS} items allowed [json-pointer:/view/blocks]")
    for index, block in enumerate(blocks):
        _block(block, f"/view/blocks/{index}", faults, surface="modal")
    _unique(blocks, faults)
    if any(block.get("type") == "input" for block in blocks) and "submit" not in view:
        faults.append("must define `submit` to use an `input` block [json-pointer:/view/submit]")
    return ("invalid_arguments", faults) if faults else ("", [])


_VIEW_OPTIONAL = {"submit", "close", "private_metadata", "callback_id", "notify_on_close", "clear_on_close"}


def characters(value: Any) -> int:
    """All text inside blocks, counted."""
    if isinstance(value, dict):
        own = len(value["text"]) if isinstance(value.get("text"), str) else 0
        return own + sum(characters(item) for item in value.values())
    if isinstance(value, list):
        return sum(characters(item) for item in value)
    return 0


def _unique(blocks: list[Json], faults: Faults) -> None:
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(ids) != len(set(ids)):
        faults.append("block_id already exists")


def _block(block: Json, at: str, faults: Faults, *, surface: str) -> None:
    kind = block.get("type")
    rule = _BLOCKS.get(str(kind))
    if rule is None:
        raise Unserved(f"a block of type {kind!r}")
    if kind == "input" and surface == "message":
        faults.append(f"input blocks are not served in messages [json-pointer:{at}]")
    _length(block.get("block_id", "x"), at + "/block_id", faults, table.BLOCK_ID_MAX_LENGTH)
    rule(block, at, faults)


def _section(block: Json, at: str, faults: Faults) -> None:
    _fields(block, at, faults, {"type"}, {"text", "fields", "accessory", "block_id", "expand"})
    if "text" not in block and "fields" not in block:
        faults.append(f"must have `text` or `fields` [json-pointer:{at}]")
    if "text" in block:
        _text(block["text"], at + "/text", faults, table.SECTION_TEXT_MAX_LENGTH)
    fields = block.get("fields", [])
    if len(fields) > table.SECTION_FIELDS_MAX_ITEMS:
        faults.append(f"no more than {table.SECTION_FIELDS_MAX_ITEMS} items allowed [json-pointer:{at}/fields]")
    for index, item in enumerate(fields):
        _text(item, f"{at}/fields/{index}", faults, table.SECTION_FIELDS_ITEM_MAX_LENGTH)
    if "accessory" in block:
        _element(block["accessory"], at + "/accessory", faults)


def _header(block: Json, at: str, faults: Faults) -> None:
    _fields(block, at, faults, {"type", "text"}, {"block_id"})
    _text(block.get("text"), at + "/text", faults, table.HEADER_TEXT_MAX_LENGTH, plain=True)


def _context(block: Json, at: str, faults: Faults) -> None:
    _fields(block, at, faults, {"type", "elements"}, {"block_id"})
    _count(block.get("elements", []), at + "/elements", faults, table.CONTEXT_ELEMENTS_MAX_ITEMS)
    for index, item in enumerate(block.get("elements", [])):
        _text(item, f"{at}/elements/{index}", faults, table.TEXT_MAX_LENGTH)


def _actions(block: Json, at: str, faults: Faults) -> None:
    _fields(block, at, faults, {"type", "elements"}, {"block_id"})
    _count(block.get("elements", []), at + "/elements", faults, table.ACTIONS_ELEMENTS_MAX_ITEMS)
    for index, item in enumerate(block.get("elements", [])):
        _element(item, f"{at}/elements/{index}", faults)
    ids = [item.get("action_id") for item in block.get("elements", [])]
    if len(ids) != len(set(ids)):
        faults.append(f"action_id already exists [json-pointer:{at}/elements]")


def _divider(block: Json, at: str, faults: Faults) -> None:
    _fields(block, at, faults, {"type"}, {"block_id"})


def _input(block: Json, at: str, faults: Faults) -> None:
    _fields(block, at, faults, {"type", "label", "element"}, {"block_id", "hint", "optional"})
    _text(block.get("label"), at + "/label", faults, table.INPUT_LABEL_MAX_LENGTH, plain=True)
    if "hint" in block:
        _text(block["hint"], at + "/hint", faults, table.INPUT_HINT_MAX_LENGTH, plain=True)
    _element(block.get("element", {}), at + "/element", faults)


_BLOCKS: dict[str, Callable[[Json, str, Faults], None]] = {
    "section": _section,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "divider": _divider,
    "input": _input,
}


def _element(element: Json, at: str, faults: Faults) -> None:
    rule = _ELEMENTS.get(str(element.get("type")))
    if rule is None:
        raise Unserved(f"an element of type {element.get('type')!r}")
    _length(element.get("action_id", "x"), at + "/action_id", faults, table.ACTION_ID_MAX_LENGTH)
    rule(element, at, faults)


def _button(element: Json, at: str, faults: Faults) -> None:
    _fields(element, at, faults, {"type", "text", "action_id"}, {"value", "style", "url", "accessibility_label"})
    _text(element.get("text"), at + "/text", faults, table.BUTTON_TEXT_MAX_LENGTH, plain=True)
    _length(element.get("value", ""), at + "/value", faults, table.BUTTON_VALUE_MAX_LENGTH)
    if element.get("style", "primary") not in ("primary", "danger"):
        faults.append(f"style must be primary or danger [json-pointer:{at}/style]")


def _static_select(element: Json, at: str, faults: Faults) -> None:
    _fields(element, at, faults, {"type", "action_id", "options"}, {"placeholder", "initial_option"})
    if "placeholder" in element:
        _text(element["placeholder"], at + "/placeholder", faults, table.SELECT_PLACEHOLDER_MAX_LENGTH, plain=True)
    initial = [element["initial_option"]] if "initial_option" in element else []
    _options(element.get("options", []), initial, at, faults, table.SELECT_OPTIONS_MAX_ITEMS)


def _checkboxes(element: Json, at: str, faults: Faults) -> None:
    _fields(element, at, faults, {"type", "action_id", "options"}, {"initial_options"})
    initial = element.get("initial_options", [])
    if "initial_options" in element and not initial:
        faults.append(f"initial_options must not be empty [json-pointer:{at}/initial_options]")
    _options(element.get("options", []), initial, at, faults, table.CHECKBOXES_OPTIONS_MAX_ITEMS)


def _plain_text_input(element: Json, at: str, faults: Faults) -> None:
    optional = {"placeholder", "initial_value", "multiline", "min_length", "max_length", "focus_on_load"}
    _fields(element, at, faults, {"type", "action_id"}, optional)
    if "placeholder" in element:
        limit = table.PLAIN_TEXT_INPUT_PLACEHOLDER_MAX_LENGTH
        _text(element["placeholder"], at + "/placeholder", faults, limit, plain=True)
    most = element.get("max_length", table.PLAIN_TEXT_INPUT_MAX_LENGTH_MAX)
    if not 1 <= most <= table.PLAIN_TEXT_INPUT_MAX_LENGTH_MAX:
        faults.append(f"max_length out of range [json-pointer:{at}/max_length]")
    _length(element.get("initial_value", ""), at + "/initial_value", faults, most)


_ELEMENTS: dict[str, Callable[[Json, str, Faults], None]] = {
    "button": _button,
    "static_select": _static_select,
    "checkboxes": _checkboxes,
    "plain_text_input": _plain_text_input,
}


def _options(options: list[Json], initial: list[Json], at: str, faults: Faults, most: int) -> None:
    _count(options, at + "/options", faults, most)
    for index, option in enumerate(options):
        here = f"{at}/options/{index}"
        _fields(option, here, faults, {"text", "value"}, {"description"})
        _text(option.get("text"), here + "/text", faults, table.OPTION_TEXT_MAX_LENGTH)
        if not isinstance(option.get("value"), str) or not option["value"]:
            faults.append(f"must be a string [json-pointer:{here}/value]")
        _length(option.get("value", ""), here + "/value", faults, table.OPTION_VALUE_MAX_LENGTH)
        if "description" in option:
            _text(option["description"], here + "/description", faults, table.OPTION_DESCRIPTION_MAX_LENGTH)
    values = [option.get("value") for option in options]
    if len(values) != len(set(values)):
        faults.append(f"option values must be unique [json-pointer:{at}/options]")
    faults.extend(f"initial option is not among the options [json-pointer:{at}]" for o in initial if o not in options)


def _text(value: Any, at: str, faults: Faults, most: int, *, plain: bool = False) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        faults.append(f"must be a text object [json-pointer:{at}]")
        return
    kinds = {"plain_text"} if plain else {"plain_text", "mrkdwn"}
    if value.get("type") not in kinds:
        faults.append(f"text type {value.get('type')!r} is not allowed here [json-pointer:{at}]")
    extra = {"emoji"} if value.get("type") == "plain_text" else {"verbatim"}
    _fields(value, at, faults, {"type", "text"}, extra)
    if not value["text"]:
        faults.append(f"must be more than 0 characters [json-pointer:{at}/text]")
    _length(value["text"], at + "/text", faults, most)


def _fields(value: Json, at: str, faults: Faults, required: set[str], optional: set[str]) -> None:
    faults.extend(f"missing required field: {name} [json-pointer:{at}]" for name in sorted(required - set(value)))
    faults.extend(
        f"unsupported or unserved field: {name} [json-pointer:{at}]"
        for name in sorted(set(value) - required - optional)
    )


def _length(value: Any, at: str, faults: Faults, most: int) -> None:
    if not isinstance(value, str) or len(value) > most:
        faults.append(f"must be a string of at most {most} characters [json-pointer:{at}]")


def _count(items: list[Json], at: str, faults: Faults, most: int) -> None:
    if not 1 <= len(items) <= most:
        faults.append(f"must have 1 to {most} items [json-pointer:{at}]")
