import asyncio

import pytest
from builders import make_case

from cloud.errors import StoreError
from cloud.uploads import GroupCommit, Uploads
from edge.clock import SystemClock
from protocols import MessageError
from protocols.limits import MAX_CASE_BYTES


@pytest.fixture
def uploads():
    return Uploads(SystemClock(), max_bytes=MAX_CASE_BYTES, max_per_craft=2, max_craft_bytes=1000)


def test_upload_is_resumed_and_belongs_to_its_craft(uploads):
    case = make_case(b"imagery")
    uploads.add(uploads.open("alpha", case), 0, b"ima")
    assert uploads.open("alpha", case).parts.next_offset == 3
    assert uploads.open("beta", case).parts.next_offset == 0
    assert uploads.find("gamma", case.case_id) is None


def test_other_bytes_under_the_same_id_are_a_conflict(uploads):
    case = make_case(b"imagery")
    uploads.open("alpha", case)
    with pytest.raises(MessageError) as caught:
        uploads.open("alpha", case.model_copy(update={"payload_sha256": "0" * 64}))
    assert caught.value.code == "case_conflict"


def test_oldest_upload_of_a_craft_makes_room_for_its_third(uploads):
    first, second, third = (uploads.open("alpha", make_case(b"imagery")) for _ in range(3))
    found = [uploads.find("alpha", upload.case.case_id) for upload in (first, second, third)]
    assert found == [None, second, third]


def test_memory_is_bounded_and_the_longest_untouched_gives_way(uploads):
    big = MAX_CASE_BYTES * b"x"
    first, second = (uploads.open(craft, make_case(big)) for craft in ("alpha", "beta"))
    uploads.add(first, 0, big[: MAX_CASE_BYTES // 2])
    uploads.add(second, 0, big[: MAX_CASE_BYTES // 2 + 1])
    assert uploads.find("alpha", first.case.case_id) is None
    assert second.parts.next_offset == MAX_CASE_BYTES // 2 + 1


def test_cases_of_a_craft_are_bounded_by_what_they_announce_and_those_for_the_disk_stay(uploads):
    first, second = (uploads.open("alpha", make_case(bytes(400))) for _ in range(2))
    uploads.remove(first)
    third = uploads.open("alpha", make_case(bytes(700)))
    assert [uploads.find("alpha", upload.case.case_id) for upload in (second, third)] == [None, third]
    third.verdict = "the disk has it"
    with pytest.raises(MessageError) as caught:
        uploads.open("alpha", make_case(bytes(400)))
    assert caught.value.code == "busy"


def test_bytes_dropped_for_their_digest_leave_room(uploads):
    big = MAX_CASE_BYTES * b"x"
    wrong = uploads.open("alpha", make_case(big).model_copy(update={"payload_sha256": "0" * 64}))
    uploads.add(wrong, 0, big)
    with pytest.raises(MessageError, match="send again"):
        uploads.finish(wrong)
    other = uploads.open("beta", make_case(big))
    uploads.add(other, 0, big)
    assert uploads.find("alpha", wrong.case.case_id) is wrong


class SlowStore:
    """Records the groups it is given; refuses them all while `is_full`."""

    def __init__(self):
        self.groups, self.is_full = [], False

    def add_cases(self, items):
        self.groups.append([case.case_id for _, case, _ in items])
        if self.is_full:
            raise StoreError("disk full")
        return ["stored"] * len(items)


def test_cases_that_wait_share_one_transaction():
    async def scenario():
        store, signals = SlowStore(), []
        commits = GroupCommit(store, lambda cases: signals.append(len(cases)))
        verdicts = [commits.add("alpha", make_case(b"imagery"), b"imagery") for _ in range(5)]
        commits.close()
        await commits.run()
        assert [verdict.result() for verdict in verdicts] == ["stored"] * 5
        assert (len(store.groups), len(signals)) == (1, 1)

    asyncio.run(scenario())


def test_store_error_reaches_everyone_and_the_next_group_is_tried():
    async def scenario():
        store = SlowStore()
        store.is_full = True
        commits = GroupCommit(store, lambda cases: None)
        task = asyncio.create_task(commits.run())
        with pytest.raises(StoreError, match="disk full"):
            await commits.add("alpha", make_case(b"imagery"), b"imagery")
        store.is_full = False
        assert await commits.add("alpha", make_case(b"imagery"), b"imagery") == "stored"
        commits.close()
        await task

    asyncio.run(scenario())
