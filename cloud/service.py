"""The cloud service: store, teacher, twins, engine, gateway and HTTP in one asyncio program.

What waits lies in the store, so that stopping at any moment, even by `kill -9`, loses nothing that was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from cloud.admission import Admission
from cloud.backend import Backend
from cloud.config import CloudSettings
from cloud.data_lock import serving
from cloud.engine import Engine
from cloud.errors import StoreError
from cloud.fleet_metrics import FleetCollector
from cloud.gateway import Gateway
from cloud.http import HttpServer, create_app, listen
from cloud.interpreter import Interpreter
from cloud.janitor import Janitor
from cloud.metrics import CloudMetrics, GatewayCollector
from cloud.prompt_desk import PromptDesk
from cloud.published_twins import PublishedTwins
from cloud.registry import Registry
from cloud.store import CaseStore
from cloud.teachers import Teacher, open_teacher
from cloud.twins import Twins, student_folders
from cloud.watcher import Watcher
from edge.clock import SystemClock
from edge.keys import KeyPair
from protocols.values import Interpretation

log = structlog.get_logger()

_SWITCH_S = 0.0005
"""A thread that comes back from the network, the disk or the teacher waits no longer than this for its turn to go on;
with Python's 5 ms a case, which goes through six threads, would mostly wait for them."""


class CloudService:
    """One server on one data folder."""

    def __init__(self, settings: CloudSettings, keys: KeyPair, teacher: Teacher | None = None) -> None:
        """Open everything that may be missing or damaged, before a port is taken.

        Args:
            settings: where and how.
            keys: the server's identity.
            teacher: by default the one that the settings name.

        Raises:
            SkyloopError: the store, the teacher or a student cannot be opened.
        """
        self.settings, self.metrics = settings, CloudMetrics()
        teacher = teacher or open_teacher(settings.teacher, threads=settings.threads)
        twins = Twins(student_folders(settings.students), threads=settings.threads)
        self.store = CaseStore(settings.data)
        self._published = PublishedTwins(Registry(settings.data), twins)
        self._published.look()
        desk = PromptDesk(self.store, twins, settings.prompts, SystemClock())
        # One thread: prompts of one craft build on each other, and the networks use all cores by themselves.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="teacher")
        admission = Admission(settings.admission, SystemClock())
        self.gateway = Gateway(settings, self.store, keys, admission=admission)
        self.metrics.registry.register(GatewayCollector(self.gateway))
        self.metrics.registry.register(FleetCollector(self.gateway.live, self.store, SystemClock()))
        interpreter = Interpreter(self.store, teacher, desk, settings, self.metrics)
        self._engine = Engine(self.store, interpreter, settings, self._worker, self, admission=admission)
        self._watcher = Watcher(self.store, desk, self.metrics)
        interpreter.give_way = self._give_way
        self._janitor = Janitor(self.store, settings.retention, self.metrics)
        self.gateway.on_cases_stored = self._engine.arrive
        self._stop, self._look = asyncio.Event(), asyncio.Event()
        self._not_ready = "starting"
        self._about = {"teacher": teacher.name, "spaces": twins.space_ids, "data": str(settings.data)}

    def stop(self) -> None:
        """End `run` soon: take nothing more, finish what is in work."""
        self._stop.set()
        self._look.set()

    async def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT.

        Raises:
            CloudError: a port is in use, or another server holds the data folder.
        """
        self._loop = asyncio.get_running_loop()
        sys.setswitchinterval(_SWITCH_S)
        try:
            with serving(self.settings.data), listen(self.settings.http) as http_socket, self._signals():
                async with self._http(http_socket), self._tasks(), self._gateway():
                    self._not_ready = ""
                    host, port = http_socket.getsockname()[:2]
                    scheme = "https" if self.settings.web.tls_cert else "http"
                    console = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
                    log.info("serving", bind=self.settings.bind, console=console, **self._about)
                    await self._stop.wait()
                    self._not_ready = "stopping"
                    log.info("stopping")
        finally:
            self._worker.shutdown(wait=True)
            self.store.close()
        log.info("stopped")

    def _backend(self) -> Backend:
        return Backend(self.store, self.settings, SystemClock(), live=self.gateway.live, wake=self._wake_watcher)

    def _give_way(self) -> None:
        """In the worker's thread, between two of the teacher's cases: use what people answered meanwhile."""
        if self.store.has_waiting_reviews():
            for craft in self._watcher.look():
                self.notify(craft)

    def _wake_watcher(self) -> None:
        """From any thread: look at once for what people asked for."""
        self._loop.call_soon_threadsafe(self._look.set)

    def notify(self, craft: str) -> None:
        """Say that the store has news for a craft."""
        if not self._not_ready:  # a craft that connects later asks by itself
            self.gateway.notify(craft)

    def deliver(self, answers: Sequence[tuple[str, Interpretation]]) -> None:
        """Send crafts their answers, which are durable."""
        if not self._not_ready:
            for craft, answer in answers:
                self.gateway.deliver(craft, answer)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop, signals = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    @contextlib.asynccontextmanager
    async def _http(self, http_socket: socket.socket) -> AsyncIterator[None]:
        app = create_app(self._backend(), self.metrics.registry, lambda: self._not_ready)
        server = HttpServer(app, self.settings.web)
        task = asyncio.create_task(server.serve(sockets=[http_socket]))
        try:
            yield
        finally:
            server.should_exit = True
            await task
            app.state.review_desk.close()

    @contextlib.asynccontextmanager
    async def _gateway(self) -> AsyncIterator[None]:
        await self.gateway.start()
        try:
            yield
        finally:
            await self.gateway.stop()

    @contextlib.asynccontextmanager
    async def _tasks(self) -> AsyncIterator[None]:
        """The engine, the watcher and the janitor; when one of them dies, the service stops rather than limps."""
        works = self._engine.run(), self._watch(), self._janitor.run(self._stop)
        tasks = [asyncio.create_task(work) for work in works]
        for task in tasks:
            task.add_done_callback(lambda _: self.stop())
        try:
            yield
        finally:
            self._engine.stop()
            self.stop()
            await asyncio.gather(*tasks)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            self._look.clear()  # first: what wakes us while we look is looked at next
            try:
                self._published.look()
                if self._watcher.is_due:
                    for craft in await loop.run_in_executor(self._worker, self._watcher.look):
                        self.notify(craft)
            except StoreError as exc:
                log.warning("store failed, trying again", error=str(exc))
                self.metrics.failures.labels("watch").inc()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._look.wait(), self.settings.poll_s)
