"""Only what is newest, unexpired and rightly signed is believed, by whoever was pinned; and it is remembered."""

import json
import time

import pytest
from bundle_fleet import Signing, sibling
from tuf.api.metadata import Metadata, Targets

from cloud.signing_keys import KeyPlan, Signers, make_signing_keys
from edge.errors import KeyFileError, UpdateError
from edge.signed_metadata import SignedMetadata
from edge.trust import PINNED_NAME, TRUSTED_NAME, TrustStore, pin_root, read_pinned, root_in_force

DAY_S = 86400.0


@pytest.fixture(scope="module")
def published(tmp_path_factory, tiny_bundle):
    folder = tmp_path_factory.mktemp("published")
    signing = Signing(folder / "data", folder / "signing", KeyPlan((2, 2), (2, 2)))
    signing.publish(tiny_bundle.folder)
    return signing


@pytest.fixture(scope="module")
def stranger(tmp_path_factory, tiny_bundle):
    folder = tmp_path_factory.mktemp("stranger")
    signing = Signing(folder / "data", folder / "signing")
    signing.publish(tiny_bundle.folder)
    return signing


@pytest.fixture
def signing(tmp_path, published):
    return published.copied(tmp_path / "data", tmp_path / "signing")


@pytest.fixture
def trust(tmp_path, signing):
    pin_root(signing.root, tmp_path / "edge")
    return TrustStore(tmp_path / "trust", read_pinned(tmp_path / "edge"))


def packed(signing):
    return signing.registry.signed().pack()


def test_published_bundle_is_admitted_with_what_was_signed(trust, signing):
    (published,) = signing.registry.bundles()
    signed = trust.admit(packed(signing), "tiny-1")
    assert (signed.bundle_id, signed.release) == ("tiny-1", 1)
    assert (signed.archive_bytes, signed.archive_sha256) == (published.archive_bytes, published.archive_sha256)
    assert trust.admit(packed(signing), "tiny-1") == signed


def test_root_in_force_is_the_pinned_one_until_a_newer_one_was_checked(trust, signing, tmp_path):
    keys = tmp_path / "edge"
    assert root_in_force(keys, tmp_path / "elsewhere") == root_in_force(keys, tmp_path / "trust")
    assert not (tmp_path / "elsewhere").exists()
    version, until_s = root_in_force(keys, tmp_path / "trust")
    assert (version, round((until_s - time.time()) / DAY_S)) == (1, 730)
    new = make_signing_keys(tmp_path / "new", KeyPlan((2, 2), (2, 2)), None, root_days=30)
    signing.registry.rotate(new.read_bytes(), signing.signers, Signers([new.parent]))
    trust.admit(packed(signing), "tiny-1")
    version, until_s = root_in_force(keys, tmp_path / "trust")
    assert (version, round((until_s - time.time()) / DAY_S)) == (2, 30)
    assert root_in_force(tmp_path, tmp_path / "trust") is None
    (keys / PINNED_NAME).write_bytes(b"{")
    with pytest.raises(KeyFileError, match="is no root"):
        root_in_force(keys, tmp_path / "elsewhere")


def test_unknown_and_withdrawn_bundles_are_refused(trust, signing):
    with pytest.raises(UpdateError, match="nobody has signed a bundle 'tiny-2'"):
        trust.admit(packed(signing), "tiny-2")
    signing.registry.withdraw("tiny-1", signing.signers)
    with pytest.raises(UpdateError, match="nobody has signed a bundle 'tiny-1'"):
        trust.admit(packed(signing), "tiny-1")


@pytest.mark.parametrize("again", [False, True], ids=["in one run", "after a restart"])
def test_older_metadata_is_refused_once_newer_was_seen(trust, signing, tmp_path, again):
    old = packed(signing)
    signing.registry.refresh(signing.signers)
    trust.admit(packed(signing), "tiny-1")
    trust = TrustStore(tmp_path / "trust", read_pinned(tmp_path / "edge")) if again else trust
    with pytest.raises(UpdateError, match="New timestamp version"):
        trust.admit(old, "tiny-1")


def test_targets_of_before_under_a_newer_timestamp_are_refused(trust, signing, tmp_path, tiny_bundle):
    before = signing.registry.signed()
    signing.publish(sibling(tiny_bundle.folder, tmp_path / "new"))
    now = signing.registry.signed()
    mixed = SignedMetadata(now.roots, now.timestamp, now.snapshot, before.targets)
    with pytest.raises(UpdateError, match="refused"):
        trust.admit(mixed.pack(), "tiny-1")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_tampered_metadata_is_refused(trust, signing, role):
    files = signing.registry.signed()
    content = json.loads(getattr(files, role))
    content["signed"]["version"] += 1
    tampered = {name: getattr(files, name) for name in ("timestamp", "snapshot", "targets")}
    tampered[role] = json.dumps(content).encode()
    with pytest.raises(UpdateError, match="refused"):
        trust.admit(SignedMetadata(files.roots, **tampered).pack(), "tiny-1")


@pytest.mark.parametrize("role", ["timestamp", "targets"])
def test_each_expiry_counts_also_where_the_clock_was_put_back_since(trust, signing, role):
    signing.registry.refresh(signing.signers, days=5 if role == "timestamp" else 400)
    later_s = time.time() + (6 if role == "timestamp" else 370) * DAY_S
    with pytest.raises(UpdateError, match=rf"{role}.json expired at"):
        trust.admit(packed(signing), "tiny-1", later_s)


def test_clock_that_was_put_back_brings_nothing_back(trust, signing):
    signing.registry.refresh(signing.signers, days=40)
    trust.admit(packed(signing), "tiny-1", time.time() + 30 * DAY_S)
    signing.registry.refresh(signing.signers, days=10)
    with pytest.raises(UpdateError, match="expired"):
        trust.admit(packed(signing), "tiny-1", time.time())


def test_expired_timestamp_is_refused_by_the_library_too(trust, signing):
    files = signing.registry.signed()
    timestamp = Metadata.from_bytes(files.timestamp)
    timestamp.signed.expires = timestamp.signed.expires.replace(year=2020)
    timestamp.signatures.clear()
    root = Metadata.from_bytes(signing.root.read_bytes()).signed
    expired = signing.signers.sign(timestamp, root)
    with pytest.raises(UpdateError, match=r"timestamp\.json is expired"):
        trust.admit(SignedMetadata(files.roots, expired, files.snapshot, files.targets).pack(), "tiny-1")


def test_other_keys_are_refused(trust, stranger):
    with pytest.raises(UpdateError, match="timestamp was signed by 0/1 keys"):
        trust.admit(packed(stranger), "tiny-1")


def test_fewer_signatures_than_the_threshold_are_refused(trust, signing):
    files = signing.registry.signed()
    root = Metadata.from_bytes(signing.root.read_bytes()).signed
    targets = Metadata[Targets].from_bytes(files.targets)
    targets.signatures.popitem()
    content = targets.to_bytes()
    snapshot, timestamp = Metadata.from_bytes(files.snapshot), Metadata.from_bytes(files.timestamp)
    for metadata, inner, name in ((snapshot, content, "targets.json"), (timestamp, None, "")):
        metadata.signatures.clear()
        if inner is not None:
            metadata.signed.meta[name] = type(metadata.signed.meta[name]).from_data(
                targets.signed.version, inner, ["sha256"]
            )
            whole = signing.signers.sign(metadata, root)
        else:
            meta = metadata.signed.snapshot_meta
            metadata.signed.snapshot_meta = type(meta).from_data(meta.version, whole, ["sha256"])
            newest = signing.signers.sign(metadata, root)
    with pytest.raises(UpdateError, match="targets was signed by 1/2 keys"):
        trust.admit(SignedMetadata(files.roots, newest, whole, content).pack(), "tiny-1")


def test_rotated_keys_are_followed_and_the_old_ones_count_no_more(trust, signing, tmp_path):
    other = Signing(tmp_path / "unused", tmp_path / "new-keys", KeyPlan((2, 2), (1, 1)))
    old = packed(signing)
    assert signing.registry.rotate(other.root.read_bytes(), signing.signers, other.signers) == 2
    assert trust.admit(packed(signing), "tiny-1").release == 1
    with pytest.raises(UpdateError, match="refused"):
        trust.admit(old, "tiny-1")


def test_root_that_the_old_keys_did_not_sign_is_refused(trust, stranger):
    theirs = stranger.registry.signed()
    root = Metadata.from_bytes(stranger.root.read_bytes())
    root.signed.version = 2
    root.signatures.clear()
    forged = Signers([stranger.keys]).sign(root, root.signed)
    with pytest.raises(UpdateError, match="root was signed by 0/2 keys"):
        trust.admit(SignedMetadata((forged,), theirs.timestamp, theirs.snapshot, theirs.targets).pack(), "tiny-1")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xdf\xff\xff\xff\xff", id="a map of four thousand million"),
        pytest.param(b"\xc1" * 100, id="no msgpack"),
        pytest.param(b"\x81\xa5roots\xdd\xff\xff\xff\xff", id="endless roots"),
        pytest.param(bytes(256 * 1024 + 1), id="too large"),
    ],
)
def test_metadata_that_is_none_is_refused_before_anything_is_made_of_it(trust, content):
    with pytest.raises(UpdateError):
        trust.admit(content, "tiny-1")


def test_deeply_nested_json_is_refused(trust, signing):
    files = signing.registry.signed()
    nested = SignedMetadata(files.roots, b"[" * 100_000, files.snapshot, files.targets)
    with pytest.raises(UpdateError):
        trust.admit(nested.pack(), "tiny-1")


def test_another_pinned_root_forgets_what_the_last_one_vouched_for(trust, signing, stranger, tmp_path):
    trust.admit(packed(signing), "tiny-1")
    with pytest.raises(KeyFileError, match="pins another root"):
        pin_root(stranger.root, tmp_path / "edge")
    (tmp_path / "edge" / PINNED_NAME).unlink()
    pin_root(stranger.root, tmp_path / "edge")
    trust = TrustStore(tmp_path / "trust", read_pinned(tmp_path / "edge"))
    assert trust.admit(packed(stranger), "tiny-1").release == 1


def test_damaged_memory_begins_with_the_pinned_root(trust, signing, tmp_path):
    trust.admit(packed(signing), "tiny-1")
    (tmp_path / "trust" / TRUSTED_NAME).write_bytes(b"rubbish")
    trust = TrustStore(tmp_path / "trust", read_pinned(tmp_path / "edge"))
    assert trust.admit(packed(signing), "tiny-1").release == 1


@pytest.mark.parametrize("content", [b"", b"{}", b'{"signed": {"_type": "root"}, "signatures": []}'])
def test_what_is_no_root_is_not_pinned(tmp_path, content):
    (tmp_path / "root.json").write_bytes(content)
    with pytest.raises(KeyFileError, match=r"give the signers' root\.json"):
        pin_root(tmp_path / "root.json", tmp_path / "edge")
    assert not (tmp_path / "edge" / PINNED_NAME).exists()


def test_root_with_fewer_signatures_than_it_asks_for_is_not_pinned(signing, tmp_path):
    root = Metadata.from_bytes(signing.root.read_bytes())
    root.signatures.popitem()
    (tmp_path / "root.json").write_bytes(root.to_bytes())
    with pytest.raises(KeyFileError, match="no root signed by itself"):
        pin_root(tmp_path / "root.json", tmp_path / "edge")
