"""Waiting cases to answers: which go next, how many at a time, and what runs beside what.

Three tasks hand cases on: one opens the pictures of those whose turn it is, up to a batch ahead; one has the teacher
take all that are open the moment its last run ends, or waits for more where that pays (`batching.py`); one keeps the
answers. So the teacher's run is never kept waiting for a decoder, a disk or the event loop, batches grow by themselves
with the load, and no more than five batches are in memory, three where the store is as fast as the teacher.

The store is the queue. What is known here of waiting cases is a copy, bounded, and built anew from the store after a
crash or a failure: nothing is lost, and a case is taken off only when its answer is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import structlog

from cloud.admission import Admission
from cloud.batching import ArrivalRate, RunTimes, pays_to_wait
from cloud.config import CloudSettings
from cloud.errors import StoreError
from cloud.opened import Answering, Backlog, OpenedCase, Postman
from cloud.store import StoredCase
from cloud.waiting import WaitingCase, WaitingCases
from edge.clock import SystemClock
from protocols.values import Interpretation

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

_RETRY_S = 1.0
"""Pause after the store failed: a full disk does not empty itself in milliseconds."""

_LOOK_AGAIN_S = 1.0
"""Waiting cases are looked for this often even if nobody calls `wake`."""

_ALPHA = 0.2
"""Weight of the newest batch in the measured time of opening a case."""

_LEAD, _LEAST_LEAD_S = 2.0, 0.01
"""The next cases are chosen this many times what opening them takes before the teacher is through, and a little."""

_MARGIN = 64
"""Cases beyond the bound of those that wait: some were taken before it was reached."""

_WAIT_STEP_S = 0.001
"""Pace at which an idle teacher asks whether it still pays to wait."""

_RUNS_AHEAD = 2
"""Runs that the teacher's thread is asked for: the next begins without the event loop, which is busy with crafts."""


@dataclass(frozen=True)
class _Run:
    """A run of the teacher that is over, from `begin_s` to `end_s`, monotonic."""

    batch: list[OpenedCase]
    begin_s: float
    end_s: float


class Engine:
    """Feeds waiting cases to an `Interpreter`."""

    def __init__(
        self,
        store: Backlog,
        interpreter: Answering,
        settings: CloudSettings,
        worker: Executor,
        post: Postman,
        *,
        admission: Admission | None = None,
    ) -> None:
        """Prepare.

        Args:
            store: where cases wait.
            interpreter: answers them.
            settings: sizes of batches, and how long one may wait.
            worker: of one thread, in which answers are kept and become prompts.
            post: called in the event loop with what is new for crafts.
            admission: is told what waits and what is served; its clock is ours.
        """
        self._store, self._interpreter, self._settings = store, interpreter, settings
        self._worker, self._post = worker, post
        self._admission = admission or Admission(settings.admission, SystemClock())
        self._clock = self._admission.clock
        self._opener = ThreadPoolExecutor(1, "skyloop-open")
        self._teaching = ThreadPoolExecutor(1, "skyloop-teach")
        self._waiting = WaitingCases(settings.admission.max_waiting + _MARGIN)
        self._in_work: set[tuple[str, str]] = set()
        self._ready: list[OpenedCase | WaitingCase] = []
        self._handing = threading.Lock()  # of `_ready`: the event loop fills it, the teacher's thread takes
        self._answered: asyncio.Queue[_Run | None] = asyncio.Queue(1)
        self._times, self._rate = RunTimes(), ArrivalRate()
        self._is_behind = True  # the store may have cases that are not known here
        self._woken, self._is_ready = asyncio.Event(), asyncio.Event()
        self._is_stopping, self._is_idle = False, True
        self._open_s = self._busy_until_s = 0.0  # of one case; of the run in work, as far as can be told
        self._kept_s = float("-inf")

    def arrive(self, cases: Sequence[tuple[StoredCase, bytes]]) -> None:
        """Take cases that have just become durable, with their imagery; in the event loop."""
        now_s = self._clock.monotonic_s()
        self._rate.came(len(cases), now_s)
        for stored, _ in cases:
            self._admission.stored(stored.craft)
        if not self._waiting.add(WaitingCase(stored, now_s, payload) for stored, payload in cases):
            self._is_behind = True
        self.wake()

    def wake(self) -> None:
        """There may be waiting cases."""
        self._woken.set()

    def stop(self) -> None:
        """Finish what the teacher has begun and no more; what waits stays in the store."""
        self._is_stopping = True
        self._woken.set()
        self._is_ready.set()

    async def run(self) -> None:
        """Answer cases until `stop`."""
        tasks = [asyncio.create_task(part) for part in (self._open_ahead(), self._ask(), self._keep())]
        try:
            await asyncio.gather(*tasks)
        finally:
            self._is_stopping = True  # also for the teacher's thread, where a task failed
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for executor in (self._opener, self._teaching):
                await _in(None, executor.shutdown)

    async def _open_ahead(self) -> None:
        """Open the pictures of the next cases, up to a batch, while the teacher is at work."""
        while not self._is_stopping:
            self._woken.clear()
            if not await self._catch_up():
                continue
            if (early_s := self._too_early_s()) > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), early_s)
                continue
            with self._handing:
                ready = [_waiting(case).pixels for case in self._ready]
            room, pixels = self._settings.max_batch - len(ready), self._settings.max_batch_pixels - sum(ready)
            ahead_s, now_s = self._times.of(self._settings.max_batch), self._clock.monotonic_s()
            batch = self._waiting.take(now_s, ahead_s, room, pixels, may_exceed=not ready)
            if not batch:
                await self._pause()
                continue
            self._in_work.update(case.key for case in batch)
            opened: Sequence[OpenedCase | WaitingCase] = batch
            if not self._is_idle:  # else it opens them itself: handing them from thread to thread would take longer
                begin_s = self._clock.monotonic_s()
                opened = await _in(self._opener, self._interpreter.open, batch)
                self._open_s += _ALPHA * ((self._clock.monotonic_s() - begin_s) / len(batch) - self._open_s)
            with self._handing:
                self._ready.extend(opened)
            self._is_ready.set()

    def _too_early_s(self) -> float:
        """How long the next cases need not be chosen yet, for the teacher is at work: a better one may come."""
        lead_s = _LEAD * self._open_s * self._settings.max_batch + _LEAST_LEAD_S
        return self._busy_until_s - lead_s - self._clock.monotonic_s()

    async def _catch_up(self) -> bool:
        """Learn of cases that only the store knows; False where it fails, after a pause."""
        if not self._is_behind or len(self._waiting) > self._waiting.most // 2:
            return True
        self._is_behind = False  # what comes meanwhile says so itself
        before = set(self._in_work)  # the store may be read before their answers are kept, and we go on after that
        try:
            counts = await _in(None, self._store.waiting_counts)
            found = await _in(None, self._store.waiting_cases, self._waiting.most)
        except StoreError as exc:
            self._is_behind = True
            await self._bear(exc)
            return False
        now_s, wall_s = self._clock.monotonic_s(), self._clock.wall_s()
        self._admission.begin(counts)
        all_fit = self._waiting.add(
            WaitingCase(stored, now_s - max(wall_s - stored.received_at_s, 0.0))
            for stored in found
            if (stored.craft, stored.case.case_id) not in before | self._in_work
        )
        self._is_behind = self._is_behind or not all_fit or sum(counts.values()) > len(found)
        return True

    async def _pause(self) -> None:
        """Until somebody wakes us, or other processes may have added a case."""
        try:
            await asyncio.wait_for(self._woken.wait(), _LOOK_AGAIN_S)
        except asyncio.TimeoutError:
            self._is_behind = self._is_behind or not len(self._waiting)

    async def _ask(self) -> None:
        """Keep the teacher at work as long as something is open."""
        while True:
            await self._is_ready.wait()
            if self._is_stopping:  # asked after the last pause: `clear` would take the call that ends the next one
                break
            self._is_ready.clear()
            if not self._ready:  # the last run took it
                continue
            await self._gather()
            self._is_idle = False
            loop = asyncio.get_running_loop()
            runs = deque(self._next_run(loop) for _ in range(_RUNS_AHEAD))
            while runs:
                if (run := await runs.popleft()) is None:
                    continue
                self._times.ran(len(run.batch), run.end_s - run.begin_s)
                await self._answered.put(run)
                runs.extend(self._next_run(loop) for _ in range(_RUNS_AHEAD - len(runs)))
            self._busy_until_s, self._is_idle = 0.0, True
            self.wake()
        await self._answered.put(None)

    def _next_run(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[_Run | None]:
        """A run that begins when the last one asked for is over."""
        return loop.run_in_executor(self._teaching, self._run_teacher, loop)

    async def _gather(self) -> None:
        """Wait for more to share the run, as long as that pays."""
        until_s = self._clock.monotonic_s() + self._settings.max_wait_s
        while not self._is_stopping and (now_s := self._clock.monotonic_s()) < until_s:
            if not pays_to_wait(len(self._ready), self._settings.max_batch, self._rate.per_s(now_s), self._times):
                break
            await asyncio.sleep(_WAIT_STEP_S)

    def _run_teacher(self, loop: asyncio.AbstractEventLoop) -> _Run | None:
        """In the teacher's thread: answers to all that is open by now; None where that is nothing."""
        if self._is_stopping:
            return None
        with self._handing:
            if not self._ready:
                return None
            ready, self._ready = self._ready, []
            begin_s = self._clock.monotonic_s()
            self._busy_until_s = begin_s + self._times.of(len(ready))
        loop.call_soon_threadsafe(self.wake)  # there is room for the next
        self._note_batch([_waiting(case) for case in ready])
        closed = [case for case in ready if isinstance(case, WaitingCase)]
        batch = [*(case for case in ready if isinstance(case, OpenedCase)), *self._interpreter.open(closed)]
        self._interpreter.ask(batch)
        return _Run(batch, begin_s, self._clock.monotonic_s())

    def _note_batch(self, batch: Sequence[WaitingCase]) -> None:
        metrics, now_s = self._interpreter.metrics, self._clock.monotonic_s()
        metrics.batch_size.observe(len(batch))
        for waiting in batch:
            metrics.queue_delay_s.observe(max(now_s - waiting.came_s, 0.0))

    async def _keep(self) -> None:
        """Keep answers; where the store fails, what it did not keep is found there again."""
        while (run := await self._answered.get()) is not None:
            try:
                await _in(self._worker, self._interpreter.keep, run.batch, _Outbox(self._post))
            except StoreError as exc:
                self._in_work.difference_update(opened.waiting.key for opened in run.batch)
                self._is_behind = True
                await self._bear(exc)
                continue
            self._in_work.difference_update(opened.waiting.key for opened in run.batch)
            now_s, before_s = self._clock.monotonic_s(), self._kept_s
            self._kept_s = now_s
            self._admission.answered([opened.stored.craft for opened in run.batch], now_s - max(run.begin_s, before_s))

    async def _bear(self, error: StoreError) -> None:
        log.warning("store failed, trying again", error=str(error), retry_s=_RETRY_S)
        self._interpreter.metrics.failures.labels("engine").inc()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopped(), _RETRY_S)

    async def _stopped(self) -> None:
        while not self._is_stopping:
            await asyncio.sleep(0.05)


async def _in(executor: Executor | None, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a call made in another thread."""
    return await asyncio.get_running_loop().run_in_executor(executor, functools.partial(call, *args, **kwargs))


def _waiting(case: OpenedCase | WaitingCase) -> WaitingCase:
    return case.waiting if isinstance(case, OpenedCase) else case


class _Outbox:
    """Hands what is new from the keeping thread to the event loop."""

    def __init__(self, post: Postman) -> None:
        """Called in the event loop, though used in another thread."""
        self._post, self._loop = post, asyncio.get_running_loop()

    def notify(self, craft: str) -> None:
        self._loop.call_soon_threadsafe(self._post.notify, craft)

    def deliver(self, answers: Sequence[tuple[str, Interpretation]]) -> None:
        self._loop.call_soon_threadsafe(self._post.deliver, answers)
