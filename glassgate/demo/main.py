"""`glassgate demo`: start the trial and stay, or play the guided tour once and go."""

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Final

from glassgate.demo.children import ChildFailed
from glassgate.demo.narrator import Narrator
from glassgate.demo.place import Place, PlaceTaken, demo_directory, tour_directory
from glassgate.demo.slack import SlackRefused
from glassgate.demo.tour import Tour, TourFailed, play
from glassgate.demo.trial import CHECKOUT, Trial, interrupt_on_signals, running_trial, until_stopped
from glassgate.embedded_postgres import PostgresFailed
from glassgate.postgres_binaries import BinariesNotFound

__all__ = ["main"]

LIMITS: Final = (
    "This is a trial, and says so in every entry of its log. Placement L0: everything runs on this machine, in one "
    "place, so the log is evidence and no protection against whoever runs it. Approvals are clicks (assurance "
    '"click"): they hold against users, not against root. Nothing is acted, but for Slack, which is an emulator.'
)
_FAILURES: Final = (PlaceTaken, ChildFailed, PostgresFailed, BinariesNotFound, SlackRefused, TourFailed)


def main(*, tour: bool, directory: Path | None = None) -> int:
    """Exit status: 0, 1 after a failure in a plain sentence, 130 when the tour was interrupted."""
    interrupt_on_signals()
    tell = Narrator()
    demo = directory.absolute() if directory else demo_directory(CHECKOUT)
    try:
        return _tour(tell, tour_directory(demo)) if tour else _stay(tell, demo)
    except _FAILURES as failure:
        tell.plain(f"glassgate demo: {failure}")
        return 1
    except KeyboardInterrupt:
        tell.say("Interrupted; everything is stopped.")
        return 130


def _tour(tell: Narrator, directory: Path) -> int:
    began = time.monotonic()
    place = Place(directory)
    tell.title("glassgate, the guided tour")
    tell.say(LIMITS)
    with place.take():
        with running_trial(place, tell.remark) as trial:
            tell.remark(f"Two stores, a gate and three people are up after {time.monotonic() - began:.1f} s.")
            last = play(Tour(trial, tell))
        place.remove()  # after a failure it stays until the next tour: what each process said is in it
    tell.step("That was all of it")
    tell.say(
        f"It took {time.monotonic() - began:.0f} s. The tour's data is gone again. To look around yourself: "
        "`make demo`, and README.md has the same story to type."
    )
    tell.plain(json.dumps(last))
    return 0


def _stay(tell: Narrator, directory: Path) -> int:
    place = Place(directory)
    tell.title("glassgate, the trial")
    tell.say(LIMITS)
    tell.remark("Starting …")
    with place.take(), running_trial(place, tell.remark) as trial:
        _welcome(tell, trial)
        try:
            until_stopped(trial)
        except KeyboardInterrupt:
            tell.plain("")
            tell.say("Stopping, the gate first. The next start is a new trial with a new log.")
    return 0


def _welcome(tell: Narrator, trial: Trial) -> None:
    ports = trial.ports
    tell.plain("")
    tell.say("It runs. In another terminal, once:")
    commands = Path(sys.executable).parent
    given = os.environ.get("PATH", "")
    extra = trial.terminal.path(given).removeprefix(given)
    tell.plain(f"\n    export PATH={shlex.quote(str(commands))}:$PATH{shlex.quote(extra) if extra else ''}")
    tell.plain(f"    export GLASSGATE_HOME={shlex.quote(str(trial.place.home))}\n")
    tell.say(
        "You are three people: Ada, an engineer; Olga, an overseer, who works for somebody else; Sten, who runs the "
        "gate. Say who you are with --profile (before the store's name) or GLASSGATE_PROFILE. For example:"
    )
    tell.plain("")
    for line in (
        "export GLASSGATE_PROFILE=engineer",
        "glassgate request create customers-db --reason incident --ticket INC-42 --purpose 'order 1881 was never sent'",
        "glassgate request ls --profile overseer",
        "glassgate request review --profile overseer --approve --for 30m --comment ok REQUEST",
        "glassgate connect customers-db",
        "glassgate log verify --profile overseer",
    ):
        tell.plain(f"    {line}")
    tell.plain("")
    tell.plain(
        f"    the gate's API     {trial.server}\n"
        f"    HTTP stores        http://crm-api.localhost:{ports['http']}\n"
        f"    PostgreSQL stores  127.0.0.1:{ports['postgres']}, TLS\n"
        f"    health             http://127.0.0.1:{ports['diagnostics']}/readyz\n"
        f"    configuration      {trial.config}\n"
        f"    logs               {trial.place.logs}\n"
    )
    tell.say("README.md has the story to type. Ctrl-C ends it.")
