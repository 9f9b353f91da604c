"""A craft that is offered bundles: the good one is flown, every bad one is not, and each end is told."""

import hashlib
import json
import tarfile

import numpy as np
import pytest
from builders import scene
from bundle_fleet import Signing, sibling

from edge.bank import BankStore
from edge.bundle import load_bundle
from edge.bundle_swap import TrialSettings
from edge.canary import CANARY_NAME
from edge.chip_check import ChipCheck
from edge.clock import SystemClock
from edge.flown_bundle import NOT_PINNED, open_flown
from edge.signed_metadata import SignedMetadata
from edge.student import Student
from edge.trust import pin_root
from edge.updates import UpdateSettings
from protocols import BundleChunk, BundleOffer, Chip, Prompt, PromptBank, Vectors, diff_banks, encode_image
from protocols.bundle_messages import NOT_NOW

GREEN = (60, 220, 60)
FRAME = scene((80, 60, GREEN))


class Air:
    """A craft's updates, and a cloud that sends what it is asked for, or what a test wants instead."""

    def __init__(self, folder, given, signing, *, pinned=True, trial=None):
        self.folder, self.given, self.signing = folder, given, signing
        if pinned:
            pin_root(self.signing.root, folder / "keys")
        self.trial = trial or TrialSettings(frames=3, seconds=0.0, slower=1000.0)
        self.told, self.frames, self.opened = [], 0, []
        self.start()

    def start(self):
        """As a program starts."""
        self.bank = BankStore(self.folder / "bank")
        self.flown = open_flown(self.given, self.folder / "updates", self._open, is_linked=True)
        settings = UpdateSettings(budget_bytes_per_s=1e9, trial=self.trial)
        self.swap = self.flown.swap(self.bank, settings)
        self.updates = self.flown.updates(self.swap, self.folder / "keys", settings, SystemClock())
        self.updates.start()
        self.updates.connected()

    def _open(self, folder):
        self.opened.append(folder)
        return Student.open(load_bundle(folder), threads=1)

    def stop(self, *, dead=False):
        """In order, or as a program dies: nothing is noted any more."""
        assert self.updates.wait_idle()
        if dead:
            self.flown.installed.close = lambda: None
        self.updates.close()

    def offer(self, bundle, offer_id="o1", *, metadata=None, archive=None, **changes):
        """Offer a bundle and send what is asked for, until nothing is asked for any more."""
        metadata = self.signing.registry.signed().pack() if metadata is None else metadata
        archive = self.signing.registry.archive_path(bundle).read_bytes() if archive is None else archive
        self.updates.receive(self.offer_of(bundle, metadata, offer_id, **changes), b"")
        self.send({"metadata": metadata, "archive": archive})

    def offer_of(self, bundle, metadata, offer_id="o1", **changes):
        fields = {
            "offer_id": offer_id,
            "bundle_id": bundle.bundle_id,
            "metadata_bytes": len(metadata),
            "metadata_sha256": hashlib.sha256(metadata).hexdigest(),
            "archive_bytes": bundle.archive_bytes,
            "archive_sha256": bundle.archive_sha256,
        }
        return BundleOffer(**fields | changes)

    def send(self, parts, most=10**9):
        """Answer receipts with slices."""
        quiet = 0
        while quiet < 3 and most > 0:
            assert self.updates.wait_idle()
            told = self.updates.due(64, is_busy=False)
            quiet = 0 if told else quiet + 1
            for receipt in told:
                self.told.append(receipt)
                if receipt.state != "fetching":
                    continue
                end = receipt.next_offset + min(receipt.credit_bytes, most)
                blob = parts[receipt.part][receipt.next_offset : end]
                most -= len(blob)
                for start in range(0, len(blob), 16384):
                    chunk = BundleChunk(
                        offer_id=receipt.offer_id, part=receipt.part, offset=receipt.next_offset + start
                    )
                    self.updates.receive(chunk, blob[start : start + 16384])

    def fly(self, frames=1):
        """Look at some frames; returns the id of the bundle that looked at the last."""
        for _ in range(frames):
            _, in_use = self.swap.look(FRAME)
            assert self.updates.wait_idle()
        self.hear()
        return in_use.bundle_id

    def hear(self):
        assert self.updates.wait_idle()
        self.told += self.updates.due(64, is_busy=False)

    @property
    def states(self):
        """What was told, but for progress."""
        self.hear()
        return [(receipt.offer_id, receipt.state) for receipt in self.told if receipt.state != "fetching"]

    @property
    def reason(self):
        self.hear()
        return self.told[-1].reason

    def on_disk(self):
        """Bundles in the folder of updates, and whether a part of one is."""
        folder = self.folder / "updates"
        return len(list((folder / "bundles").glob("*"))), (folder / "archive.part").exists()


@pytest.fixture(scope="module")
def new(tmp_path_factory, tiny_bundle):
    return sibling(tiny_bundle.folder, tmp_path_factory.mktemp("new") / "bundle")


@pytest.fixture(scope="module")
def published(tmp_path_factory, new):
    """A registry with that one bundle."""
    folder = tmp_path_factory.mktemp("published")
    signing = Signing(folder / "data", folder / "signing")
    signing.publish(new)
    return signing


@pytest.fixture
def bundle(published):
    (bundle,) = published.registry.bundles()
    return bundle


@pytest.fixture
def make_air(tmp_path, tiny_bundle, published):
    made = []

    def make(**options):
        signing = published.copied(tmp_path / "data", tmp_path / "signing")
        made.append(Air(tmp_path / "craft", tiny_bundle.folder, signing, **options))
        return made[-1]

    yield make
    for air in made:
        air.updates.close()


@pytest.fixture
def air(make_air):
    return make_air()


def test_bundle_is_fetched_verified_tried_flown_and_kept(air, bundle):
    assert air.fly() is None
    air.offer(bundle)
    assert air.states == [("o1", "verified")]
    assert air.fly() == bundle.bundle_id
    assert air.states[-1] == ("o1", "on_trial")
    assert air.fly(6) == bundle.bundle_id
    assert air.states[-1] == ("o1", "in_force")
    told = air.told[-1]
    assert (told.bundle_id, told.space_id) == (bundle.bundle_id, bundle.space_id)
    assert air.updates.flying.space_id == bundle.space_id
    assert air.on_disk() == (1, False)
    air.stop()
    air.start()
    assert air.fly() == bundle.bundle_id
    air.offer(bundle)
    assert air.states[-1] == ("o1", "in_force")


def test_third_bundle_replaces_the_first_on_the_disk(air, tiny_bundle, tmp_path):
    for number in range(1, 4):
        bundle = air.signing.publish(sibling(tiny_bundle.folder, tmp_path / f"s{number}", seed=number))
        air.offer(bundle, f"o{number}")
        assert air.fly(8) == bundle.bundle_id
        assert air.on_disk() == (min(number, 2), False)


def test_prompts_are_rebuilt_before_the_swap_takes_effect(air, bundle, tiny_bundle):
    twin = Student.open(tiny_bundle, threads=1)
    picture = scene((34, 34, GREEN), size=(64, 64))
    chip = Chip(jpeg=encode_image(picture, "image/jpeg", 90), box_xyxy=(26, 26, 42, 42), scale=1.0)
    vectors = Vectors.from_array(np.eye(1, 8, dtype=np.float32))
    fields = {"prompt_id": "p", "label": "hut", "space_id": twin.manifest.space_id, "variant": "fp32", "threshold": 0.5}
    fields |= {"positives": vectors, "negatives": Vectors.from_array(np.zeros((0, 8), np.float32)), "chips": (chip,)}
    prompt = Prompt(**fields, issued_at_s=1.7e9, origin="person", confidence=1.0)
    air.bank.apply(diff_banks(None, PromptBank(epoch="e", revision=1, prompts=(prompt,))))
    air.offer(bundle)
    _, in_use = air.swap.look(FRAME)
    assert in_use.bundle_id == bundle.bundle_id
    (flown,) = in_use.chips.flown.prompts
    assert (flown.space_id, in_use.chips.counts.waiting) == (bundle.space_id, 0)


def test_prompts_that_come_while_a_student_gets_ready_are_rebuilt_too(air, bundle, make_bank):
    air.offer(bundle)
    air.bank.apply(diff_banks(None, make_bank()))
    assert air.fly() is None  # the student had not seen them
    assert air.fly() == bundle.bundle_id
    assert air.swap.in_use.bank is air.bank.current


def test_craft_without_a_pinned_root_refuses_and_says_how_to_pin_one(make_air, bundle):
    air = make_air(pinned=False)
    air.offer(bundle)
    assert (air.states, air.reason) == ([("o1", "refused")], NOT_NOW + NOT_PINNED)
    assert air.fly() is None


def never_flown(air, match):
    assert air.states[-1] == ("o1", "refused")
    assert match in air.reason
    assert air.fly(5) is None
    assert air.on_disk() == (0, False)
    opened = len(air.opened)
    air.stop()
    air.start()
    assert air.fly(3) is None
    assert len(air.opened) == opened + 1
    assert air.states[-1] == ("o1", "refused")  # told again at the next connect


def test_tampered_archive_is_never_opened(air, bundle):
    archive = bytearray(air.signing.registry.archive_path(bundle).read_bytes())
    archive[3000] ^= 1
    air.offer(bundle, archive=bytes(archive))
    never_flown(air, "the archive is not the one that was signed")


def test_tampered_metadata_is_never_believed(air, bundle):
    files = air.signing.registry.signed()
    targets = files.targets.replace(bundle.archive_sha256.encode(), b"0" * 64)
    metadata = SignedMetadata(files.roots, files.timestamp, files.snapshot, targets).pack()
    air.offer(bundle, metadata=metadata, archive_sha256="0" * 64)
    never_flown(air, "the signed metadata is refused")
    assert "archive" not in {receipt.part for receipt in air.told if receipt.state == "fetching"}


def test_expired_metadata_is_refused_before_the_archive_is_fetched(air, bundle, monkeypatch):
    air.signing.registry.refresh(air.signing.signers, days=1)
    monkeypatch.setattr(SystemClock, "wall_s", lambda self: 4e9)
    air.offer(bundle)
    never_flown(air, "expired at")
    monkeypatch.undo()
    air.offer(bundle)  # the same offer, once the clock is right
    assert air.fly(8) == bundle.bundle_id


def test_older_metadata_is_refused(air, bundle, tiny_bundle, tmp_path):
    old = air.signing.registry.signed().pack()
    newer = air.signing.publish(sibling(tiny_bundle.folder, tmp_path / "newer", seed=7))
    air.offer(newer, "o0", archive=b"")
    air.offer(bundle, metadata=old)
    never_flown(air, "New timestamp version")


def test_older_release_is_refused_by_a_craft_that_flies_a_newer_one(air, bundle, tiny_bundle, tmp_path):
    newer = air.signing.publish(sibling(tiny_bundle.folder, tmp_path / "newer", seed=7))
    air.offer(newer, "o0")
    assert air.fly(8) == newer.bundle_id
    air.offer(bundle)
    assert air.states[-1] == ("o1", "refused")
    assert "older ones are not taken" in air.reason
    assert air.fly(3) == newer.bundle_id


def test_bundle_of_other_signers_is_refused(air, new, tmp_path):
    stranger = Signing(tmp_path / "theirs", tmp_path / "their-keys")
    theirs = stranger.publish(new)
    archive = stranger.registry.archive_path(theirs).read_bytes()
    air.offer(theirs, metadata=stranger.registry.signed().pack(), archive=archive)
    never_flown(air, "signed by 0/1 keys")


def test_archive_that_is_offered_larger_than_signed_is_refused(air, bundle):
    air.offer(bundle, archive_bytes=bundle.archive_bytes + 1)
    never_flown(air, "length or digest differs")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        pytest.param(lambda files: files.pop(CANARY_NAME), CANARY_NAME, id="no canary pictures"),
        pytest.param(lambda files: files.update({CANARY_NAME: b"\x90"}), CANARY_NAME, id="empty canary"),
        pytest.param(lambda files: files.update({"bundle.json": b"{}"}), "bundle.json", id="no manifest"),
        pytest.param(lambda files: files.update({"fp32.onnx": b"x"}), "does not match the manifest", id="no model"),
        pytest.param(lambda files: files.pop("fp32.onnx"), "cannot be read", id="model missing"),
    ],
)
def test_rightly_signed_archive_that_does_not_work_is_refused(air, bundle, tiny_bundle, change, match):
    files = {path.name: path.read_bytes() for path in air.signing.registry.flown_folder(bundle).iterdir()}
    change(files)
    bundle = air.signing.registry.publish(files, tiny_bundle.manifest, air.signing.signers)
    air.offer(bundle)
    never_flown(air, match)


def test_model_that_sees_its_canaries_otherwise_is_refused(air, bundle, tiny_bundle, tmp_path):
    files = {path.name: path.read_bytes() for path in air.signing.registry.flown_folder(bundle).iterdir()}
    other = sibling(tiny_bundle.folder, tmp_path / "other", seed=9, change=3.0)
    files |= {name: (other / name).read_bytes() for name in ("fp32.onnx", "bundle.json")}
    bundle = air.signing.registry.publish(files, tiny_bundle.manifest, air.signing.signers)
    air.offer(bundle)
    never_flown(air, "does not see its own pictures as its twin did")


class Failing:
    """A mock: a backend that fails, or gives what is no number, from some frame on."""

    def __init__(self, backend, how):
        self.name, self._backend, self._how = "failing", backend, how

    def run(self, image):
        raw = self._backend.run(image)
        if self._how == "raises":
            raise RuntimeError("out of memory")
        raw.embedding[:] = np.nan
        return raw


@pytest.mark.parametrize(("how", "match"), [("raises", "out of memory"), ("nan", "not finite")])
def test_bundle_that_fails_on_trial_gives_way_within_the_same_frame(air, bundle, how, match):
    air.offer(bundle)
    assert air.fly() == bundle.bundle_id
    student = air.swap.in_use.student
    student.backend = Failing(student.backend, how)
    seen, in_use = air.swap.look(FRAME)
    assert in_use.bundle_id is None
    assert np.isfinite(seen.embeddings).all()
    assert len(seen.boxes_xyxy)
    assert air.states[-1] == ("o1", "gone_back")
    assert match in air.reason
    assert air.told[-1].bundle_id is None
    air.stop()
    air.start()
    assert air.fly(5) is None
    air.offer(bundle)
    assert air.states[-1] == ("o1", "gone_back")


def test_bundle_that_is_too_slow_gives_way(make_air, bundle):
    air = make_air(trial=TrialSettings(frames=1000, seconds=0.0, slower=1.5))
    air.fly(15)
    air.offer(bundle)
    assert air.fly() == bundle.bundle_id
    air.swap._usual_s.extend([1e-7] * 64)
    assert air.fly(20) is None
    assert air.states[-1] == ("o1", "gone_back")
    assert "ms a frame" in air.reason


def test_cloud_takes_a_bundle_back(air, bundle):
    air.offer(bundle)
    assert air.fly(8) == bundle.bundle_id
    air.offer(bundle, action="go_back")
    assert air.fly() is None
    assert air.states[-1] == ("o1", "gone_back")
    assert air.updates.flying.bundle_id is None
    air.offer(bundle, action="go_back")
    assert air.states[-1] == ("o1", "gone_back")


def test_bundle_that_was_never_flown_is_taken_back_too(air, bundle):
    air.offer(bundle, action="go_back")
    assert air.states[-1] == ("o1", "refused")
    air.offer(bundle)
    assert air.states[-1] == ("o1", "refused")
    assert air.fly(3) is None


def test_fetch_goes_on_after_a_lost_link_and_after_the_program_died(air, bundle):
    archive = air.signing.registry.archive_path(bundle).read_bytes()
    metadata = air.signing.registry.signed().pack()
    parts = {"metadata": metadata, "archive": archive}
    offer = air.offer_of(bundle, metadata)
    share = len(archive) // 3
    for again in (lambda: air.updates.connected(), lambda: (air.stop(dead=True), air.start())):
        air.updates.receive(offer, b"")
        air.send(parts, most=len(metadata) + share)
        again()
    before = len(air.told)
    air.updates.receive(offer, b"")
    air.send(parts)
    resumed = next(receipt for receipt in air.told[before:] if receipt.part == "archive")
    assert resumed.next_offset >= share
    assert air.fly(8) == bundle.bundle_id


def test_offer_that_is_repeated_in_the_middle_changes_nothing(air, bundle):
    metadata = air.signing.registry.signed().pack()
    archive = air.signing.registry.archive_path(bundle).read_bytes()
    for most in (100, 900, len(metadata) + 5000, 5000):
        air.updates.receive(air.offer_of(bundle, metadata), b"")
        air.updates.receive(air.offer_of(bundle, metadata), b"")
        air.send({"metadata": metadata, "archive": archive}, most=most)
    air.offer(bundle)
    assert air.fly(8) == bundle.bundle_id
    assert ("o1", "refused") not in air.states


def test_damage_to_what_was_held_is_found_and_fetched_anew(air, bundle):
    archive = air.signing.registry.archive_path(bundle).read_bytes()
    air.offer(bundle, archive=archive[: len(archive) // 2])
    air.stop(dead=True)
    part = air.folder / "updates" / "archive.part"
    part.write_bytes(bytes(len(part.read_bytes())))
    air.start()
    air.offer(bundle)
    assert air.fly(8) == bundle.bundle_id


def test_later_offer_drops_one_that_is_being_fetched(air, bundle, tiny_bundle, tmp_path):
    newer = air.signing.publish(sibling(tiny_bundle.folder, tmp_path / "newer", seed=7))
    air.offer(bundle, archive=b"")
    air.offer(newer, "o2")
    assert air.fly(8) == newer.bundle_id
    assert air.on_disk() == (1, False)


@pytest.mark.parametrize("deaths", [1, 2])
def test_program_that_dies_on_trial_goes_back_at_the_second_time(air, bundle, deaths):
    air.offer(bundle)
    assert air.fly() == bundle.bundle_id
    for _ in range(deaths):
        air.stop(dead=True)
        air.start()
    if deaths == 1:
        assert air.fly(8) == bundle.bundle_id
        assert air.states[-1] == ("o1", "in_force")
    else:
        assert air.fly(8) is None
        assert air.states[-1] == ("o1", "gone_back")
        assert "ended 2 times while it was on trial" in air.reason


def test_orderly_ends_in_a_trial_blame_nobody(air, bundle):
    air.offer(bundle)
    assert air.fly() == bundle.bundle_id
    for _ in range(4):
        air.stop()
        air.start()
        assert air.fly() == bundle.bundle_id
    assert air.fly(6) == bundle.bundle_id
    assert air.states[-1] == ("o1", "in_force")


def test_bundle_in_use_that_opens_no_more_is_gone_back_from_at_the_start(air, bundle):
    air.offer(bundle)
    assert air.fly(8) == bundle.bundle_id
    air.stop()
    (folder,) = (air.folder / "updates" / "bundles").iterdir()
    (folder / "fp32.onnx").write_bytes(b"rotten")
    air.start()
    assert air.fly() is None
    assert air.states[-1] == ("o1", "gone_back")
    assert "does not open" in air.reason


def test_another_bundle_given_by_hand_rules_over_what_came_before(air, bundle, tiny_bundle, tmp_path):
    air.offer(bundle)
    assert air.fly(8) == bundle.bundle_id
    air.stop()
    air.given = sibling(tiny_bundle.folder, tmp_path / "by-hand", seed=5)
    air.start()
    assert air.fly() is None
    assert air.on_disk() == (0, False)


def test_full_disk_refuses_and_flies_on(air, bundle, files_at_most):
    with files_at_most(4096):
        air.offer(bundle)
    assert air.states[-1] == ("o1", "refused")
    assert "free some space" in air.reason
    assert air.reason.startswith(NOT_NOW)
    assert air.fly(3) is None
    air.offer(bundle)
    assert air.fly(8) == bundle.bundle_id


def test_bundle_of_other_bands_is_refused(air, bundle, tiny_bundle):
    files = {path.name: path.read_bytes() for path in air.signing.registry.flown_folder(bundle).iterdir()}
    manifest = json.loads(files["bundle.json"]) | {"band_order": "red,green,nir"}
    files["bundle.json"] = json.dumps(manifest).encode()
    air.offer(air.signing.registry.publish(files, tiny_bundle.manifest, air.signing.signers))
    never_flown(air, "it takes the bands red, green, nir")


def test_archive_with_a_path_in_it_is_refused_though_rightly_signed(air, tiny_bundle, tmp_path, monkeypatch):
    def smuggled(files):
        info = tarfile.TarInfo("../../bank/escaped")
        info.size = 4
        return info.tobuf(tarfile.USTAR_FORMAT) + b"evil" + bytes(508) + bytes(1024)

    monkeypatch.setattr("cloud.registry.pack_files", smuggled)
    monkeypatch.setattr("cloud.registry.unpack_files", lambda path, folder: folder.mkdir(parents=True))
    air.offer(air.signing.registry.publish({}, tiny_bundle.manifest, air.signing.signers))
    never_flown(air, "plain file names only")
    assert not list(tmp_path.rglob("escaped"))


def test_chips_of_a_bank_are_all_looked_at(tiny_bundle, make_bank):
    check = ChipCheck(Student.open(tiny_bundle, threads=1), make_bank())
    check.embed_all()
    assert check.counts.waiting == 0
