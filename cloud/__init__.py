"""What hosts: the gateway, the teachers, prompt building with the twin, the case store.

Reading order: `service.py` (the program), `gateway.py` (crafts talk to it), `store.py` (what is kept), `news.py`
(which crafts there is something new for), `engine.py` (cases to answers), `refining.py` (better pictures),
`prompting.py` (answers to prompts), `prompt_desk.py` and `banks.py` (prompts to crafts), `teachers/`, `cli.py`. The
service itself is not imported here, so that every command line starts without a web server.
"""

from __future__ import annotations

from cloud.config import CloudSettings, PromptSettings
from cloud.errors import CloudError, PromptRefused, RequestError, StoreError, TeacherError
from cloud.store import CaseStore, Craft, Review, StoredCase
from cloud.teachers import Teacher, TeacherAnswer, open_teacher

__all__ = [
    "CaseStore",
    "CloudError",
    "CloudSettings",
    "Craft",
    "PromptRefused",
    "PromptSettings",
    "RequestError",
    "Review",
    "StoreError",
    "StoredCase",
    "Teacher",
    "TeacherAnswer",
    "TeacherError",
    "open_teacher",
]
