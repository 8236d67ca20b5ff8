"""A device's ledger without its doors: a real store on its own thread, as the exchange meets it."""

import asyncio
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgegate.passes.happenings import Debited, Happening
from edgegate.ports import ClockTrust, DeviceAbsentError
from edgegate.store import cache, ledger
from edgegate.store.books import Books
from edgegate.store.chain import Entry
from edgegate.store.connections import connect_read_only
from edgegate.store.files import Store
from edgegate.store.ledger import Draft, EntryType, Stamp
from edgegate.store.projection import rebuild
from edgegate.store.thread import DatabaseThread
from edgegate_sync.appliance.commands import ActRefusedError, UnsupportedError

SITE = "mill"
AT = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


class StillClock:
    """A clock that a test moves."""

    def __init__(self, at: datetime = AT, trust: ClockTrust = ClockTrust.TRUSTED) -> None:
        self.at = at
        self.trusted = trust

    def now(self) -> datetime:
        return self.at

    def trust(self) -> ClockTrust:
        return self.trusted


class Device:
    """One device's store, open while the context lasts."""

    def __init__(self, directory: Path, name: str = "front") -> None:
        self.name = name
        self.state_dir = directory / name
        self.ledger = self.state_dir / "ledger.db"
        self.stamp = Stamp(
            source=f"edgegate/{SITE}/{name}",
            clock=ClockTrust.TRUSTED,
            boot_id="b0071d",
            monotonic_s=1.0,
        )
        self.faults: list[BaseException] = []
        self.thread: DatabaseThread[Store] = DatabaseThread(self.faults.append)
        self.books: Books

    async def __aenter__(self) -> Self:
        store = await self.thread.start(partial(Store.open, self.state_dir, rebuild=rebuild))
        self.books = Books(store, lambda: self.stamp)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.thread.close()
        assert self.faults == []

    async def report(self, count: int = 1, note: str = "") -> None:
        """Record so many entries of a door."""
        drafts = [
            Draft(type=EntryType.DOOR_OPENED, at=AT, subject="door/front", data={"n": n, "x": note})
            for n in range(count)
        ]
        await self.thread.run(
            lambda store: ledger.append(store.ledger, drafts, self.stamp) and None
        )

    async def happen(self, *happenings: Happening) -> None:
        """Record what the line would."""
        await self.thread.run(lambda _: self.books.record(happenings, AT))

    async def put(self, *records: Any) -> None:
        """Put records into the cache, as the feed would."""
        kinds = {kind.type: kind for kind in cache.KINDS.values()}

        def work(store: Store) -> None:
            for record in records:
                cache.put(store.cache, kinds[type(record)], record)

        await self.thread.run_cache(work)

    async def remaining(self, passes: Iterable[Any]) -> dict[str, int]:
        """What the line would find left of passes."""
        return await self.thread.run(lambda _: self.books.remaining(passes))

    async def entries(self) -> list[Entry]:
        """All entries, read beside the thread."""
        return await asyncio.to_thread(self._entries)

    def _entries(self) -> list[Entry]:
        with closing(connect_read_only(self.ledger)) as connection:
            return list(ledger.entries(connection))


def debit(pass_id: str, session: str, amount: int = 1) -> Debited:
    """A use of a pass, which covers nothing."""
    return Debited(
        pass_=pass_id,
        customer="ana",
        location="mill",
        session=session,
        amount=amount,
        day=AT.date(),
        from_=AT,
    )


class Hands:
    """Acts with a history; a door that is not there is refused, one that is broken fails."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    async def unlock(self, door: str, for_s: float | None) -> str:
        if door == "absent":
            raise ActRefusedError("there is no door absent")
        if door == "broken":
            raise DeviceAbsentError("the strike is gone")
        if door == "poison":
            raise ZeroDivisionError
        self.done.append(("unlock", door, for_s))
        return f"{door} is open"

    async def lockdown(self, doors: tuple[str, ...]) -> str:
        self.done.append(("lockdown", doors))
        return "locked"

    async def release(self, doors: tuple[str, ...]) -> str:
        self.done.append(("release", doors))
        return "released"

    async def _did(self, name: str) -> str:
        self.done.append((name,))
        return name

    async def pull(self) -> str:
        return await self._did("pull")

    async def identify(self) -> str:
        return await self._did("identify")

    async def self_test(self) -> str:
        return await self._did("self_test")

    async def logs(self) -> str:
        return await self._did("logs")

    async def reload(self) -> str:
        return await self._did("reload")

    async def reboot(self) -> str:
        raise UnsupportedError("reboot")

    async def update(self) -> str:
        raise UnsupportedError("update")
