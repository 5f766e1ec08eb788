"""Worlds to start from: the trial's own, and one read from a JSON document of the same shape."""

from typing import Any

from tests.slack_world.world import App, World

__all__ = ["TRIAL", "build"]

Json = dict[str, Any]

TRIAL: Json = {
    "workspaces": [
        {"id": "T0ACME", "name": "Acme AG"},
        {"id": "T0ZURICH", "name": "Zurich Data Oversight"},
    ],
    "users": [
        {"team": "T0ACME", "id": "U0ADA", "name": "ada", "real_name": "Ada Example", "email": "ada@acme.example"},
        {"team": "T0ACME", "id": "U0STEN", "name": "sten", "real_name": "Sten Example", "email": "sten@acme.example"},
        {"team": "T0ACME", "id": "U0MALLORY", "name": "mallory", "real_name": "Mallory Example"},
        {"team": "T0ZURICH", "id": "U0OLGA", "name": "olga", "real_name": "Olga Example"},
        {"team": "T0ZURICH", "id": "U0OTTO", "name": "otto", "real_name": "Otto Example"},
    ],
    "channels": [
        {"id": "C0GENERAL", "name": "general", "members": ["U0ADA", "U0STEN", "U0MALLORY", "U0GATE"]},
        {
            "id": "C0ACCESS",
            "name": "access-requests",
            "members": ["U0ADA", "U0STEN", "U0MALLORY", "U0OLGA", "U0OTTO", "U0GATE"],
        },
    ],
    "apps": [
        {
            "id": "A0GATE",
            "team": "T0ACME",
            "bot_user": "U0GATE",
            "bot_id": "B0GATE",
            "bot_token": "xoxb-emulated-bot",
            "app_token": "xapp-emulated-app",
            "signing_secret": "emulated-signing-secret",
            "scopes": ["commands", "chat:write", "im:write", "connections:write"],
            "request_url": "",
        }
    ],
}
"""Acme asks, Zurich oversees; they share #access-requests. Everybody is invented."""


def build(document: Json, world: World | None = None) -> World:
    """The world a document describes. KeyError and TypeError say what it lacks."""
    world = world or World()
    for workspace in document["workspaces"]:
        world.add_workspace(workspace["id"], workspace["name"])
    for app in document["apps"]:
        world.add_app(App(**{**app, "scopes": set(app["scopes"])}))
    for user in document["users"]:
        person = dict(user)
        world.add_user(person.pop("team"), person.pop("id"), person.pop("name"), person.pop("real_name"), **person)
    for channel in document["channels"]:
        world.add_channel(channel["id"], channel["name"], set(channel["members"]))
    return world
