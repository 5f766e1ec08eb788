"""The argument tree. Every command lives in a file of its own that is imported only when it runs, so that
`glassgate --help` answers at once and no client pays for the server's libraries."""

import importlib
from typing import Final

import click

__all__ = ["COMMANDS", "Lazy", "main"]

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "login": ("glassgate.cli.login:login", "Log in with a one-time code."),
    "logout": ("glassgate.cli.login:logout", "End the session on this machine."),
    "whoami": ("glassgate.cli.login:whoami", "Show who you are to the gate."),
    "store": ("glassgate.cli.store:store", "The protected stores."),
    "request": ("glassgate.cli.request:request", "Ask for access, and decide on what others ask."),
    "grant": ("glassgate.cli.grant:grant", "What was granted: list, show, revoke, end."),
    "connect": ("glassgate.cli.connect:connect", "Open psql (or another program) through the gate."),
    "curl": ("glassgate.cli.curl:curl", "Run curl through the gate."),
    "token": ("glassgate.cli.token:token", "Print a credential for another tool."),
    "log": ("glassgate.cli.log:log", "Read and verify the log."),
    "coverage": ("glassgate.cli.coverage:coverage", "Say what a record captures, and what not."),
    "policy": ("glassgate.cli.policy:policy", "Check a policy file, or ask it."),
    "config": ("glassgate.cli.config:config", "Check a configuration file."),
    "person": ("glassgate.cli.person:person", "Let people in (on the gate's host)."),
    "release": ("glassgate.cli.release:release", "Build a release, check one, or see which one this is."),
    "init": ("glassgate.cli.server:init", "Make a new installation: configuration, keys, origin."),
    "migrate": ("glassgate.cli.server:migrate", "Bring the database up to date."),
    "serve": ("glassgate.cli.server:serve", "Run the gate."),
    "demo": ("glassgate.cli.server:demo", "Run everything on this machine, with two stores and a story."),
}


class Lazy(click.Group):
    """Names and one line of help are known here; the rest is imported when the command is."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = COMMANDS.get(cmd_name)
        if known is None:
            return None
        module, _, name = known[0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(_unknown(args[0]))
        return super().resolve_command(ctx, args)


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    return f'no such command "{name}".' + (f' Did you mean "{near[0]}"?' if near else " `glassgate --help` lists them.")


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="glassgate", message="%(prog)s %(version)s")
def main() -> None:
    """The gate in front of customer-data stores.

    Ask for access (request create), have it approved, work through the gate (connect, curl), and read or verify
    what was recorded (log). Every command takes --json and --profile.

    Exit status: 0 yes, 1 no (refused, not found, not verified), 2 wrong usage.
    """
