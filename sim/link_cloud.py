"""The cloud's end of the link benchmark: the real gateway, store and engine, with a consumer in the teacher's place.

The consumer looks at nothing: it notes how old each case is when its turn comes, takes its time, and answers. So what
is measured is the way there, not a network's arithmetic.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cloud.cli import configure_logging
from cloud.config import CloudSettings
from cloud.engine import Engine
from cloud.gateway import Gateway
from cloud.metrics import CloudMetrics
from cloud.opened import OpenedCase, Postman
from cloud.store import CaseStore
from cloud.waiting import WaitingCase
from edge.keys import CLOUD_NAME, load_keys
from protocols.values import Interpretation
from sim.journal import Journal


class Consumer:
    """Takes the teacher's place in the engine."""

    def __init__(self, store: CaseStore, journal: Journal, case_s: float) -> None:
        """Consume.

        Args:
            store: where cases wait.
            journal: gets the age of each.
            case_s: time that one case takes.
        """
        self.metrics = CloudMetrics()
        self._store, self._journal, self._case_s = store, journal, case_s

    def open(self, cases: Sequence[WaitingCase]) -> list[OpenedCase]:
        """Nothing is looked at."""
        return [OpenedCase(case) for case in cases]

    def ask(self, cases: Sequence[OpenedCase]) -> None:
        """Note ages and take time, one case after the other."""
        for stored in (opened.stored for opened in cases):
            age_s = time.time() - stored.case.frame.captured_at_s
            self._journal.note("consumed", index=stored.case.frame.index, age_s=age_s)
            self._store.read_imagery(stored)
            time.sleep(self._case_s)

    def keep(self, cases: Sequence[OpenedCase], postman: Postman) -> None:
        """Answer a batch."""
        for stored in (opened.stored for opened in cases):
            answer = Interpretation(
                case_id=stored.case.case_id, by="teacher", interpreter="consumer", confidence=1.0, made_at_s=time.time()
            )
            if self._store.add_interpretation(stored.craft, answer):
                postman.deliver([(stored.craft, answer)])
            self._store.set_case_state(stored.craft, stored.case.case_id, "interpreted", "", 1.0)


class _Post:
    """Carries answers to the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def notify(self, craft: str) -> None:
        self._gateway.notify(craft)

    def deliver(self, answers: Sequence[tuple[str, Interpretation]]) -> None:
        for craft, answer in answers:
            self._gateway.deliver(craft, answer)


async def serve(settings: CloudSettings, journal: Journal, case_s: float | None) -> None:
    """Serve until SIGTERM.

    Args:
        settings: of gateway and engine.
        journal: gets `ready`, and what the consumer notes.
        case_s: time that the consumer takes for a case; None is no consumer.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    store = CaseStore(settings.data)
    gateway = Gateway(settings, store, load_keys(settings.keys_folder, CLOUD_NAME))
    with ThreadPoolExecutor(1, "consumer") as worker, contextlib.closing(store):
        engine = None
        if case_s is not None:
            consumer = Consumer(store, journal, case_s)
            engine = Engine(store, consumer, settings, worker, _Post(gateway), admission=gateway.admission)
            gateway.on_cases_stored = engine.arrive
        await gateway.start()
        journal.note("ready")
        running = asyncio.create_task(engine.run() if engine else stop.wait())
        await stop.wait()
        if engine is not None:
            engine.stop()
        await running
        await gateway.stop()


def main() -> None:
    """Serve. Arguments: JSON of `CloudSettings`, journal, and seconds for a case or an empty text for no consumer."""
    told, journal, case_s = sys.argv[1:]
    configure_logging(as_json=False)
    settings = CloudSettings.model_validate(json.loads(told))
    asyncio.run(serve(settings, Journal(Path(journal)), float(case_s) if case_s else None))
