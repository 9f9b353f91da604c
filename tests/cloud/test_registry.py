"""The registry: what is published, by whom it is signed, and what is never half there."""

import shutil
import tarfile
import time

import pytest
from bundle_fleet import Signing, sibling
from tuf.api.metadata import Metadata

from cloud.errors import CloudError, RequestError
from cloud.parity import check_publishable, parity_faults
from cloud.published_twins import PublishedTwins
from cloud.registry import Registry
from cloud.signing_keys import KeyPlan, Signers, make_signing_keys
from cloud.twins import Twins
from edge.bundle import bundled_student, load_bundle, read_manifest
from edge.trust import TrustStore

GOOD = {"mean_cosine": 0.995, "p01_cosine": 0.97, "before": {"map50": 0.5}, "after": {"map50": 0.495}}


@pytest.fixture
def signing(tmp_path):
    return Signing(tmp_path / "data", tmp_path / "signing")


def test_published_bundles_are_listed_newest_first_and_lie_there_whole(signing, tiny_bundle, tmp_path):
    assert signing.registry.bundles() == []
    first = signing.publish(tiny_bundle.folder, note="the first")
    second = signing.publish(sibling(tiny_bundle.folder, tmp_path / "new", name="a b/ü"))
    assert [bundle.bundle_id for bundle in signing.registry.bundles()] == ["a-b-2", "tiny-1"]
    assert signing.registry.bundle("tiny-1") == first
    assert (first.note, first.release, first.space_id) == ("the first", 1, tiny_bundle.manifest.space_id)
    with tarfile.open(signing.registry.archive_path(second)) as tar:
        assert tar.getnames() == ["bundle.json", "canary.msgpack", "fp32.onnx"]
    assert load_bundle(signing.registry.flown_folder(second)).manifest.space_id == second.space_id


def test_same_bundle_gives_the_same_archive(signing, tiny_bundle):
    first, second = (signing.publish(tiny_bundle.folder) for _ in range(2))
    assert first.archive_sha256 == second.archive_sha256


def test_release_of_a_withdrawn_bundle_is_never_given_again(signing, tiny_bundle):
    signing.publish(tiny_bundle.folder)
    signing.registry.withdraw("tiny-1", signing.signers)
    assert signing.publish(tiny_bundle.folder).bundle_id == "tiny-2"
    with pytest.raises(RequestError, match="no bundle 'tiny-1' is published; there are: tiny-2"):
        signing.registry.bundle("tiny-1")


def test_variants_can_be_left_out(signing):
    bundle = signing.publish(bundled_student(), variants=["u8s8"])
    manifest = read_manifest(signing.registry.flown_folder(bundle))
    assert (list(manifest.variants), bundle.variants) == (["u8s8"], ("u8s8",))
    assert bundle.archive_bytes < 1e6
    with pytest.raises(RequestError, match="the bundle has no int4"):
        signing.publish(bundled_student(), variants=["int4"])


@pytest.mark.parametrize(
    ("metrics", "match"),
    [
        ({}, "no report of the parity gate"),
        ({"parity": {"u8s8": "fine"}}, "no report of the parity gate"),
        ({"parity": {"u8s8": GOOD | {"mean_cosine": 0.9}}}, "mean_cosine 0.900"),
        ({"parity": {"u8s8": GOOD | {"p01_cosine": None}}}, "p01_cosine nan"),
        ({"parity": {"u8s8": GOOD | {"after": {"map50": 0.4}}}}, "map50 fell from 0.500 to 0.400"),
        ({"parity": {"u8s8": GOOD | {"after": {}}}}, "map50 fell from 0.500 to nan"),
        (
            {
                "parity": {"u8s8": GOOD},
                "fine_tuning": {"passed": False, "retention": {"passed": False, "faults": ["Car lost 3 points"]}},
            },
            "its fine-tuning did not pass its gates: Car lost 3 points",
        ),
        ({"parity": {"u8s8": GOOD}, "fine_tuning": True}, "no verdict"),
    ],
)
def test_bundle_that_a_gate_refused_or_never_saw_is_not_published(metrics, match):
    manifest = read_manifest(bundled_student()).model_copy(update={"metrics": metrics})
    with pytest.raises(RequestError, match=match):
        check_publishable(manifest, ["fp32", "u8s8"])


def test_bundled_student_passes_its_gates():
    manifest = read_manifest(bundled_student())
    check_publishable(manifest, manifest.variants)
    assert parity_faults(GOOD) == []


def test_altered_file_is_not_published(signing, tiny_bundle, tmp_path):
    folder = sibling(tiny_bundle.folder, tmp_path / "new")
    (folder / "fp32.onnx").write_bytes(b"x")
    with pytest.raises(RequestError, match="does not match the manifest"):
        signing.publish(folder)
    assert signing.registry.bundles() == []


def test_too_few_keys_change_nothing(tmp_path, tiny_bundle):
    signing = Signing(tmp_path / "data", tmp_path / "signing", KeyPlan((1, 1), (2, 2)))
    signing.publish(tiny_bundle.folder)
    (tmp_path / "signing" / "targets-2.pem").unlink()
    before = signing.registry.signed()
    with pytest.raises(RequestError, match="1 of the 2 keys that must sign as targets"):
        signing.publish(tiny_bundle.folder)
    assert signing.registry.signed() == before
    assert len(list((tmp_path / "data" / "registry" / "targets").iterdir())) == 1
    signing.registry.refresh(signing.signers)  # for which they are not needed


def test_root_keys_may_lie_elsewhere(signing, tiny_bundle):
    (signing.keys / "root-1.pem").unlink()
    assert signing.publish(tiny_bundle.folder).release == 1


def test_refreshed_metadata_counts_longer(signing, tiny_bundle):
    signing.publish(tiny_bundle.folder)
    signing.registry.refresh(signing.signers, days=2)
    assert signing.registry.expires_at_s() == pytest.approx(time.time() + 2 * 86400, abs=60)
    signing.registry.refresh(signing.signers)
    assert signing.registry.expires_at_s() == pytest.approx(time.time() + 30 * 86400, abs=60)


def test_registry_restored_from_an_old_copy_is_not_behind_its_crafts(signing, tiny_bundle, tmp_path, monkeypatch):
    signing.publish(tiny_bundle.folder)
    trust = TrustStore(tmp_path / "trust", signing.root.read_bytes())
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    for _ in range(3):
        signing.registry.refresh(signing.signers)
    trust.admit(signing.registry.signed().pack(), "tiny-1")
    now_s = time.time() + 60
    monkeypatch.setattr("cloud.registry.time.time", lambda: now_s)
    restored = Registry(tmp_path / "copy")
    restored.refresh(signing.signers)
    assert trust.admit(restored.signed().pack(), "tiny-1").release == 1
    assert len(list((tmp_path / "copy" / "registry" / "metadata").glob("*.snapshot.json"))) == 2


def test_damaged_registry_is_said_in_one_line(signing, tiny_bundle):
    signing.publish(tiny_bundle.folder)
    signing.registry.timestamp_path.write_text("{")
    with pytest.raises(CloudError, match="restore it from a backup"):
        signing.registry.bundles()


def test_nothing_to_refresh_without_a_registry(tmp_path, signing):
    with pytest.raises(RequestError, match="publish a bundle first"):
        Registry(tmp_path / "none").refresh(signing.signers)


def test_keys_are_secret_encrypted_and_not_overwritten(tmp_path):
    path = make_signing_keys(tmp_path / "keys", KeyPlan(), "secret", root_days=100)
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "keys").glob("*.pem")} == {0o600}
    root = Metadata.from_bytes(path.read_bytes()).signed
    assert {role: (len(root.roles[role].keyids), root.roles[role].threshold) for role in root.roles} == {
        "root": (3, 2),
        "targets": (2, 2),
        "snapshot": (1, 1),
        "timestamp": (1, 1),
    }
    assert b"ENCRYPTED" in (tmp_path / "keys" / "root-1.pem").read_bytes()
    for wrong in (None, "guess"):
        with pytest.raises(RequestError, match=r"passphrase"):
            Signers([tmp_path / "keys"], wrong)
    Signers([tmp_path / "keys"], "secret")
    with pytest.raises(RequestError, match="holds keys already"):
        make_signing_keys(tmp_path / "keys", KeyPlan(), None)
    (tmp_path / "keys" / "root-1.pem").chmod(0o644)
    with pytest.raises(RequestError, match="chmod 600"):
        Signers([tmp_path / "keys"], "secret")


@pytest.mark.parametrize("plan", [KeyPlan(root=(1, 2)), KeyPlan(targets=(2, 0)), KeyPlan(root=(99, 1))])
def test_plan_that_makes_no_sense_makes_no_keys(tmp_path, plan):
    with pytest.raises(RequestError, match="keys must sign"):
        make_signing_keys(tmp_path / "keys", plan, None)
    assert not (tmp_path / "keys").exists()


def test_twins_hear_of_what_is_published_and_keep_what_is_withdrawn(signing, tiny_bundle, tmp_path):
    twins = Twins([tiny_bundle.folder], threads=1)
    published = PublishedTwins(signing.registry, twins)
    published.look()
    bundle = signing.publish(sibling(tiny_bundle.folder, tmp_path / "new"))
    published.look()
    assert twins.student(bundle.space_id, "u8s8").manifest.space_id == bundle.space_id
    signing.registry.withdraw(bundle.bundle_id, signing.signers)
    later = Twins([tiny_bundle.folder], threads=1)
    PublishedTwins(signing.registry, later).look()
    assert bundle.space_id in later.space_ids
