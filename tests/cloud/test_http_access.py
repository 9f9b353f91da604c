"""Who gets in: log-ins, tokens and proxies, by a small app of our own."""

import concurrent.futures
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Annotated

import pytest
from fastapi import Depends, Form, Request, Response
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from cloud import accounts
from cloud.accounts import Principal, hash_password
from cloud.config import CloudSettings, WebSettings
from cloud.http import create_app
from cloud.http_access import COOKIE, log_in, log_out, requires

PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD)


class Clock:
    """A wall and a monotonic clock that only a test moves."""

    def __init__(self):
        self.now_s = 1000.0

    def wall_s(self):
        return self.now_s

    monotonic_s = wall_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def client_of(backend, clock):
    """A browser before an app with one page to look at and one to change something with."""
    backend.store.add_user("ann", HASH, "analyst", 1.0)

    def make(web=None, **options):
        app = create_app(
            replace(backend, clock=clock, settings=CloudSettings(web=web or WebSettings())),
            CollectorRegistry(),
            lambda: "",
        )

        @app.get("/look")
        def look(who: Annotated[Principal, Depends(requires("viewer"))]):
            return {"name": who.name, "role": who.role, "csrf": who.csrf}

        @app.post("/change")
        def change(who: Annotated[Principal, Depends(requires("analyst"))], what: Annotated[str, Form()] = ""):
            return {"name": who.name, "what": what}

        @app.post("/login")
        def login(request: Request, response: Response, name: Annotated[str, Form()], password: Annotated[str, Form()]):
            log_in(request, response, name, password)

        @app.post("/logout")
        def logout(request: Request, response: Response, _: Annotated[Principal, Depends(requires("viewer"))]):
            log_out(request, response)

        return TestClient(app, **options)

    return make


def logged_in(client):
    answer = client.post("/login", data={"name": "ann", "password": PASSWORD})
    assert answer.status_code == 200
    return client.get("/look").json()["csrf"]


def cookie(secret):
    return {"Cookie": f"{COOKIE}={secret}"}


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def test_stranger_gets_nothing(client_of):
    client = client_of()
    assert client.get("/look").status_code == 401
    assert client.post("/change").status_code == 401
    assert client.get("/look", headers=cookie("guessed")).status_code == 401


def test_login_opens_and_logout_closes(client_of):
    client = client_of()
    csrf = logged_in(client)
    assert client.get("/look").json()["role"] == "analyst"
    secret = client.cookies[COOKIE]
    assert client.post("/logout", headers={"X-CSRF-Token": csrf}).status_code == 200
    assert client.get("/look", headers=cookie(secret)).status_code == 401


def test_cookie_is_kept_from_scripts_and_other_sites_and_the_store_knows_its_digest_alone(client_of, backend):
    client = client_of(base_url="https://testserver")
    answer = client.post("/login", data={"name": "ann", "password": PASSWORD})
    assert {"HttpOnly", "SameSite=strict", "Secure"} <= set(answer.headers["set-cookie"].split("; "))
    held = backend.store._db.fetch("SELECT secret_sha256, csrf FROM logins")[0]
    assert client.cookies[COOKIE] not in held


@pytest.mark.parametrize("given", [("ann", "wrong password"), ("bob", PASSWORD), ("ann", "x" * 5000)])
def test_wrong_name_or_password_is_refused_in_the_same_words(client_of, given):
    answer = client_of().post("/login", data={"name": given[0], "password": given[1]})
    assert answer.status_code == 401
    assert "name or password is wrong" in answer.json()["detail"]


def test_guessing_has_to_wait_and_the_right_word_does_too(client_of, clock):
    client = client_of()
    for _ in range(5):
        assert client.post("/login", data={"name": "ann", "password": "wrong password"}).status_code == 401
    answer = client.post("/login", data={"name": "ann", "password": PASSWORD})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "300")
    clock.now_s += 301
    assert client.post("/login", data={"name": "ann", "password": PASSWORD}).status_code == 200


def test_form_without_the_token_of_its_login_changes_nothing(client_of):
    client = client_of()
    csrf = logged_in(client)
    assert client.post("/change", data={"what": "x"}).status_code == 403
    assert client.post("/change", data={"what": "x", "csrf": "other"}).status_code == 403
    assert client.post("/change", data={"what": "x", "csrf": csrf}).json() == {"name": "ann", "what": "x"}
    assert client.post("/change", headers={"X-CSRF-Token": csrf}).status_code == 200


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_form_of_another_site_changes_nothing_and_cannot_log_in(client_of, headers):
    client = client_of()
    csrf = logged_in(client)
    assert client.post("/change", data={"csrf": csrf}, headers=headers).status_code == 403
    assert client.post("/login", data={"name": "ann", "password": PASSWORD}, headers=headers).status_code == 403


def test_login_ends_with_its_time_with_another_password_and_with_the_user(client_of, clock, backend):
    client = client_of()
    logged_in(client)
    clock.now_s += 12 * 3600 + 1
    assert client.get("/look").status_code == 401
    logged_in(client)
    backend.store.change_user("ann", password_hash=hash_password("another long one"))
    assert client.get("/look").status_code == 401
    backend.store.change_user("ann", password_hash=HASH)
    logged_in(client)
    backend.store.add_user("root", "x", "admin", 1.0)
    backend.store.change_user("ann", is_disabled=True)
    assert client.get("/look").status_code == 401
    assert client.post("/login", data={"name": "ann", "password": PASSWORD}).status_code == 401


def test_login_that_is_used_goes_on_and_a_page_that_reads_itself_again_does_not_count(client_of, clock):
    client = client_of()
    logged_in(client)
    for headers, status in (({}, 200), ({"X-Poll": "1"}, 200), ({}, 401)):
        clock.now_s += 7 * 3600
        assert client.get("/look", headers=headers).status_code == status


def test_token_needs_no_form_and_has_its_own_role(client_of, backend):
    client = client_of()
    reader = backend.store.add_token("dash", "viewer", 900.0, 1000.0)
    writer = backend.store.add_token("robot", "operator", 900.0, 1000.0)
    assert client.get("/look", headers=bearer(reader)).json()["name"] == "token:dash"
    answer = client.post("/change", headers=bearer(reader))
    assert (answer.status_code, "takes analyst" in answer.json()["detail"]) == (403, True)
    assert client.post("/change", headers=bearer(writer)).status_code == 200


def test_token_that_is_revoked_expired_or_made_up_is_refused(client_of, backend, clock):
    client = client_of()
    secrets = {name: backend.store.add_token(name, "viewer", 900.0, 1000.0) for name in ("one", "two")}
    backend.store.revoke_token("one")
    assert client.get("/look", headers=bearer(secrets["one"])).status_code == 401
    assert client.get("/look", headers=bearer(secrets["two"])).status_code == 200
    assert backend.store.tokens()[1].used_at_s == clock.now_s
    clock.now_s = 1901.0
    assert client.get("/look", headers=bearer(secrets["two"])).status_code == 401
    assert client.get("/look", headers=bearer("skl_made-up")).status_code == 401


def test_proxy_is_believed_only_where_it_is_trusted(client_of, backend):
    header = {"X-Forwarded-User": "ann"}
    assert client_of().get("/look", headers=header).status_code == 401
    elsewhere = WebSettings(proxy_user_header="X-Forwarded-User", proxies=("10.9.8.7",))
    assert client_of(elsewhere).get("/look", headers=header).status_code == 401
    trusted = WebSettings(proxy_user_header="X-Forwarded-User", proxies=("testclient",))
    client = client_of(trusted)
    found = client.get("/look", headers=header).json()
    assert (found["name"], found["role"]) == ("ann", "analyst")
    assert client.post("/change", headers=header).status_code == 403
    assert client.post("/change", headers={**header, "X-CSRF-Token": found["csrf"]}).status_code == 200


def test_person_without_an_account_gets_the_role_that_the_proxy_may_give(client_of):
    header = {"X-Forwarded-User": "guest"}
    web = WebSettings(proxy_user_header="X-Forwarded-User", proxies=("testclient",))
    answer = client_of(web).get("/look", headers=header)
    assert (answer.status_code, "users add" in answer.json()["detail"]) == (403, True)
    web = web.model_copy(update={"proxy_role": "viewer"})
    assert client_of(web).get("/look", headers=header).json()["role"] == "viewer"


def test_what_happened_is_in_the_log(client_of, backend):
    client = client_of()
    client.post("/login", data={"name": "ann", "password": "wrong password"})
    logged_in(client)
    assert [(event.who, event.what) for event in backend.store.events()] == [("ann", "login")]


def test_guesses_are_one_event_and_what_is_no_name_is_written_nowhere(client_of, backend, clock):
    client = client_of()
    with capture_logs() as logged:
        for name in ["ann"] * 9 + [PASSWORD] * 9:
            client.post("/login", data={"name": name, "password": "wrong password"})
    (event,) = backend.store.events()
    assert (event.who, event.what, "5 times from testclient" in event.detail) == ("ann", "login failed", True)
    assert len([entry for entry in logged if entry["event"] == "login failed"]) == 10
    assert PASSWORD not in str(logged)


@pytest.mark.parametrize(("proxies", "is_believed"), [(("testclient",), True), (("127.0.0.1",), False)])
def test_proxy_says_whether_the_browser_speaks_tls_and_where_it_is(client_of, proxies, is_believed):
    client = client_of(WebSettings(proxies=proxies))

    def post(password, hops):
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": hops}
        return client.post("/login", data={"name": "ann", "password": password}, headers=headers)

    assert ("Secure" in post(PASSWORD, "10.0.0.1").headers["set-cookie"]) == is_believed
    for number in range(5):
        assert post("wrong password", f"10.9.9.{number}, 10.0.0.1").status_code == 401
    assert post(PASSWORD, "10.0.0.1").status_code == 429
    assert post(PASSWORD, "10.0.0.2").status_code == (200 if is_believed else 429)


def test_guesses_at_once_are_no_more_than_one_after_another(client_of, monkeypatch):
    client, all_in = client_of(), threading.Barrier(4)
    monkeypatch.setattr(accounts, "_fits", lambda *_: bool(all_in.wait(20)) and False)
    post = partial(client.post, "/login", data={"name": "ann", "password": "wrong password"})
    with client, ThreadPoolExecutor(4) as pool:
        first = [pool.submit(post) for _ in range(4)]
        assert [future.result().status_code for future in first] == [401] * 4
        monkeypatch.setattr(accounts, "_fits", lambda *_: time.sleep(0.5))
        second = sorted(future.result().status_code for future in [pool.submit(post) for _ in range(4)])
    assert second == [401, 429, 429, 429]


def test_log_ins_over_those_in_work_are_told_to_come_back_and_healthz_answers(client_of, monkeypatch):
    client, go_on = client_of(), threading.Event()
    monkeypatch.setattr(accounts, "_fits", lambda *_: go_on.wait(20))
    post = partial(client.post, "/login", data={"name": "ann", "password": PASSWORD})
    with client, ThreadPoolExecutor(61) as pool:
        sent = [pool.submit(post) for _ in range(60)]
        try:
            for _ in concurrent.futures.as_completed(sent, timeout=15):
                if sum(future.done() for future in sent) == 56:
                    break
            assert pool.submit(client.get, "/healthz").result(5).json() == {"status": "alive"}
        finally:
            go_on.set()
        answers = [future.result() for future in sent]
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [503] * 56
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 503} == {"1"}
