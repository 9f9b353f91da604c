"""Prompts in force, and taking them back."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Depends, Path, Request

from cloud import banks
from cloud.api.models import OfCraft, PromptOut, RevokedOut
from cloud.api.once import Call, calls
from cloud.api.paging import Cursor, Limit, Page, page_of
from cloud.api.problems import documented
from cloud.errors import NotThere
from cloud.http_access import backend_of, requires
from cloud.store import CaseStore
from protocols.values import Prompt

router = APIRouter(tags=["prompts"])
_viewer = Depends(requires("viewer"))

PromptId: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="A prompt's id.")]


@router.get("/prompts", dependencies=[_viewer], responses=documented(404))
def list_prompts(request: Request, craft: OfCraft = None, limit: Limit = 50, cursor: Cursor = None) -> Page[PromptOut]:
    """Prompts in force, by id, so that one which is issued anew keeps its place; at most 64 for each craft."""
    listed = _listed(backend_of(request).store, craft)
    return page_of(listed, lambda prompt: (prompt.prompt_id,), limit, cursor, "prompts", craft)


@router.get("/prompts/{prompt_id}", dependencies=[_viewer], responses=documented(404))
def one_prompt(request: Request, prompt_id: PromptId) -> PromptOut:
    """One prompt in force."""
    for prompt in _listed(backend_of(request).store, None):
        if prompt.prompt_id == prompt_id:
            return prompt
    raise NotThere(f"no bank holds a prompt {prompt_id!r}; see /api/v1/prompts")


@router.delete("/prompts/{prompt_id}", responses=documented(404))
def revoke_prompt(call: Annotated[Call, Depends(calls("operator"))], prompt_id: PromptId) -> RevokedOut:
    """Take a prompt back from every craft; the teacher may not issue it again."""

    def work() -> RevokedOut:
        holders = banks.withdraw(call.backend.store, prompt_id)
        call.backend.wake()
        call.note("prompt revoked", prompt_id, f"from {', '.join(holders) or 'no craft'}"[:1000])
        return RevokedOut(prompt_id=prompt_id, craft=holders)

    return call.once(RevokedOut, None, work)


def _listed(store: CaseStore, craft: str | None) -> list[PromptOut]:
    """Each prompt once, with who holds it; where copies differ, the newest speaks."""
    names = [store.craft(craft).name] if craft else sorted(store.bank_revisions())
    found: dict[str, tuple[Prompt, list[str]]] = {}
    for name in names:
        for prompt in store.bank(name).prompts:
            held, holders = found.get(prompt.prompt_id, (prompt, []))
            newest = max(held, prompt, key=lambda p: p.issued_at_s)
            found[prompt.prompt_id] = (newest, [*holders, name])
    return [PromptOut.of(prompt, holders) for prompt, holders in found.values()]
