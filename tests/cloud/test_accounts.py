"""People, tokens and the log, in the store and on the command line."""

import json

import pytest
from typer.testing import CliRunner

from cloud.accounts import hash_password
from cloud.cli import app
from cloud.errors import RequestError
from cloud.options import opened_store
from edge.keys import new_keys


@pytest.fixture
def run(tmp_path):
    def command(*words, typed=""):
        return CliRunner().invoke(app, [*words, "--data", str(tmp_path / "data")], input=typed)

    return command


def test_first_admin_is_made_by_a_command_in_a_new_data_folder(run):
    done = run("users", "add", "root", "--role", "admin", typed="a long password\na long password\n")
    assert (done.exit_code, "root may log in as admin" in done.stdout) == (0, True)
    assert json.loads(run("users", "list", "--json").stdout)[0]["role"] == "admin"
    assert "a long password" not in run("users", "list").stdout


@pytest.mark.parametrize(
    ("words", "typed", "told"),
    [
        (("users", "add", "bob", "--password-stdin"), "short\n", "a password of 5 characters"),
        (("users", "add", "bob", "--role", "king", "--password-stdin"), "long enough now\n", "role 'king' is not one"),
        (("users", "add", "<b>bob", "--password-stdin"), "long enough now\n", "user name '<b>bob' is not"),
        (("users", "add", "root", "--password-stdin"), "long enough now\n", "user 'root' is there already"),
        (("users", "role", "bob", "viewer"), "", "no user 'bob'"),
        (("users", "disable", "root"), "", "'root' is the last admin"),
        (("tokens", "revoke", "dash"), "", "no token 'dash'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(run, words, typed, told):
    run("users", "add", "root", "--role", "admin", "--password-stdin", typed="long enough now\n")
    done = run(*words, typed=typed)
    assert isinstance(done.exception, RequestError)
    assert told in str(done.exception)


def test_token_is_shown_once_and_listed_without_its_secret(run):
    secret = run("tokens", "new", "dash", "--days", "1").stdout.strip()
    assert secret.startswith("skl_")
    listed = run("tokens", "list", "--json").stdout
    assert (json.loads(listed)[0]["name"], secret in listed) == ("dash", False)
    assert run("tokens", "revoke", "dash").exit_code == 0
    assert json.loads(run("tokens", "list", "--json").stdout)[0]["is_revoked"]


def test_hash_is_argon2id_and_never_the_same_twice():
    first, second = hash_password("the same password"), hash_password("the same password")
    assert first.startswith("$argon2id$")
    assert first != second


def test_events_come_newest_first_in_pages_and_by_subject(open_store):
    for number in range(5):
        open_store.note_event("ann", "review", f"case{number % 2}", str(number))
    page = open_store.events(limit=2)
    assert [event.detail for event in page] == ["4", "3"]
    assert [event.detail for event in open_store.events(limit=9, before=page[-1].event_id)] == ["2", "1", "0"]
    assert [event.detail for event in open_store.events(about="case1")] == ["3", "1"]


def test_request_is_carried_out_once(open_store):
    assert open_store.begin_request("key", "ann", 1.0) is None
    assert "its end is not known" in open_store.begin_request("key", "ann", 2.0)
    open_store.finish_request("key", "ann", "review 7")
    assert open_store.begin_request("key", "ann", 3.0) == "review 7"
    assert open_store.begin_request("key", "bob", 3.0) is None
    open_store.forget_request("key", "bob")
    assert open_store.begin_request("key", "bob", 4.0) is None
    with pytest.raises(RequestError, match="65 characters"):
        open_store.begin_request("k" * 65, "ann", 4.0)


def test_who_lets_a_craft_in_or_out_is_in_the_log(run, tmp_path):
    key = new_keys(tmp_path / "keys", "edge").public.decode()
    run("enroll", key, "--name", "uav1")
    run("revoke", "uav1")
    with opened_store(tmp_path / "data") as store:
        assert [(event.what, event.about) for event in store.events()] == [
            ("craft revoked", "uav1"),
            ("craft enrolled", "uav1"),
        ]
