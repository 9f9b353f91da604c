import asyncio

import pytest

from cloud.errors import StoreError
from cloud.news import News


class Store:
    """Counts what it is asked."""

    def __init__(self):
        self.version, self.reads, self.tokens = 1, 0, {"alpha": (1, 0, 0, 0)}

    def data_version(self):
        return self.version

    def news(self):
        self.reads += 1
        return dict(self.tokens)


class Clock:
    now_s = 0.0

    def monotonic_s(self):
        return self.now_s


async def ask(call):
    await asyncio.sleep(0)
    return call()


@pytest.fixture
def desk():
    store, clock = Store(), Clock()
    return store, clock, News(store, ask, clock, fresh_s=0.25)


def test_a_thousand_sessions_ask_the_store_once(desk):
    store, _, news = desk

    async def ask_often():
        return await asyncio.gather(*(news.of("alpha") for _ in range(1000)))

    assert set(asyncio.run(ask_often())) == {(1, 0, 0, 0)}
    assert store.reads == 1


def test_what_is_new_is_seen_once_the_answer_is_old_and_somebody_wrote(desk):
    store, clock, news = desk

    async def follow():
        seen = [await news.of("alpha")]
        store.tokens["alpha"] = (2, 0, 0, 0)
        store.version = 2
        seen.append(await news.of("alpha"))
        clock.now_s = 0.3
        seen += [await news.of("alpha"), await news.of("beta")]
        clock.now_s = 0.6  # nobody wrote: the store is not read again
        await news.of("alpha")
        return seen

    assert asyncio.run(follow()) == [(1, 0, 0, 0), (1, 0, 0, 0), (2, 0, 0, 0), None]
    assert store.reads == 2


def test_a_store_that_fails_is_asked_again(desk, monkeypatch):
    store, _, news = desk

    def broken():
        raise StoreError("disk gone")

    async def follow():
        with monkeypatch.context() as patch:
            patch.setattr(store, "news", broken)
            with pytest.raises(StoreError):
                await news.of("alpha")
        return await news.of("alpha")

    assert asyncio.run(follow()) == (1, 0, 0, 0)
