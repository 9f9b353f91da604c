"""Who gets in, and what is refused before it is read."""

import json
import socket
import threading
import time

import pytest
from api_parts import client_for, served, service_of
from fastapi.testclient import TestClient
from gateway_peers import until
from structlog.testing import capture_logs

from cloud import http_guard

_BODIES = {"reviews": {"boxes": []}, "targets": {"label": "x"}, "rollouts": {"bundle_id": "x"}}


def operations(client):
    paths = client.get("/openapi.json").json()["paths"]
    fill = {
        "case_id": "0" * 32,
        "craft": "uav",
        "key": "abcdef",
        "prompt_id": "p",
        "review_id": "1",
        "rollout_id": "0" * 12,
    }
    return [(method.upper(), path.format(**fill)) for path, methods in paths.items() for method in methods]


def test_nobody_gets_in_without_a_token(client_of):
    client = client_of(None)
    for method, path in operations(client):
        answer = client.request(
            method, path, json=_BODIES.get(path.rpartition("/")[2], {}) if method in ("POST", "PATCH") else None
        )
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        assert answer.headers["content-type"] == "application/problem+json"


def test_viewer_changes_nothing(viewer):
    for method, path in operations(viewer):
        if method != "GET":
            answer = viewer.request(method, path, json=_BODIES.get(path.rpartition("/")[2], {}))
            assert (answer.status_code, "is viewer, this takes" in answer.json()["detail"]) == (403, True), path


@pytest.mark.parametrize("header", ["Bearer", "Bearer x y", "Basic eDp5", "Bearer skl_" + "x" * 43, "bearer \xff"])
def test_token_that_is_none_is_refused(client_of, header):
    answer = client_of(None).get("/cases", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401


def test_revoked_and_expired_tokens_are_refused_at_once(service, store):
    client = client_for(service, "viewer")
    assert client.get("/cases").status_code == 200
    store.revoke_token("viewer-0")
    answer = client.get("/cases")
    assert (answer.status_code, "revoked or expired" in answer.json()["detail"]) == (401, True)
    old = store.add_token("old", "viewer", time.time() - 100, 50)
    assert client.get("/cases", headers={"Authorization": f"Bearer {old}"}).status_code == 401


def test_browser_of_another_site_cannot_speak_with_a_cookie(service, store, client_of):
    store.add_user("ann", "hash", "operator", 1.0)
    cookie = {"Cookie": f"skyloop_login={store.open_login('ann', time.time(), 3600)}"}
    client = client_of(None)
    assert client.get("/cases", headers=cookie).status_code == 200
    assert client.delete("/prompts/p", headers=cookie).status_code == 403
    foreign = cookie | {"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": "x"}
    assert client.delete("/prompts/p", headers=foreign).status_code == 403


def test_misspelt_parameter_is_refused(viewer):
    answer = viewer.get("/interpretations", params={"carft": "uav"})
    assert (answer.status_code, "'carft' is no parameter" in answer.json()["detail"]) == (422, True)
    assert "by, craft, cursor, limit" in answer.json()["detail"]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"boxes":' * 20_000,
        b'{"boxes": [], "boxes": [], "seen": 1e400}',
        b'{"seen": ' + b"9" * 5000 + b"}",
        b'{"boxes": "' + b"\\ud800" * 100 + b'"}',
    ],
    ids=["cut", "not utf-8", "deep list", "deep object", "infinite", "long number", "lone surrogates"],
)
def test_hostile_json_is_refused(analyst, add, content):
    answer = analyst.post(
        f"/cases/{add().case_id}/reviews", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_large_body_is_refused_before_it_is_read(analyst, add):
    answer = analyst.post(f"/cases/{add().case_id}/reviews", content=b" " * (http_guard.MAX_BODY_BYTES + 1))
    assert (answer.status_code, f"over {http_guard.MAX_BODY_BYTES} bytes" in answer.json()["detail"]) == (413, True)


def test_body_that_grows_without_saying_so_is_cut_off(analyst, add):
    def endless():
        for _ in range(100):
            yield b" " * 10_000

    assert analyst.post(f"/cases/{add().case_id}/reviews", content=endless()).status_code == 413


def test_errors_hold_no_control_characters_of_the_request(analyst, add):
    body = json.dumps({"boxes": [{"label": "\x1b[31m\x00", "box_xyxy": [1, 2, 3, 4]}], "\x1b\n": 1})
    answer = analyst.post(f"/cases/{add().case_id}/reviews", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.text.isprintable()


def test_unforeseen_error_is_a_problem_without_its_insides(service, store, monkeypatch):
    headers = client_for(service, "viewer").headers
    client = TestClient(
        service.app, base_url="http://testserver/api/v1", headers=dict(headers), raise_server_exceptions=False
    )
    monkeypatch.setattr(store, "case_page", lambda *_: 1 / 0)
    with capture_logs() as logged:
        answer = client.get("/cases")
    assert isinstance(logged[0]["exc_info"], ZeroDivisionError)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "division" not in answer.text


def test_page_of_the_description_loads_nothing_from_elsewhere(client_of):
    client = client_of(None)
    page = client.get("/docs")
    assert page.status_code == 200
    assert "http" not in page.text.replace("<!doctype html>", "")
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "docs.js", "swagger-ui.LICENSE"):
        assert client.get(f"/static/{name}").status_code == 200


def test_real_server_drops_who_drips_and_serves_others_meanwhile(store, monkeypatch):
    """Over real sockets: bodies that never end, more of them than are read at once, and lists all the while."""
    monkeypatch.setattr(http_guard, "BODY_S", 1.5)
    monkeypatch.setattr(http_guard, "MAX_READING", 4)
    monkeypatch.setattr(http_guard, "MAX_AT_ONCE", 1)
    service = service_of(store)
    analyst = client_for(service, "analyst")
    assert analyst.get("/cases").status_code == 200  # what stands before the API is put together with its first request
    token = analyst.headers["Authorization"]
    head = f"POST /api/v1/cases/{'0' * 32}/reviews HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    listing = f"GET /api/v1/cases HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
    answers = []

    def ask(port, request):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
            peer.sendall(request.encode())
            answers.append(peer.recv(4096).split()[1])

    def attack(port):
        drips = [threading.Thread(target=ask, args=(port, head)) for _ in range(7)]
        for thread in drips[:3]:
            thread.start()
        until(lambda: guarded(service.app)._reading == 3)
        ask(port, listing)
        for thread in drips[3:]:
            thread.start()
        for thread in drips:
            thread.join()

    with served(service.app) as address:
        attack(int(address.rpartition(":")[2]))
    assert answers[0] == b"200"
    assert sorted(answers[1:]) == [b"408"] * 4 + [b"503"] * 3


def test_requests_over_those_in_work_are_told_to_come_back(client_of, store, monkeypatch):
    monkeypatch.setattr(http_guard, "MAX_AT_ONCE", 0)
    monkeypatch.setattr(http_guard, "WAIT_S", 0.1)
    answer = client_of("viewer").get("/cases")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def guarded(app):
    """The guard of the API below an app."""
    (api,) = [route.app for route in app.routes if getattr(route, "path", "") == "/api/v1"]
    layer = api.middleware_stack
    while not isinstance(layer, http_guard.Guard):
        layer = layer.app if hasattr(layer, "app") else layer._app
    return layer
