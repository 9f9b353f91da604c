import json
import socket
import sqlite3
import sys

import numpy as np
import pytest
from bundle_fleet import Signing
from gateway_peers import answer_to, big_case

from cloud import cli, signing_keys
from cloud.config import CloudSettings
from cloud.data_lock import is_served, serving
from cloud.doctor import examine
from cloud.errors import StoreError
from cloud.store import CaseStore
from edge.doctor_link import ask_cloud
from edge.keys import new_keys
from edge.session import HelloProfile

PICTURE = np.full((64, 64, 3), 90, np.uint8)
PROFILE = HelloProfile("0123456789abcdef", "fp32")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture
def settings(tmp_path, tiny_bundle):
    """Of a server with keys, a store, and a small teacher."""
    new_keys(tmp_path / "data" / "keys", "cloud")
    (tmp_path / "data").chmod(0o750)
    CaseStore(tmp_path / "data").close()
    bind, http = f"tcp://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    return CloudSettings(bind=bind, http=http, data=tmp_path / "data", teacher=str(tiny_bundle.folder))


def checked(settings):
    return {check.name: check for check in examine(settings, PICTURE)}


def test_everything_that_a_server_needs_is_looked_at(settings):
    found = checked(settings)
    assert [name for name, check in found.items() if check.state == "problem"] == []
    assert {"keys", "data", "disk", "database", "crafts' port", "web port", "clock"} <= set(found)
    assert found["teacher"].found.startswith("tiny/fp32: Red; ")
    assert "sound, schema" in found["database"].found
    assert found["crafts"].state == found["people"].state == "warning"  # nobody is enrolled, nobody may log in


def test_enrolled_crafts_and_admins_are_counted(settings):
    store = CaseStore(settings.data)
    store.enroll("uav1", "c" * 40)
    store.add_user("ann", "hash", "admin", 1.0)
    store.close()
    found = checked(settings)
    assert (found["crafts"].found, found["crafts"].state) == ("1 enrolled", "ok")
    assert found["people"].state == "ok"


@pytest.mark.parametrize(("days", "state", "cure"), [(30, "ok", ""), (6, "warning", "bundles refresh")])
def test_signatures_that_end_soon_are_a_warning(settings, tmp_path, tiny_bundle, days, state, cure):
    assert "bundles" not in checked(settings)
    signing = Signing(settings.data, tmp_path / "signing")
    signing.publish(tiny_bundle.folder)
    signing.registry.refresh(signing.signers, days=days)
    bundles = checked(settings)["bundles"]
    assert (bundles.state, f"counts for {days} more days" in bundles.found) == (state, True)
    assert cure in bundles.cure


def test_list_of_bundles_that_ends_first_is_signed_by_publishing(settings, tmp_path, tiny_bundle, monkeypatch):
    signing = Signing(settings.data, tmp_path / "signing")
    monkeypatch.setitem(signing_keys.LIFE_DAYS, "targets", 5)
    signing.publish(tiny_bundle.folder)
    bundles = checked(settings)["bundles"]
    assert (bundles.state, "targets counts for 5 more days" in bundles.found) == ("warning", True)
    assert "publish a bundle" in bundles.cure


def test_looking_makes_no_lock_where_no_server_ever_ran(settings):
    before = sorted(settings.data.iterdir())
    checked(settings)
    assert sorted(path for path in settings.data.iterdir() if path.suffix == ".lock") == []
    assert set(before) <= set(settings.data.iterdir())


def test_looking_needs_no_right_to_write_the_lock(settings):
    with serving(settings.data):
        (settings.data / "server.lock").chmod(0o440)
        assert is_served(settings.data)
    assert not is_served(settings.data)


def test_check_that_fails_loses_no_others(settings, monkeypatch):
    def broken(self):
        raise StoreError("disk I/O error; restore a backup")

    monkeypatch.setattr(CaseStore, "crafts", broken)
    found = checked(settings)
    assert (found["people"].state, found["people"].cure) == ("problem", "restore a backup")
    assert found["teacher"].state == found["web port"].state == "ok"


@pytest.mark.parametrize("which", ["bind", "http"])
def test_port_in_use_is_a_problem_unless_by_the_server_of_this_folder(settings, which):
    address = getattr(settings, which)
    name = {"bind": "crafts' port", "http": "web port"}[which]
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        assert checked(settings)[name].state == "problem"
        with serving(settings.data):
            assert checked(settings)[name].state == "ok"


def test_cli_looks_at_the_ports_that_serve_will_be_told(settings, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = ["--data", str(settings.data), "--bind", settings.bind, "--http", address, "--json"]
        monkeypatch.setattr(sys, "argv", ["skyloop-cloud", "doctor", *options])
        with pytest.raises(SystemExit):
            cli.main()
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert (found["crafts' port"]["state"], found["web port"]["state"]) == ("ok", "problem")


def test_address_that_is_none_is_a_problem(settings):
    found = checked(settings.model_copy(update={"http": "nowhere", "bind": "smoke-signals"}))
    assert (found["web port"].state, found["crafts' port"].state) == ("problem", "problem")


def test_damaged_database_is_a_problem_and_stays_as_it_is(settings):
    path = settings.data / "skyloop.sqlite"
    path.write_bytes(b"this was a database once" * 100)
    check = checked(settings)["database"]
    assert (check.state, check.cure) == ("problem", "restore a backup")
    assert path.read_bytes().startswith(b"this was a database once")


def test_database_of_newer_software_is_a_problem(settings):
    path = settings.data / "skyloop.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    check = checked(settings)["database"]
    assert check.state == "problem"
    assert "schema 9999" in check.found


def test_imagery_that_everybody_may_read_is_a_warning(settings):
    settings.data.chmod(0o755)
    check = checked(settings)["data"]
    assert (check.state, check.cure) == ("warning", f"run `chmod o-rwx {settings.data}`")


def test_teacher_that_does_not_open_is_a_problem(settings):
    assert checked(settings.model_copy(update={"teacher": "nobody"}))["teacher"].state == "problem"


def test_cli_prints_json_and_exits_1_on_a_problem(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["skyloop-cloud", "doctor", "--data", str(tmp_path / "none"), "--json"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["keys"]["state"] == "problem"
    assert checks["database"]["state"] == "ok"
    assert not (tmp_path / "none").exists()


def test_enrolled_craft_is_let_in_and_learns_the_clouds_time(cloud, keys_of):
    answered = ask_cloud((cloud.endpoint,), (keys_of("doctor"), cloud.keys.public), PROFILE)
    (check,) = answered.checks
    assert check.state == "ok", check.line()
    assert abs(answered.clock_offset_s) < 5


def test_asking_changes_nothing_of_what_the_cloud_knows_of_a_craft(cloud, keys_of):
    keys = keys_of("doctor")
    cloud.store.set_craft_profile("doctor", "its own space", "u8s8", ["Car"])
    cloud.store.note_flown("doctor", "its own bundle", 1.0)
    cloud.store.add_interpretation("doctor", answer_to(big_case()))
    (check,) = ask_cloud((cloud.endpoint,), (keys, cloud.keys.public), PROFILE).checks
    assert check.state == "ok", check.line()
    craft = cloud.store.craft("doctor")
    assert (craft.space_id, craft.variant, craft.labels) == ("its own space", "u8s8", ("Car",))
    assert cloud.store.flown_bundles()["doctor"] == "its own bundle"
    sent = {kind for direction, kind in cloud.gateway.stats.messages if direction == "cloud_to_edge"}
    assert sent == {"Welcome"}


def test_stranger_is_told_to_enrol(cloud, keys_of, monkeypatch):
    monkeypatch.setattr("edge.doctor_link._PATIENCE_S", 3.0)
    (check,) = ask_cloud((cloud.endpoint,), (keys_of("stranger", enrolled=False), cloud.keys.public), PROFILE).checks
    assert check.state == "problem"
    assert "skyloop-cloud enroll" in check.cure


def test_wrong_pinned_server_key_is_a_problem(cloud, keys_of, tmp_path, monkeypatch):
    monkeypatch.setattr("edge.doctor_link._PATIENCE_S", 1.5)
    other = new_keys(tmp_path / "other", "cloud")
    (check,) = ask_cloud((cloud.endpoint,), (keys_of("doctor"), other.public), PROFILE).checks
    assert check.state == "problem"
