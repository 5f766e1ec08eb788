"""The trial, running: two stores, an emulated Slack, the real gate, and three people who have logged in."""

import errno
import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glassgate.demo.children import Child, ChildFailed, wait_until
from glassgate.demo.commands import Terminal, program_environment, program_line
from glassgate.demo.dataset import generate
from glassgate.demo.installation import install
from glassgate.demo.people import PROFILES, Somebody
from glassgate.demo.place import Place, choose_ports
from glassgate.demo.slack import Slack, SlackRefused, start_slack
from glassgate.demo.stores import CrmApi, CustomersDb
from glassgate.embedded_postgres import PostgresFailed

__all__ = ["CHECKOUT", "Trial", "interrupt_on_signals", "running_trial", "until_stopped"]

ATTEMPTS: Final = 3
CHECKOUT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that runs."""

    place: Place
    ports: dict[str, int]
    config: Path
    terminal: Terminal
    slack: Slack
    gate: Child
    crm: Child

    @property
    def server(self) -> str:
        """The API's base URL."""
        return f"http://127.0.0.1:{self.ports['api']}"

    def check(self) -> None:
        """Raises ChildFailed if a part of it has gone away."""
        for child in (self.gate, self.crm, self.slack.child):
            child.check()


@contextmanager
def running_trial(place: Place, say: Callable[[str], None]) -> Iterator[Trial]:
    """Start everything in `place`, which must be taken; stop it all at the end, the gate first. Main thread only.

    Raises ChildFailed, PostgresFailed, PlaceTaken.
    """
    for attempt in range(1, ATTEMPTS + 1):
        with ExitStack() as stack:
            try:
                trial = _started(stack, place, say)
            except (ChildFailed, PostgresFailed) as failure:
                # Between looking for a port and listening on it somebody else may take it.
                if attempt == ATTEMPTS or os.strerror(errno.EADDRINUSE) not in str(failure):
                    raise
                say("Somebody took one of the ports in the meantime. Once more, with others.")
                continue
            yield trial
            return


def _started(stack: ExitStack, place: Place, say: Callable[[str], None]) -> Trial:
    place.renew()
    ports, remarks = choose_ports()
    for remark in remarks:
        say(remark)
    data = generate()
    customers = CustomersDb(place.customers, ports["customers-db"])
    crm = CrmApi(place.crm, ports["crm-api"])
    crm_child = crm.start(data, place.logs / "crm-api.log")  # the slowest to come up: first
    stack.callback(crm_child.stop)
    slack = start_slack(CHECKOUT, ports["slack"], place.logs / "slack.log")
    stack.callback(slack.child.stop)
    customers_server = customers.start(data)
    stack.callback(customers_server.stop)
    config = install(place, ports, customers, crm, slack)
    terminal = Terminal(CHECKOUT, place.home, config)
    _migrate(terminal)
    serve = program_line("serve", "--config", str(config))
    gate = Child("the gate", serve, log=place.logs / "gate.log", env=program_environment(CHECKOUT))
    stack.callback(gate.stop)
    trial = Trial(place, ports, config, terminal, slack, gate, crm_child)
    wait_until("the gate", lambda: _ready(ports["diagnostics"]), [gate, crm_child, slack.child])
    wait_until("crm-api", crm.ready, [crm_child])
    wait_until("the gate's connection to Slack", lambda: _connected(slack), [gate, slack.child])
    with ThreadPoolExecutor(len(PROFILES)) as together:
        list(together.map(lambda somebody: _log_in(trial, somebody), PROFILES))
    return trial


def _migrate(terminal: Terminal) -> None:
    done = terminal.run(None, "migrate")
    if done.status != 0:
        raise ChildFailed(f"the gate's database could not be prepared: {done.err or done.out}")


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _connected(slack: Slack) -> bool:
    try:
        return slack.connections() > 0
    except SlackRefused:
        return False


def _log_in(trial: Trial, somebody: Somebody) -> None:
    """They get a one-time code from whoever runs the gate, and change it for a session."""
    made = trial.terminal.run(None, "person", "code", somebody.person, "--json")
    if made.status != 0:
        raise ChildFailed(f"no login code for {somebody.person}: {made.err}")
    code = json.loads(made.out)["code"]
    done = trial.terminal.run(somebody, "login", "--server", trial.server, given=f"{code}\n")
    if done.status != 0:
        raise ChildFailed(f"{somebody.person} could not log in: {done.err}")


def until_stopped(trial: Trial) -> None:
    """Stay until SIGTERM, SIGINT or SIGHUP (raised as KeyboardInterrupt); raises ChildFailed when a part ends."""
    while True:
        trial.check()
        time.sleep(0.5)


def interrupt_on_signals() -> None:
    """Whatever asks us to end is Ctrl-C, so that everything is stopped in order."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: a shell's background job ignores it
        signal.signal(number, interrupt)
