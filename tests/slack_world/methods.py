"""The Web API, method by method: (world, app, arguments) -> answer, or an error word as Slack spells it.

`SERVED` names per method the scope it needs, the arguments it needs and those it serves. An argument outside that
table is not ignored: it raises `Unserved`, so that nobody believes an option was honoured that was not read.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.slack_world import limits
from tests.slack_world.limits import Unserved
from tests.slack_world.world import App, Message, User, View, World

__all__ = ["SERVED", "SlackError", "call"]

Json = dict[str, Any]


class SlackError(Exception):
    """`{ok: false, error: word}`, with HTTP status 200."""

    def __init__(self, word: str, details: list[str] | None = None) -> None:
        super().__init__(word)
        self.word = word
        self.details = details or []


@dataclass(frozen=True)
class Method:
    answer: Callable[[World, App, Json], Json]
    scope: str = ""
    needs: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    token: str = "bot"


def call(world: World, method: str, token: str, arguments: Json) -> Json:
    """What Slack answers. Raises SlackError for a refusal and Unserved for what is not emulated."""
    served = SERVED.get(method)
    if served is None:
        if method in KNOWN_BUT_UNSERVED:
            raise Unserved(f"{method} is not served")
        raise SlackError("unknown_method")
    app = _authenticate(world, served, token)
    unserved = set(arguments) - set(served.needs) - set(served.serves)
    if unserved:
        raise Unserved(f"{method}: argument {', '.join(sorted(unserved))} is not served")
    missing = [name for name in served.needs if not arguments.get(name)]
    if missing:
        raise SlackError("invalid_arguments", [f"[ERROR] missing required field: {name}" for name in missing])
    world.calls.append((method, arguments))
    return {"ok": True, **served.answer(world, app, arguments)}


def _authenticate(world: World, served: Method, token: str) -> App:
    if not token:
        raise SlackError("not_authed")
    for app in world.apps:
        if token in (app.bot_token, app.app_token):
            expected = app.app_token if served.token == "app" else app.bot_token
            if token != expected:
                raise SlackError("not_allowed_token_type")
            if served.scope and served.scope not in app.scopes:
                raise SlackError("missing_scope", [f"needed: {served.scope}"])
            return app
    raise SlackError("invalid_auth")


# --- people and channels -------------------------------------------------------------------------------------
def _auth_test(world: World, app: App, _arguments: Json) -> Json:
    team = world.workspaces[app.team]
    return {
        "url": f"https://{team.domain}.slack.com/",
        "team": team.name,
        "user": world.users[app.bot_user].name,
        "team_id": app.team,
        "user_id": app.bot_user,
        "bot_id": app.bot_id,
        "is_enterprise_install": False,
    }


def _users_info(world: World, app: App, arguments: Json) -> Json:
    user = world.users.get(arguments["user"])
    if user is None:
        raise SlackError("user_not_found")
    return {"user": _user_object(user, app)}


def _user_object(user: User, app: App) -> Json:
    external = user.team != app.team
    profile = {"real_name": user.real_name, "display_name": user.name}
    # The address of somebody of another organisation may be hidden: here it always is.
    if user.email and "users:read.email" in app.scopes and not external:
        profile["email"] = user.email
    return {
        "id": user.id,
        "team_id": user.team,
        "name": user.name,
        "deleted": user.deleted,
        "real_name": user.real_name,
        "profile": profile,
        "is_bot": user.is_bot,
        "is_restricted": user.is_restricted,
        "is_ultra_restricted": user.is_ultra_restricted,
        "is_stranger": user.is_stranger,
        "is_email_confirmed": bool(user.email),
    }


def _conversations_open(world: World, app: App, arguments: Json) -> Json:
    users = str(arguments["users"]).split(",")
    if len(users) != 1:
        raise Unserved("conversations.open with several users")
    user = world.users.get(users[0])
    if user is None:
        raise SlackError("user_not_found")
    if user.deleted:
        raise SlackError("user_disabled")
    return {"channel": {"id": world.im(app.bot_user, user.id).id}}


def _conversations_info(world: World, app: App, arguments: Json) -> Json:
    channel = world.channels.get(arguments["channel"])
    if channel is None:
        raise SlackError("channel_not_found")
    teams = {world.users[member].team for member in channel.members}
    shared = len(teams) > 1
    return {
        "channel": {
            "id": channel.id,
            "name": channel.name,
            "is_im": channel.is_im,
            "is_archived": channel.is_archived,
            "is_ext_shared": shared,
            "is_member": app.bot_user in channel.members,
        }
    }


def _conversations_history(world: World, app: App, arguments: Json) -> Json:
    channel = world.channels.get(arguments["channel"])
    if channel is None:
        raise SlackError("channel_not_found")
    if app.bot_user not in channel.members:
        raise SlackError("not_in_channel")
    limit = int(arguments.get("limit", 100))
    found = [message for message in world.visible(channel.id) if message.ts > str(arguments.get("oldest", ""))]
    newest_first = sorted(found, key=lambda message: message.ts, reverse=True)
    return {"messages": [message_object(m) for m in newest_first[:limit]], "has_more": len(found) > limit}


def message_object(message: Message) -> Json:
    found: Json = {
        "type": "message",
        "user": message.user,
        "ts": message.ts,
        "text": message.text,
        "blocks": message.blocks,
        "bot_id": message.bot_id,
    }
    if message.metadata is not None:
        found["metadata"] = message.metadata
    return found


# --- messages ------------------------------------------------------------------------------------------------
def _post(world: World, app: App, arguments: Json) -> Json:
    message = _new_message(world, app, arguments)
    world.messages.append(message)
    return {"channel": message.channel, "ts": message.ts, "message": message_object(message)}


def _post_ephemeral(world: World, app: App, arguments: Json) -> Json:
    message = _new_message(world, app, arguments)
    if arguments["user"] not in world.channels[message.channel].members:
        raise SlackError("user_not_in_channel")
    message.ephemeral_for = arguments["user"]
    world.messages.append(message)
    return {"message_ts": message.ts}


def _new_message(world: World, app: App, arguments: Json) -> Message:
    channel = world.channel(str(arguments["channel"]))
    if channel is None:
        raise SlackError("channel_not_found")
    if app.bot_user not in channel.members:
        raise SlackError("not_in_channel")
    blocks = _checked_blocks(arguments)
    return Message(
        channel.id,
        world.timestamp(),
        app.bot_user,
        str(arguments.get("text", "")),
        blocks,
        bot_id=app.bot_id,
        metadata=arguments.get("metadata"),
    )


def _update(world: World, app: App, arguments: Json) -> Json:
    if arguments["channel"] not in world.channels:
        raise SlackError("channel_not_found")
    message = world.message(arguments["channel"], arguments["ts"])
    if message is None:
        raise SlackError("message_not_found")
    if message.bot_id != app.bot_id or message.ephemeral_for:
        raise SlackError("cant_update_message")
    blocks = _checked_blocks(arguments)
    message.blocks, message.text = blocks, str(arguments.get("text", ""))
    message.edits += 1
    return {"channel": message.channel, "ts": message.ts, "text": message.text}


def _checked_blocks(arguments: Json) -> list[Json]:
    blocks = arguments.get("blocks") or []
    if not blocks and not arguments.get("text"):
        raise SlackError("no_text")
    if len(str(arguments.get("text", ""))) > 40_000:
        raise SlackError("msg_too_long")
    word, details = limits.check_message(blocks)
    if word:
        raise SlackError(word, details)
    return list(blocks)


# --- modals --------------------------------------------------------------------------------------------------
def _views_open(world: World, app: App, arguments: Json) -> Json:
    return _shown(world, app, arguments, on_top=False)


def _views_push(world: World, app: App, arguments: Json) -> Json:
    return _shown(world, app, arguments, on_top=True)


def _shown(world: World, app: App, arguments: Json, *, on_top: bool) -> Json:
    word, details = limits.check_view(arguments["view"])
    if word:
        raise SlackError(word, details)
    trigger, refused = world.use_trigger(str(arguments["trigger_id"]))
    if trigger is None:
        raise SlackError(refused)
    stack = world.views_of(trigger.user)
    if on_top and len(stack) >= 3:
        raise SlackError("push_limit_reached")
    below = stack[-1] if on_top and stack else None
    if not on_top:
        for view in stack:
            view.open = False
    view = new_view(world, trigger.user, arguments["view"], below)
    return {"view": view_object(world, app, view)}


def new_view(world: World, user: str, body: Json, below: View | None) -> View:
    made = f"V0{world.number():06d}"
    view = View(made, uuid.uuid4().hex[:12], user, world.users[user].team, body)
    view.root, view.previous = (below.root, below.id) if below else (made, "")
    world.views[made] = view
    return view


def _views_update(world: World, app: App, arguments: Json) -> Json:
    view = world.views.get(str(arguments.get("view_id", "")))
    if view is None or not view.open:
        raise SlackError("not_found")
    if arguments.get("hash") and arguments["hash"] != view.hash:
        raise SlackError("hash_conflict")
    word, details = limits.check_view(arguments["view"])
    if word:
        raise SlackError(word, details)
    view.body, view.hash = arguments["view"], uuid.uuid4().hex[:12]
    return {"view": view_object(world, app, view)}


def view_object(world: World, app: App, view: View, values: Json | None = None) -> Json:
    """A view as payloads and answers carry it. For somebody of another workspace `team_id` is theirs, and the
    installing side stands in `app_installed_team_id`."""
    return {
        "id": view.id,
        "team_id": view.team,
        "type": "modal",
        "blocks": view.body["blocks"],
        "private_metadata": view.body.get("private_metadata", ""),
        "callback_id": view.body.get("callback_id", ""),
        "state": {"values": values or {}},
        "hash": view.hash,
        "title": view.body["title"],
        "clear_on_close": False,
        "notify_on_close": False,
        "close": view.body.get("close"),
        "submit": view.body.get("submit"),
        "previous_view_id": view.previous or None,
        "root_view_id": view.root,
        "app_id": app.id,
        "external_id": "",
        "app_installed_team_id": app.team,
        "bot_id": app.bot_id,
    }


def _api_test(_world: World, _app: App, _arguments: Json) -> Json:
    return {}


SERVED: dict[str, Method] = {
    "api.test": Method(_api_test),
    "auth.test": Method(_auth_test),
    "users.info": Method(_users_info, "users:read", ("user",), ("include_locale",)),
    "conversations.open": Method(_conversations_open, "im:write", ("users",), ("return_im",)),
    "conversations.info": Method(_conversations_info, "channels:read", ("channel",)),
    "conversations.history": Method(
        _conversations_history, "channels:history", ("channel",), ("limit", "oldest", "include_all_metadata")
    ),
    "chat.postMessage": Method(
        _post, "chat:write", ("channel",), ("text", "blocks", "metadata", "unfurl_links", "unfurl_media")
    ),
    "chat.postEphemeral": Method(_post_ephemeral, "chat:write", ("channel", "user"), ("text", "blocks")),
    "chat.update": Method(
        _update, "chat:write", ("channel", "ts"), ("text", "blocks", "metadata", "unfurl_links", "unfurl_media")
    ),
    "views.open": Method(_views_open, "", ("trigger_id", "view")),
    "views.push": Method(_views_push, "", ("trigger_id", "view")),
    "views.update": Method(_views_update, "", ("view",), ("view_id", "hash")),
    # apps.connections.open is answered by the Socket Mode hub, which hands out the address.
    "apps.connections.open": Method(_api_test, "connections:write", token="app"),
}

KNOWN_BUT_UNSERVED = frozenset(
    {
        *("chat.delete", "chat.getPermalink", "chat.scheduleMessage", "chat.unfurl", "chat.meMessage"),
        *("conversations.create", "conversations.invite", "conversations.join", "conversations.list"),
        *("conversations.members", "conversations.replies", "files.upload", "files.getUploadURLExternal"),
        *("oauth.v2.access", "oauth.v2.exchange", "reactions.add", "team.info", "users.conversations"),
        *("users.list", "users.lookupByEmail", "users.profile.get", "views.publish"),
    }
)
