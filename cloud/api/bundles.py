"""Published bundles, and rolling them out: widened, stopped and rolled back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from cloud.api.models import CRAFT_NAME, Given
from cloud.api.once import Call, calls
from cloud.api.paging import Cursor, Limit, Page, page_of
from cloud.api.problems import documented
from cloud.bundle_shelf import Rollout
from cloud.errors import RequestError
from cloud.fleet_bundles import FleetBundles
from cloud.http_access import backend_of, requires

router = APIRouter(tags=["bundles"])
_viewer = Depends(requires("viewer"))

RolloutId: TypeAlias = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$", description="A rollout's id.")]
Percent: TypeAlias = Annotated[float, Field(gt=0, le=100)]

_MOST_CRAFT = 1000


class BundleOut(BaseModel):
    """A published bundle, as signed."""

    bundle_id: str
    release: int = Field(description="Larger is newer.")
    name: str
    space_id: str
    labels: list[str]
    variants: list[str]
    archive_bytes: int
    archive_sha256: str
    published_at_s: float
    note: str


class RolloutOut(BaseModel):
    """A bundle on its way to a share of the fleet."""

    rollout_id: str
    bundle_id: str
    percent: float
    crafts: list[str] = Field(description="Of these alone; none is the whole fleet.")
    state: Literal["active", "stopped", "rolled_back"]
    by: str
    made_at_s: float


class CraftBundleOut(BaseModel):
    """How far a rollout has come on one craft."""

    craft: str
    bundle_id: str
    state: str
    reason: str
    fetched_bytes: int
    total_bytes: int
    heard_at_s: float


class RolloutDetail(RolloutOut):
    """A rollout with what every craft says of it."""

    progress: list[CraftBundleOut]


class RolloutIn(Given):
    """A bundle to roll out."""

    bundle_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    percent: Percent = 100.0
    crafts: list[Annotated[str, Field(pattern=CRAFT_NAME)]] = Field(default=[], max_length=_MOST_CRAFT)
    again: bool = Field(default=False, description="Also to craft that have gone back from it by themselves.")


class RolloutChange(Given):
    """What becomes of a rollout: a larger share, or another state."""

    percent: Percent | None = Field(default=None, description="Not less than before.")
    state: Literal["stopped", "rolled_back"] | None = Field(
        default=None, description="`stopped` offers to nobody else, `rolled_back` has every craft go back."
    )


@router.get("/bundles", dependencies=[_viewer], responses=documented())
def list_bundles(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Page[BundleOut]:
    """Published bundles, newest first."""
    found = [BundleOut.model_validate(asdict(b)) for b in FleetBundles(backend_of(request).store).published()]
    return page_of(found, lambda bundle: (-bundle.release, bundle.bundle_id), limit, cursor, "bundles")


@router.get("/rollouts", dependencies=[_viewer], responses=documented())
def list_rollouts(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Page[RolloutOut]:
    """Rollouts, newest first."""
    found = [_told(rollout) for rollout in FleetBundles(backend_of(request).store).rollouts()]
    return page_of(found, lambda rollout: (-rollout.made_at_s, rollout.rollout_id), limit, cursor, "rollouts")


@router.get("/rollouts/{rollout_id}", dependencies=[_viewer], responses=documented(404))
def one_rollout(request: Request, rollout_id: RolloutId) -> RolloutDetail:
    """One rollout, and how far it has come on every craft that heard of it."""
    store = backend_of(request).store
    progress = [asdict(told) for told in FleetBundles(store).of_rollout(rollout_id)]
    return RolloutDetail.model_validate({**asdict(store.rollout(rollout_id)), "progress": progress})


@router.post("/rollouts", status_code=201, responses=documented(404, 409))
def roll_out(call: Annotated[Call, Depends(calls("operator"))], body: RolloutIn) -> RolloutOut:
    """Roll a published bundle out; connected craft are offered it within a heartbeat."""

    def work() -> RolloutOut:
        fleet, by = FleetBundles(call.backend.store, call.backend.clock), call.who.name
        rollout = fleet.roll_out(body.bundle_id, by=by, percent=body.percent, crafts=body.crafts, again=body.again)
        return _told(rollout)

    return call.once(RolloutOut, body, work)


@router.patch("/rollouts/{rollout_id}", responses=documented(404, 409))
def change_rollout(
    call: Annotated[Call, Depends(calls("operator"))], rollout_id: RolloutId, body: RolloutChange
) -> RolloutOut:
    """Widen a rollout, stop it, or roll it back."""
    fleet, by = FleetBundles(call.backend.store, call.backend.clock), call.who.name
    if (body.percent is None) == (body.state is None):
        raise RequestError("give percent to widen the rollout, or state to stop it or roll it back")

    def work() -> RolloutOut:
        if body.percent is not None:
            return _told(fleet.widen(rollout_id, body.percent, by=by))
        change = fleet.stop if body.state == "stopped" else fleet.roll_back
        return _told(change(rollout_id, by=by))

    return call.once(RolloutOut, body, work)


def _told(rollout: Rollout) -> RolloutOut:
    return RolloutOut.model_validate(asdict(rollout))
