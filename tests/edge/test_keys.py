import stat

import pytest

from edge.errors import KeyFileError
from edge.keys import KeyPair, load_keys, load_server_key, new_keys, read_public_key, trust_server


def test_new_keys_load_again_and_only_the_secret_is_private(tmp_path):
    pair = new_keys(tmp_path, "edge")
    assert load_keys(tmp_path, "edge") == pair
    assert (tmp_path / "edge.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "edge.pub").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "edge.pub").read_text().strip() == pair.public.decode()


def test_new_keys_never_overwrite(tmp_path):
    pair = new_keys(tmp_path, "edge")
    with pytest.raises(KeyFileError, match=r"edge\.pub exists"):
        new_keys(tmp_path, "edge")
    assert load_keys(tmp_path, "edge") == pair


def test_secret_readable_by_others_is_refused_with_the_cure(tmp_path):
    new_keys(tmp_path, "edge")
    (tmp_path / "edge.key").chmod(0o640)
    with pytest.raises(KeyFileError, match=r"mode 0640.*chmod 600 .*edge\.key"):
        load_keys(tmp_path, "edge")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("a" * 39, id="short"),
        pytest.param("a" * 41, id="long"),
        pytest.param("ü" * 40, id="not-z85"),
        pytest.param(" " * 40, id="blank"),
    ],
)
def test_damaged_public_key_is_refused(tmp_path, content):
    new_keys(tmp_path, "edge")
    (tmp_path / "edge.pub").write_text(content)
    with pytest.raises(KeyFileError, match="is not a key"):
        load_keys(tmp_path, "edge")


def test_public_key_of_another_pair_is_refused(tmp_path):
    new_keys(tmp_path, "edge")
    (tmp_path / "edge.pub").write_bytes(new_keys(tmp_path / "other", "edge").public)
    with pytest.raises(KeyFileError, match="does not belong"):
        load_keys(tmp_path, "edge")


def test_missing_keys_name_the_command(tmp_path):
    for program in ("edge", "cloud"):
        with pytest.raises(KeyFileError, match=f"skyloop-{program} keys new --out {tmp_path}"):
            load_keys(tmp_path, program)
    with pytest.raises(KeyFileError, match="skyloop-edge trust"):
        load_server_key(tmp_path)
    with pytest.raises(KeyFileError, match=r"give a \.pub file"):
        trust_server(tmp_path / "uav.pub", tmp_path)


def test_secret_stays_out_of_repr():
    assert "hidden" not in repr(KeyPair(b"shown", b"hidden"))


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "file"])
def test_trusted_server_key_is_pinned(tmp_path, as_text):
    cloud = new_keys(tmp_path / "cloud", "cloud")
    given = cloud.public.decode() if as_text else tmp_path / "cloud" / "cloud.pub"
    trust_server(given, tmp_path / "edge")
    assert load_server_key(tmp_path / "edge") == cloud.public


def test_pin_is_not_replaced_by_another_server(tmp_path):
    first, second = (new_keys(tmp_path / name, "cloud").public for name in ("a", "b"))
    trust_server(first.decode(), tmp_path)
    trust_server(first.decode(), tmp_path)
    with pytest.raises(KeyFileError, match="pins another server"):
        trust_server(second.decode(), tmp_path)
    assert load_server_key(tmp_path) == first


def test_secret_key_is_not_taken_for_a_public_one(tmp_path):
    new_keys(tmp_path / "keys", "edge")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    with pytest.raises(KeyFileError, match=r"edge\.key is a secret key, which stays where it is; give .*edge\.pub"):
        read_public_key(tmp_path / "keys" / "edge.key")
