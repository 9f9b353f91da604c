"""The messages of a bundle's way to a craft; they came within v1.

The craft asks for what it wants: its receipts say from which byte on, and how many bytes may be under way. So it is the
craft that keeps a thin link free for what is more urgent. What an offer says is a hint: a craft believes the signed
metadata alone, which comes first (docs/updates.md).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from protocols import limits
from protocols.fields import Id, Label, Message, Reason, Sha256, Text

BundlePart: TypeAlias = Literal["metadata", "archive"]
BundleState: TypeAlias = Literal["fetching", "verified", "on_trial", "in_force", "refused", "gone_back"]
NOT_NOW = "not now: "
"""Begins the reason of a `refused` that passes (a full disk, a wrong clock): the cloud may offer the same again."""

BundleOffset: TypeAlias = Annotated[int, Field(ge=0, le=limits.MAX_BUNDLE_BYTES)]


class BundleOffer(Message):
    """Cloud to edge: fly another bundle. Sent only to who lists this kind in Hello; sending one again is always safe.

    Attributes:
        offer_id: the cloud's own name for the offer, never used for another bundle.
        action: `take` it; `go_back` from it to the bundle that was flown before, which the craft still has.
        bundle_id: name of the published bundle.
        metadata_bytes, metadata_sha256: of the packed signed metadata, which comes first.
        archive_bytes, archive_sha256: of the bundle.
    """

    kind: Literal["BundleOffer"] = "BundleOffer"
    offer_id: Id
    action: Literal["take", "go_back"] = "take"
    bundle_id: Id
    metadata_bytes: int = Field(ge=1, le=limits.MAX_BUNDLE_METADATA_BYTES)
    metadata_sha256: Sha256
    archive_bytes: int = Field(ge=1, le=limits.MAX_BUNDLE_BYTES)
    archive_sha256: Sha256


class BundleChunk(Message):
    """Cloud to edge: one slice of a part of an offer; the blob holds 1..CHUNK_BYTES bytes from `offset`.

    Attributes:
        offer_id: of the offer.
        part: of what.
        offset: of the slice in it.
    """

    kind: Literal["BundleChunk"] = "BundleChunk"
    offer_id: Id
    part: BundlePart
    offset: BundleOffset


class BundleReceipt(Message):
    """Edge to cloud: how far an offer has come; also sent unasked at every connect, for the last offer there was.

    Attributes:
        offer_id: which.
        state: `fetching` send from `next_offset` of `part`; `verified` all is here and rightly signed; `on_trial` it
            is flown and watched; `in_force` it stays; and for good `refused`, never flown, and `gone_back`, flown no
            more. A `refused` whose reason begins with `NOT_NOW` is not for good.
        part: which is being fetched.
        next_offset: bytes of that part held, in order from 0.
        credit_bytes: most bytes from there that may be sent now; 0 is a pause that a later receipt ends.
        reason: for `refused` and `gone_back`, readable.
        bundle_id: of the published bundle that is flown now; None is the one that the craft was given by hand.
        space_id, variant, labels: of the student that is flown now.
    """

    kind: Literal["BundleReceipt"] = "BundleReceipt"
    offer_id: Id
    state: BundleState
    part: BundlePart = "metadata"
    next_offset: BundleOffset = 0
    credit_bytes: int = Field(default=0, ge=0, le=limits.MAX_CREDIT_BYTES)
    reason: Reason = ""
    bundle_id: Id | None = None
    space_id: Text
    variant: Text
    labels: tuple[Label, ...] = Field(default=(), max_length=limits.MAX_LABELS)
