"""The HTTP API: the store and the running service for programs, as JSON and GeoJSON.

Start at `app.py`; `cases.py`, `reviews.py`, `prompts.py`, `craft.py`, `targets.py`, `bundles.py` and `events.py` are
its parts, `models.py` what they answer and take. `cloud/http_guard.py` stands before all of them, `problems.py`
says what goes wrong, `once.py` and `paging.py` are what changes and lists are made with.
"""

from cloud.api.app import BASE, add_api

__all__ = ["BASE", "add_api"]
