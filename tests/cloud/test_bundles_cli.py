"""`skyloop-cloud bundles`, from keys to rollback, in this process."""

import json

import pytest
from bundle_fleet import sibling
from typer.testing import CliRunner

from cloud.cli import app
from cloud.errors import RequestError
from cloud.store import CaseStore
from edge.trust import pin_root


@pytest.fixture
def run(tmp_path):
    def work(*arguments, data=True):
        where = ["--data", str(tmp_path / "data")] if data else []
        result = CliRunner().invoke(app, ["bundles", *map(str, arguments), *where], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return work


@pytest.fixture
def data(tmp_path):
    store = CaseStore(tmp_path / "data")
    store.enroll("uav1", "c" * 40)
    yield store
    store.close()


def test_the_whole_way_of_a_bundle(run, data, tmp_path, tiny_bundle):
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    keys = ("--keys", tmp_path / "keys", "--passphrase-file", secret)
    said = run("keys", "--out", tmp_path / "keys", "--passphrase-file", secret, data=False)
    assert "trust-updates root.json" in said
    assert pin_root(tmp_path / "keys" / "root.json", tmp_path / "edge") == 1
    bundle = json.loads(run("publish", tiny_bundle.folder, *keys, "--note", "first", "--json"))
    run("publish", sibling(tiny_bundle.folder, tmp_path / "new"), *keys)
    assert [known["bundle_id"] for known in json.loads(run("list", "--json"))] == ["tiny-2", "tiny-1"]
    assert "tiny-2" in run("list")
    rollout = json.loads(run("rollout", bundle["bundle_id"], "--percent", 50, "--json"))
    assert f"{rollout['rollout_id']}: tiny-1, 80 % of the fleet, active" in run(
        "rollout", rollout["rollout_id"], "--percent", 80
    )
    assert "stopped" in run("rollback", rollout["rollout_id"], "--stop")
    assert "rolled_back" in run("rollback", rollout["rollout_id"][:6])
    found = json.loads(run("status", "--json"))
    assert found["crafts"] == [{"craft": "uav1", "flies": None, "newest": None}]
    assert "uav1" in run("status")
    assert "counts until" in run("refresh", *keys, "--days", 20)
    assert "is withdrawn" in run("withdraw", "tiny-2", *keys)
    run(
        "keys",
        "--out",
        tmp_path / "keys-2",
        "--root",
        "1:1",
        "--targets",
        "1:1",
        "--passphrase-file",
        secret,
        data=False,
    )
    assert "root version 2" in run("rotate", *keys, "--new-keys", tmp_path / "keys-2")
    done = [event.what for event in data.events()]
    assert done[:3] == ["signing keys rotated", "bundle withdrawn", "bundles refreshed"]
    assert done.count("bundle published") == 2


def test_release_that_a_craft_says_it_flies_is_not_given_again(run, data, tmp_path, tiny_bundle):
    run("keys", "--out", tmp_path / "keys", data=False)
    data.note_flown("uav1", "tiny-7", 1.0)
    bundle = json.loads(run("publish", tiny_bundle.folder, "--keys", tmp_path / "keys", "--json"))
    assert bundle["bundle_id"] == "tiny-8"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("keys", "--out", "k", "--root", "three"), "give KEYS:THRESHOLD"),
        (("keys", "--out", "k", "--passphrase-file", "none"), "cannot be read"),
        (("publish", "nothing", "--keys", "k", "--data", "d"), "holds no keys"),
        (("rollout", "tiny-1", "--data", "d"), "no bundle 'tiny-1' is published"),
        (("rollback", "abc", "--data", "d"), "no rollout 'abc'"),
        (("status", "--data", "none"), "no case store there"),
    ],
)
def test_mistakes_are_said_in_one_line(tmp_path, monkeypatch, data, arguments, match):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").symlink_to(tmp_path / "data")
    with pytest.raises(RequestError, match=match):
        CliRunner().invoke(app, ["bundles", *arguments], catch_exceptions=False)


def test_empty_passphrase_is_refused(tmp_path, monkeypatch):
    (tmp_path / "empty").write_text("")
    with pytest.raises(RequestError, match="passphrase is empty"):
        CliRunner().invoke(
            app,
            ["bundles", "keys", "--out", str(tmp_path / "k"), "--passphrase-file", str(tmp_path / "empty")],
            catch_exceptions=False,
        )
    assert not (tmp_path / "k").exists()
