"""The review console: pages for the people beside the machines.

Start at `app.py`, which says what there is; `queue_page.py`, `case_page.py` and `answering.py` are an analyst's way
from a case to a prompt, `fleet_pages.py` and `target_page.py` an operator's. `rendering.py` and `forms.py` are what all
pages are made with, `static/` holds what the browser runs, `templates/` what it shows.
"""

from cloud.review.app import add_console

__all__ = ["add_console"]
