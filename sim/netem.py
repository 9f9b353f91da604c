"""The same links by the kernel: two network namespaces and `tc netem` between them, where one is root.

What the proxy can only act (packets lost, TCP's own timers) happens here for real; the proxy needs no rights, knows
black holes and half-open connections, and has the same fate for the same bytes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from types import TracebackType

from typing_extensions import Self

from sim.errors import ProcessError
from sim.scenario.conditions import LinkProfile

EDGE_HOST, CLOUD_HOST = "10.213.7.1", "10.213.7.2"
"""Of the two ends; they exist in their namespaces alone."""

_COMMAND_S = 10.0
_QUEUE_PACKETS = 1000
"""Netem's own default; what does not fit is dropped, as a router does."""


class NetemLink:
    """Two namespaces with a shaped wire between them; use as a context manager.

    Attributes:
        edge_namespace, cloud_namespace: names for `ip netns exec`.
    """

    def __init__(self, profile: LinkProfile) -> None:
        """Make nothing yet.

        Args:
            profile: rates, latency, jitter and loss; bit errors become corrupted packets, which TCP's checksum drops.
        """
        tag = f"{os.getpid() % 1_000_000:d}"
        self.edge_namespace, self.cloud_namespace = f"skl-edge-{tag}", f"skl-cloud-{tag}"
        self._profile = profile
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """The link, up.

        Raises:
            ProcessError: it may not be made here; the message says what the kernel said.
        """
        ends = ((self.edge_namespace, EDGE_HOST, "skle"), (self.cloud_namespace, CLOUD_HOST, "sklc"))
        with contextlib.ExitStack() as stack:
            for namespace, _, _ in ends:
                _run("ip", "netns", "add", namespace)
                stack.callback(_run, "ip", "netns", "del", namespace)
            peer = ("peer", "name", "sklc", "netns", self.cloud_namespace)
            _run("ip", "link", "add", "skle", "netns", self.edge_namespace, "type", "veth", *peer)
            for namespace, host, device in ends:
                _run("ip", "-n", namespace, "addr", "add", f"{host}/30", "dev", device)
                _run("ip", "-n", namespace, "link", "set", device, "up")
            self.change(self._profile)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take both namespaces away, and the wire with them."""
        self._stack.close()

    def change(self, profile: LinkProfile) -> None:
        """Be another link from now on.

        Raises:
            ProcessError: the kernel refuses, for example because it has no netem.
        """
        ways = (
            (self.edge_namespace, "skle", profile.edge_to_cloud_bps),
            (self.cloud_namespace, "sklc", profile.cloud_to_edge_bps),
        )
        for namespace, device, rate_bps in ways:
            _run("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", *netem_words(profile, rate_bps))

    def command(self, namespace: str, command: Sequence[str]) -> list[str]:
        """The command line that runs a program at one end."""
        return ["ip", "netns", "exec", namespace, *command]


def netem_words(profile: LinkProfile, rate_bps: float) -> list[str]:
    """What `tc qdisc … root` is told for one direction (tc-netem(8)).

    The proxy's jitter only adds, from nothing to `jitter_ms`; netem's goes both ways, so half of it is delay.
    """
    half_ms = profile.jitter_ms / 2
    words = ["netem", "limit", str(_QUEUE_PACKETS), "delay", f"{profile.latency_ms + half_ms:.3f}ms"]
    words += [f"{half_ms:.3f}ms"] * bool(half_ms)
    words += ["loss", f"{100 * profile.loss:.6f}%"] * bool(profile.loss)
    share = 1 - (1 - profile.bit_error_rate) ** (8 * 1500)  # of the packets of Ethernet's 1,500 bytes
    words += ["corrupt", f"{100 * share:.6f}%"] * bool(profile.bit_error_rate)
    return [*words, "rate", f"{rate_bps:.0f}bit"]


def refusal() -> str | None:
    """Why this machine has no such links; None where it has."""
    try:
        with NetemLink(LinkProfile()):
            return None
    except ProcessError as exc:
        return str(exc)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ProcessError(f"{' '.join(command)}: {exc}; install iproute2, or use the proxy") from exc
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise ProcessError(f"{' '.join(command)}: {said}; be root on a kernel with netem, or use the proxy")
