"""`skyloop-sim link`: a simulated link between programs that know nothing of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sim.errors import OptionError
from sim.mission_cli import MISSIONS

_SAY_S = 5.0


def link(
    to: Annotated[str, typer.Option(help="HOST:PORT of the cloud")],
    listen: Annotated[str, typer.Option(help="HOST:PORT where the edge connects")] = "127.0.0.1:7700",
    profile: Annotated[str, typer.Option(help="lan, lte, lte-edge-of-cell, geo-satcom or leo-pass")] = "lte",
    trace: Annotated[Path | None, typer.Option(help="CSV of docs/link.md; what it leaves out is the profile's")] = None,
    mission: Annotated[Path, typer.Option(help="Mission file with leo-pass's stations and satellite")] = (
        MISSIONS / "constellation.toml"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of jitter, losses and flipped bits")] = 1,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long; default on Ctrl-C")] = None,
) -> None:
    """Stand between edge and cloud as a slow, far, broken link, until Ctrl-C.

    Example:  skyloop-sim link --profile lte --to 127.0.0.1:7600   and   skyloop-edge run … --cloud tcp://127.0.0.1:7700
    """
    from sim.link import LinkProxy
    from sim.link_profiles import profile_named, schedule_named
    from sim.link_schedule import read_trace

    schedule = (
        schedule_named(profile, mission) if trace is None else read_trace(trace, profile_named(profile)).schedule()
    )
    rng, ends = np.random.default_rng(seed), (_address("--to", to), _address("--listen", listen))
    with LinkProxy(schedule, ends[0], rng, ends[1]) as proxy:
        proxy.begin()
        typer.echo(f"{profile} from port {proxy.port} to {to}")
        end_s = float("inf") if seconds is None else time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(_SAY_S, left_s))
            up, down = proxy.edge_to_cloud_bytes, proxy.cloud_to_edge_bytes
            typer.echo(f"{proxy.state}: {up / 1e3:.1f} kB to the cloud, {down / 1e3:.1f} kB to the edge")


def _address(option: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 65_536:
        raise OptionError(f"{option} {text!r}: is not HOST:PORT, such as 127.0.0.1:7600")
    return host, int(port)
