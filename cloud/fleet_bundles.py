"""What people do with published bundles: list, roll out, widen, stop, roll back, and see how far each craft is.

The command line, the HTTP API and the console all come through here, so that whoever did what is kept in one way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloud.bundle_shelf import CraftBundle, Rollout
from cloud.errors import RequestError
from cloud.registry import PublishedBundle, Registry
from cloud.store import CaseStore
from edge.clock import Clock, SystemClock


@dataclass(frozen=True)
class CraftStatus:
    """One craft as far as bundles go.

    Attributes:
        craft: its name.
        flies: the published bundle that it says it flies; None is one that it was given by hand.
        newest: the rollout that moved last on it, and how far that has come; None where none ever did.
    """

    craft: str
    flies: str | None
    newest: CraftBundle | None


class FleetBundles:
    """The bundles of a fleet."""

    def __init__(self, store: CaseStore, clock: Clock | None = None) -> None:
        """Of a store and the registry beside it.

        Args:
            store: where rollouts are kept.
            clock: stamps them.
        """
        self.registry = Registry(store.data_dir)
        self._store, self._clock = store, clock or SystemClock()

    def published(self) -> list[PublishedBundle]:
        """Every published bundle, newest first.

        Raises:
            CloudError: the registry is damaged.
        """
        return self.registry.bundles()

    def rollouts(self) -> list[Rollout]:
        """Rollouts, newest first."""
        return self._store.rollouts()

    def of_rollout(self, rollout_id: str) -> list[CraftBundle]:
        """How far a rollout has come on every craft that heard of it.

        Raises:
            RequestError: there is none of that name.
        """
        return self._store.craft_bundles(rollout_id=self._store.rollout(rollout_id).rollout_id)

    def status(self) -> list[CraftStatus]:
        """Every craft that is enrolled, by name."""
        flown, newest = self._store.flown_bundles(), self._store.newest_craft_bundles()
        names = [craft.name for craft in self._store.crafts() if not craft.is_revoked]
        return [CraftStatus(name, flown.get(name), newest.get(name)) for name in names]

    def roll_out(
        self, bundle_id: str, *, by: str, percent: float = 100.0, crafts: Sequence[str] = (), again: bool = False
    ) -> Rollout:
        """Begin to roll a published bundle out; a running server offers it within a heartbeat.

        Args:
            bundle_id: which.
            by: who.
            percent: of the crafts.
            crafts: of these alone; none is the fleet, also crafts enrolled later.
            again: also to crafts that have gone back from it by themselves.

        Raises:
            RequestError: no such bundle, share or craft.
        """
        bundle = self.registry.bundle(bundle_id)
        if self.registry.expires_at_s() <= self._clock.wall_s():
            raise RequestError("what crafts are sent has expired: sign it anew with `skyloop-cloud bundles refresh`")
        rollout = self._store.add_rollout(
            bundle.bundle_id, percent=percent, crafts=crafts, by=by, now_s=self._clock.wall_s(), again=again
        )
        to = f"{percent:g} % of {', '.join(crafts) or 'the fleet'}"
        self._store.note_event(by, "bundle rolled out", bundle.bundle_id, f"rollout {rollout.rollout_id} to {to}")
        return rollout

    def widen(self, rollout_id: str, percent: float, *, by: str) -> Rollout:
        """Offer a bundle to a larger share; whoever was in stays in.

        Raises:
            RequestError: no such rollout, or a smaller share.
        """
        rollout = self._store.change_rollout(rollout_id, percent=percent, state="active")
        self._store.note_event(by, "rollout widened", rollout.bundle_id, f"{rollout.rollout_id} to {percent:g} %")
        return rollout

    def stop(self, rollout_id: str, *, by: str) -> Rollout:
        """Offer a bundle to nobody else; who flies it goes on.

        Raises:
            RequestError: no such rollout.
        """
        rollout = self._store.change_rollout(rollout_id, state="stopped")
        self._store.note_event(by, "rollout stopped", rollout.bundle_id, rollout.rollout_id)
        return rollout

    def roll_back(self, rollout_id: str, *, by: str) -> Rollout:
        """Have every craft that flies the bundle go back to the one before.

        Raises:
            RequestError: no such rollout.
        """
        rollout = self._store.change_rollout(rollout_id, state="rolled_back")
        self._store.note_event(by, "rollout rolled back", rollout.bundle_id, rollout.rollout_id)
        return rollout
