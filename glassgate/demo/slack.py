"""Slack in the trial: an emulator in a process of its own, and the people who sit in front of it.

The one stand-in of the trial, and it is announced as one. The gate's side is the code that talks to the real
Slack; only its address differs. What a person does here goes through the emulator's own door for drivers.
"""

import http.client
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from glassgate.demo.children import Child, ChildFailed, wait_until

__all__ = ["EMULATOR", "Message", "Slack", "SlackRefused", "start_slack"]

EMULATOR: Final = "tests.slack_world"
WAIT_S: Final = 10.0


class SlackRefused(Exception):
    """A person could not do that in Slack; the text says what Slack answered."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a person sees it: the text as rendered, the labels of its buttons."""

    channel: str
    ts: str
    text: str
    buttons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slack:
    """The emulator as it announced itself."""

    child: Child
    api_url: str
    admin_url: str
    bot_token: str
    app_token: str
    signing_secret: str
    channel: str

    def connections(self) -> int:
        """How many Socket Mode connections the app holds."""
        return int(self._call("GET", "health")["connections"])

    def sees(self, person: str, containing: str, wait_s: float = WAIT_S) -> Message:
        """The newest message of the overseers' channel that contains the text, once there is one."""
        query = urlencode({"as": person, "containing": containing, "wait": wait_s})
        return self._newest(self._call("GET", f"channels/{quote(self.channel)}?{query}"), containing)

    def told(self, person: str, containing: str, wait_s: float = WAIT_S) -> Message:
        """The newest direct message to that person that contains the text, once there is one."""
        query = urlencode({"containing": containing, "wait": wait_s})
        return self._newest(self._call("GET", f"users/{quote(person)}/direct?{query}"), containing)

    def click(self, person: str, message: Message, button: str) -> None:
        body = {"channel": message.channel, "ts": message.ts, "button": button}
        self._done(self._call("POST", f"users/{quote(person)}/click", body), f"clicking {button}")

    def modal(self, person: str, wait_s: float = WAIT_S) -> dict[str, Any]:
        """The modal in front of that person: {id, text, inputs}."""
        view = self._call("GET", f"users/{quote(person)}/modal?wait={wait_s}")["view"]
        if not view:
            raise SlackRefused(f"no form opened for {person}")
        return dict(view)

    def submit(self, person: str, view: str, values: dict[str, Any]) -> None:
        """Fill a modal in, by the labels of its inputs, and send it."""
        answer = self._call("POST", f"users/{quote(person)}/submit", {"view": view, "values": values})
        if answer.get("errors"):
            raise SlackRefused(f"the form came back: {answer['errors']}")
        self._done(answer, "sending the form")

    @staticmethod
    def _newest(answer: dict[str, Any], containing: str) -> Message:
        if not answer.get("messages"):
            raise SlackRefused(f"nobody wrote {containing!r} in Slack")
        found = answer["messages"][-1]
        return Message(found["channel"], found["ts"], found["text"], tuple(found["buttons"]))

    @staticmethod
    def _done(answer: dict[str, Any], what: str) -> None:
        if answer.get("error"):
            raise SlackRefused(f"{what}: {answer['error']}")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        parts = urlsplit(self.admin_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=WAIT_S + 5)
        try:
            data = None if body is None else json.dumps(body).encode()
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, parts.path + path, body=data, headers=headers)
            answer = connection.getresponse()
            value = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as cause:
            raise SlackRefused(f"the emulated Slack does not answer ({cause})") from cause
        finally:
            connection.close()
        if answer.status >= 400:
            raise SlackRefused(str(value.get("error", answer.status)))
        return dict(value)


def start_slack(checkout: Path, port: int, log: Path) -> Slack:
    """Start the emulator; returns once it has announced itself."""
    if not (checkout / "tests" / "slack_world").is_dir():
        raise ChildFailed("the trial's Slack emulator lies in tests/slack_world of a checkout, and it is not there")
    child = Child(
        "the emulated Slack",
        [sys.executable, "-m", EMULATOR, "--port", str(port)],
        log=log,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(checkout)},
        cwd=checkout,
    )
    wait_until("the emulated Slack", lambda: _announced(log) is not None, [child])
    announced = _announced(log)
    assert announced is not None
    return Slack(child, **announced)


def _announced(log: Path) -> dict[str, str] | None:
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            try:
                return {str(key): str(value) for key, value in json.loads(line).items()}
            except ValueError:
                return None
    return None
