"""The bundles on a craft's disk: the one it was given by hand, the one it flies, the one before, and perhaps a new one.

One small file says which is which; it is replaced whole, before anything is done that it tells of. So whatever ends the
program, at its next start it knows what was under way, and goes back by itself from a bundle that does not let it live.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from edge.bundle import MANIFEST_NAME
from edge.bundle_archive import unpack_files
from edge.durable import make_folder, write_durably
from edge.errors import ModelError, NotNow, UpdateError
from protocols.limits import MAX_DETAIL_CHARS
from protocols.messages import BundleOffer

log = structlog.get_logger()

STATE_NAME = "state.json"
ARCHIVE_NAME = "archive.part"
_BUNDLES = "bundles"

MAX_DEATHS = 2
"""Ends of the program in the middle of a trial after which the bundle is blamed; one may be the battery's."""

_REMEMBERED = 32
"""Offers whose end is known again when they are repeated."""

Phase: TypeAlias = Literal["trying", "flying"]
End: TypeAlias = Literal["in_force", "refused", "gone_back"]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Installed(_Kept):
    """A bundle that came over the link.

    Attributes:
        bundle_id, release: as signed.
        archive_sha256: of its archive; its folder is named by it.
        offer_id: the offer that brought it.
    """

    bundle_id: str
    release: int
    archive_sha256: str
    offer_id: str


class Trial(_Kept):
    """A bundle that has still to prove itself.

    Attributes:
        phase: `trying` it has been opened, or is about to be; `flying` it is flown and watched.
        deaths: times that the program ended in the middle of it.
        is_running: whether a program is in the middle of it; still true at a start, that one died.
    """

    phase: Phase
    deaths: int = 0
    is_running: bool = True


class Settled(_Kept):
    """How an offer ended."""

    offer_id: str
    end: End
    reason: str = ""


class State(_Kept):
    """The file.

    Attributes:
        given_sha256: of the manifest of the bundle that was given by hand.
        current, previous: flown now, and before; None is the one given by hand.
        candidate: unpacked, and neither tried to its end nor flown.
        trial: of the candidate while `trying`, of `current` while `flying`.
        offer: being fetched or tried.
        fetched_bytes, boot_id: of its archive, surely on the disk; and when that was noted.
        settled: the newest ends, oldest first.
    """

    given_sha256: str
    current: Installed | None = None
    previous: Installed | None = None
    candidate: Installed | None = None
    trial: Trial | None = None
    offer: BundleOffer | None = None
    fetched_bytes: int = 0
    boot_id: str = ""
    settled: tuple[Settled, ...] = ()


class InstalledBundles:
    """What is on the disk, and how it changes. One thread at a time."""

    def __init__(self, folder: Path, given: Path) -> None:
        """Read what was noted, and go back from a bundle in the middle of whose trial the program died too often.

        Args:
            folder: for everything; made when there is something to note.
            given: the bundle that the craft was given by hand; where that is another than before, all that came over
                the link is forgotten.

        Raises:
            UpdateError: the folder cannot be read or written.
            ModelError: `given` is no bundle.
        """
        self.folder, self._given = folder, given
        self.state = _read_state(folder, given)
        if self.state.trial is not None:
            self._begin_again(self.state.trial)
        self._sweep()

    @property
    def archive(self) -> Path:
        """Where the archive of the offer is gathered."""
        return self.folder / ARCHIVE_NAME

    def path_of(self, bundle: Installed | None) -> Path:
        """A bundle's folder."""
        return self._given if bundle is None else _path_of(self.folder, bundle)

    def end_of(self, offer_id: str) -> Settled | None:
        """How an offer ended; None while it has not, or is forgotten."""
        return next((settled for settled in self.state.settled if settled.offer_id == offer_id), None)

    def take_offer(self, offer: BundleOffer, boot_id: str) -> None:
        """Begin to gather an offer's archive, or go on where the same one was under way."""
        old = self.state.offer
        is_same = old is not None and old.archive_sha256 == offer.archive_sha256
        if is_same:
            self._note(offer=offer)
            return
        is_trying = self.state.trial is not None and self.state.trial.phase == "trying"
        trial = None if is_trying else self.state.trial
        self._note(offer=offer, boot_id=boot_id, fetched_bytes=0, candidate=None, trial=trial)
        self._on_disk(lambda: self.archive.unlink(missing_ok=True))
        self._sweep()

    def resume_offset(self, boot_id: str) -> int:
        """Bytes of the archive that are there; since the computer began anew only those that were surely kept."""
        try:
            held = self.archive.stat().st_size
        except FileNotFoundError:
            return 0
        return held if boot_id == self.state.boot_id else min(held, self.state.fetched_bytes)

    def note_fetched(self, fetched_bytes: int, boot_id: str) -> None:
        """So much of the archive is surely on the disk."""
        self._note(fetched_bytes=fetched_bytes, boot_id=boot_id)

    def drop_archive(self) -> None:
        """Gather the archive from its beginning."""
        self._note(fetched_bytes=0)
        self._on_disk(lambda: self.archive.unlink(missing_ok=True))

    def unpack(self, bundle: Installed) -> Path:
        """Unpack the gathered archive, whose digest is right; returns the candidate's folder."""
        path = self.path_of(bundle)
        if bundle.archive_sha256 not in (b.archive_sha256 for b in (self.state.current, self.state.previous) if b):
            self._on_disk(lambda: shutil.rmtree(path, ignore_errors=True))
            self._on_disk(lambda: unpack_files(self.archive, path))
        self._note(candidate=bundle, fetched_bytes=0)
        self._on_disk(lambda: self.archive.unlink(missing_ok=True))
        return path

    def begin_trying(self) -> None:
        """The candidate is about to be opened; noted first, for it may end the program."""
        trial = self.state.trial
        self._note(trial=Trial(phase="trying", deaths=trial.deaths if trial is not None else 0))

    def put_in_use(self) -> None:
        """The candidate is flown from now on; what it replaces is kept, what that had replaced goes."""
        candidate = self.state.candidate
        assert candidate is not None
        self._note(
            current=candidate,
            previous=self.state.current,
            candidate=None,
            offer=None,
            trial=Trial(phase="flying"),
        )
        self._sweep()

    def confirm(self) -> None:
        """The trial went well: the bundle stays."""
        current = self.state.current
        if current is not None and self.state.trial is not None:
            self._note(trial=None, settled=self._with(current.offer_id, "in_force", ""))

    def refuse(self, offer_id: str, reason: str, *, is_for_good: bool = True) -> None:
        """An offer is not flown, for good or until it is offered again; what came of it goes."""
        offer = self.state.offer
        is_under_way = offer is not None and offer.offer_id == offer_id
        fields = {"offer": None, "candidate": None, "fetched_bytes": 0} if is_under_way else {}
        if is_under_way and self.state.trial is not None and self.state.trial.phase == "trying":
            fields |= {"trial": None}
        settled = self._with(offer_id, "refused", reason) if is_for_good else self.state.settled
        self._note(**fields, settled=settled)
        self._sweep()

    def go_back(self, reason: str) -> None:
        """Fly again what was flown before."""
        gone = self.state.current
        assert gone is not None
        settled = self._with(gone.offer_id, "gone_back", reason)
        self._note(current=self.state.previous, previous=None, trial=None, settled=settled)
        log.warning("gone back to the bundle before", bundle_id=gone.bundle_id, reason=reason)

    def forget_previous(self) -> None:
        """The bundle before cannot be flown: the one given by hand takes its place."""
        self._note(previous=None)

    def close(self) -> None:
        """The program ends in order; a trial goes on at its next start, and nobody is blamed."""
        if self.state.trial is not None and self.state.trial.is_running:
            self._note(trial=self.state.trial.model_copy(update={"is_running": False}))

    def _begin_again(self, trial: Trial) -> None:
        """A start in the middle of a trial."""
        deaths = trial.deaths + trial.is_running
        if deaths < MAX_DEATHS:
            self._note(trial=trial.model_copy(update={"deaths": deaths, "is_running": True}))
            return
        if trial.phase == "flying" and self.state.current is not None:
            self.go_back(f"the program ended {deaths} times while it was on trial")
        elif self.state.offer is not None:
            self.refuse(self.state.offer.offer_id, f"the program ended {deaths} times while it was tried")
        else:
            self._note(trial=None, candidate=None)

    def _with(self, offer_id: str, end: End, reason: str) -> tuple[Settled, ...]:
        others = tuple(settled for settled in self.state.settled if settled.offer_id != offer_id)
        newest = Settled(offer_id=offer_id, end=end, reason=reason[:MAX_DETAIL_CHARS])
        return (*others, newest)[-_REMEMBERED:]

    def _note(self, **changes: object) -> None:
        state = self.state.model_copy(update=changes)
        content = state.model_dump_json(indent=1).encode()
        self._on_disk(lambda: make_folder(self.folder))
        self._on_disk(lambda: write_durably(self.folder / STATE_NAME, content))
        self.state = state

    def _sweep(self) -> None:
        """Remove the folders that nobody knows any more."""
        known = {self.path_of(b).name for b in (self.state.current, self.state.previous, self.state.candidate) if b}
        with suppress(OSError):
            for path in (self.folder / _BUNDLES).iterdir():
                if path.name not in known:
                    shutil.rmtree(path, ignore_errors=True)
        if self.state.offer is None:
            with suppress(OSError):
                self.archive.unlink(missing_ok=True)

    def _on_disk(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as exc:
            raise NotNow(f"{self.folder}: cannot be written ({exc.strerror}); free some space") from exc


def folder_in_use(folder: Path, given: Path) -> Path:
    """Folder of the bundle that the next flight begins with, as far as can be told before; changes nothing.

    Args:
        folder: of `InstalledBundles`, where one was ever made.
        given: the bundle given by hand.

    Raises:
        UpdateError: the folder cannot be read.
        ModelError: `given` is no bundle.
    """
    current = _read_state(folder, given).current
    return given if current is None else _path_of(folder, current)


def _path_of(folder: Path, bundle: Installed) -> Path:
    return folder / _BUNDLES / bundle.archive_sha256[:32]


def _read_state(folder: Path, given: Path) -> State:
    """What was noted, as far as it holds for the bundle given by hand and for what is on the disk."""
    try:
        given_sha256 = hashlib.sha256((given / MANIFEST_NAME).read_bytes()).hexdigest()
    except OSError as exc:
        raise ModelError(
            f"{given / MANIFEST_NAME}: cannot be read ({exc.strerror}); give the folder of a bundle"
        ) from exc
    path, fresh = folder / STATE_NAME, State(given_sha256=given_sha256)
    try:
        state = State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return fresh
    except OSError as exc:
        raise UpdateError(f"{path}: cannot be read ({exc.strerror}); check the folder") from exc
    except ValidationError:
        log.warning("the note of installed bundles is damaged; flying the bundle given by hand", path=str(path))
        return fresh
    if state.given_sha256 != given_sha256:
        log.warning("another bundle was given by hand; those that came over the link are forgotten")
        return fresh
    if state.current is not None and not (_path_of(folder, state.current) / MANIFEST_NAME).is_file():
        log.warning("the bundle in use is gone from the disk", bundle_id=state.current.bundle_id)
        return fresh.model_copy(update={"settled": state.settled})
    return state
