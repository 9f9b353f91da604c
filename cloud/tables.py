"""The tables of the case store, as SQLAlchemy sees them. A change here needs a migration; see `cloud/schema.py`."""

from __future__ import annotations

from sqlalchemy import Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of every table."""


class CraftRow(Base):
    """An enrolled craft and what its last Hello said about its student."""

    __tablename__ = "crafts"

    name: Mapped[str] = mapped_column(primary_key=True)
    public_key_z85: Mapped[str] = mapped_column(unique=True)
    enrolled_at_s: Mapped[float]
    is_revoked: Mapped[bool] = mapped_column(default=False)
    space_id: Mapped[str | None] = mapped_column(default=None)
    variant: Mapped[str | None] = mapped_column(default=None)
    labels_json: Mapped[str] = mapped_column(default="[]")


class CaseRow(Base):
    """A case; its imagery lies in a file. (craft, case_id) is what makes delivery once and only once.

    `imagery_bytes` is 0 once retention has dropped the file.
    """

    __tablename__ = "cases"
    __table_args__ = (
        UniqueConstraint("craft", "case_id"),
        Index("ix_cases_queue", "state", "value"),
        Index("ix_cases_state_received", "state", "received_at_s"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    craft: Mapped[str]
    case_id: Mapped[str] = mapped_column(index=True)
    payload_sha256: Mapped[str]
    case_json: Mapped[str]
    received_at_s: Mapped[float]
    state: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(default="")
    confidence: Mapped[float | None] = mapped_column(default=None)
    value: Mapped[float] = mapped_column(default=0.0, server_default="0")
    labels_json: Mapped[str] = mapped_column(default="[]", server_default="[]")
    imagery_bytes: Mapped[int] = mapped_column(default=0)


Index("ix_cases_craft", CaseRow.craft)
Index(
    "ix_cases_imagery",
    CaseRow.state,
    CaseRow.received_at_s,
    CaseRow.imagery_bytes,
    sqlite_where=CaseRow.imagery_bytes > 0,
)


class ForgottenRow(Base):
    """The digest of a case whose row retention took away: offered again, it is one that was answered."""

    __tablename__ = "forgotten_cases"

    case_id: Mapped[str] = mapped_column(primary_key=True)
    craft: Mapped[str] = mapped_column(primary_key=True)
    payload_sha256: Mapped[str]
    forgotten_at_s: Mapped[float] = mapped_column(index=True)


class InterpretationRow(Base):
    """An answer: at most one by the teacher and one by a person for each case."""

    __tablename__ = "interpretations"
    __table_args__ = (UniqueConstraint("craft", "case_id", "by"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    craft: Mapped[str] = mapped_column(index=True)
    case_id: Mapped[str]
    by: Mapped[str]
    interpretation_json: Mapped[str]
    is_delivered: Mapped[bool] = mapped_column(default=False, index=True)


class BankRow(Base):
    """One revision of a craft's prompt bank; the recent ones stay, so that a delta can start from them."""

    __tablename__ = "banks"
    __table_args__ = (UniqueConstraint("craft", "epoch", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    craft: Mapped[str] = mapped_column(index=True)
    epoch: Mapped[str]
    revision: Mapped[int]
    digest: Mapped[str]
    prompts: Mapped[bytes] = mapped_column(LargeBinary)


class BackgroundRow(Base):
    """What a craft's student saw of the background in one recent case."""

    __tablename__ = "background"

    id: Mapped[int] = mapped_column(primary_key=True)
    craft: Mapped[str] = mapped_column(index=True)
    space_id: Mapped[str]
    dim: Mapped[int]
    vectors: Mapped[bytes] = mapped_column(LargeBinary)


class FleetPromptRow(Base):
    """A prompt of scope `fleet`, kept for the crafts that are enrolled later."""

    __tablename__ = "fleet_prompts"

    prompt_id: Mapped[str] = mapped_column(primary_key=True)
    prompt: Mapped[bytes] = mapped_column(LargeBinary)


class RevokedPromptRow(Base):
    """A prompt id that a person took back: the teacher may not issue it again."""

    __tablename__ = "revoked_prompts"

    prompt_id: Mapped[str] = mapped_column(primary_key=True)
    revoked_at_s: Mapped[float]


class ReviewRow(Base):
    """A person's answer, from any process, until the running server has used it."""

    __tablename__ = "reviews"

    id: Mapped[int] = mapped_column(primary_key=True)
    craft: Mapped[str]
    case_id: Mapped[str] = mapped_column(index=True)
    label: Mapped[str]
    boxes_json: Mapped[str]
    scope: Mapped[str]
    reviewer: Mapped[str]
    made_at_s: Mapped[float]
    state: Mapped[str] = mapped_column(default="waiting", index=True)
    reason: Mapped[str] = mapped_column(default="")
    labels_json: Mapped[str] = mapped_column(default="[]", server_default="[]")
    negatives_json: Mapped[str] = mapped_column(default="[]", server_default="[]")
    makes_prompt: Mapped[bool] = mapped_column(default=True, server_default="1")


class RefinementRow(Base):
    """A request for a better picture of a case, and what became of it."""

    __tablename__ = "refinements"

    id: Mapped[int] = mapped_column(primary_key=True)
    craft: Mapped[str] = mapped_column(index=True)
    request_id: Mapped[str] = mapped_column(unique=True)
    case_id: Mapped[str] = mapped_column(index=True)
    request_json: Mapped[str]
    by: Mapped[str]
    made_at_s: Mapped[float]
    state: Mapped[str] = mapped_column(default="queued")
    reason: Mapped[str] = mapped_column(default="")
    is_answered: Mapped[bool] = mapped_column(default=False)
    new_case_id: Mapped[str | None] = mapped_column(default=None)


class TargetRow(Base):
    """A target that a person ordered from a craft, and the craft's last word about it."""

    __tablename__ = "targets"

    id: Mapped[int] = mapped_column(primary_key=True)
    craft: Mapped[str] = mapped_column(index=True)
    target_key: Mapped[str] = mapped_column(unique=True)
    order_json: Mapped[str]
    by: Mapped[str]
    made_at_s: Mapped[float]
    expires_at_s: Mapped[float]
    is_stopping: Mapped[bool] = mapped_column(default=False)
    sent_at_s: Mapped[float | None] = mapped_column(default=None)
    is_answered: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(default="queued")
    reason: Mapped[str] = mapped_column(default="")
    status_json: Mapped[str | None] = mapped_column(default=None)
    heard_at_s: Mapped[float | None] = mapped_column(default=None)


class UserRow(Base):
    """A person who may log in to the console."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(primary_key=True)
    password_hash: Mapped[str]
    role: Mapped[str]
    is_disabled: Mapped[bool] = mapped_column(default=False)
    made_at_s: Mapped[float]


class LoginRow(Base):
    """A browser in which a person is logged in; what the cookie holds is known here by its digest alone."""

    __tablename__ = "logins"

    secret_sha256: Mapped[str] = mapped_column(primary_key=True)
    user: Mapped[str] = mapped_column(index=True)
    csrf: Mapped[str]
    expires_at_s: Mapped[float]


class TokenRow(Base):
    """A program's key to the HTTP API, known by its digest alone."""

    __tablename__ = "tokens"

    name: Mapped[str] = mapped_column(primary_key=True)
    secret_sha256: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    made_at_s: Mapped[float]
    expires_at_s: Mapped[float]
    is_revoked: Mapped[bool] = mapped_column(default=False)
    used_at_s: Mapped[float | None] = mapped_column(default=None)


class EventRow(Base):
    """Who did what, and when."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at_s: Mapped[float]
    who: Mapped[str]
    what: Mapped[str]
    about: Mapped[str] = mapped_column(index=True)
    detail: Mapped[str] = mapped_column(default="")


class DoneRequestRow(Base):
    """A form or API call that was carried out: the same one again has no effect and gets the same answer."""

    __tablename__ = "done_requests"

    key: Mapped[str] = mapped_column(primary_key=True)
    who: Mapped[str] = mapped_column(primary_key=True)
    at_s: Mapped[float] = mapped_column(index=True)
    outcome: Mapped[str]


class RolloutRow(Base):
    """A published bundle that some share of the fleet is to fly."""

    __tablename__ = "rollouts"

    id: Mapped[int] = mapped_column(primary_key=True)
    rollout_id: Mapped[str] = mapped_column(unique=True)
    bundle_id: Mapped[str]
    percent: Mapped[float]
    crafts_json: Mapped[str]
    state: Mapped[str]
    by: Mapped[str]
    made_at_s: Mapped[float]
    changes: Mapped[int]


class CraftBundleRow(Base):
    """How far a rollout has come on one craft."""

    __tablename__ = "craft_bundles"
    __table_args__ = (UniqueConstraint("craft", "rollout_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    craft: Mapped[str] = mapped_column(index=True)
    rollout_id: Mapped[str] = mapped_column(index=True)
    bundle_id: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
    fetched_bytes: Mapped[int] = mapped_column(default=0)
    total_bytes: Mapped[int] = mapped_column(default=0)
    heard_at_s: Mapped[float]


class FlownBundleRow(Base):
    """The published bundle that a craft says it flies; none is one that it was given by hand."""

    __tablename__ = "flown_bundles"

    craft: Mapped[str] = mapped_column(primary_key=True)
    bundle_id: Mapped[str | None] = mapped_column(default=None)
    told_at_s: Mapped[float]
