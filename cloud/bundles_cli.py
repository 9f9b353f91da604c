"""`skyloop-cloud bundles`: keys, publish, list, roll out, roll back, and how far each craft is."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cloud.bundle_shelf import Rollout
from cloud.errors import RequestError
from cloud.fleet_bundles import CraftStatus, FleetBundles
from cloud.listings import print_table
from cloud.options import AsJson, Data, opened_store
from cloud.publishing import publish as publish_bundle
from cloud.registry import Registry
from cloud.signing_keys import KeyPlan, Signers, make_signing_keys, read_first_root
from cloud.store import CaseStore
from protocols.values import Chip

bundles_app = typer.Typer(no_args_is_help=True, help="Bundles over the air: sign, publish, roll out, roll back.")

Keys = Annotated[list[Path], typer.Option("--keys", help="Folder with signing keys; may be given again")]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="File whose first line is the keys' passphrase; asked for where it is `-`")
]
_MAX_CHIPS = 24
"""Of prompts in force, beside the painted pictures."""


@bundles_app.command("keys")
def keys(
    out: Annotated[Path, typer.Option(help="New folder for the keys; best on a medium kept in a safe")],
    root: Annotated[str, typer.Option(help="KEYS:THRESHOLD of the root")] = "3:2",
    targets: Annotated[str, typer.Option(help="KEYS:THRESHOLD of those who sign bundles")] = "2:2",
    root_days: Annotated[int | None, typer.Option(help="How long the root counts; default two years")] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make the keys that sign bundles; needs no network and no server.

    Example: skyloop-cloud bundles keys --out /media/safe/keys --passphrase-file -
    """
    plan = KeyPlan(_counts(root, "--root"), _counts(targets, "--targets"))
    path = make_signing_keys(out, plan, _passphrase(passphrase_file, is_new=True), root_days=root_days)
    typer.echo(f"hand {path} to every craft: skyloop-edge trust-updates {path.name} --keys KEYS")


@bundles_app.command("publish")
def publish(
    folder: Annotated[Path, typer.Argument(help="The bundle's folder")],
    data: Data,
    keys: Keys,
    variant: Annotated[list[str] | None, typer.Option(help="File to publish; default all, may be given again")] = None,
    note: Annotated[str, typer.Option(help="For people")] = "",
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Sign a bundle that its gates let through and put it into the registry; nobody flies it before a rollout.

    Example: skyloop-cloud bundles publish runs/student --keys /media/keys --data skyloop-data
    """
    signers = Signers(keys, _passphrase(passphrase_file))
    with opened_store(data, make=True) as store:
        chips = _chips(store)
        registry = Registry(data, above=store.newest_release())
        found = publish_bundle(registry, folder, signers, variants=tuple(variant or ()), chips=chips, note=note)
        store.note_event(getpass.getuser(), "bundle published", found.bundle_id, note)
    typer.echo(json.dumps(asdict(found)) if as_json else f"{found.bundle_id} is published, {found.archive_bytes} bytes")


@bundles_app.command("list")
def listed(data: Data, as_json: AsJson = False) -> None:
    """List published bundles, newest first. Example: skyloop-cloud bundles list --data skyloop-data."""
    found = Registry(data).bundles()
    if as_json:
        typer.echo(json.dumps([asdict(bundle) for bundle in found]))
        return
    table = Table("bundle", "space", "files", "bytes", "published", "note")
    for bundle in found:
        size, made = str(bundle.archive_bytes), _time(bundle.published_at_s)
        table.add_row(bundle.bundle_id, bundle.space_id[:12], " ".join(bundle.variants), size, made, bundle.note)
    print_table(table)


@bundles_app.command("rollout")
def rollout(
    bundle: Annotated[str, typer.Argument(help="A published bundle, or a rollout that is to be widened")],
    data: Data,
    percent: Annotated[float, typer.Option(help="Share of the crafts")] = 100.0,
    craft: Annotated[list[str] | None, typer.Option(help="This craft alone; may be given again")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also to crafts that went back from it")] = False,
    as_json: AsJson = False,
) -> None:
    """Have a share of the fleet fly a bundle; a running server offers it at once, crafts take it as they connect.

    Example: skyloop-cloud bundles rollout student-7 --percent 10 --data skyloop-data
    """
    with opened_store(data) as store:
        fleet, by = FleetBundles(store), getpass.getuser()
        if any(known.rollout_id == bundle for known in fleet.rollouts()):
            found = fleet.widen(bundle, percent, by=by)
        else:
            found = fleet.roll_out(bundle, by=by, percent=percent, crafts=tuple(craft or ()), again=again)
    _tell(found, as_json)


@bundles_app.command("rollback")
def rollback(
    rollout_id: Annotated[str, typer.Argument(metavar="ROLLOUT", help="The rollout's id")],
    data: Data,
    stop: Annotated[bool, typer.Option("--stop", help="Take nothing back; only offer it to nobody else")] = False,
    as_json: AsJson = False,
) -> None:
    """Have every craft of a rollout go back to the bundle before. Example: ... rollback 3f2a9c --data skyloop-data."""
    with opened_store(data) as store:
        fleet, by = FleetBundles(store), getpass.getuser()
        _tell(fleet.stop(rollout_id, by=by) if stop else fleet.roll_back(rollout_id, by=by), as_json)


@bundles_app.command("status")
def status(data: Data, as_json: AsJson = False) -> None:
    """Say which rollouts there are and how far each craft is. Example: ... status --data skyloop-data."""
    with opened_store(data) as store:
        fleet = FleetBundles(store)
        rollouts, crafts = fleet.rollouts(), fleet.status()
    if as_json:
        found = {"rollouts": [asdict(known) for known in rollouts], "crafts": [asdict(known) for known in crafts]}
        typer.echo(json.dumps(found))
        return
    table = Table("rollout", "bundle", "percent", "of", "state", "by", "begun")
    for known in rollouts:
        share, of = f"{known.percent:g}", ", ".join(known.crafts) or "fleet"
        table.add_row(known.rollout_id, known.bundle_id, share, of, known.state, known.by, _time(known.made_at_s))
    print_table(table)
    print_table(_craft_table(crafts))


@bundles_app.command("refresh")
def refresh(
    data: Data,
    keys: Keys,
    days: Annotated[int | None, typer.Option(help="How long it counts; default 30, the list of files 90")] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign anew what is newest, before it expires; keys of snapshot and timestamp are enough.

    Example: skyloop-cloud bundles refresh --keys /media/keys --data skyloop-data
    """
    registry = Registry(data)
    registry.refresh(Signers(keys, _passphrase(passphrase_file)), days)
    until = f"counts until {_time(registry.expires_at_s())} UTC"
    with opened_store(data) as store:
        store.note_event(getpass.getuser(), "bundles refreshed", detail=until)
    typer.echo(until)


@bundles_app.command("withdraw")
def withdraw(
    bundle: Annotated[str, typer.Argument(help="A published bundle")],
    data: Data,
    keys: Keys,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign that nobody else is to fly a bundle. Example: skyloop-cloud bundles withdraw student-7 --keys KEYS ..."""
    Registry(data).withdraw(bundle, Signers(keys, _passphrase(passphrase_file)))
    with opened_store(data) as store:
        store.note_event(getpass.getuser(), "bundle withdrawn", bundle)
    typer.echo(f"{bundle} is withdrawn; who flies it goes on: roll its rollout back")


@bundles_app.command("rotate")
def rotate(
    data: Data,
    keys: Annotated[list[Path], typer.Option("--keys", help="Folder with enough of the root keys of before")],
    new_keys: Annotated[Path, typer.Option(help="Folder that `bundles keys` made anew")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Go over to new keys; crafts follow by themselves with the next offer.

    Example: skyloop-cloud bundles rotate --keys /media/safe/keys --new-keys /media/safe/keys-2 --data skyloop-data
    """
    passphrase = _passphrase(passphrase_file)
    new = Signers([new_keys], passphrase)
    version = Registry(data).rotate(read_first_root([new_keys]), Signers(keys, passphrase), new)
    with opened_store(data) as store:
        store.note_event(getpass.getuser(), "signing keys rotated", detail=f"root version {version}")
    typer.echo(
        f"root version {version} is signed by the old keys and the new ones; only the new ones count from now on"
    )


def _chips(store: CaseStore) -> tuple[Chip, ...]:
    """What the fleet's prompts show, the newest first."""
    prompts = [prompt for craft in store.crafts() for prompt in store.bank(craft.name).prompts]
    newest = sorted({prompt.prompt_id: prompt for prompt in prompts}.values(), key=lambda p: -p.issued_at_s)
    return tuple(chip for prompt in newest for chip in prompt.chips)[:_MAX_CHIPS]


def _counts(text: str, option: str) -> tuple[int, int]:
    keys, _, threshold = text.partition(":")
    if not (keys.isdigit() and threshold.isdigit()):
        raise RequestError(f"{option} {text!r}: give KEYS:THRESHOLD, for example 3:2")
    return int(keys), int(threshold)


def _passphrase(file: Path | None, *, is_new: bool = False) -> str | None:
    if file is None:
        return None
    if str(file) == "-":
        given = str(typer.prompt("passphrase", hide_input=True, confirmation_prompt=is_new))
    else:
        try:
            given = (file.read_text().splitlines() or [""])[0]
        except (OSError, UnicodeDecodeError) as exc:
            raise RequestError(f"{file}: cannot be read ({exc}); check the path") from exc
    if not given:
        raise RequestError("the passphrase is empty; leave --passphrase-file out to have none")
    return given


def _tell(rollout: Rollout, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(rollout)))
        return
    of = ", ".join(rollout.crafts) or "the fleet"
    typer.echo(f"rollout {rollout.rollout_id}: {rollout.bundle_id}, {rollout.percent:g} % of {of}, {rollout.state}")


def _craft_table(crafts: list[CraftStatus]) -> Table:
    table = Table("craft", "flies", "rollout", "bundle", "state", "fetched", "heard", "reason")
    for known in crafts:
        told = known.newest
        if told is None:
            table.add_row(known.craft, known.flies or "as given", *[""] * 6)
            continue
        fetched, heard = f"{told.percent:.0f} %", _time(told.heard_at_s)
        row = (told.rollout_id, told.bundle_id, told.state, fetched, heard, told.reason)
        table.add_row(known.craft, known.flies or "as given", *row)
    return table


def _time(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, timezone.utc).strftime("%Y-%m-%d %H:%M")
