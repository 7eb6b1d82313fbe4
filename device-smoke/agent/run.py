"""One run: check, change, run, judge, sign, put right."""

from __future__ import annotations

import base64
import binascii
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agent import board as boards
from agent import container, dsse, identity, outcome, runtimes, statement
from agent import order as orders
from agent.blobs import Blobs
from agent.errors import AgentError, Kind
from agent.guardian import Guardian, Lock
from agent.keys import Keys
from agent.programs import Programs
from agent.undo import Record, Undo
from agent.verify import plan as check
from agent.watch import Watch

if TYPE_CHECKING:
    from agent.container import Found, Job
    from agent.machine import Machine
    from agent.order import Order
    from agent.verify import Plan
    from agent.watch import Signals

_STOP_S = 30.0


def run(request: dict[str, Any], machine: Machine, signals: Signals, source: int) -> dict[str, Any]:
    """The command ``run``.

    Args:
        request: the order.
        machine: board and places.
        signals: that ask for an end.
        source: file descriptor of the heartbeat.

    Raises:
        AgentError: nothing ran, or nobody may know how it ended.
        Stopped: nobody wants it any more; all was put right.
    """
    order = orders.parse(request)
    # From here on a signal waits until `watch` is asked: nothing is left half done.
    signals.held = True
    watch = Watch(source, signals)
    lock = Lock(machine.places)
    if not lock.take(patient=True, tick=watch.check):
        raise AgentError(Kind.BUSY, "another run holds the board", "wait until it has ended")
    try:
        return _Run(order, machine, watch, lock).go()
    finally:
        lock.free()


class _Run:
    def __init__(self, order: Order, machine: Machine, watch: Watch, lock: Lock) -> None:
        self._order = order
        self._machine = machine
        self._watch = watch
        self._lock = lock
        self._blobs = Blobs(machine.places, watch.check)
        self._keys = Keys(machine.places, Programs(watch))
        self._undo = Undo(machine.places, machine.board, self._blobs, Programs())

    def go(self) -> dict[str, Any]:
        self._undo.sweep()
        own = self._keys.own()
        trusted = self._keys.trusted()
        if own is None or not trusted:
            raise AgentError(
                Kind.DEVICE,
                "this device is not enrolled",
                "enrol it: python -m buildkit device enroll",
            )
        plan = check(
            self._order,
            os.uname().machine,
            trusted,
            read=self._blobs.read,
            check=self._blobs.check,
            verify=self._keys.verify,
        )
        found = runtimes.choose(
            runtimes.find(Programs(self._watch), self._machine.board.root), self._order.runtime
        )
        record = Record(
            run=binascii.hexlify(os.urandom(8)).decode(),
            boot_id=self._machine.board.boot_id,
            runtime=found.name,
            argv=found.argv,
            governors=self._machine.board.governors() if self._order.governor else {},
        )
        self._undo.write(record)
        guardian = Guardian(self._undo, record, self._lock)
        guardian.start()
        try:
            payload = self._guarded(plan, found, record, Programs(self._watch, [guardian.children]))
        finally:
            # Not cut short by whatever ended it.
            self._lock.cleaning()
            self._put_right(record)
            guardian.release()
        signature = Keys(self._machine.places, Programs()).sign(dsse.pae(payload))
        return {
            "payload": base64.b64encode(payload).decode(),
            "signature": base64.b64encode(signature).decode(),
            "key": own.id,
        }

    def _guarded(self, plan: Plan, found: Found, record: Record, programs: Programs) -> bytes:
        board = self._machine.board
        runtime = runtimes.make(found, programs, self._blobs, self._machine.places)
        runtime.prepare(plan)
        before = boards.one_governor(board.governors())
        for file in record.governors:
            if board.offers(file, self._order.governor):
                board.set_governor(file, self._order.governor, programs)
        during = boards.one_governor(board.governors())
        began = time.time()
        ended, oom = runtime.run(self._job(plan, record))
        judged = outcome.judge(ended, self._order, plan.model, oom=oom)
        seen = statement.Circumstances(
            agent=identity.digest(),
            began=began,
            ended=time.time(),
            runtime=found,
            governor_before=before,
            governor_during=during,
        )
        return statement.payload(self._order, judged, seen)

    def _job(self, plan: Plan, record: Record) -> Job:
        order, board = self._order, self._machine.board
        artifacts = boards.artifact_mounts(
            *(self._blobs.path(digest) for digest in (plan.model, order.golden, order.smoke))
        )
        return container.Job(
            name=record.container,
            folder=self._undo.folder(record.run),
            plan=plan,
            arguments=container.arguments(order),
            variables=container.variables(plan.settings),
            mounts=(*artifacts, *board.mounts()),
            nodes=tuple(board.nodes()),
            memory_bytes=order.memory_bytes,
            cpus=order.cpus,
            pids=order.pids,
            seconds=order.deadline_s,
        )

    def _put_right(self, record: Record) -> None:
        until = time.monotonic() + _STOP_S
        while True:
            with suppress(AgentError, OSError):
                if self._undo.put_right(record):
                    return
            if time.monotonic() > until:
                # The record stays, for the next call.
                return
            time.sleep(0.3)
