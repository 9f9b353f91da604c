"""`skyloop-edge`: fly a student over a source, make and trust keys."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import cv2
import structlog
import typer
from pydantic import Field
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from edge.agent import Agent, AgentSettings
from edge.bank import BankStore
from edge.bundle import bundled_student, read_manifest
from edge.bundle_swap import BundleSwap
from edge.capture import Frame, Look, Source, open_source
from edge.checks import has_problem
from edge.clock import SystemClock
from edge.config import Settings, parse_range, read_toml
from edge.doctor import examine, told
from edge.entry import run_program
from edge.errors import ConfigError
from edge.flown_bundle import FlownBundle, open_flown
from edge.installed_bundles import folder_in_use
from edge.keys import EDGE_NAME, KeyPair, load_keys, load_server_key, new_keys, trust_server
from edge.link import HelloProfile, Link, LinkSettings, check_security
from edge.opencv_trackers import open_short_term
from edge.outputs import RunOutputs, draw
from edge.pipeline import FrameResult
from edge.preflight import Flight, preflight
from edge.runtime import Opened, Runtime, RuntimeRequest, open_runtime
from edge.service_manager import ServiceManager
from edge.spool import Spool
from edge.student import Student
from edge.target_places import check_requests
from edge.target_requests import TargetRequest, parse_target
from edge.tiling import MIN_TILE_PX, open_student
from edge.trust import PINNED_NAME, pin_root, updates_folder
from edge.updates import Updates, UpdateSettings

app = typer.Typer(
    no_args_is_help=True,
    help="The edge agent: looks at every frame, sends hard cases, finds what prompts describe.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys_app = typer.Typer(no_args_is_help=True, help="The craft's identity on the wire.")
app.add_typer(keys_app, name="keys")
error_console = Console(stderr=True, soft_wrap=True)


class RunConfig(Settings):
    """The file of `skyloop-edge run --config`.

    Attributes:
        agent: perception, hardness and scheduling.
        link: the wire; None flies alone unless `--cloud` names an endpoint, which rules over the file's.
        spool_max_bytes, spool_max_cases: caps of the durable queue; the least valuable case goes first.
        spool_max_age_s: older cases go, whatever their own time to live; by default 30 days, longer than a craft is
            without any contact.
        threads: ONNX Runtime threads, 0 for all cores.
        runtime: what runs the bundle; `auto` takes the best that this machine has.
        variant: which file of the bundle; None takes the one made for the runtime.
        engine_cache: folder for what TensorRT compiles between runs.
        pixel_range: of images with more than 8 bits, the values that become 0 and 255; None stretches each by itself.
        tile_px: frames larger than this are looked at in overlapping tiles of this side; None looks at them whole.
        paced: give recorded frames at their recorded times instead of as fast as they are taken.
        video: write the annotated video.
        ground_m: height of the ground above the WGS 84 ellipsoid, metres, for the map of targets.
        updates: bundles over the air; see `docs/updates.md`.
    """

    agent: AgentSettings = AgentSettings()
    link: LinkSettings | None = None
    spool_max_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    spool_max_cases: int = Field(default=10_000, ge=1)
    spool_max_age_s: float = Field(default=30 * 86400.0, gt=0)
    threads: int = 0
    runtime: Runtime = Runtime.AUTO
    variant: str | None = None
    engine_cache: Path = Path.home() / ".cache" / "skyloop" / "engines"
    tile_px: int | None = Field(default=None, ge=MIN_TILE_PX)
    pixel_range: tuple[float, float] | None = None
    paced: bool = False
    video: bool = True
    ground_m: float = Field(default=0.0, ge=-1000, le=10_000)
    updates: UpdateSettings = UpdateSettings()


def main() -> None:
    """Entry point: one clear line and an exit code for every error we foresee; see `edge.entry`."""
    run_program(app)


@keys_app.command("new")
def keys_new(out: Annotated[Path, typer.Option(help="Folder for edge.pub and edge.key")]) -> None:
    """Make the craft's key pair. Hand edge.pub to the cloud operator: skyloop-cloud enroll edge.pub --name NAME."""
    pair = new_keys(out, EDGE_NAME)
    typer.echo(f"{pair.public.decode()}  (public key, also in {out / 'edge.pub'})")


@app.command()
def trust(
    server_public_key: Annotated[str, typer.Argument(help="The cloud's public key: its .pub file or the text in it")],
    keys: Annotated[Path, typer.Option(help="The craft's key folder")],
) -> None:
    """Pin the one cloud this craft talks to. Example: skyloop-edge trust cloud-keys/cloud.pub --keys edge-keys."""
    trust_server(server_public_key, keys)
    typer.echo(f"trusted; pinned in {keys / 'server.pub'}")


@app.command("trust-updates")
def trust_updates(
    root: Annotated[Path, typer.Argument(help="root.json of those who sign bundles, brought by hand")],
    keys: Annotated[Path, typer.Option(help="The craft's key folder")],
) -> None:
    """Pin whose bundles this craft takes over the air.

    Example: skyloop-edge trust-updates root.json --keys edge-keys
    """
    version = pin_root(root, keys)
    pinned = f"root version {version} pinned in {keys / PINNED_NAME}"
    typer.echo(f"trusted; {pinned}; a craft that is flying reads it when it starts again")


@app.command()
def run(
    source: Annotated[
        str, typer.Option(help="Video, image folder, GeoTIFF, glob, camera index, rtsp/http URL, gst: pipeline")
    ],
    cloud: Annotated[
        str | None,
        typer.Option(
            help="The cloud's endpoint, for example tcp://10.0.0.1:7600; several ways to it with commas between"
        ),
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="Key folder made by `keys new` and `trust`")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Student bundle; by default the one in the package")] = None,
    runtime: Annotated[
        Runtime | None, typer.Option(help="What runs the bundle; by default auto, the best that works here")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where results go")] = Path("out"),
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames")] = None,
    tile: Annotated[
        int | None,
        typer.Option(min=MIN_TILE_PX, help="Look at larger frames in overlapping tiles of this side, pixels"),
    ] = None,
    pixel_range: Annotated[
        str | None, typer.Option(help="LOW,HIGH: of images with more than 8 bits, what becomes 0 and 255")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="Follow this: X,Y,W,H or a point X,Y in pixels of the first frame, X1:Y1:X2:Y2 or X:Y in shares of "
            "it, or a label; may be given again"
        ),
    ] = None,
    tracker: Annotated[
        str | None, typer.Option(help="What follows targets: correlation, nano:DIR, vit:FILE, mil, csrt or kcf")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Open a window with the annotated video")] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file, see docs/configuration.md")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON")] = False,
) -> None:
    """Fly: detect, track, send hard cases, apply prompts. Works with the cloud up, down or absent.

    Alone:  skyloop-edge run --source flight.mp4
    Linked: skyloop-edge run --source 0 --cloud tcp://cloud:7600 --keys edge-keys
    Following: skyloop-edge run --source flight.mp4 --target 310,220,40,30 --target Car
    """
    configure_logging()
    settings = read_toml(config, RunConfig) if config else RunConfig()
    settings = settings.model_copy(update={"tile_px": tile}) if tile else settings
    settings = settings.model_copy(update={"pixel_range": parse_range(pixel_range)}) if pixel_range else settings
    settings = settings.model_copy(update={"runtime": runtime}) if runtime else settings
    settings = _with_tracker(settings, tracker) if tracker else settings
    requests = [parse_target(text) for text in target or ()]
    with ExitStack() as stack:
        # Our matrices are small: a second, spinning BLAS thread would only take the core from ONNX Runtime.
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        agent, frames, outputs = _assemble(
            settings, stack, requests, source=source, cloud=cloud, keys=keys, bundle=bundle, out=out
        )
        summary = _fly(agent, frames, max_frames, show=show)
        outputs.summarise(summary)
    typer.echo(json.dumps(summary) if as_json else _headline(summary, out))


@app.command()
def doctor(
    bundle: Annotated[Path | None, typer.Option(help="Student bundle; by default the one in the package")] = None,
    keys: Annotated[Path | None, typer.Option(help="Look at this key folder, too")] = None,
    cloud: Annotated[str | None, typer.Option(help="Say Hello to this cloud; not while an agent flies")] = None,
    source: Annotated[str | None, typer.Option(help="Take a picture of this source")] = None,
    out: Annotated[Path, typer.Option(help="Where results would go")] = Path("out"),
    config: Annotated[Path | None, typer.Option(help="TOML file of the flight, see docs/configuration.md")] = None,
    threads: Annotated[int, typer.Option(min=0, help="ONNX Runtime threads, 0 for all cores")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Say what this computer has, try every runtime on the bundle, and check what a flight needs.

    Each check is ok, a warning or a problem with what cures it; the exit code is 1 where there is a problem.

    Example: skyloop-edge doctor

    Before a flight: skyloop-edge doctor --keys edge-keys --cloud tcp://GROUND:7600 --source 0
    """
    configure_logging()
    folder = folder_in_use(updates_folder(out), bundle or bundled_student())
    settings = read_toml(config, RunConfig) if config else RunConfig(threads=threads)
    found = examine(folder, runtime_request(settings))
    manifest = read_manifest(folder)
    variant = next((tried["variant"] for tried in found["runtimes"].values() if tried["works"]), "none")
    link, look = _link_settings(settings, cloud), Look(manifest.band_names, settings.pixel_range)
    flight = Flight(out, settings.spool_max_bytes, keys, link, source, look)
    checks = preflight(flight, found, HelloProfile(manifest.space_id, variant, manifest.labels))
    if as_json:
        typer.echo(json.dumps(found | {"checks": [check.record() for check in checks]}))
    else:
        typer.echo("\n".join([told(found, folder), *(check.line() for check in checks)]))
    if has_problem(checks):
        raise typer.Exit(1)


def configure_logging() -> None:
    """Log lines to stderr, so that standard output stays a program's answer."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _assemble(
    settings: RunConfig,
    stack: ExitStack,
    requests: Sequence[TargetRequest],
    *,
    source: str,
    cloud: str | None,
    keys: Path | None,
    bundle: Path | None,
    out: Path,
) -> tuple[Agent, Source, RunOutputs]:
    options = _link_settings(settings, cloud)
    opener = _Opener(settings)
    flown = open_flown(bundle or bundled_student(), updates_folder(out), opener, is_linked=options is not None)
    stack.callback(flown.close)
    student = flown.student
    look = Look(student.manifest.band_names, settings.pixel_range)
    frames = open_source(source, paced=settings.paced, look=look)
    open_short_term(settings.agent.pipeline.targets.tracker)
    if requests:
        check_requests(requests, frames.peek(), settings.agent.pipeline.targets.most)
    identity = _identity(keys, options) if options else (None, None)
    # What the user may have to mend is looked at above, so that a refused run leaves the last one's results alone.
    outputs = stack.enter_context(RunOutputs(out, fps=frames.fps, video=settings.video, ground_m=settings.ground_m))
    bank = BankStore(out / "state" / "bank")
    swap = flown.swap(bank, settings.updates)
    opener.begin_to_log()
    spool = link = None
    if options:
        folder, most = out / "state" / "spool", (settings.spool_max_bytes, settings.spool_max_cases)
        spool = Spool(folder, *most, max_age_s=settings.spool_max_age_s)
        hello = HelloProfile(student.manifest.space_id, student.bundle.variant, student.manifest.labels)
        keep = outputs.write_interpretation
        updates = stack.enter_context(_updating(flown, swap, keys, settings.updates))
        link = Link(options, *identity, spool, bank, hello, on_interpretation=keep, updates=updates)
        stack.enter_context(_started(link))
    agent = Agent(student=swap, bank=bank, spool=spool, link=link, outputs=outputs, settings=settings.agent)
    for request in requests:
        agent.pipeline.follow(request)
    return agent, frames, outputs


class _Opener:
    """Opens the student of a folder as the settings want it run; what was taken is logged from `begin_to_log` on."""

    def __init__(self, settings: RunConfig) -> None:
        self._settings = settings
        self._unsaid: list[Opened] | None = []

    def __call__(self, folder: Path) -> Student:
        """The student.

        Raises:
            ModelError: it cannot be run so.
        """
        found = open_runtime(folder, runtime_request(self._settings))
        if self._unsaid is None:
            found.log()
        else:
            self._unsaid.append(found)
        return open_student(found.bundle, tile_px=self._settings.tile_px, backend=found.backend)

    def begin_to_log(self) -> None:
        """Nothing is left that a person may have to mend: a refusal stays one line."""
        for found in self._unsaid or ():
            found.log()
        self._unsaid = None


@contextmanager
def _updating(
    flown: FlownBundle, swap: BundleSwap, keys: Path | None, settings: UpdateSettings
) -> Iterator[Updates | None]:
    updates = flown.updates(swap, keys, settings, SystemClock())
    if updates is None:
        yield None
        return
    updates.start()
    try:
        yield updates
    finally:
        updates.close()


def _with_tracker(settings: RunConfig, tracker: str) -> RunConfig:
    """The settings with another short-term tracker for targets."""
    pipeline = settings.agent.pipeline
    targets = pipeline.targets.model_copy(update={"tracker": tracker})
    agent = settings.agent.model_copy(update={"pipeline": pipeline.model_copy(update={"targets": targets})})
    return settings.model_copy(update={"agent": agent})


def runtime_request(settings: RunConfig) -> RuntimeRequest:
    """What the file and the options ask to run the bundle."""
    return RuntimeRequest(settings.runtime, settings.variant, settings.threads, settings.engine_cache)


def _link_settings(settings: RunConfig, cloud: str | None) -> LinkSettings | None:
    """None where the craft flies alone; `--cloud` rules over the file's endpoint."""
    link = settings.link or LinkSettings()
    # A file that tunes the link and names no cloud leaves the craft alone.
    if not cloud and "endpoint" not in link.model_fields_set:
        return None
    return link.model_copy(update={"endpoint": cloud} if cloud else {})


def _identity(keys: Path | None, settings: LinkSettings) -> tuple[KeyPair | None, bytes | None]:
    """The craft's key pair and the cloud's public key; neither on a plaintext link."""
    if settings.plaintext:
        pair, server = None, None
    elif keys is None:
        raise ConfigError(
            "a cloud needs --keys: make them with `skyloop-edge keys new`, pin the cloud with `skyloop-edge trust`, "
            "and let the craft in with `skyloop-cloud enroll`"
        )
    else:
        pair, server = load_keys(keys, EDGE_NAME), load_server_key(keys)
    check_security(settings, pair, server)
    return pair, server


@contextmanager
def _started(link: Link) -> Iterator[Link]:
    link.start()
    try:
        yield link
    finally:
        link.close()


def _fly(agent: Agent, frames: Source, max_frames: int | None, *, show: bool) -> dict[str, Any]:
    """Run the agent with a progress line; SIGTERM and Ctrl-C end the run and keep what was found."""
    signal.signal(signal.SIGTERM, lambda *_: frames.close())
    signal.signal(signal.SIGINT, lambda *_: frames.close())
    manager = ServiceManager(os.environ)
    manager.ready()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=error_console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("flying", total=None)

        def after(frame: Frame, result: FrameResult) -> bool:
            manager.alive()
            s = agent.statistics
            text = f"frame {frame.header.index}  detections {len(result.detections)}  cases {s.cases_planned}"
            progress.update(task, description=text)
            return _show(frame, result) if show else True

        return agent.run(frames, max_frames=max_frames, on_frame=after, on_wait=manager.alive)


def _show(frame: Frame, result: FrameResult) -> bool:
    """Draw into a window; False once the user pressed q or Escape."""
    try:
        cv2.imshow("skyloop-edge", draw(frame.image, result.detections, targets=result.targets))
        return (cv2.waitKey(1) & 0xFF) not in (ord("q"), 27)
    except cv2.error as exc:
        raise ConfigError("--show: OpenCV cannot open a window here; run without --show and watch video.mp4") from exc


def _headline(summary: dict[str, Any], out: Path) -> str:
    prompted = sum(n for name, n in summary["detections"].items() if name.startswith("prompt"))
    total = sum(summary["detections"].values())
    lines = [
        f"{summary['frames']} frames at {summary['fps'] or 0:.1f} frames/s, {total} detections, {prompted} by prompts",
        f"cases: {summary['cases']['planned']} made, {summary['loop_ms']['count']} answered by prompts",
    ]
    if summary["frames_undecodable"]:
        lines.append(f"{summary['frames_undecodable']} frames did not decode and were skipped")
    return "\n".join([*lines, f"results in {out}"])
