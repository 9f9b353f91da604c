"""What the HTTP API answers and takes, as pydantic models: the OpenAPI page is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from cloud.api.paging import CURSOR, MAX_PAGE
from cloud.page_shelf import ListedAnswer, ListedReview
from cloud.store import StoredCase
from cloud.target_shelf import StoredTarget
from protocols import limits
from protocols.fields import Box, Coord, Label
from protocols.messages import TargetStatus
from protocols.values import Detection, FrameHeader, Interpretation, Prompt

State: TypeAlias = Literal["stored", "interpreted", "unsure", "reviewed", "failed"]
Scope: TypeAlias = Literal["craft", "mission", "fleet"]

CRAFT_NAME = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"

CraftName: TypeAlias = Annotated[str, Path(pattern=CRAFT_NAME, description="A craft's name.")]
OfCraft: TypeAlias = Annotated[str | None, Query(pattern=CRAFT_NAME, description="Only this craft's.")]
CaseIdPath: TypeAlias = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="A case's id.")]
WallTime: TypeAlias = Annotated[float, Field(ge=0, le=limits.MAX_WALL_TIME_S)]


class Given(BaseModel):
    """Base of what a client sends: an unknown field is an error, and numbers are finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class CaseQuery(Given):
    """Which cases of a list."""

    state: State | None = Field(default=None, description="Only in this state.")
    craft: Annotated[str, Field(pattern=CRAFT_NAME)] | None = Field(default=None, description="Only this craft's.")
    label: Label | None = Field(default=None, description="Only with something that anybody called so.")
    received_since_s: WallTime | None = Field(default=None, description="Only received since.")
    received_until_s: WallTime | None = Field(default=None, description="Only received before.")
    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="Things on the page.")
    cursor: str | None = Field(
        default=None, min_length=1, max_length=200, pattern=CURSOR, description="`next` of the page before."
    )


class CaseOut(BaseModel):
    """A case in a list. Boxes are pixels of the full frame; times are Unix seconds."""

    case_id: str
    craft: str
    state: State = Field(description="`stored` waits for the teacher, `unsure` for a person, `failed` cannot be read.")
    reason: str = Field(description="Of `unsure` and `failed`.")
    confidence: float | None = Field(description="Of the teacher's answer.")
    hardness: float = Field(description="0..1, how much the craft expects of asking.")
    captured_at_s: float = Field(description="By the craft's clock.")
    received_at_s: float
    source_id: str
    frame_index: int
    frame_size: tuple[int, int]
    regions_xyxy: list[Box] = Field(description="The part of the frame that each picture shows.")
    labels_on_edge: list[str]
    has_imagery: bool = Field(description="False once retention has dropped it.")

    @classmethod
    def of(cls, stored: StoredCase) -> Self:
        """A case as the store holds it."""
        return cls(**_case_fields(stored))


class CaseDetail(CaseOut):
    """A whole case."""

    frame: FrameHeader
    detections: list[Detection] = Field(description="The craft's own.")
    reasons: dict[str, float] = Field(description="Why it was sent: the parts of its hardness.")
    space_id: str
    variant: str
    media_type: str
    payload_bytes: int
    payload_sha256: str
    ttl_s: float | None
    target_id: int | None = Field(description="Of the target that it asks about.")
    refines: str | None = Field(description="The case whose frame it shows again.")

    @classmethod
    def of(cls, stored: StoredCase) -> Self:
        """A case as the store holds it."""
        case = stored.case
        own = case.model_dump(include={"space_id", "variant", "media_type", "payload_bytes", "payload_sha256", "ttl_s"})
        return cls(
            **_case_fields(stored),
            **own,
            frame=case.frame,
            detections=list(case.detections),
            reasons=dict(case.reasons),
            target_id=case.target.target_id if case.target else None,
            refines=case.refines,
        )


def _case_fields(stored: StoredCase) -> dict[str, Any]:
    case = stored.case
    return {
        "case_id": case.case_id,
        "craft": stored.craft,
        "state": stored.state,
        "reason": stored.reason,
        "confidence": stored.confidence,
        "hardness": case.hardness,
        "captured_at_s": case.frame.captured_at_s,
        "received_at_s": stored.received_at_s,
        "source_id": case.frame.source_id,
        "frame_index": case.frame.index,
        "frame_size": (case.frame.width, case.frame.height),
        "regions_xyxy": [part.region_xyxy for part in case.parts],
        "labels_on_edge": sorted({found.label for found in case.detections}),
        "has_imagery": stored.has_imagery,
    }


class InterpretationOut(BaseModel):
    """An answer to a case."""

    craft: str
    case_id: str
    by: Literal["teacher", "person"]
    interpreter: str
    made_at_s: float
    confidence: float
    detections: list[Detection]
    supersedes: str | None = Field(description="The case that this one shows again, better.")
    is_delivered: bool = Field(description="Whether the craft has it.")

    @classmethod
    def of(cls, listed: ListedAnswer) -> Self:
        """An answer as the store lists it."""
        told: Interpretation = listed.interpretation
        return cls(
            craft=listed.craft,
            **told.model_dump(include={"case_id", "by", "interpreter", "made_at_s", "confidence"}),
            detections=list(told.detections),
            supersedes=told.supersedes,
            is_delivered=listed.is_delivered,
        )


class ReviewBox(Given):
    """One box that a person drew."""

    label: Label = Field(description="What it holds.")
    box_xyxy: Box = Field(description="Pixels of the full frame.")


class ReviewIn(Given):
    """A person's answer to a case."""

    boxes: list[ReviewBox] = Field(
        default=[], max_length=limits.MAX_CASE_DETECTIONS, description="Every thing of these labels in the pictures."
    )
    hard_negatives_xyxy: list[Box] = Field(
        default=[], max_length=limits.MAX_CASE_DETECTIONS, description="What looks like the thing and is none."
    )
    prompt_label: Label | None = Field(default=None, description="Make a prompt of the boxes of this label.")
    scope: Scope = Field(default="craft", description="Who may use the prompt; more than the craft takes an operator.")
    seen: int | None = Field(
        default=None,
        ge=0,
        le=limits.MAX_REVISION,
        description="How many answers to this case you had seen: 409 where there are more by now.",
    )
    labels_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = Field(
        default=None, description="Of the craft, as you knew it: 409 where it flies other classes by now."
    )


class ReviewOut(BaseModel):
    """A person's answer, and what became of it."""

    review_id: int
    craft: str
    case_id: str
    label: str
    boxes: list[ReviewBox]
    hard_negatives_xyxy: list[Box]
    makes_prompt: bool
    scope: Scope
    reviewer: str
    made_at_s: float
    state: Literal["waiting", "done", "failed"]
    reason: str = Field(description="Why it failed, or what gave way to the prompt.")

    @classmethod
    def of(cls, listed: ListedReview) -> Self:
        """A review as the store lists it."""
        review = listed.review
        named = [ReviewBox.model_construct(label=label, box_xyxy=box) for label, box in review.named]
        return cls.model_validate(
            {
                "review_id": review.review_id,
                "craft": review.craft,
                "case_id": review.case_id,
                "label": review.label,
                "boxes": named,
                "hard_negatives_xyxy": list(review.negatives_xyxy),
                "makes_prompt": review.makes_prompt,
                "scope": review.scope,
                "reviewer": review.reviewer,
                "made_at_s": review.made_at_s,
                "state": listed.state,
                "reason": listed.reason,
            }
        )


class PromptOut(BaseModel):
    """A prompt in force, less its vectors and chips."""

    prompt_id: str
    craft: list[str] = Field(description="Whose banks hold it.")
    label: str
    scope: Scope
    origin: Literal["teacher", "person"]
    confidence: float
    threshold: float
    priority: int
    issued_at_s: float
    expires_at_s: float | None
    space_id: str
    variant: str
    case_id: str | None = Field(description="The case it was made of.")
    positives: int
    negatives: int
    chips: int

    @classmethod
    def of(cls, prompt: Prompt, craft: list[str]) -> Self:
        """A prompt that some craft hold."""
        own = prompt.model_dump(include=set(cls.model_fields) - {"positives", "negatives", "chips", "craft"})
        return cls(
            **own,
            craft=craft,
            positives=len(prompt.positives),
            negatives=len(prompt.negatives),
            chips=len(prompt.chips),
        )


class RevokedOut(BaseModel):
    """A prompt that was taken back."""

    prompt_id: str
    craft: list[str] = Field(description="Whose banks held it.")


class BankOut(BaseModel):
    """The name of a prompt bank."""

    epoch: str
    revision: int
    digest: str


class LiveOut(BaseModel):
    """What a craft was last heard to be, since the service began; ages are at the time of the answer."""

    is_online: bool
    since_s: float | None = Field(description="Begin of the newest connection, Unix seconds.")
    heard_age_s: float | None = Field(description="Seconds since its last message.")
    bytes_received: int
    bytes_sent: int
    spool_cases: int = Field(description="Cases that wait on the craft.")
    spool_bytes: int
    bank: BankOut | None = Field(description="The prompt bank that it says it holds.")
    software: str | None


class CraftOut(BaseModel):
    """A craft that was enrolled."""

    name: str
    is_revoked: bool
    enrolled_at_s: float
    space_id: str | None
    variant: str | None
    labels: list[str]
    labels_digest: str = Field(description="Names the classes that it knows; goes with a review.")
    bank: BankOut | None = Field(description="The prompt bank that it should hold.")
    is_current: bool | None = Field(description="Whether it holds that; null where it was not heard yet.")
    result_age_s: float | None = Field(description="Seconds since the newest answer for it was made.")
    cases: int
    live: LiveOut | None


class TargetIn(Given):
    """A target to follow: a box or a point, a label, or a label with either."""

    label: Label | None = Field(default=None, description="What to call it; alone: the first thing that answers to it.")
    box_xyxy: Box | None = None
    point_xy: tuple[Coord, Coord] | None = None
    is_normalised: bool = Field(default=False, description="Box and point are shares of the frame, not pixels.")
    case_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = Field(
        default=None, description="The case in whose picture it was seen; null: it is there now."
    )
    expires_s: float | None = Field(
        default=None,
        ge=1,
        le=limits.MAX_DURATION_S,
        description="Seconds in which it must begin; 60, for a label 3600.",
    )


class TargetOut(BaseModel):
    """A target that a craft was ordered to follow, and the craft's last word."""

    key: str
    craft: str
    label: str
    state: str = Field(description="`queued` until the craft answers; then what the craft says.")
    reason: str
    is_stopping: bool
    by: str
    made_at_s: float
    expires_at_s: float
    case_id: str | None
    heard_at_s: float | None
    status: TargetStatus | None = Field(description="The craft's last word, whole.")

    @classmethod
    def of(cls, target: StoredTarget) -> Self:
        """A target as the store holds it."""
        return cls(
            key=target.key,
            craft=target.craft,
            label=target.order.label,
            state=target.state,
            reason=target.reason,
            is_stopping=target.is_stopping,
            by=target.by,
            made_at_s=target.made_at_s,
            expires_at_s=target.expires_at_s,
            case_id=target.order.seen_in.case_id if target.order.seen_in else None,
            heard_at_s=target.heard_at_s,
            status=target.status,
        )


class EventOut(BaseModel):
    """One thing that somebody did."""

    event_id: int
    at_s: float
    who: str
    what: str
    about: str
    detail: str
