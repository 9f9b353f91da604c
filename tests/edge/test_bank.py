import pytest

from edge.bank import FILE_NAME, BankStore
from edge.errors import BankError
from protocols import BankChange, MessageError, diff_banks


def test_bank_survives_reopening(tmp_path, make_bank):
    bank = make_bank()
    assert BankStore(tmp_path).apply(diff_banks(None, bank)) == bank
    assert BankStore(tmp_path).current == bank


def test_delta_is_applied_on_its_base(tmp_path, make_bank):
    store, first, second = BankStore(tmp_path), make_bank(1), make_bank(2, ("debris", "bicycle"))
    store.apply(diff_banks(None, first))
    store.apply(diff_banks(first, second))
    assert BankStore(tmp_path).current == second


def test_same_change_again_does_nothing(tmp_path, make_bank):
    store, first, second = BankStore(tmp_path), make_bank(1), make_bank(2, ("bicycle",))
    store.apply(diff_banks(None, first))
    for _ in range(2):
        assert store.apply(diff_banks(first, second)) == second


def test_delta_from_another_base_leaves_the_bank(tmp_path, make_bank):
    store, first, second = BankStore(tmp_path), make_bank(1), make_bank(2, ("bicycle",))
    empty = store.current
    with pytest.raises(MessageError, match="snapshot"):
        store.apply(diff_banks(first, second))
    assert store.current is empty


def test_change_with_wrong_digest_leaves_the_bank(tmp_path, make_bank):
    store, bank = BankStore(tmp_path), make_bank()
    change = BankChange(base=None, target=bank.ref.model_copy(update={"digest": "0" * 64}), upserts=bank.prompts)
    with pytest.raises(MessageError, match="digest"):
        store.apply(change)
    assert not store.current.prompts


def test_replayed_revision_is_refused_and_leaves_the_bank(tmp_path, make_bank):
    store, first, second = BankStore(tmp_path), make_bank(1), make_bank(2, ("bicycle",))
    store.apply(diff_banks(None, first))
    store.apply(diff_banks(first, second))
    with pytest.raises(MessageError, match="revision 1 but 2 of this epoch is held: an old update") as caught:
        store.apply(diff_banks(None, first))
    assert caught.value.code == "bank_mismatch"
    assert BankStore(tmp_path).current == store.current == second
    anew = make_bank(0, epoch="e2")
    assert store.apply(diff_banks(None, anew)) == anew


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:-7], id="cut"),
        pytest.param(lambda data: data[:50] + b"\xff" + data[51:], id="flipped"),
        pytest.param(lambda data: b"\x00" * 4096, id="zeros"),
    ],
)
def test_damaged_file_is_set_aside_and_the_bank_begins_empty(tmp_path, make_bank, damage):
    BankStore(tmp_path).apply(diff_banks(None, make_bank()))
    path = tmp_path / FILE_NAME
    path.write_bytes(damage(path.read_bytes()))
    store = BankStore(tmp_path)
    assert (store.set_aside, store.current.prompts) == (1, ())
    assert path.with_suffix(".corrupt").exists()
    store.apply(diff_banks(None, make_bank()))
    assert BankStore(tmp_path).set_aside == 0


def test_full_disk_keeps_the_old_bank_in_force_and_on_disk(tmp_path, make_bank, files_at_most):
    store, first, second = BankStore(tmp_path), make_bank(1), make_bank(2, ("bicycle",))
    store.apply(diff_banks(None, first))
    with files_at_most(64), pytest.raises(BankError, match="free some space"):
        store.apply(diff_banks(first, second))
    assert store.current == first
    assert BankStore(tmp_path).current == first
    assert store.apply(diff_banks(first, second)) == second
