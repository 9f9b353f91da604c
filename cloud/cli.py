"""`skyloop-cloud`: serve, keys, crafts, cases, better pictures of them, reviews, prompts, targets and accounts."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import structlog
import typer
from rich.console import Console

from cloud import banks
from cloud.accounts_cli import tokens_app, users_app
from cloud.asking import check_review, parse_box, public_key, review_label
from cloud.backup_cli import backup, restore
from cloud.bundles_cli import bundles_app
from cloud.config import CloudSettings, read_settings
from cloud.doctor_cli import doctor
from cloud.errors import RequestError
from cloud.export_cli import export_cases
from cloud.keep_cli import prune
from cloud.listings import case_record, case_table, print_table, prompt_record, prompt_table, write_images
from cloud.options import AsJson, Data, opened_store, outcome
from cloud.refine_cli import refine
from cloud.review_shelf import Scope
from cloud.store import CaseStore, Review
from cloud.track_cli import targets, track
from edge.entry import run_program
from edge.keys import CLOUD_NAME, load_keys, new_keys

app = typer.Typer(
    no_args_is_help=True,
    help="The cloud: takes hard cases from crafts, lets teacher and people answer, sends prompts back.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys_app = typer.Typer(no_args_is_help=True, help="The server's identity on the wire.")
prompts_app = typer.Typer(no_args_is_help=True, help="The prompts that crafts hold.")
app.add_typer(keys_app, name="keys")
app.add_typer(prompts_app, name="prompts")
app.add_typer(users_app, name="users")
app.add_typer(tokens_app, name="tokens")
app.add_typer(bundles_app, name="bundles")
app.command()(track)
app.command()(targets)
app.command()(refine)
app.command()(doctor)
app.command()(prune)
app.command("export")(export_cases)
app.command()(backup)
app.command()(restore)
error_console = Console(stderr=True, soft_wrap=True)


_PROMPTED = (
    "kept; the server makes the prompt when it runs",
    "the prompt is issued; a craft takes it as soon as it is connected",
)
_ANSWERED = (
    "kept; the server tells the craft when it runs",
    "the craft is told as soon as it is connected; a place is of use while it holds that frame "
    "(agent.pipeline.recent.seconds, 4 by default), after that the looks alone are",
)
"""What a person is told of an answer to a case, or to a question about a target: kept, and used."""


def main() -> None:
    """Entry point: one clear line and an exit code for every error we foresee; see `edge.entry`."""
    run_program(app)


@app.command()
def serve(
    bind: Annotated[str | None, typer.Option(help="Where crafts connect; default tcp://0.0.0.0:7600")] = None,
    http: Annotated[
        str | None, typer.Option(help="HOST:PORT of the console, the HTTP API and /metrics; default 127.0.0.1:7601")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder; default skyloop-data")] = None,
    keys: Annotated[Path | None, typer.Option(help="Folder with cloud.key; default keys in the data folder")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="`bundled`, a bundle's folder, an .onnx or .toml file, or a plug-in's NAME[:TEXT]"),
    ] = None,
    student: Annotated[list[Path] | None, typer.Option(help="Further student bundle that crafts fly")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file; options win over it")] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="One JSON object per log line")] = False,
) -> None:
    """Serve crafts until SIGTERM or Ctrl-C.

    First: skyloop-cloud keys new --out skyloop-data/keys

    Then: skyloop-cloud enroll edge.pub --name uav1 --data skyloop-data

    Then: skyloop-cloud serve --data skyloop-data
    """
    configure_logging(as_json=json_logs)
    given = {"bind": bind, "http": http, "data": data, "keys": keys, "teacher": teacher, "students": student}
    settings = read_settings(config, {name: value for name, value in given.items() if value})
    pair = load_keys(settings.keys_folder, CLOUD_NAME)
    asyncio.run(_serve(settings, pair))


async def _serve(settings: CloudSettings, pair: Any) -> None:  # noqa: ANN401
    from cloud.service import CloudService  # the networks and the web server, which no other command needs

    await CloudService(settings, pair).run()


@keys_app.command("new")
def keys_new(out: Annotated[Path, typer.Option(help="Folder for cloud.pub and cloud.key")]) -> None:
    """Make the server's key pair. Hand cloud.pub to crafts: skyloop-edge trust cloud.pub --keys edge-keys."""
    pair = new_keys(out, CLOUD_NAME)
    typer.echo(f"{pair.public.decode()}  (public key, also in {out / 'cloud.pub'})")


@app.command()
def enroll(
    public: Annotated[str, typer.Argument(metavar="PUBLIC_KEY", help="The craft's .pub file, or the text in it")],
    name: Annotated[str, typer.Option(help="What the craft is called from now on")],
    data: Data,
) -> None:
    """Let a craft in, at once. Example: skyloop-cloud enroll edge-keys/edge.pub --name uav1 --data skyloop-data."""
    key = public_key(public)
    with opened_store(data, make=True) as store:
        store.enroll(name, key)
        store.note_event(getpass.getuser(), "craft enrolled", name)
    typer.echo(f"{name} is enrolled")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The craft's name")], data: Data) -> None:
    """Shut a craft out, also while it is connected. Example: skyloop-cloud revoke uav1 --data skyloop-data."""
    with opened_store(data) as store:
        store.revoke(name)
        store.note_event(getpass.getuser(), "craft revoked", name)
    typer.echo(f"{name} is revoked")


@app.command()
def cases(
    data: Data,
    every: Annotated[bool, typer.Option("--all", help="Also those the teacher is sure of")] = False,
    images: Annotated[Path | None, typer.Option(help="Write each picture here, with rulers in frame pixels")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the cases that the teacher is unsure of. Example: skyloop-cloud cases --data skyloop-data --images out."""
    with opened_store(data) as store:
        found = store.list_cases(unsure_only=not every, limit=limit)
        written, problems = write_images(store, found, images) if images else (0, [])
    for problem in problems:
        error_console.print(problem, highlight=False)
    if as_json:
        typer.echo(json.dumps([case_record(stored) for stored in found]))
        return
    print_table(case_table(found))
    if images:
        typer.echo(f"{written} {'picture' if written == 1 else 'pictures'} in {images}")


@app.command()
def review(
    case: Annotated[str, typer.Argument(help="The case's id, or its first 6 or more digits")],
    data: Data,
    label: Annotated[
        str | None, typer.Option(help="What the boxes hold; of a case that asks for a target, default the target's")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            help="x,y,w,h in full-frame pixels; once for each one in the picture, left out where a target that is "
            "asked for is not in it"
        ),
    ] = None,
    scope: Annotated[str, typer.Option(help="craft, mission (all crafts now) or fleet (also later ones)")] = "craft",
    reviewer: Annotated[str | None, typer.Option(help="Who answers; default the user's name")] = None,
) -> None:
    """Say what a case shows; a running server makes the prompt at once, a stopped one when it starts.

    Example: skyloop-cloud review 3f2a9c --label debris --box 412,230,38,25 --data skyloop-data

    A case that asks where a target is wants one box, or none where it is not in the picture; the craft is told.

    Example: skyloop-cloud review 77b01e --box 96,310,22,14 --data skyloop-data
    """
    boxes, reach = tuple(parse_box(text) for text in box or ()), _scope(scope)
    with opened_store(data) as store:
        stored = store.load_case(case)
        label = review_label(stored, label, boxes)
        check_review(stored, label, boxes)
        is_question = stored.case.target is not None
        if stored.state == "reviewed" and not is_question:
            typer.echo("replaces the earlier answer; prompts made of it stay until `skyloop-cloud prompts revoke`")
        who = (reviewer or getpass.getuser())[:128]
        answer = Review(stored.craft, stored.case.case_id, label, boxes, reach, who, time.time())
        number = store.add_review(answer)
        said = _ANSWERED if is_question else _PROMPTED
        typer.echo(said[_outcome(store, number) == "done"])


@prompts_app.command("list")
def prompts_list(
    data: Data,
    craft: Annotated[str | None, typer.Option(help="Only this craft's")] = None,
    as_json: AsJson = False,
) -> None:
    """List the prompts in force. Example: skyloop-cloud prompts list --data skyloop-data --craft uav1."""
    with opened_store(data) as store:
        names = [store.craft(craft).name] if craft else [known.name for known in store.crafts()]
        held = [(name, prompt) for name in names for prompt in store.bank(name).prompts]
    if as_json:
        typer.echo(json.dumps([prompt_record(name, prompt) for name, prompt in held]))
    else:
        print_table(prompt_table(held))


@prompts_app.command("revoke")
def prompts_revoke(prompt: Annotated[str, typer.Argument(help="The prompt's id")], data: Data) -> None:
    """Take a prompt back from every craft. Example: skyloop-cloud prompts revoke teacher-1f… --data skyloop-data."""
    with opened_store(data) as store:
        holders = banks.withdraw(store, prompt)
        store.note_event(getpass.getuser(), "prompt revoked", prompt, f"of {', '.join(holders) or 'no craft'}")
    typer.echo(f"{prompt} is taken back from {', '.join(holders) or 'no craft'}")


def configure_logging(*, as_json: bool) -> None:
    """Log lines to stderr, so that standard output stays a program's answer."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if as_json else []),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _scope(text: str) -> Scope:
    if text not in get_args(Scope):
        raise RequestError(f"--scope {text!r} is not one of {', '.join(get_args(Scope))}")
    return cast(Scope, text)


def _outcome(store: CaseStore, number: int) -> str:
    """What became of an answer, after waiting a little for a running server to use it."""
    state, reason = outcome(store, lambda: store.review_outcome(number), lambda found: found[0] == "waiting")
    if state == "failed":
        raise RequestError(f"the answer is kept, but no prompt was made: {reason}")
    return state
