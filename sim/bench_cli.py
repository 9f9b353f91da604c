"""`skyloop-sim bench`: what the software costs, and what the models reach, on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.table import Table

from distill.files import write_whole
from sim.bench_serving_cli import serving
from sim.bench_tables import (
    fewshot_table,
    find_table,
    follow_table,
    link_tables,
    models_table,
    offload_table,
    presence_table,
    tracking_table,
)
from sim.display import Display, console, quiet_logs
from sim.errors import OptionError
from sim.processes import end_children_on_sigterm

bench_app = typer.Typer(
    no_args_is_help=True, help="Measure what the software costs and what the models reach on this machine."
)

bench_app.command()(serving)

Bundle = Annotated[Path | None, typer.Option(help="Student bundle; by default the one in the package")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program")]
Data = Annotated[Path, typer.Option("--data", help="HIT-UAV folder")]
DATA_DEFAULT = Path("../shared/data/hit_uav")


@bench_app.command()
def overhead(
    bundle: Bundle = None,
    threads: Annotated[int, typer.Option(min=0, help="ONNX Runtime threads of both sides; 0 is all cores")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each side")] = 12,
    frames: Annotated[int, typer.Option(min=2, help="Frames in a round")] = 50,
    as_json: AsJson = False,
) -> None:
    """Frame rate of the whole agent over that of the bare ONNX Runtime session, interleaved, medians.

    The agent holds 32 prompts, tracks, writes its detections and sends one case a second to a real gateway in another
    process, whose teacher does nothing: in a deployment it would not run on the craft's cores.

    Example:  skyloop-sim bench overhead --json
    """
    from sim.bench import OverheadOptions, bench_overhead

    quiet_logs()
    end_children_on_sigterm()
    options = OverheadOptions(bundle=bundle, threads=threads, rounds=rounds, frames=frames)
    result = bench_overhead(options, Display())
    if as_json:
        typer.echo(json.dumps(result))
    else:
        console.print(
            f"agent {result['agent_fps']:.1f} frames/s, bare session {result['session_fps']:.1f} frames/s, "
            f"ratio [bold]{result['ratio']:.3f}[/bold]  ({result['bundle']}/{result['variant']}, "
            f"{result['threads']} threads, {rounds} rounds of {frames} frames, {result['prompts']} prompts, "
            f"{result['cases_delivered']} cases)",
            highlight=False,
        )


@bench_app.command()
def render(
    rounds: Annotated[int, typer.Option(min=1, help="Flights")] = 5,
    frames: Annotated[int, typer.Option(min=2, max=400, help="Frames in a flight")] = 225,
    as_json: AsJson = False,
) -> None:
    """Frames a second that one core renders of the disaster flight, 640x512, median over rounds.

    Example:  skyloop-sim bench render --json
    """
    from sim.bench_render import RenderBench, bench_render

    result = bench_render(RenderBench(rounds=rounds, frames=frames), Display())
    if as_json:
        typer.echo(json.dumps(result))
    else:
        spread = f"{min(result['rounds'])} to {max(result['rounds'])}"
        typer.echo(f"{result['fps_1core']} frames/s on one core ({spread}), {result['prepare_s']} s for the ground")


@bench_app.command()
def models(
    data: Data = DATA_DEFAULT,
    images: Annotated[int | None, typer.Option(min=1, help="Images of each split to score; default all")] = None,
    timed: Annotated[int, typer.Option(min=3, help="Images that the models are timed on")] = 40,
    as_json: AsJson = False,
) -> None:
    """Teacher, FP32 student and INT8 student on HIT-UAV val and dev: AP50, milliseconds, megabytes.

    Times are interleaved medians at one and two threads. Example:  skyloop-sim bench models --json
    """
    from distill.evaluate import bundle_folder
    from sim.bench_models import ModelsBench, bench_models

    options = ModelsBench(data, bundle_folder("student"), bundle_folder("teacher"), images, timed)
    result = bench_models(options, Display())
    if as_json:
        typer.echo(json.dumps(result))
    else:
        console.print(models_table(result))
        console.print(", ".join(f"{name} {value:.2f}" for name, value in result["ratios"].items()), highlight=False)


@bench_app.command()
def fewshot(
    data: Data = DATA_DEFAULT,
    split: Annotated[str, typer.Option(help="dev, val or both")] = "both",
    seeds: Annotated[int, typer.Option(min=1, help="Draws of as many boxes")] = 10,
    student: Annotated[Path | None, typer.Option(help="Bundle that never saw a bicycle; default the kept one")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Bundle of the same student, trained on everything; default the kept one")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A student that never saw a bicycle is shown 1 to 10 boxes and finds the others: AP50 on HIT-UAV.

    Beside it: no prompt at all, prototypes without negatives and, where one is given, the same student trained on
    everything.

    Example:  skyloop-sim bench fewshot --split dev
    """
    from sim.bench_fewshot import FewShotBench, bench_fewshot, kept_bundle

    splits = ("dev", "val") if split == "both" else (split,)
    chosen, compared = student or kept_bundle("leaveout"), reference or kept_bundle("reference")
    options = FewShotBench(data, chosen, compared, splits=splits, seeds=seeds)
    result = bench_fewshot(options, Display())
    if as_json:
        typer.echo(json.dumps(result))
    else:
        console.print(fewshot_table(result, splits))


@bench_app.command()
def coding(
    data: Annotated[Path, typer.Option(help="HIT-UAV folder, or one that `skyloop-sim render` wrote")] = DATA_DEFAULT,
    split: Annotated[str, typer.Option(help="Of HIT-UAV")] = "dev",
    images: Annotated[int | None, typer.Option(min=1, help="Images to look at; default all")] = None,
    threads: Annotated[int, typer.Option(min=0, help="ONNX Runtime threads, 0 for all cores")] = 0,
    as_json: AsJson = False,
) -> None:
    """What the teacher and the student's embedding keep in JPEG and WebP of each quality, and what a pixel costs.

    Example:  skyloop-sim bench coding --images 100
    """
    from distill.evaluate import bundle_folder
    from sim.bench_coding import CodingBench, bench_coding

    student, teacher = bundle_folder("student"), bundle_folder("teacher")
    result = bench_coding(CodingBench(data, split, student, teacher, images, threads), Display())
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table("coding", "bytes a kilopixel", "mAP50", "kept", "cosine", box=None)
    for row in result["codings"]:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table, f"{result['images']} images, {', '.join(result['labels'])}; raw {result['raw_map50']}")


@bench_app.command()
def refine(
    data: Annotated[Path, typer.Option(help="HIT-UAV folder, or one that `skyloop-sim render` wrote")] = DATA_DEFAULT,
    split: Annotated[str, typer.Option(help="Of HIT-UAV")] = "dev",
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the WebP that is sent first")] = 20,
    images: Annotated[int | None, typer.Option(min=1, help="Images to look at; default all")] = None,
    as_json: AsJson = False,
) -> None:
    """What the teacher names surely and rightly in coarse cases that left it unsure, and when it sees them again.

    Example:  skyloop-sim bench refine --images 100
    """
    from sim.bench_refine import RefineBench, bench_refine

    result = bench_refine(RefineBench(data, split, quality, images), Display())
    if as_json:
        typer.echo(json.dumps(result))
        return
    console.print(f"{result['cases']} cases, {result['asked']} asked for again", highlight=False)
    for when in ("before", "after"):
        told = result[when]
        console.print(
            f"{when}: {told['sure']} sure, {told['right']} right, {told['sent_bytes']} bytes", highlight=False
        )


@bench_app.command()
def setup(out: Annotated[Path, typer.Option(help="Folder of the environment")] = Path("runs/peers")) -> None:
    """Make the virtual environment of what `bench tracking`, `link` and `serving` measure against (110 MB to fetch).

    They need opencv-contrib-python, which must never be installed beside our own opencv-python.

    Example:  skyloop-sim bench setup
    """
    from sim.peers import PEER_PACKAGES, set_up_peers

    is_new = set_up_peers(out, Display())
    typer.echo(f"{out}: {'ready' if is_new else 'was ready'}, with {', '.join(PEER_PACKAGES)}")


@bench_app.command()
def tracking(
    data: Annotated[Path, typer.Option(help="Folder of sequences, each with img/ and groundtruth.txt")] = Path(
        "../shared/data/tracking"
    ),
    trackers: Annotated[
        str,
        typer.Option(help="Which, with commas: skyloop, skyloop+nano, csrt, kcf, mil, nano, those with @; default all"),
    ] = "",
    cloud: Annotated[str, typer.Option(help="Who answers questions about the target: off, teacher, operator")] = "off",
    delay: Annotated[float, typer.Option(min=0, help="Until an answer comes, in seconds of the video")] = 1.0,
    nano: Annotated[Path, typer.Option(help="Folder of NanoTrack's two ONNX files")] = Path(
        "../shared/data/peers/nanotrack_v2"
    ),
    peers: Annotated[Path, typer.Option(help="Environment that bench setup made")] = Path("runs/peers"),
    threads: Annotated[int, typer.Option(min=1, help="Of each tracker")] = 1,
    changing: Annotated[
        bool, typer.Option("--changing", help="Renders alone: make looks and camera change fast")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Trackers of one target, ours and others, once over every sequence: success, precision, frames a second.

    Example:  skyloop-sim bench setup && skyloop-sim bench tracking --trackers skyloop,csrt

    With a cloud:  skyloop-sim bench tracking --cloud operator --delay 1
    """
    from sim.bench_tracking import Cloud, TrackingBench, bench_tracking, trackers_of

    quiet_logs()
    end_children_on_sigterm()
    if cloud not in get_args(Cloud):
        raise OptionError(f"--cloud {cloud!r}: is none of {', '.join(get_args(Cloud))}; choose one of them")
    who = cast(Cloud, cloud)
    names = tuple(name.strip() for name in trackers.split(",")) if trackers else trackers_of(who)
    result = bench_tracking(TrackingBench(data, names, who, delay, nano, peers, threads, changing), Display())
    if as_json:
        typer.echo(json.dumps(result))
    else:
        console.print(tracking_table(result))


@bench_app.command()
def follow(
    targets: Annotated[str, typer.Option(help="Numbers of targets at once, with commas")] = "1,5",
    frames: Annotated[int, typer.Option(min=1, max=10_000, help="Of each run")] = 120,
    tracker: Annotated[str, typer.Option(help="Short-term tracker, as for skyloop-edge run")] = "correlation",
    threads: Annotated[int, typer.Option(min=1, help="Of OpenCV")] = 2,
    as_json: AsJson = False,
) -> None:
    """Frames a second at which targets are followed at 1280x720, camera motion included, without the student.

    Example:  skyloop-sim bench follow --targets 1,2,5,10
    """
    from sim.bench_follow import FollowBench, bench_follow

    quiet_logs()
    counts = tuple(int(word) if word.strip().isdecimal() else 0 for word in targets.split(","))
    result = bench_follow(FollowBench(counts, frames, tracker, threads), Display())
    if as_json:
        typer.echo(json.dumps(result))
        return
    console.print(follow_table(result, f"{frames} frames of 1280x720, {threads} threads"))


@bench_app.command()
def link(
    parts: Annotated[
        str, typer.Option(help="Which, with commas: recovery, age, throughput, edges, frame-rate; default all")
    ] = "",
    points: Annotated[int, typer.Option(min=0, help="Random faults, beside outages of 1 and 20 s")] = 100,
    long: Annotated[bool, typer.Option("--long", help="With outages of ten minutes too")] = False,
    seconds: Annotated[float, typer.Option(min=2, max=600, help="Of each row of age and throughput")] = 20.0,
    edges: Annotated[int, typer.Option(min=1, max=5000, help="Simulated edges on one gateway")] = 1000,
    peers: Annotated[Path, typer.Option(help="Environment that bench setup made")] = Path("runs/peers"),
    seed: Annotated[int, typer.Option(min=0, help="Of the faults")] = 1,
    as_json: AsJson = False,
) -> None:
    """The link between real processes on loopback: recovery, frame age, throughput beside others', a thousand edges.

    Example:  skyloop-sim bench setup && skyloop-sim bench link --parts age,throughput
    """
    from sim.bench_link import PARTS, LinkBench, bench_link

    quiet_logs()
    end_children_on_sigterm()
    names = tuple(name.strip() for name in parts.split(",")) if parts else PARTS
    options = LinkBench(names, points, long, seconds, edges, peers, seed)
    result, recovery = bench_link(options, Display())
    if as_json:
        typer.echo(json.dumps(result))
        return
    for table in link_tables(result, recovery.by_kind() if recovery else {}):
        console.print(table)


@bench_app.command()
def presence(
    data: Annotated[Path, typer.Option(help="Rendered sequences: skyloop-sim render … --as tracking --out DIR")],
    most: Annotated[int, typer.Option(min=2, help="Disappearances, taken evenly over the sequences")] = 100,
    tracker: Annotated[str, typer.Option(help="Short-term tracker, as of skyloop-edge run")] = "correlation",
    bundle: Bundle = None,
    as_json: AsJson = False,
) -> None:
    """Whether targets that leave the picture are called lost in time, and found again when they return.

    Example:  skyloop-sim render search --as tracking --out chase && skyloop-sim bench presence --data chase
    """
    from sim.bench_presence import PresenceBench, bench_presence

    quiet_logs()
    result = bench_presence(PresenceBench(data, most, tracker, bundle), Display())
    if as_json:
        typer.echo(json.dumps(result))
    else:
        console.print(presence_table(result))


@bench_app.command()
def offload(
    second: Annotated[Path, typer.Option(help="Bundle of the student's recipe with another seed")],
    data: Data = DATA_DEFAULT,
    split: Annotated[str, typer.Option(help="dev or val")] = "dev",
    student: Annotated[str, typer.Option(help="Bundle folder, or the bundled `student`")] = "student",
    teacher: Annotated[str, typer.Option(help="Bundle folder, or the bundled `teacher`")] = "teacher",
    as_json: AsJson = False,
) -> None:
    """What the teacher knows where the student is at its worst: mAP50 on the fifth of images with its highest loss.

    Beside it a second student of another seed, since any second opinion helps where one model had bad luck.

    Example:  skyloop-sim bench offload --second runs/student-second/bundle
    """
    from distill.evaluate import bundle_folder
    from sim.bench_offload import OffloadBench, bench_offload

    options = OffloadBench(data, bundle_folder(student), second, bundle_folder(teacher), split)
    result = bench_offload(options, Display())
    if as_json:
        typer.echo(json.dumps(result))
    else:
        console.print(offload_table(result, split))
        console.print(
            f"teacher less second student, hard images: {result['teacher_gain']:+.1f} points", highlight=False
        )


@bench_app.command()
def frontier(
    data: Data = DATA_DEFAULT,
    plot: Annotated[Path | None, typer.Option(help="PNG file of the curves")] = None,
    student: Annotated[str, typer.Option(help="Bundle folder, or the bundled `student`")] = "student",
    teacher: Annotated[str, typer.Option(help="Bundle folder, or the bundled `teacher`")] = "teacher",
    naive: Annotated[
        Path | None, typer.Option(help="Bundle that never saw one of the labels, for prompts; default the kept one")
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Images of each split; default all")] = None,
    draws: Annotated[int, typer.Option(min=20, help="Of the bootstrap")] = 200,
    threads: Annotated[int, typer.Option(min=0, help="ONNX Runtime threads; 0 is all cores")] = 0,
    as_json: AsJson = False,
) -> None:
    """Which images are worth their bytes: accuracy over bytes, ours beside chance, an oracle and published rules.

    On HIT-UAV val and dev; bytes are those of all messages of the cases. Takes about twenty minutes on two cores.

    Example:  skyloop-sim bench frontier --plot frontier.png
    """
    from distill.evaluate import bundle_folder
    from sim.bench_fewshot import kept_bundle
    from sim.bench_frontier import FrontierBench, bench_frontier
    from sim.frontier_report import frontier_picture, frontier_tables

    quiet_logs()
    bundles = bundle_folder(student), bundle_folder(teacher), naive or kept_bundle("leaveout")
    options = FrontierBench(data, *bundles, images, draws, threads=threads)
    result = bench_frontier(options, Display())
    if plot is not None:
        write_whole(plot, frontier_picture(result))
    if as_json:
        typer.echo(json.dumps(result))
    else:
        for table in frontier_tables(result):
            console.print(table)


@bench_app.command()
def find(
    data: Data = DATA_DEFAULT,
    renders: Annotated[
        Path | None, typer.Option(help="Renders that the teacher was not trained on; default none")
    ] = None,
    teacher: Annotated[Path | None, typer.Option(help="Bundle with a matching head; default the bundled one")] = None,
    images: Annotated[int, typer.Option(min=1, help="Images of each set, one search each")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the things and the views")] = 0,
    as_json: AsJson = False,
) -> None:
    """One box of a thing, found again in another view of it: how often the teacher's best places are right.

    On HIT-UAV dev, and on renders where some are given. Example:  skyloop-sim bench find --renders runs/renders/check
    """
    from distill.evaluate import bundle_folder
    from sim.bench_find import FindBench, bench_find

    options = FindBench(data, renders, teacher or bundle_folder("teacher"), images, seed)
    result = bench_find(options, Display())
    if as_json:
        typer.echo(json.dumps(result))
    else:
        console.print(find_table(result))
