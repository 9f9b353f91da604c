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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from cloud.cli import configure_logging
from cloud.config import CloudSettings
from cloud.engine import Engine, Interpreter
from cloud.gateway import Gateway
from cloud.store import CaseStore, StoredCase
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
        self._store, self._journal, self._case_s = store, journal, case_s

    def answer(self, cases: Sequence[StoredCase], notify: Callable[[str], None]) -> None:
        """Answer a batch, one case after the other."""
        for stored in cases:
            age_s = time.time() - stored.case.frame.captured_at_s
            self._journal.note("consumed", index=stored.case.frame.index, age_s=age_s)
            self._store.read_imagery(stored)
            time.sleep(self._case_s)
            answer = Interpretation(
                case_id=stored.case.case_id, by="teacher", interpreter="consumer", confidence=1.0, made_at_s=time.time()
            )
            if self._store.add_interpretation(stored.craft, answer):
                notify(stored.craft)
            self._store.set_case_state(stored.craft, stored.case.case_id, "interpreted", "", 1.0)


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
            interpreter = cast(Interpreter, Consumer(store, journal, case_s))  # the engine calls `answer` alone
            engine = Engine(store, interpreter, settings, worker, gateway.notify)
            gateway.on_case_stored = engine.wake
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
