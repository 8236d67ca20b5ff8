"""Publishing from the outbox on both databases: in order, once, and each site for itself."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest

from edgegate_sync.cloud import publisher
from edgegate_sync.cloud.database import Database
from edgegate_sync.cloud.feed import create_site
from edgegate_sync.cloud.publisher import Publish, Publisher
from edgegate_sync.wire.changes import decode_message
from rig.clouds import until

pytest_plugins = ("rig.cloud_fixtures",)

AWHILE_S = 0.5
"""For what must not happen."""


class Sent:
    """What was published, by site: from which number to which."""

    def __init__(self) -> None:
        self.by_site: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.stuck: set[str] = set()
        """The sites whose messages do not get through."""
        self.freed = asyncio.Event()

    def is_at(self, site: str, head: int) -> bool:
        return bool(self.by_site[site]) and self.by_site[site][-1][1] == head

    async def publish(self, topic: str, message: bytes) -> None:
        site = topic.split("/")[2]
        if site in self.stuck:
            await self.freed.wait()
        decoded = decode_message(message)
        self.by_site[site].append((decoded.prev, decoded.head))
        await asyncio.sleep(0)


@asynccontextmanager
async def publishing(database: Database, worker: str, publish: Publish) -> AsyncIterator[None]:
    task = asyncio.create_task(Publisher(database, worker).run(publish))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled(), task.exception()


async def add(database: Database, *sites: str) -> None:
    for site in sites:
        async with database.writing() as writing:
            await create_site(writing, site, "")


async def change(database: Database, site: str, name: str = "a") -> None:
    async with database.site(site) as transaction:
        await transaction.put("team", name, b"{}")


async def test_two_workers_publish_everything_in_order_once(database: Database) -> None:
    await add(database, "north")
    sent = Sent()
    found = sent.by_site["north"]
    async with (
        publishing(database, "second", sent.publish),
        publishing(database, "third", sent.publish),
    ):
        for number in range(10):
            await change(database, "north", str(number))
        await until(partial(sent.is_at, "north", 10))
    assert found[0][0] == 0
    assert all(one[1] == two[0] for one, two in pairwise(found))


async def test_a_site_that_is_slow_holds_up_no_other_and_keeps_its_order(
    database: Database,
) -> None:
    await add(database, "east", "north", "west")
    sent = Sent()
    sent.stuck = {"north"}
    async with publishing(database, "one", sent.publish):
        for number in range(4):
            # All of them again and again: a round does not end with its slowest.
            for site in ("east", "north", "west"):
                await change(database, site, str(number))
            for site in ("east", "west"):
                await until(partial(sent.is_at, site, number + 1))
        assert sent.by_site["north"] == []
        sent.freed.set()
        found = sent.by_site["north"]
        await until(partial(sent.is_at, "north", 4))
    assert found[0][0] == 0
    assert all(one[1] == two[0] for one, two in pairwise(found))


async def test_more_sites_than_are_published_at_once_all_have_their_turn(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "SITES_MAX", 2)
    names = [f"s{number}" for number in range(5)]
    await add(database, *names)
    sent = Sent()
    sent.stuck = {"s0"}
    for name in names:
        await change(database, name)
    async with publishing(database, "one", sent.publish):
        await until(lambda: len(sent.by_site) == 4)
        sent.freed.set()
        await until(lambda: len(sent.by_site) == 5)
    assert list(sent.by_site.values()) == [[(0, 1)]] * 5


async def test_a_worker_that_died_leaves_its_site_to_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(database, "north")
    await change(database, "north")
    dying = Publisher(database, "dying")
    sent = Sent()

    async def fail(_topic: str, _message: bytes) -> None:
        raise ConnectionError("gone")

    with pytest.RaisesGroup(ConnectionError):
        await dying.run(fail)
    async with publishing(database, "living", sent.publish):
        await asyncio.sleep(AWHILE_S)
    assert not sent.by_site
    monkeypatch.setattr(publisher, "LEASE", timedelta(seconds=-1))
    with pytest.RaisesGroup(ConnectionError):
        await dying.run(fail)
    async with publishing(database, "living", sent.publish):
        await until(lambda: bool(sent.by_site))
    assert sent.by_site["north"] == [(0, 1)]
