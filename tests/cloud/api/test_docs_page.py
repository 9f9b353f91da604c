"""The page about the API in a real browser: it loads nothing from elsewhere, and calls work from it."""

import asyncio
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from api_parts import client_for, service_of

from cloud.config import CloudSettings
from cloud.http import HttpServer, listen

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@contextmanager
def served(app):
    """The address of an app behind a real socket."""
    with listen("127.0.0.1:0") as http_socket:
        server = HttpServer(app, CloudSettings().web)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[http_socket])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{http_socket.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; apt-get install chromium")
def test_calls_are_made_from_the_page_without_errors(store, add):
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    case, service, said, asked = add(), service_of(store), [], []
    token = client_for(service, "viewer").headers["Authorization"].removeprefix("Bearer ")
    with served(service.app) as address, playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS.split())
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/api/v1/docs")
        page.click("button.authorize")
        page.fill("input[aria-label=auth-bearer-value]", token)
        page.click(".auth-btn-wrapper button.authorize")
        page.click("button.btn-done")
        page.click("#operations-cases-list_cases_cases_get .opblock-summary-control")
        page.click("text=Try it out")
        page.click("button.execute")
        answered = page.inner_text(".live-responses-table tbody")
        browser.close()
    assert case.case_id in answered
    assert said == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
