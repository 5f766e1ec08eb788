"""Slack's payloads, read strictly: what we use has the right type and size, everything else is not looked at.

Slack adds fields at any time, so unknown ones are passed over; a missing or misshapen one that we need raises
PayloadRefused. A person is (team, user) of the *user*: for somebody of another organisation `team.id` is the
installing side, and a user id alone is not unique.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

import msgspec

from approvals.ids import is_id

__all__ = [
    "Account",
    "ButtonClick",
    "Carried",
    "Command",
    "PayloadRefused",
    "Submission",
    "button_click",
    "carry",
    "command",
    "submission",
]

MAX_VALUE_CHARS: Final = 2000  # of a button's value, by Slack
MAX_METADATA_CHARS: Final = 3000  # of a view's private_metadata, by Slack
MAX_INPUT_CHARS: Final = 3000  # of a text input, by Slack
MAX_COMMAND_CHARS: Final = 8000  # ours; Slack says nothing

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Trigger = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class PayloadRefused(ValueError):
    """Not shaped as Slack's documentation says. The text names the field and holds no user text."""


@dataclass(frozen=True, slots=True)
class Account:
    """A Slack account, as the policy names it: `T…:U…`."""

    team: str
    user: str


@dataclass(frozen=True, slots=True)
class Command:
    account: Account
    channel: str
    text: str
    trigger: str


@dataclass(frozen=True, slots=True)
class Carried:
    """What our buttons and modals carry to know what they are about. It names things and gives no right to them:
    everything is checked again when it comes back, since whoever signs requests can put anything here."""

    request: str
    digest: str = ""  # of what was shown
    grant: str = ""


@dataclass(frozen=True, slots=True)
class ButtonClick:
    account: Account
    action: str
    carried: Carried
    channel: str
    trigger: str


@dataclass(frozen=True, slots=True)
class Submission:
    """`texts` and `choices` are by block id: what was typed, and the values of what was chosen."""

    account: Account
    view: str
    form: str  # the view's callback_id
    metadata: str
    texts: dict[str, str]
    choices: dict[str, tuple[str, ...]]

    @property
    def carried(self) -> Carried:
        """What the modal was about; PayloadRefused where it carries none."""
        return _carried(self.metadata)


class _User(msgspec.Struct):
    id: _Id
    team_id: _Id


class _Command(msgspec.Struct):
    team_id: _Id
    user_id: _Id
    channel_id: _Id
    trigger_id: _Trigger
    text: Annotated[str, msgspec.Meta(max_length=MAX_COMMAND_CHARS)] = ""


class _Action(msgspec.Struct):
    action_id: _Name
    value: Annotated[str, msgspec.Meta(max_length=MAX_VALUE_CHARS)] = ""


class _Place(msgspec.Struct):
    id: _Id


class _BlockActions(msgspec.Struct):
    user: _User
    trigger_id: _Trigger
    actions: Annotated[list[_Action], msgspec.Meta(min_length=1, max_length=1)]
    channel: _Place


class _Option(msgspec.Struct):
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=150)]


class _Input(msgspec.Struct):
    value: Annotated[str, msgspec.Meta(max_length=MAX_INPUT_CHARS)] | None = None
    selected_option: _Option | None = None
    selected_options: Annotated[list[_Option], msgspec.Meta(max_length=100)] | None = None


class _State(msgspec.Struct):
    values: Annotated[dict[str, Annotated[dict[str, _Input], msgspec.Meta(max_length=1)]], msgspec.Meta(max_length=100)]


class _View(msgspec.Struct):
    id: _Id
    callback_id: _Name
    state: _State
    private_metadata: Annotated[str, msgspec.Meta(max_length=MAX_METADATA_CHARS)] = ""


class _ViewSubmission(msgspec.Struct):
    user: _User
    view: _View


def command(body: Any) -> Command:
    """A slash command's fields."""
    read = _convert(body, _Command)
    _sound(read.text, "text")
    return Command(Account(read.team_id, read.user_id), read.channel_id, read.text, read.trigger_id)


def button_click(body: Any) -> ButtonClick:
    """A `block_actions` payload of one of our buttons in a message."""
    read = _convert(body, _BlockActions)
    account = Account(read.user.team_id, read.user.id)
    action = read.actions[0]
    return ButtonClick(account, action.action_id, _carried(action.value), read.channel.id, read.trigger_id)


def submission(body: Any) -> Submission:
    """A `view_submission` payload of one of our modals."""
    read = _convert(body, _ViewSubmission)
    texts: dict[str, str] = {}
    choices: dict[str, tuple[str, ...]] = {}
    for block, elements in read.view.state.values.items():
        for given in elements.values():
            if given.selected_options is not None:
                choices[block] = tuple(option.value for option in given.selected_options)
            elif given.selected_option is not None:
                choices[block] = (given.selected_option.value,)
            else:
                texts[block] = _sound(given.value or "", "value")
    view = read.view
    account = Account(read.user.team_id, read.user.id)
    return Submission(account, view.id, view.callback_id, view.private_metadata, texts, choices)


def _sound(text: str, field: str) -> str:
    """JSON can spell half a surrogate pair, which is no character and which no database takes."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise PayloadRefused(f"{field}: not text")
    return text


def carry(carried: Carried) -> str:
    """The text for a button's value or a modal's private_metadata."""
    fields = {"request": carried.request, "digest": carried.digest, "grant": carried.grant}
    return json.dumps({name: value for name, value in fields.items() if value}, separators=(",", ":"))


def _carried(text: str) -> Carried:
    try:
        fields = msgspec.json.decode(text.encode("utf-8", "replace"), type=_CarriedFields)
    except msgspec.DecodeError:
        raise PayloadRefused("value: not one of ours") from None
    if not is_id("req", fields.request) or (fields.grant and not is_id("gr", fields.grant)):
        raise PayloadRefused("value: names no request")
    return Carried(fields.request, fields.digest, fields.grant)


class _CarriedFields(msgspec.Struct, forbid_unknown_fields=True):
    request: str
    digest: Annotated[str, msgspec.Meta(max_length=64)] = ""
    grant: str = ""


T = TypeVar("T")


def _convert(body: Any, shape: type[T]) -> T:
    try:
        return msgspec.convert(body, shape)
    except msgspec.ValidationError as cause:
        # msgspec names the path and the expected type, never the value.
        raise PayloadRefused(str(cause)) from None
