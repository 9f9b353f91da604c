import pytest

from cloud.access import ZAP_DOMAIN, Access
from cloud.errors import StoreError
from cloud.store import CaseStore

KEY, STRANGER = "a" * 40, "b" * 40


@pytest.fixture
def store(tmp_path):
    store = CaseStore(tmp_path)
    store.enroll("alpha", KEY)
    yield store
    store.close()


def test_enrolled_key_is_its_craft_and_a_stranger_is_nobody(store):
    access = Access(store)
    assert (access.craft_of(KEY), access.craft_of(STRANGER)) == ("alpha", None)


def test_keys_are_read_once_until_somebody_writes(store, monkeypatch):
    access, reads = Access(store), []
    enrolled = store.enrolled
    monkeypatch.setattr(store, "enrolled", lambda: reads.append(1) or enrolled())
    for key in (KEY, STRANGER, KEY):
        access.craft_of(key)
    assert len(reads) == 1
    store.enroll("beta", STRANGER)
    assert (access.craft_of(STRANGER), access.craft_of(KEY)) == ("beta", "alpha")
    assert len(reads) == 2


def test_revoking_counts_at_once_also_from_another_process(store, tmp_path):
    access = Access(store)
    assert access.craft_of(KEY) == "alpha"
    other = CaseStore(tmp_path)  # what `skyloop-cloud revoke` opens
    other.revoke("alpha")
    other.close()
    assert access.craft_of(KEY) is None


def test_strangers_cannot_fill_the_memory(store):
    access = Access(store)
    for number in range(20):
        access.craft_of(f"{number:040}")
    assert list(access._crafts) == [KEY]


def test_callback_refuses_strangers_other_domains_and_a_broken_store(store, monkeypatch):
    access = Access(store)
    assert access.callback(ZAP_DOMAIN, KEY.encode())
    assert not access.callback(ZAP_DOMAIN, STRANGER.encode())
    assert not access.callback("*", KEY.encode())

    def broken():
        raise StoreError("disk gone")

    monkeypatch.setattr(store, "data_version", broken)
    assert not access.callback(ZAP_DOMAIN, KEY.encode())
