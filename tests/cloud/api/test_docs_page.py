"""The page about the API in a real browser: it loads nothing from elsewhere, and calls work from it."""

from pathlib import Path

import pytest
from api_parts import client_for, served, service_of

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


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
