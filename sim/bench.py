"""How much the agent costs beyond its network: frames a second of the whole agent over those of the bare session.

The agent flies frames from memory with tracker, 32 prompts and the link on, sends one case a second to a real gateway
in another process (see `quiet_cloud.py`), and writes its detections. The bare session runs the same ONNX file on the
same frames with the same threads. Rounds of both alternate; medians are compared.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from cloud.store import CaseStore
from edge.agent import Agent, AgentSettings
from edge.bank import BankStore
from edge.bundle import Bundle, bundled_student, load_bundle
from edge.capture import Frame, Source
from edge.keys import CLOUD_NAME, EDGE_NAME, KeyPair, new_keys
from edge.link import HelloProfile, Link, LinkSettings
from edge.outputs import RunOutputs
from edge.runtime.onnx import OUTPUT_NAMES, OnnxBackend
from edge.scheduler import SchedulerSettings
from edge.spool import Spool
from edge.student import Student, as_bgr, pad_to_multiple
from protocols import limits
from protocols.arrays import FloatArray, ImageArray
from protocols.values import FrameHeader, Prompt, PromptBank, Vectors
from sim.display import Display
from sim.errors import ProcessError
from sim.processes import LOOPBACK, Child, command_of, free_ports, wait_ready
from sim.scene_plan import disaster_scene
from sim.world.render import Renderer

PROMPTS = 32
CRAFT_NAME = "bench-craft"
_FPS = 15
_SCENE_FROM_S = 12.0
_BANK_PATIENCE_S = 60.0

ONE_CASE_A_SECOND = SchedulerSettings(
    budget_bytes_per_s=1e9,
    burst_bytes=1e9,
    min_hardness=0.0,
    patience_frames=1,
    min_interval_s=1.0,
    cooldown_s=0.0,
    audit_share=0.0,
)
"""Whatever is seen."""


@dataclass(frozen=True)
class OverheadOptions:
    """What is measured.

    Attributes:
        bundle: student; None is the bundled one.
        threads: ONNX Runtime threads of both sides, 0 for all cores.
        rounds: of each side.
        frames: in one round.
        pictures: different frames, flown to and fro.
        seed: of the scene and the prompts.
    """

    bundle: Path | None = None
    threads: int = 0
    rounds: int = 12
    frames: int = 50
    pictures: int = 45
    seed: int = 1


@dataclass
class Rounds:
    """Frames per second of each round, in the order measured."""

    agent_fps: list[float] = field(default_factory=list)
    session_fps: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Medians, their ratio, and every round."""
        agent, session = statistics.median(self.agent_fps), statistics.median(self.session_fps)
        rounds = [
            {"agent_fps": round(a, 2), "session_fps": round(s, 2)}
            for a, s in zip(self.agent_fps, self.session_fps, strict=True)
        ]
        return {
            "ratio": round(agent / session, 4),
            "agent_fps": round(agent, 2),
            "session_fps": round(session, 2),
            "rounds": rounds,
        }


class MemorySource(Source):
    """Pictures in memory as a source of frames: to and fro, so that motion stays smooth, as many as asked for."""

    def __init__(self, pictures: Sequence[ImageArray], frames: int) -> None:
        super().__init__("memory", (), fps=float(_FPS))
        self._images, self._frames = pictures, frames

    def __iter__(self) -> Generator[Frame, None, None]:
        """The frames; each is captured when it is asked for."""
        order = [*range(len(self._images)), *range(len(self._images) - 2, 0, -1)]
        for index in range(self._frames):
            image = self._images[order[index % len(order)]]
            self.counts.frames += 1
            header = FrameHeader(
                index=index,
                source_id=self.source_id,
                captured_at_s=self.clock.wall_s(),
                width=image.shape[1],
                height=image.shape[0],
            )
            yield Frame(header, image, self.clock.monotonic_s())


def bench_overhead(options: OverheadOptions, display: Display) -> dict[str, Any]:
    """Measure; returns `ratio`, `agent_fps`, `session_fps`, the single rounds and the circumstances.

    Raises:
        ProcessError: the gateway did not come up, or the prompts did not arrive.
        SkyloopError: the bundle is missing or damaged.
    """
    bundle = load_bundle(options.bundle or bundled_student())
    with display.stage("rendering frames", options.pictures) as advance:
        pictures = render_pictures(options.pictures, options.seed, advance)
    with tempfile.TemporaryDirectory(prefix="skyloop-bench-") as folder, ExitStack() as stack:
        stack.enter_context(threadpool_limits(1, user_api="blas"))  # as `skyloop-edge run` sets it
        agent, link = _linked_agent(bundle, options, Path(folder), stack)
        rounds = Rounds()
        with display.stage("measuring", options.rounds) as advance:
            measure(agent, bundle, pictures, options, rounds)
            advance(options.rounds, "")
        stats = link.stats()
        return {
            **rounds.summary(),
            "threads": options.threads or os.cpu_count(),
            "bundle": bundle.manifest.name,
            "variant": bundle.variant,
            "frames_per_round": options.frames,
            "prompts": len(agent.pipeline.matcher.prompts),
            "cases_planned": agent.statistics.cases_planned,
            "cases_delivered": stats.cases_delivered,
            "cloud": "skyloop-cloud's gateway and store in another process on this machine, without teacher work",
        }


def render_pictures(count: int, seed: int, advance: Any = lambda *_: None) -> list[ImageArray]:  # noqa: ANN401
    """Consecutive frames of the disaster flight, with debris in view."""
    scene = disaster_scene(seed)
    renderer = Renderer(scene.world, scene.camera, scene.look)
    pictures = []
    for index in range(count):
        time_s = _SCENE_FROM_S + index / _FPS
        pictures.append(renderer.render(scene.flight.pose_at(time_s), time_s)[0])
        advance(index + 1, "")
    return pictures


def measure(
    agent: Agent, bundle: Bundle, pictures: Sequence[ImageArray], options: OverheadOptions, rounds: Rounds
) -> None:
    """Run both sides in turn; who goes first changes from round to round."""
    session = OnnxBackend(bundle.model_path, threads=options.threads).session
    inputs = [pad_to_multiple(as_bgr(image), bundle.manifest.multiple_px)[None] for image in pictures]

    def fly() -> float:
        begin_s = time.perf_counter()
        agent.run(MemorySource(pictures, options.frames))
        return options.frames / (time.perf_counter() - begin_s)

    def infer() -> float:
        begin_s = time.perf_counter()
        for index in range(options.frames):
            session.run(OUTPUT_NAMES, {"image": inputs[index % len(inputs)]})
        return options.frames / (time.perf_counter() - begin_s)

    sides = [(fly, rounds.agent_fps), (infer, rounds.session_fps)]
    agent.run(MemorySource(pictures, 8))
    for _ in range(8):
        session.run(OUTPUT_NAMES, {"image": inputs[0]})
    for number in range(options.rounds):
        for run, found in sides if number % 2 else sides[::-1]:
            found.append(run())


def random_prompts(count: int, bundle: Bundle, seed: int) -> tuple[Prompt, ...]:
    """Prompts as large as a prompt may be, made of random directions: all the work of matching, and no match."""
    rng = np.random.default_rng(seed)
    manifest = bundle.manifest

    def vectors(rows: int) -> Vectors:
        drawn: FloatArray = rng.normal(size=(rows, manifest.embedding_dim)).astype(np.float32)
        return Vectors.from_array(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))

    return tuple(
        Prompt(
            prompt_id=f"bench-{number:02d}",
            label=f"Bench{number:02d}",
            space_id=manifest.space_id,
            variant=bundle.variant,
            positives=vectors(limits.MAX_POSITIVES),
            negatives=vectors(limits.MAX_NEGATIVES),
            threshold=0.6,
            issued_at_s=time.time(),
            origin="teacher",
            confidence=1.0,
        )
        for number in range(count)
    )


def _linked_agent(bundle: Bundle, options: OverheadOptions, folder: Path, stack: ExitStack) -> tuple[Agent, Link]:
    """A whole agent with its link up and the prompts in force; the stack takes everything down again."""
    cloud_keys = new_keys(folder / "keys" / "cloud", CLOUD_NAME)
    craft_keys = new_keys(folder / "keys" / "edge", EDGE_NAME)
    _stock_cloud(folder / "cloud", craft_keys, random_prompts(PROMPTS, bundle, options.seed))
    endpoint = stack.enter_context(_gateway(folder, bundle))
    student = Student.open(bundle, threads=options.threads)
    bank, spool = BankStore(folder / "bank"), Spool(folder / "spool")
    profile = HelloProfile(bundle.manifest.space_id, bundle.variant, bundle.manifest.labels)
    link = Link(LinkSettings(endpoint=endpoint), craft_keys, cloud_keys.public, spool, bank, profile)
    stack.callback(link.close)
    link.start()
    outputs = stack.enter_context(RunOutputs(folder / "out", fps=float(_FPS), video=False))
    settings = AgentSettings(scheduler=ONE_CASE_A_SECOND)
    _wait_for_prompts(bank)
    return Agent(student=student, bank=bank, spool=spool, link=link, outputs=outputs, settings=settings), link


def _stock_cloud(data: Path, craft: KeyPair, prompts: tuple[Prompt, ...]) -> None:
    """Enrol the craft and put the prompts into its bank, from where it fetches them as any craft does."""
    store = CaseStore(data)
    try:
        store.enroll(CRAFT_NAME, craft.public.decode())
        store.save_bank(CRAFT_NAME, PromptBank(epoch=uuid.uuid4().hex, revision=1, prompts=prompts))
    finally:
        store.close()


@contextmanager
def _gateway(folder: Path, bundle: Bundle) -> Iterator[str]:
    wire_port, http_port = free_ports(2)
    endpoint = f"tcp://{LOOPBACK}:{wire_port}"
    arguments = (str(folder / "cloud"), str(folder / "keys" / "cloud"), endpoint, str(http_port), str(bundle.folder))
    with Child("the gateway", command_of("quiet-cloud", *arguments), folder / "cloud.log") as child:
        wait_ready(child, http_port)
        yield endpoint


def _wait_for_prompts(bank: BankStore) -> None:
    deadline_s = time.monotonic() + _BANK_PATIENCE_S
    while len(bank.current.prompts) < PROMPTS:
        if time.monotonic() > deadline_s:
            raise ProcessError(f"the prompts did not reach the craft within {_BANK_PATIENCE_S:.0f} s; is loopback up?")
        time.sleep(0.05)
