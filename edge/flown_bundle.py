"""Which bundle a program begins with: the one given by hand, or what came over the link since and has stood its trial.

One that does not open is gone back from at once; one in the middle of whose trial the program died too often, too
(`edge.installed_bundles`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge.bank import BankStore
from edge.bundle_swap import BundleSwap, InUse
from edge.chip_check import ChipCheck
from edge.clock import Clock
from edge.errors import ModelError, UpdateError
from edge.installed_bundles import STATE_NAME, InstalledBundles
from edge.student import Student
from edge.trust import TrustStore, read_pinned
from edge.updates import Updates, UpdateSettings

log = structlog.get_logger()

Opener = Callable[[Path], Student]

NOT_PINNED = (
    "no root of updates was pinned when this craft started: "
    "skyloop-edge trust-updates ROOT.json --keys KEYS, and start it again"
)


@dataclass(frozen=True)
class FlownBundle:
    """What a program begins with.

    Attributes:
        student: of the bundle in use.
        installed: what else is on the disk; None where nothing ever came over the link, and nothing may.
        opened: the student of a folder, as this craft runs it.
    """

    student: Student
    installed: InstalledBundles | None
    opened: Opener

    def close(self) -> None:
        """The program ends in order, or refuses to begin: no bundle is to blame."""
        if self.installed is not None:
            self.installed.close()

    def swap(self, bank: BankStore, settings: UpdateSettings) -> BundleSwap:
        """What the frame loop looks with; in the middle of a trial that goes on."""
        current = self.installed.state.current if self.installed is not None else None
        in_use = _in_use(self.student, bank, current.bundle_id if current is not None else None)
        swap = BundleSwap(in_use, lambda: bank.current, settings.trial)
        if self.installed is not None and self.installed.state.trial is not None and current is not None:
            before = self._before(self.installed)
            if before is not None:
                name = self.installed.state.previous.bundle_id if self.installed.state.previous is not None else None
                swap.begin_on_trial(_in_use(before, bank, name))
        return swap

    def updates(self, swap: BundleSwap, keys: Path | None, settings: UpdateSettings, clock: Clock) -> Updates | None:
        """What takes offers; without a pinned root it refuses them, saying so.

        Raises:
            KeyFileError: the pinned root cannot be read.
            UpdateError: what was trusted before cannot be read.
        """
        if self.installed is None:
            return None
        pinned = read_pinned(keys) if keys is not None else None
        trust = NOT_PINNED if pinned is None else _trust(self.installed.folder, pinned)
        return Updates(self.installed, trust, swap, self.opened, settings=settings, clock=clock)

    def _before(self, installed: InstalledBundles) -> Student | None:
        try:
            return self.opened(installed.path_of(installed.state.previous))
        except ModelError as exc:
            log.warning("there is no way back from the bundle on trial", reason=str(exc))
            installed.confirm()
            return None


def open_flown(given: Path, folder: Path, opened: Opener, *, is_linked: bool) -> FlownBundle:
    """The bundle in use.

    Args:
        given: the one given by hand.
        folder: where those are kept that came over the link.
        opened: see `FlownBundle`.
        is_linked: whether any may come.

    Raises:
        ModelError: the one given by hand does not open, and nothing else is in use.
        UpdateError: the folder cannot be read or written.
    """
    if not is_linked and not (folder / STATE_NAME).is_file():
        return FlownBundle(opened(given), None, opened)
    installed = InstalledBundles(folder, given)
    while (current := installed.state.current) is not None:
        try:
            return FlownBundle(opened(installed.path_of(current)), installed, opened)
        except ModelError as exc:
            installed.go_back(f"it does not open: {exc}")
    return FlownBundle(opened(given), installed, opened)


def _in_use(student: Student, bank: BankStore, bundle_id: str | None) -> InUse:
    """At a start the chips are looked at one a frame, so that the first frame waits for none."""
    return InUse(student, ChipCheck(student, bank.current), bank.current, bundle_id)


def _trust(folder: Path, pinned: bytes) -> TrustStore | str:
    try:
        return TrustStore(folder, pinned)
    except UpdateError as exc:  # python-tuf is missing: the craft flies, and says why it takes no bundle
        return str(exc)
