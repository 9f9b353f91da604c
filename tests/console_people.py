"""People before the review console, by its forms."""

import html
import json
import re
import secrets

from cloud.http_access import COOKIE

PASSWORD = "correct horse battery"
ROLES = {"vic": "viewer", "ann": "analyst", "olga": "operator"}


class Person:
    """Somebody logged in with a browser."""

    def __init__(self, client, name):
        self.client = client
        backend = client.app.state.backend
        client.cookies.set(COOKIE, backend.store.open_login(name, backend.clock.wall_s(), 3600.0))
        self.csrf = re.search(r'name="csrf" value="([^"]+)"', self.get("/review/log").text)[1]

    def get(self, path, **headers):
        return self.client.get(path, headers=headers)

    def post(self, path, nonce=None, **fields):
        """A form as htmx sends it, with a fresh number unless one is given."""
        data = {"csrf": self.csrf, "nonce": nonce or secrets.token_urlsafe(16), **fields}
        return self.client.post(path, data=data, headers={"HX-Request": "true"})

    def review(self, case, *boxes, craft="uav", **fields):
        """Answer a case; boxes are (label, x1, y1, x2, y2[, kind])."""
        drawn = [{"label": b[0], "box": b[1:5], "kind": b[5] if len(b) > 5 else "thing"} for b in boxes]
        page = self.get(f"/review/cases/{craft}/{case.case_id}").text
        found = {name: re.search(rf'name="{name}"[^>]*value="([^"]*)"', page)[1] for name in ("seen", "labels_digest")}
        given = {"boxes": json.dumps(drawn), **found, **fields}
        return self.post(f"/review/cases/{craft}/{case.case_id}/review", **given)


def words(answer):
    """What a person reads of an answer."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())
