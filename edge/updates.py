"""Bundles over the air, as the craft sees them: offered, fetched, verified, tried, flown on trial, in force, or not.

The link's thread hands in what comes and takes out what is to be told (`receive`, `due`); a thread of its own does the
rest: the disk, the signatures, opening a student. The frame loop takes part through `edge.bundle_swap` alone, and waits
for nobody. What each step is worth after a crash or a power cut is `edge.installed_bundles`'s to say.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
from pydantic import Field

from edge.bundle_fetch import BundleFetch
from edge.bundle_gathering import Gathering
from edge.bundle_swap import BundleSwap, InUse, Outcome, TrialSettings
from edge.canary import CANARY_NAME, MAX_CANARY_BYTES, check_canaries, unpack_canaries
from edge.clock import Clock, SystemClock
from edge.config import Settings
from edge.errors import ModelError, NotNow, UpdateError
from edge.fetch_window import FetchWindow
from edge.installed_bundles import Installed, InstalledBundles, Settled
from edge.student import Student
from edge.trust import TrustStore
from protocols.bundle_messages import NOT_NOW, BundleState
from protocols.errors import SkyloopError
from protocols.limits import MAX_DETAIL_CHARS
from protocols.messages import BundleChunk, BundleOffer, BundleReceipt

log = structlog.get_logger()

_MAX_WORK = 4096
"""Slices and offers that wait for the updates' thread; more are dropped, and asked for again."""

_MAX_RECEIPTS = 32
_MAX_TURNS = 5
"""Prompt banks that may follow each other while a student gets ready."""


class UpdateSettings(Settings):
    """Settings of updates over the air.

    Attributes:
        budget_bytes_per_s: long-run mean of what is fetched.
        trial: when a new bundle has proven itself.
    """

    budget_bytes_per_s: float = Field(default=128 * 1024.0, gt=0)
    trial: TrialSettings = TrialSettings()


@dataclass(frozen=True)
class Flying:
    """What a receipt tells of the student in use."""

    bundle_id: str | None
    space_id: str
    variant: str
    labels: tuple[str, ...]

    @classmethod
    def of(cls, in_use: InUse) -> Flying:
        """Of this one."""
        student = in_use.student
        return cls(in_use.bundle_id, student.manifest.space_id, student.bundle.variant, student.manifest.labels)


@dataclass(frozen=True)
class _Handed:
    """A student on its way to the frame loop, for which offer, and how often the prompts changed meanwhile."""

    in_use: InUse
    is_on_trial: bool
    offer_id: str
    turns: int = 0


@dataclass
class _Counts:
    """What became of offers in this run, and what was dropped of what came."""

    dropped: int = 0
    swaps: int = 0
    ends: dict[str, int] = field(default_factory=dict)


class Updates:
    """The updates of one craft; see `start` and `close`."""

    def __init__(
        self,
        installed: InstalledBundles,
        trust: TrustStore | str,
        swap: BundleSwap,
        opened: Callable[[Path], Student],
        *,
        settings: UpdateSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Go on where the last run ended.

        Args:
            installed: what is on the disk.
            trust: whom the craft believes; or why nobody, and then every offer is refused with that reason.
            swap: hands a student to the frame loop.
            opened: the student of a folder, as this craft runs it; raises ModelError.
            settings: see `UpdateSettings`.
            clock: for pauses.
        """
        self.counts = _Counts()
        self._installed, self._swap, self._opened = installed, swap, opened
        self._clock, self._settings = clock or SystemClock(), settings or UpdateSettings()
        self._lock = threading.Lock()
        self._fetch = BundleFetch(self._new_window())
        self._receipts: deque[BundleReceipt] = deque(maxlen=_MAX_RECEIPTS)
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue(_MAX_WORK)
        self._flying = Flying.of(swap.in_use)
        self._gathering = (
            trust if isinstance(trust, str) else Gathering(installed, trust, self._fetch, self._lock, self._clock)
        )
        self._handed: _Handed | None = None  # to the frame loop, which has not taken it yet
        self._ready: Installed | None = None  # verified, and waits for a trial to end
        swap.on_outcome = self._hear_outcome
        self._thread = threading.Thread(target=self._run, name="skyloop-updates", daemon=True)

    # --- the link's thread ---

    @property
    def flying(self) -> Flying:
        """The student in use, for Hello."""
        return self._flying

    def connected(self) -> None:
        """A new connection: nothing is on its way, and the cloud wants to know what there is."""
        with self._lock:
            self._fetch.stop()
            self._fetch.window = self._new_window()
            self._receipts.clear()
        self._do(self._report)

    def receive(self, message: BundleOffer | BundleChunk, blob: bytes) -> None:
        """Take a message from the cloud, whatever it is."""
        if isinstance(message, BundleOffer):
            self._do(lambda: self._on_offer(message))
            return
        with self._lock:
            gathering = self._gathering
            is_wanted = not self._work.full() and self._fetch.take(message, blob, self._clock.monotonic_s())
            if isinstance(gathering, str) or not is_wanted:
                self.counts.dropped += 1
                return
            self._do(lambda: self._write(gathering, message, blob))

    def due(self, limit: int, *, is_busy: bool) -> list[BundleReceipt]:
        """What is to be told now.

        Args:
            limit: at most so many.
            is_busy: cases are on their way: they come first.
        """
        with self._lock:
            told = [self._receipts.popleft() for _ in range(min(limit, len(self._receipts)))]
            if len(told) < limit:
                credit = self._fetch.ask(self._clock.monotonic_s(), is_busy=is_busy)
                if credit is not None:
                    told.append(self._progress(credit))
        return told

    # --- the perceiving thread ---

    def _hear_outcome(self, outcome: Outcome, in_use: InUse, reason: str) -> None:
        self._do(lambda: self._on_outcome(outcome, in_use, reason))

    # --- life ---

    def start(self) -> None:
        """Begin to work; a bundle whose trial a crash ended is tried again."""
        self._thread.start()
        state = self._installed.state
        if state.candidate is not None:
            self._ready = state.candidate
            self._do(self._try_ready)

    def close(self, timeout_s: float = 10.0) -> None:
        """Stop in order; what was under way goes on at the next start."""
        if not self._thread.is_alive():
            return
        self._work.put(None)
        self._thread.join(timeout_s)

    def wait_idle(self, timeout_s: float = 10.0) -> bool:
        """Whether everything handed in so far was done within a time."""
        done = threading.Event()
        return self._do(done.set) and done.wait(timeout_s)

    def _run(self) -> None:
        try:
            while (work := self._work.get()) is not None:
                try:
                    work()
                except UpdateError as exc:
                    self._give_up(str(exc), is_for_good=not isinstance(exc, NotNow))
                except Exception as exc:  # the top loop of this thread: the craft flies on with what it has
                    log.exception("update fault")
                    # While it is tried the bundle is to blame; before that the fault is this software's.
                    self._give_up(f"{type(exc).__name__}: {exc}", is_for_good=self._ready is not None)
        finally:
            self._installed.close()

    def _do(self, work: Callable[[], None]) -> bool:
        """Let the updates' thread do something; False where too much waits."""
        try:
            self._work.put_nowait(work)
        except queue.Full:
            return False
        return True

    # --- the updates' thread ---

    def _on_offer(self, offer: BundleOffer) -> None:
        settled = self._installed.end_of(offer.offer_id)
        state = self._installed.state
        is_flown = state.current is not None and state.current.offer_id == offer.offer_id
        if offer.action == "go_back":
            self._take_back(offer, is_flown=is_flown)
        elif is_flown and state.trial is not None:
            self._tell(offer.offer_id, "on_trial")
        elif settled is not None:
            self._tell(offer.offer_id, settled.end, settled.reason)
        elif self._ready is not None and self._ready.offer_id == offer.offer_id:
            self._tell(offer.offer_id, "verified")
        elif isinstance(self._gathering, str):
            self._refuse(offer.offer_id, self._gathering, is_for_good=False)  # a root may be pinned
        else:
            self._ready = None
            self._be_ready(self._gathering.begin(offer))

    def _write(self, gathering: Gathering, chunk: BundleChunk, blob: bytes) -> None:
        self._be_ready(gathering.write(chunk, blob))

    def _be_ready(self, bundle: Installed | None) -> None:
        if bundle is not None:
            self._ready = bundle
            self._tell(bundle.offer_id, "verified")
            self._try_ready()

    def _try_ready(self) -> None:
        """Open what is verified and let it fly; not while another one is on trial."""
        bundle, trial = self._ready, self._installed.state.trial
        if bundle is None or (trial is not None and trial.phase == "flying"):
            return
        self._installed.begin_trying()
        try:
            in_use = self._prepared(bundle)
        except UpdateError:
            raise
        except (SkyloopError, OSError) as exc:
            told = str(exc).replace(f"{self._installed.path_of(bundle)}/", "")
            raise UpdateError(f"it cannot be flown here: {told}") from exc
        self._ready = None
        self._installed.put_in_use()
        self._hand_over(in_use, is_on_trial=True, offer_id=bundle.offer_id)

    def _prepared(self, bundle: Installed) -> InUse:
        """A student that has passed its canaries and looked at all the prompts' chips."""
        folder = self._installed.path_of(bundle)
        student = self._opened(folder)
        bands, wanted = student.manifest.band_names, self._swap.in_use.student.manifest.band_names
        if bands != wanted:
            raise UpdateError(f"it takes the bands {', '.join(bands)}, this craft's source gives {', '.join(wanted)}")
        report = check_canaries(student, unpack_canaries(_read(folder / CANARY_NAME, MAX_CANARY_BYTES)))
        log.info("bundle tried", bundle_id=bundle.bundle_id, pictures=report.pictures, cosine=round(report.cosine, 4))
        return InUse.prepare(student, self._swap.bank(), bundle.bundle_id)

    def _hand_over(self, in_use: InUse, *, is_on_trial: bool, offer_id: str) -> None:
        self._handed = _Handed(in_use, is_on_trial, offer_id)
        self._swap.hand_over(in_use, is_on_trial=is_on_trial)

    def _on_outcome(self, outcome: Outcome, in_use: InUse, reason: str) -> None:
        current = self._installed.state.current
        is_current = current is not None and current.bundle_id == in_use.bundle_id
        if outcome == "stale":
            self._hand_over_again(in_use)
        elif outcome == "taken":
            self._on_taken(in_use)
        elif current is None or not is_current:  # it was taken back in the meantime
            return
        elif outcome == "passed":
            self._installed.confirm()
            self._tell(current.offer_id, "in_force")
            self._try_ready()
        else:
            try:
                self._installed.go_back(reason)
            except UpdateError as exc:  # a full disk: it is on trial again at the next start
                log.warning("update state not kept", reason=str(exc))
            self._flying = Flying.of(self._swap.in_use)
            self._tell(current.offer_id, "gone_back", reason)
            self._try_ready()

    def _on_taken(self, in_use: InUse) -> None:
        self._flying = Flying.of(in_use)
        self.counts.swaps += 1
        handed, self._handed = self._handed, None
        if handed is not None and handed.is_on_trial:
            self._tell(handed.offer_id, "on_trial")
        elif handed is not None:
            self._tell(handed.offer_id, "gone_back", _TAKEN_BACK)
            self._try_ready()

    def _hand_over_again(self, in_use: InUse) -> None:
        """The prompts have changed since: look at the new ones' chips, too."""
        handed = self._handed
        if handed is None or handed.in_use is not in_use:
            return
        anew = InUse.prepare(in_use.student, self._swap.bank(), in_use.bundle_id)
        self._handed = replace(handed, in_use=anew, turns=handed.turns + 1)
        self._swap.hand_over(anew, is_on_trial=handed.is_on_trial, at_once=handed.turns >= _MAX_TURNS)

    def _take_back(self, offer: BundleOffer, *, is_flown: bool) -> None:
        """The cloud wants the bundle of an offer flown no more, or never."""
        settled = self._installed.end_of(offer.offer_id)
        if is_flown:
            in_use = self._before()
            self._installed.go_back(_TAKEN_BACK)
            self._hand_over(in_use, is_on_trial=False, offer_id=offer.offer_id)
        elif settled is None:
            self._refuse(offer.offer_id, "taken back before it was flown")
        elif settled.end == "in_force":
            self._tell(offer.offer_id, "gone_back", "another bundle is flown by now")
        else:
            self._tell(offer.offer_id, settled.end, settled.reason)

    def _before(self) -> InUse:
        """What was flown before the bundle in use, opened anew; if need be the bundle given by hand."""
        previous = self._installed.state.previous
        try:
            student = self._opened(self._installed.path_of(previous))
        except ModelError as exc:
            log.warning("the bundle before cannot be opened", reason=str(exc))
            self._installed.forget_previous()
            return self._before() if previous is not None else self._swap.in_use
        return InUse.prepare(student, self._swap.bank(), previous.bundle_id if previous is not None else None)

    def _give_up(self, reason: str, *, is_for_good: bool) -> None:
        """Whatever was under way is not flown."""
        offer = self._installed.state.offer
        with self._lock:
            self._fetch.stop()
        self._ready = None
        if offer is not None:
            self._refuse(offer.offer_id, reason, is_for_good=is_for_good)

    def _refuse(self, offer_id: str, reason: str, *, is_for_good: bool = True) -> None:
        reason = reason if is_for_good else NOT_NOW + reason
        log.warning("bundle refused", offer_id=offer_id, reason=reason)
        with self._lock:
            if self._fetch.offer_id == offer_id:
                self._fetch.stop()
        try:
            self._installed.refuse(offer_id, reason, is_for_good=is_for_good)
        except UpdateError as exc:  # a full disk: told all the same, and again after the next start
            log.warning("update state not kept", reason=str(exc))
        self._tell(offer_id, "refused", reason)

    def _report(self) -> None:
        """Tell how the last offer stands; of one being fetched when the cloud offers it again."""
        state = self._installed.state
        if state.current is not None and state.trial is not None:
            self._tell(state.current.offer_id, "on_trial")
        elif state.settled:
            last: Settled = state.settled[-1]
            self._tell(last.offer_id, last.end, last.reason)

    def _tell(self, offer_id: str, state: BundleState, reason: str = "") -> None:
        if state not in ("verified", "on_trial"):
            self.counts.ends[state] = self.counts.ends.get(state, 0) + 1
        with self._lock:
            self._receipts.append(self._receipt(offer_id, state, reason))

    def _receipt(self, offer_id: str, state: BundleState, reason: str = "") -> BundleReceipt:
        flying = self._flying
        return BundleReceipt(
            offer_id=offer_id,
            state=state,
            reason=reason[:MAX_DETAIL_CHARS],
            bundle_id=flying.bundle_id,
            space_id=flying.space_id,
            variant=flying.variant,
            labels=() if state == "fetching" else flying.labels,
        )

    def _progress(self, credit: int) -> BundleReceipt:
        fetch = self._fetch
        told = {"part": fetch.part, "next_offset": fetch.held, "credit_bytes": credit}
        return self._receipt(fetch.offer_id, "fetching").model_copy(update=told)

    def _new_window(self) -> FetchWindow:
        return FetchWindow(self._settings.budget_bytes_per_s, self._clock.monotonic_s())


_TAKEN_BACK = "taken back by the cloud"


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as exc:
        raise UpdateError(f"{path.name} is missing ({exc.strerror}): publish the bundle anew") from exc
