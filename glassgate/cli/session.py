"""What every client command starts from: a profile, the API behind it, and how to say no.

`@command` adds --profile and --json, hands the function a Session, and turns every refusal into one plain
sentence on stderr and exit status 1.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from glassgate.cli import output, profile
from glassgate.cli.http import Api, ApiRefused, ServerRefused, ServerUnreachable
from glassgate.cli.profile import Profile, ProfileRefused

__all__ = ["No", "Session", "command"]

POLL_S: Final = 1.0
MAX_FAILURES: Final = 30
"""Looks in a row that may fail while something is waited for: half a minute."""


class No(click.ClickException):
    """The answer is no: what happened, why, and what to do next. Exit status 1."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        output.remark(f"glassgate: {self.message}")


class Session:
    """One run of one command as one person."""

    def __init__(self, name: str, as_json: bool) -> None:
        self.name = name
        self.as_json = as_json
        self.directory: Path = profile.home(os.environ)

    @property
    def profile(self) -> Profile:
        """The chosen profile. Raises No when there is none, or no session in it."""
        found = profile.load(self.directory, self.name)
        if found is None or not found.session:
            raise No(f'you are not logged in as "{self.name}". Run `glassgate login{self._flag()} --server URL`.')
        return found

    @property
    def api(self) -> Api:
        found = self.profile
        return Api(found.server, found.session, found.ca)

    @property
    def styled(self) -> bool:
        """Whether stdout is a terminal that may be sent bold type (https://no-color.org)."""
        return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def answer(self, value: Any, human: str) -> None:
        output.result(value, as_json=self.as_json, human=human)

    def table(self, headers: list[str], rows: list[list[object]], empty: str) -> str:
        """A table for people, or the sentence that stands for an empty one."""
        return output.table(headers, rows, styled=self.styled) if rows else empty

    def fields(self, pairs: Mapping[str, object]) -> str:
        return output.fields(pairs, styled=self.styled)

    def command_line(self, *words: str) -> str:
        """A command to type next, as this person would type it."""
        if words[0] == "curl":  # what follows its store and path belongs to curl
            return " ".join(["glassgate curl" + self._flag(), *words[1:]])
        return " ".join(["glassgate", *words]) + self._flag()

    def _flag(self) -> str:
        return "" if self.name == "default" else f" --profile {self.name}"

    def poll(self, look: Callable[[], Any | None], waiting_for: str) -> Any:
        """Call `look` until it gives something; a progress line on a terminal says what is waited for."""
        show = sys.stderr.isatty()
        started = time.monotonic()
        if not show:
            output.remark(f"waiting for {waiting_for}")
        failures = 0
        try:
            while True:
                try:
                    found, failures = look(), 0
                except (ApiRefused, ServerUnreachable) as cause:
                    # A gate that restarts meanwhile is no reason to stop waiting for a person.
                    failures += 1
                    if failures > MAX_FAILURES or (isinstance(cause, ApiRefused) and cause.status < 500):
                        raise
                    found = None
                if found is not None:
                    return found
                if show:
                    since = output.span(time.monotonic() - started)
                    print(f"\r\x1b[Kwaiting for {waiting_for} … {since}", end="", file=sys.stderr, flush=True)
                time.sleep(POLL_S)
        finally:
            if show:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def now() -> datetime:
    return datetime.now(UTC)


def command(group: click.Group | None = None, name: str | None = None, **settings: Any) -> Callable[..., click.Command]:
    """Like click.command, with --profile and --json, and a Session as first argument."""

    def decorate(function: Callable[..., None]) -> click.Command:
        def run(profile_name: str, as_json: bool, **given: Any) -> None:
            try:
                function(Session(profile_name, as_json), **given)
            except ApiRefused as refused:
                raise No(_said(refused, profile_name)) from refused
            except (ServerUnreachable, ServerRefused, ProfileRefused) as cause:
                raise No(output.visible(cause)) from cause

        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        # Listed first here, last in the help: what a command is about stands before what all of them take.
        _PROFILE(_JSON(run)).__click_params__.extend(getattr(function, "__click_params__", []))
        decorator: Callable[[Callable[..., None]], click.Command] = click.command(name, **settings)
        made = decorator(run)
        if group is not None:
            group.add_command(made)
        return made

    return decorate


_PROFILE: Any = click.option(
    "--profile", "profile_name", envvar="GLASSGATE_PROFILE", default="default", show_default=True, help="Who you are."
)
_JSON: Any = click.option("--json", "as_json", is_flag=True, help="The gate's own objects, as JSON.")


def _said(refused: ApiRefused, name: str) -> str:
    """The refusal's text, its faults one per line, and for a dead session how to get a new one."""
    text = output.visible(refused.detail)
    if refused.code == "session_unknown" and name != "default":
        text += f" (profile {name})"
    for field, fault in refused.faults:
        shown = output.visible(f"{field}: {fault}" if field else fault)
        text += f"\n  {shown}"
    return text
