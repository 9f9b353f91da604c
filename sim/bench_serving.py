"""`skyloop-sim bench serving`: how many cases a second are answered, ours beside LitServe and the bare session.

All three run the same ONNX file with the same session options on the same JPEG pictures, ours and LitServe with the
same teacher code around it. Ours goes the craft's whole way: CURVE, an offer, a durable receipt, the teacher, a durable
answer, its receipt. Cases come from crafts whose student is not known here, so that no prompts are made: LitServe makes
none either. Rounds are interleaved, medians compared.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import zmq

from cloud.store import CaseStore
from edge.bundle import bundled_student, load_bundle
from edge.keys import CLOUD_NAME, new_keys
from sim.batch_axis import batched_bundle
from sim.bench import render_pictures
from sim.display import Display
from sim.errors import ProcessError
from sim.peers import PEERS_FOLDER, environment, peers_python
from sim.processes import LOOPBACK, Child, ask_program, command_of, free_ports, wait_ready

SYSTEMS = ("skyloop", "litserve", "session")
_PICTURES = 16
_QUALITY = 90


@dataclass(frozen=True)
class ServingBench:
    """What is measured.

    Attributes:
        bundle: the network; None is the bundled student, which takes a few milliseconds on a CPU core, as a large
            teacher does on a GPU.
        side_px: of the square pictures.
        concurrency: requests under way.
        rounds: of each system at each concurrency.
        seconds: of a round, after `warm_s`.
        threads: of the session, of all three alike.
        max_batch: images in a run, of all three alike.
        batch_timeout_s, fast_queue: LitServe's.
        peers: environment that `bench setup` made.
        warm_s: until a round is measured.
        seed: of the pictures.
    """

    bundle: Path | None = None
    side_px: int = 320
    concurrency: tuple[int, ...] = (1, 8, 32)
    rounds: int = 5
    seconds: float = 5.0
    threads: int = 1
    max_batch: int = 4
    batch_timeout_s: float = 0.0
    fast_queue: bool = True
    peers: Path = PEERS_FOLDER
    warm_s: float = 1.5
    seed: int = 1


def bench_serving(
    options: ServingBench, display: Display, systems: tuple[str, ...] = SYSTEMS
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure; by concurrency and system `rps`, `p50_ms`, `p99_ms` and `errors`.

    Raises:
        ProcessError: a program failed or answered nothing, or the peers' environment is not there.
        SkyloopError: the bundle is missing or damaged.
    """
    if "litserve" in systems:
        peers_python(options.peers)  # before the long part
    with tempfile.TemporaryDirectory(prefix="skyloop-bench-serving-") as name, ExitStack() as stack:
        folder = Path(name)
        with display.stage("rendering pictures", _PICTURES) as advance:
            pictures = _write_pictures(options, folder / "pictures", advance)
        bundle = batched_bundle(load_bundle(options.bundle or bundled_student()), folder / "bundle")
        common = {**asdict(options), "bundle": str(bundle), "pictures": [str(path) for path in pictures]}
        told: dict[str, dict[str, Any]] = {"session": {}}
        servers: dict[str, Child] = {}
        serve = {"skyloop": _serve_skyloop, "litserve": _serve_litserve}
        for system in [name for name in systems if name in serve]:
            servers[system], told[system] = serve[system](options, bundle, folder, stack)
            servers[system].pause()
        found: dict[tuple[int, str], list[dict[str, float]]] = {}
        with display.stage("measuring", options.rounds * len(options.concurrency) * len(systems)) as advance:
            for number in range(options.rounds):
                for concurrency in options.concurrency:
                    for system in systems[number % len(systems) :] + systems[: number % len(systems)]:
                        request = {**common, **told[system], "system": system, "concurrency": concurrency}
                        with _running(servers.get(system)):
                            answer = json.loads(ask_program("serving-load", json.dumps(request, default=str)))
                        if math.isnan(answer["p50_ms"]):
                            raise ProcessError(
                                f"{system}: no request was answered in {options.seconds:g} s; is it overloaded?"
                            )
                        found.setdefault((concurrency, system), []).append(answer)
                        advance(sum(map(len, found.values())), system)
    return {
        str(concurrency): {system: _median(found[concurrency, system]) for system in systems}
        for concurrency in options.concurrency
    }


@contextmanager
def _running(server: Child | None) -> Iterator[None]:
    """Let a server run for its turn alone: LitServe's workers look for requests all the time, on a core each."""
    if server is None:
        yield
        return
    server.resume()
    try:
        yield
    finally:
        server.pause()


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each number; errors are added up."""
    middle = {name: statistics.median(item[name] for item in rounds) for name in ("rps", "p50_ms", "p99_ms")}
    return {
        "rps": round(middle["rps"], 1),
        "p50_ms": round(middle["p50_ms"], 2),
        "p99_ms": round(middle["p99_ms"], 2),
        "errors": int(sum(item["errors"] for item in rounds)),
    }


def _write_pictures(options: ServingBench, folder: Path, advance: Callable[[int, str], None]) -> list[Path]:
    """Crops of the disaster flight, as a craft would cut them."""
    folder.mkdir(parents=True)
    paths, side = [], options.side_px
    for number, frame in enumerate(render_pictures(_PICTURES, options.seed, advance)):
        top, left = (max((length - side) // 2, 0) for length in frame.shape[:2])
        crop = cv2.resize(frame[top : top + side, left : left + side], (side, side))
        path = folder / f"{number:02d}.jpg"
        path.write_bytes(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
        paths.append(path)
    return paths


def _serve_skyloop(options: ServingBench, bundle: Path, folder: Path, stack: ExitStack) -> tuple[Child, dict[str, Any]]:
    """Our cloud as it is hosted, with a craft enrolled for each request that may be under way."""
    data, port, http_port = folder / "cloud", *free_ports(2)
    keys = [[part.decode() for part in zmq.curve_keypair()] for _ in range(max(options.concurrency))]
    store = CaseStore(data)
    try:
        for number, (public, _) in enumerate(keys):
            store.enroll(f"craft-{number:04d}", public)
    finally:
        store.close()
    server_key = new_keys(data / "keys", CLOUD_NAME).public.decode()
    (folder / "keys.json").write_text(json.dumps(keys))
    (folder / "cloud.toml").write_text(f"threads = {options.threads}\nmax_batch = {options.max_batch}\n")
    endpoint = f"tcp://{LOOPBACK}:{port}"
    command = command_of(
        "skyloop-cloud", "serve", "--bind", endpoint, "--http", f"{LOOPBACK}:{http_port}", "--data", str(data),
        "--teacher", str(bundle), "--config", str(folder / "cloud.toml"),
    )  # fmt: skip
    child = stack.enter_context(Child("the cloud", command, folder / "cloud.log"))
    wait_ready(child, http_port)
    return child, {"endpoint": endpoint, "server_key": server_key, "keys": str(folder / "keys.json")}


def _serve_litserve(
    options: ServingBench, bundle: Path, folder: Path, stack: ExitStack
) -> tuple[Child, dict[str, Any]]:
    (port,) = free_ports(1)
    told = {
        "paths": [path for path in sys.path if path], "bundle": str(bundle), "threads": options.threads, "port": port,
        "max_batch": options.max_batch, "batch_timeout_s": options.batch_timeout_s, "fast_queue": options.fast_queue,
    }  # fmt: skip
    worker = str(resources.files("sim") / "serving_worker.py")
    command = [str(peers_python(options.peers)), "-I", worker, json.dumps(told)]
    child = stack.enter_context(
        Child("LitServe", command, folder / "litserve.log", environment=environment(options.threads), has_children=True)
    )
    wait_ready(child, port, path="/health")
    return child, {"port": port}
