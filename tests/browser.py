"""A real browser before a real service: Debian's chromium, driven by playwright, which downloads nothing."""

import os
import shutil
import time
from contextlib import contextmanager

import pytest

from cloud.http_access import COOKIE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
_WAIT_MS = float(os.environ.get("SKYLOOP_BROWSER_WAIT_S", "20")) * 1000


@contextmanager
def browsing():
    """A running chromium; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=_OPTIONS)
        yield browser
        browser.close()


class Visit:
    """One person's window, logged in; what its console says is kept."""

    def __init__(self, browser, store, address, name, **options):
        """Open a window; `options` are playwright's, a phone has `is_phone`."""
        is_phone = options.pop("is_phone", False)
        shape = {"viewport": PHONE, "has_touch": True, "is_mobile": True} if is_phone else {"viewport": DESKTOP}
        self.context = browser.new_context(base_url=address, **shape, **options)
        self.store, self.said = store, []
        if name is not None:
            self.context.add_cookies([{"name": COOKIE, "value": _secret(store, name), "url": address}])
        self.page = self.context.new_page()
        self.page.set_default_timeout(_WAIT_MS)
        self.page.on("console", lambda line: self.said.append(line.text) if line.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def case(self, craft, case_id):
        """Open a case's page, its pictures loaded."""
        self.page.goto(f"/review/cases/{craft}/{case_id}")
        self.page.wait_for_function("document.querySelectorAll('#stage image').length > 0")

    def at(self, x, y):
        """Where on the screen a pixel of the full frame is."""
        script = """([x, y]) => { const m = document.getElementById('stage').getScreenCTM();
            return [m.a * x + m.e, m.d * y + m.f]; }"""
        return self.page.evaluate(script, [x, y])

    def drag(self, start, end):
        """Drag with the mouse from a pixel of the frame to another."""
        self.page.locator("#stage").scroll_into_view_if_needed()
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*((a + b) / 2 for a, b in zip(start, end, strict=True))))
        self.page.mouse.move(*self.at(*end))
        self.page.mouse.up()

    def keys(self, *names):
        """Press keys one after the other."""
        for name in names:
            self.page.keyboard.press(name)

    def drawn(self):
        """(label, kind, rounded box) of what would be sent."""
        boxes = self.page.evaluate("JSON.parse(document.getElementById('boxes').value)")
        return [(item["label"], item["kind"], tuple(round(v) for v in item["box"])) for item in boxes]

    def close(self):
        """Close the window."""
        self.context.close()


def _secret(store, name):
    return store.open_login(name, time.time(), 3600.0)
