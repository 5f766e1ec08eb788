"""What Slack sends when a person does something: the payloads, and the signature over their bytes."""

import hashlib
import hmac
import json
import urllib.parse
from typing import Any

from tests.slack_world.methods import message_object, view_object
from tests.slack_world.world import App, Message, User, View, World

__all__ = ["block_actions", "form_body", "sign", "slash_command", "view_submission"]

Json = dict[str, Any]


def slash_command(world: World, app: App, user: User, channel: str, command: str, text: str) -> Json:
    """Fields of a form, all of them text. Commands are not shared with other organisations."""
    place = world.channels[channel]
    return {
        "token": app.verification_token,
        "team_id": user.team,
        "team_domain": world.workspaces[user.team].domain,
        "channel_id": channel,
        "channel_name": "directmessage" if place.is_im else place.name,
        "user_id": user.id,
        "user_name": user.name,
        "command": command,
        "text": text,
        "api_app_id": app.id,
        "is_enterprise_install": "false",
        "response_url": f"https://hooks.slack.invalid/commands/{app.team}/{world.number()}",
        "trigger_id": world.new_trigger(user.id),
    }


def block_actions(world: World, app: App, user: User, message: Message, element: Json, block_id: str) -> Json:
    """A click in a message. `team` is the installing side; `user.team_id` is the person's own."""
    place = world.channels[message.channel]
    return {
        "type": "block_actions",
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team},
        "api_app_id": app.id,
        "token": app.verification_token,
        "container": {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": message.channel,
            "is_ephemeral": bool(message.ephemeral_for),
        },
        "trigger_id": world.new_trigger(user.id),
        "team": {"id": app.team, "domain": world.workspaces[app.team].domain},
        "enterprise": None,
        "is_enterprise_install": False,
        "channel": {"id": place.id, "name": "directmessage" if place.is_im else place.name},
        "message": message_object(message),
        "state": {"values": {}},
        "response_url": f"https://hooks.slack.invalid/actions/{app.team}/{world.number()}",
        "actions": [
            {
                "action_id": element["action_id"],
                "block_id": block_id,
                "text": element["text"],
                "value": element.get("value", ""),
                "type": "button",
                "action_ts": f"{world.clock.now():.6f}",
            }
        ],
    }


def view_submission(world: World, app: App, user: User, view: View, values: Json) -> Json:
    """A modal sent off. For somebody of another workspace `team` too is theirs."""
    return {
        "type": "view_submission",
        "team": {"id": user.team, "domain": world.workspaces[user.team].domain},
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team},
        "api_app_id": app.id,
        "token": app.verification_token,
        "trigger_id": world.new_trigger(user.id),
        "view": view_object(world, app, view, values),
        "response_urls": [],
        "is_enterprise_install": False,
        "enterprise": None,
    }


def form_body(kind: str, payload: Json) -> bytes:
    """The body of an HTTP delivery: a slash command's fields, or one field `payload` with JSON."""
    fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
    return urllib.parse.urlencode(fields).encode()


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """`X-Slack-Signature` over `v0:timestamp:body`."""
    return "v0=" + hmac.new(secret.encode(), b"v0:%d:%s" % (timestamp, body), hashlib.sha256).hexdigest()
