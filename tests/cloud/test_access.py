import pytest

from cloud.access import ZAP_DOMAIN, Access
from cloud.errors import StoreError
from cloud.store import CaseStore

KEY, STRANGER = "a" * 40, "b" * 40


class Ticking:
    """A clock on which a millisecond passes whenever it is looked at."""

    def __init__(self, step_s=0.001):
        self.step_s, self.now_s = step_s, 0.0

    def monotonic_s(self):
        self.now_s += self.step_s
        return self.now_s


@pytest.fixture
def access(store):
    return Access(store, Ticking())


@pytest.fixture
def store(tmp_path):
    store = CaseStore(tmp_path)
    store.enroll("alpha", KEY)
    yield store
    store.close()


def test_enrolled_key_is_its_craft_and_a_stranger_is_nobody(store, access):
    assert (access.craft_of(KEY), access.craft_of(STRANGER)) == ("alpha", None)


def test_keys_are_read_once_until_somebody_writes(store, access, monkeypatch):
    reads = []
    enrolled = store.enrolled
    monkeypatch.setattr(store, "enrolled", lambda: reads.append(1) or enrolled())
    for key in (KEY, STRANGER, KEY):
        access.craft_of(key)
    assert len(reads) == 1
    store.enroll("beta", STRANGER)
    assert (access.craft_of(STRANGER), access.craft_of(KEY)) == ("beta", "alpha")
    assert len(reads) == 2


def test_revoking_counts_at_once_also_from_another_process(store, access, tmp_path):
    assert access.craft_of(KEY) == "alpha"
    other = CaseStore(tmp_path)  # what `skyloop-cloud revoke` opens
    other.revoke("alpha")
    other.close()
    assert access.craft_of(KEY) is None


def test_store_is_asked_once_in_a_millisecond_and_at_each_handshake(store, monkeypatch):
    access, asked, version = Access(store, Ticking(0.0)), [], store.data_version
    monkeypatch.setattr(store, "data_version", lambda: asked.append(1) or version())
    assert [access.craft_of(KEY) for _ in range(5)] == ["alpha"] * 5
    assert len(asked) == 1
    store.revoke("alpha")
    assert not access.callback(ZAP_DOMAIN, KEY.encode())
    assert access.craft_of(KEY) is None


def test_strangers_cannot_fill_the_memory(store, access):
    for number in range(20):
        access.craft_of(f"{number:040}")
    assert list(access._crafts) == [KEY]


def test_callback_refuses_strangers_other_domains_and_a_broken_store(store, access, monkeypatch):
    assert access.callback(ZAP_DOMAIN, KEY.encode())
    assert not access.callback(ZAP_DOMAIN, STRANGER.encode())
    assert not access.callback("*", KEY.encode())

    def broken():
        raise StoreError("disk gone")

    monkeypatch.setattr(store, "data_version", broken)
    assert not access.callback(ZAP_DOMAIN, KEY.encode())
