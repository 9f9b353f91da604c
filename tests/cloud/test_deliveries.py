"""Receipts for answers are noted together, and once more where the store refused them."""

import asyncio

from cloud.deliveries import Deliveries
from cloud.errors import StoreError


class Shelf:
    def __init__(self, failures=0):
        self.groups, self.failures = [], failures

    def mark_all_delivered(self, receipts):
        if self.failures:
            self.failures -= 1
            raise StoreError("disk full")
        self.groups.append(list(receipts))


async def ask(call, *args):
    return call(*args)


def deliver(shelf, count):
    noted = []

    async def run():
        deliveries = Deliveries(shelf)
        for number in range(count):
            deliveries.add(("uav", str(number), "teacher", 1.0), lambda: noted.append(1))
        task = asyncio.create_task(deliveries.run(ask))
        while len(noted) < count:
            await asyncio.sleep(0.001)
        deliveries.close()
        await task

    asyncio.run(asyncio.wait_for(run(), 20))


def test_receipts_that_wait_share_one_transaction():
    shelf = Shelf()
    deliver(shelf, 5)
    assert [len(group) for group in shelf.groups] == [5]


def test_receipts_that_the_store_refused_are_noted_later(monkeypatch):
    monkeypatch.setattr("cloud.deliveries._RETRY_S", 0.01)
    shelf = Shelf(failures=2)
    deliver(shelf, 3)
    assert [len(group) for group in shelf.groups] == [3]


def test_receipts_that_cannot_be_noted_do_not_keep_the_server_from_stopping():
    async def run():
        deliveries = Deliveries(Shelf(failures=99))
        deliveries.add(("uav", "1", "teacher", 1.0), lambda: None)
        deliveries.close()
        await deliveries.run(ask)

    asyncio.run(asyncio.wait_for(run(), 20))
