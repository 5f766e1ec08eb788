"""Socket Mode: two connections, refreshed, lost and silent ones; a gate that starts while Slack is away."""

import asyncio

from approvals.notify.slack.socket_mode import GRACE_CHECKS, SocketMode
from tests.approvals.notify.slack.conftest import Gate
from tests.slack_world.render import view_text


async def test_a_refreshed_connection_costs_nobody_a_click(socket_gate: Gate) -> None:
    gate = socket_gate
    ada = gate.person("ada")
    for _ in range(4):
        gate.outside.faults.delivery("disconnect")
        answer = await ada.slash("/access", "customers-db")
        assert answer.error == ""
        assert "customers-db" in view_text(await ada.modal())
        ada.close_modals()
    await gate.outside.world.until(lambda: len(gate.outside.hub.connections) == 2)


async def test_the_payloads_are_spread_over_both(socket_gate: Gate) -> None:
    assert len(socket_gate.outside.hub.connections) == 2
    ada = socket_gate.person("ada")
    for _ in range(2):
        assert (await ada.slash("/access")).error == ""


async def test_a_gate_starts_and_stops_while_slack_is_away(socket_gate: Gate) -> None:
    gate = socket_gate
    await gate.slack.stop()
    gate.outside.faults.down = True
    assert gate.slack.socket is not None
    await asyncio.wait_for(gate.slack.socket.start(), 1)
    await gate.outside.world.until(lambda: True)
    assert gate.slack.socket.connected == 0
    await asyncio.wait_for(gate.slack.socket.stop(), 2)


class Scripted:
    """A connection whose `is_connected` follows a script and then stays at its last word."""

    def __init__(self, script: list[bool]) -> None:
        self.script, self.closed, self.connects = script, False, 0
        self.last_ping_pong_time: float | None = 1.0

    async def connect(self) -> None:
        self.connects += 1

    async def is_connected(self) -> bool:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    async def close(self) -> None:
        self.closed = True


async def settle(done: object) -> None:
    for _ in range(10_000):
        if callable(done) and done():
            return
        await asyncio.sleep(0)
    raise AssertionError("never happened")


async def test_the_watchdog_replaces_a_connection_that_stays_silent() -> None:
    made: list[Scripted] = []

    def make() -> Scripted:
        made.append(Scripted([True, False] if not made else [True]))
        return made[-1]

    runner = SocketMode(make, connections=1, check_every_s=0)
    await runner.start()
    await settle(lambda: len(made) == 2 and runner.connected == 1)
    assert made[0].closed
    assert runner.last_pongs == [1.0]
    await runner.stop()
    assert made[1].closed
    assert runner.connected == 0


async def test_a_short_silence_is_left_to_the_library() -> None:
    made: list[Scripted] = []

    def make() -> Scripted:
        made.append(Scripted([True, *[False] * (GRACE_CHECKS - 1), True]))
        return made[-1]

    runner = SocketMode(make, connections=1, check_every_s=0)
    await runner.start()
    await settle(lambda: made and len(made[0].script) == 1)
    await runner.stop()
    assert len(made) == 1


async def test_a_connection_that_raises_is_replaced() -> None:
    made: list[Scripted] = []

    class Broken(Scripted):
        async def connect(self) -> None:
            raise ConnectionError("no route")

    def make() -> Scripted:
        made.append(Broken([True]) if len(made) < 2 else Scripted([True]))
        return made[-1]

    runner = SocketMode(make, connections=1, check_every_s=0)
    await runner.start()
    await settle(lambda: len(made) == 3 and runner.connected == 1)
    await runner.stop()
    assert all(connection.closed for connection in made)
