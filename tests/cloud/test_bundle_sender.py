"""What a craft is sent of a bundle: no more than it asked for, after everything else, and again after a reconnect."""

import pytest
from bundle_fleet import Signing
from gateway_peers import next_bank, until

from cloud.fleet_bundles import FleetBundles
from cloud.registry import Registry
from cloud.signing_keys import Signers
from edge.signed_metadata import SignedMetadata
from protocols import KINDS, BundleReceipt, Hello, PromptBank
from protocols.bundle_messages import NOT_NOW


@pytest.fixture
def fleet(cloud, tiny_bundle, tmp_path):
    Signing(cloud.store.data_dir, tmp_path / "signing").publish(tiny_bundle.folder)
    return FleetBundles(cloud.store)


@pytest.fixture
def peer(connect):
    peer = connect("uav")
    peer.join()
    return peer


def receipt(offer, state="fetching", part="archive", at=0, credit=0, **more):
    fields = {"space_id": "space", "variant": "fp32", "labels": () if state == "fetching" else ("Car",)} | more
    return BundleReceipt(offer_id=offer.offer_id, state=state, part=part, next_offset=at, credit_bytes=credit, **fields)


def fetch(peer, offer, part, total, credit=6000):
    held = bytearray()
    while len(held) < total:
        peer.send(receipt(offer, part=part, at=len(held), credit=credit))
        end = min(len(held) + credit, total)
        while len(held) < end:
            chunk, blob = peer.receive("BundleChunk")
            assert (chunk.part, chunk.offset) == (part, len(held))
            held += blob
    return bytes(held)


def state_of(fleet):
    newest = next(status for status in fleet.status() if status.craft == "uav").newest
    return (newest.state, newest.reason) if newest is not None else None


def test_bundle_arrives_whole_and_its_end_is_kept(peer, fleet, cloud):
    rollout = fleet.roll_out("tiny-1", by="ann")
    offer, _ = peer.receive("BundleOffer")
    assert (offer.offer_id, offer.bundle_id, offer.action) == (rollout.rollout_id, "tiny-1", "take")
    metadata = fetch(peer, offer, "metadata", offer.metadata_bytes)
    assert SignedMetadata.unpack(metadata) == fleet.registry.signed()
    bundle = fleet.registry.bundle("tiny-1")
    assert fetch(peer, offer, "archive", offer.archive_bytes) == fleet.registry.archive_path(bundle).read_bytes()
    for state in ("verified", "on_trial", "in_force"):
        peer.send(receipt(offer, state, bundle_id="tiny-1", space_id="another"))
        until(lambda state=state: state_of(fleet) == (state, ""))
    assert cloud.store.craft("uav").space_id == "another"
    assert cloud.store.flown_bundles() == {"uav": "tiny-1"}
    assert peer.hears_nothing_for(100) or peer.receive_any()[0].kind == "Heartbeat"


def test_nothing_is_sent_beyond_the_credit(peer, fleet):
    fleet.roll_out("tiny-1", by="ann")
    offer, _ = peer.receive("BundleOffer")
    peer.send(receipt(offer, credit=5000))
    got = 0
    while (told := peer.receive_any())[0].kind != "Heartbeat":
        got += len(told[1])
    assert got == 5000
    assert peer.receive_any()[0].kind == "Heartbeat"


def test_prompts_go_before_what_is_left_of_a_bundle(fleet, cloud, connect, keys_of, tiny_bundle, tmp_path):
    keys = keys_of("uav")
    large = fleet.registry.publish({"pad": bytes(2**20)}, tiny_bundle.manifest, Signers([tmp_path / "signing"]))
    peer = connect(keys)
    peer.join(cloud.store.bank("uav").ref)
    fleet.roll_out(large.bundle_id, by="ann")
    offer, _ = peer.receive("BundleOffer")
    peer.send(receipt(offer, credit=offer.archive_bytes))
    held = len(peer.receive("BundleChunk")[1])
    cloud.store.save_bank("uav", next_bank(cloud.store.bank("uav"), "debris"))
    cloud.gateway.notify("uav")
    while (told := peer.receive_any())[0].kind != "PromptUpdate":
        held += len(told[1])
    assert held < offer.archive_bytes / 2
    while held < offer.archive_bytes:  # and the bundle goes on behind it
        held += len(peer.receive("BundleChunk")[1])


def test_unsettled_offer_is_repeated_after_a_reconnect_and_goes_on(peer, fleet, connect, keys_of, cloud):
    keys = keys_of("other")
    fleet.roll_out("tiny-1", by="ann", crafts=["other"])
    first = connect(keys)
    first.join()
    offer, _ = first.receive("BundleOffer")
    first.send(receipt(offer, credit=4096))
    first.receive("BundleChunk")
    first.close()
    second = connect(keys)
    second.join()
    again, _ = second.receive("BundleOffer")
    assert again == offer
    second.send(receipt(offer, at=3000, credit=4096))
    assert second.receive("BundleChunk")[0].offset == 3000


def test_craft_that_speaks_of_no_bundles_is_offered_none(fleet, connect, keys_of):
    keys = keys_of("uav")
    fleet.roll_out("tiny-1", by="ann")
    peer = connect(keys)
    hello = {"craft_software": "old 0.1", "boot_id": "b", "session_id": "s", "space_id": "space", "variant": "fp32"}
    kinds = tuple(kind for kind in KINDS if not kind.startswith("Bundle"))
    peer.send(Hello(**hello, kinds=kinds, bank=PromptBank.empty("none").ref, wall_time_s=1.7e9))
    until(lambda: state_of(fleet) is not None)
    assert state_of(fleet) == ("refused", "its software takes no bundles over the air; update it")


def test_bundle_that_was_withdrawn_is_not_offered(fleet, connect, keys_of, tmp_path):
    keys = keys_of("uav")
    fleet.roll_out("tiny-1", by="ann")
    fleet.registry.withdraw("tiny-1", Signers([tmp_path / "signing"]))
    peer = connect(keys)
    peer.join()
    until(lambda: state_of(fleet) is not None)
    state, reason = state_of(fleet)
    assert (state, "no bundle 'tiny-1' is published" in reason) == ("refused", True)


def test_expired_metadata_is_not_offered_until_it_is_signed_anew(peer, fleet, tmp_path, monkeypatch):
    monkeypatch.setattr("cloud.bundle_sender._LOOK_AGAIN_S", 0.2)
    expires_at_s = Registry.expires_at_s
    monkeypatch.setattr(Registry, "expires_at_s", lambda self: 1.0)
    fleet._store.add_rollout("tiny-1", percent=100, crafts=(), by="ann", now_s=1.0)
    until(lambda: state_of(fleet) is not None)
    state, reason = state_of(fleet)
    assert (state, "has expired" in reason) == ("not_now", True)
    monkeypatch.setattr(Registry, "expires_at_s", expires_at_s)
    assert peer.receive("BundleOffer")[0].bundle_id == "tiny-1"
    until(lambda: state_of(fleet) == ("offered", ""))


def test_refusal_that_passes_is_offered_again(peer, fleet, monkeypatch):
    monkeypatch.setattr("cloud.bundle_sender._AGAIN_S", 0.5)
    fleet.roll_out("tiny-1", by="ann")
    offer, _ = peer.receive("BundleOffer")
    peer.send(receipt(offer, "refused", reason=f"{NOT_NOW}free some space"))
    until(lambda: state_of(fleet) == ("not_now", "free some space"))
    assert peer.receive("BundleOffer")[0] == offer
    peer.send(receipt(offer, "refused", reason="of other bands"))
    until(lambda: state_of(fleet) == ("refused", "of other bands"))


def test_rollback_is_told_to_a_craft_that_comes_back_later(fleet, connect, keys_of, cloud):
    keys = keys_of("uav")
    rollout = fleet.roll_out("tiny-1", by="ann")
    peer = connect(keys)
    peer.join()
    offer, _ = peer.receive("BundleOffer")
    peer.send(receipt(offer, "in_force", bundle_id="tiny-1"))
    until(lambda: state_of(fleet) == ("in_force", ""))
    peer.close()
    fleet.roll_back(rollout.rollout_id, by="ann")
    peer = connect(keys)
    peer.join()
    back, _ = peer.receive("BundleOffer")
    assert (back.offer_id, back.action) == (rollout.rollout_id, "go_back")
    peer.send(receipt(back, "gone_back", reason="taken back by the cloud"))
    until(lambda: state_of(fleet) == ("taken_back", "taken back by the cloud"))


def test_word_about_no_rollout_is_counted_and_kept_by_nobody(peer, fleet, cloud):
    fake = type("Offer", (), {"offer_id": "none"})
    peer.send(receipt(fake, "in_force"))
    until(lambda: cloud.gateway.stats.bundles["in_force"] == 1)
    assert state_of(fleet) is None


def test_hostile_receipts_get_nothing_they_should_not(peer, fleet):
    fleet.roll_out("tiny-1", by="ann")
    offer, _ = peer.receive("BundleOffer")
    peer.send(receipt(offer, at=offer.archive_bytes, credit=10**6))
    peer.send(receipt(offer, at=offer.archive_bytes + 999, credit=10**6))
    peer.send(receipt(offer, part="metadata", at=60_000_000, credit=10**6))
    kinds = {peer.receive_any()[0].kind for _ in range(3)}
    assert kinds == {"Heartbeat"}
    assert fetch(peer, offer, "metadata", offer.metadata_bytes)
