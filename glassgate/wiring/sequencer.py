"""The role that holds the log key: numbers what was committed, signs checkpoints. One leads, others stand by."""

from typing import Any

from approvals.kinds import ProcessStopped, validate
from glassgate.grant_sums import GrantSums
from glassgate.keys import LOG, host_keys, load_private
from glassgate.wiring.ground import Ground
from ledger.batch import Writer
from ledger.entry import Draft
from ledger.genesis import bootstrap
from ledger.intake import Rules
from ledger.lookup import Indexer
from ledger.note import Signer
from ledger.postgres import append_in
from ledger.sequencer import Deposed, Sequencer

__all__ = ["SequencerRole"]


class SequencerRole:
    """`writer` is the hand that records what was rejected: another role's of this process, or one of its own."""

    def __init__(self, ground: Ground, writer: Writer | None = None) -> None:
        gate = ground.config.gate
        self._ground = ground
        self._own = writer is None
        self._writer = writer or ground.writer()
        self._signer = Signer(gate.origin, load_private(ground.config.keys.dir / LOG))
        rules = Rules(gate.origin, gate.member, host_keys(ground.config.keys.dir), validate)
        self.sequencer = Sequencer(
            lambda: ground.connect("sequencer", "sequencer"), self._signer, rules, ground.clock, writer=self._writer
        )

    async def start(self) -> None:
        ground = self._ground
        pool = await ground.pool("sequencer", size=1, name="sequencer")
        try:
            async with pool.acquire() as connection:
                gate = ground.config.gate
                await bootstrap(
                    connection,
                    self._signer.verifier,
                    gate.member,
                    ground.host_key,
                    ground.clock.now(),
                    trial=gate.trial,
                )
                if self._own:
                    async with connection.transaction():
                        draft = ground.introduction(self._writer, "sequencer")
                        await append_in(connection, [draft], writer=self._writer, now=ground.clock.now())
        finally:
            await pool.close()
        if self._own:
            ground.predecessors.remember("sequencer", self._writer.writer_id, 0)
        self._measure()
        ground.supervisor.run("sequencer", self.sequencer.run())
        ground.supervisor.run("lookup", Indexer(lambda: ground.connect("sequencer", "lookup")).run())
        sums = GrantSums(
            lambda: ground.connect("sequencer", "grant sums"),
            self._writer,
            ground.clock,
            lambda: self.sequencer.tally.leading,
        )
        ground.supervisor.run("grant sums", sums.run())

    async def finish(self) -> None:
        """Once everybody else has stopped and `run` is cancelled: number what they left, so that the log is whole."""
        ground = self._ground
        if self._own:
            connection = await ground.connect("sequencer", "sequencer")
            try:
                await record_stopped(connection, self._writer, "sequencer", ground)
            finally:
                await connection.close()
        try:
            if await self.sequencer.lead():
                while await self.sequencer.step():
                    pass
        except Deposed:
            return  # another one leads, and will
        finally:
            self.sequencer.leave()

    def _measure(self) -> None:
        tally, metrics = self.sequencer.tally, self._ground.metrics
        metrics.gauge("log_size", "Entries in the log, as this sequencer knows.", lambda: tally.size)
        metrics.gauge("sequencer_leading", "Whether this process numbers the log.", lambda: tally.leading)
        metrics.gauge("sequencer_waiting_batches", "Batches that came before their turn.", lambda: tally.waiting)
        metrics.counter("sequencer_entries", "Entries numbered by this process.", lambda: tally.numbered)
        metrics.counter("sequencer_quarantined_batches", "Batches put aside.", lambda: tally.quarantined)


async def record_stopped(connection: Any, writer: Writer, role: str, ground: Ground) -> None:
    """The last entry of a writer whose position is a row: its own counter stands in it. A transaction of its own."""
    async with connection.transaction():
        # The row is locked here already, so that nothing of this writer comes between.
        last = await connection.fetchval(_POSITION, writer.writer_id, writer.log)
        if last is None:
            return  # it never introduced itself, so there is nothing to close
        draft = Draft("process.stopped", ProcessStopped(role=role, last_counter=last))
        await append_in(connection, [draft], writer=writer, now=ground.clock.now())
    # Only now is it durable: a successor must never claim more than the log was given.
    ground.predecessors.remember(role, writer.writer_id, last)


_POSITION = "SELECT next_counter FROM ledger.writer_head WHERE writer = $1 AND log = $2 FOR UPDATE"
