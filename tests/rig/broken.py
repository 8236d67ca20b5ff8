"""Appliances and clouds that break a promise, to see that the campaign finds out."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from edgegate.store import books, cache, sync_state
from edgegate.store.chain import Entry
from edgegate_sync.appliance import feed, resend
from edgegate_sync.appliance.upload import Uploader
from edgegate_sync.cloud import app, balances, ingest
from edgegate_sync.cloud.server import Asked, answer
from edgegate_sync.wire.events import LedgerAnswer, decode_batch


def move_cursor_first() -> None:
    """A device that moves its cursor before the cloud has answered."""
    uploader: Any = Uploader
    send = uploader._send

    async def hasty(self: Any, cursor: Any, entries: Any) -> Any:
        last = sync_state.Place(entries[-1].epoch, entries[-1].sequence)
        await self._thread.run(lambda store: sync_state.set_uploaded(store.ledger, last))
        return await send(self, cursor, entries)

    uploader._send = hasty


def move_head_first() -> None:
    """A device that moves the feed's head before it has applied the changes."""
    feeds: Any = feed.Feed
    apply_all = feeds._apply_all

    async def hasty(self: Any, batches: Any) -> Any:
        held = list(batches)
        if held:
            await self._thread.run_cache(lambda s: cache.set_head(s.cache, held[-1].head))
            await asyncio.sleep(0.3)
        return await apply_all(self, iter(held))

    feeds._apply_all = hasty


def push_over_gaps() -> None:
    """A device that takes a message of the feed for the next one, whatever was lost before it."""
    feeds: Any = feed.Feed
    apply_push = feeds.apply_push

    async def trusting(self: Any, message: Any) -> Any:
        prev = min(message.prev, self.head)
        return await apply_push(self, msgspec.structs.replace(message, prev=prev))

    feeds.apply_push = trusting


def forget_own_counted() -> None:
    """A device that subtracts its own debits although the balance counts them already."""
    module: Any = books
    module._is_counted = lambda *_: False


def keep_what_is_lost() -> None:
    """A device that has sent what it has sent, whatever the cloud still has of it."""
    module: Any = resend
    module.first_missing = lambda *_: None


def count_twice() -> None:
    """A cloud that takes in again what it has: every batch that comes twice counts twice."""

    async def count(tx: Any, device: str, taken: Any, touched: Any, now_us: int) -> Any:
        done = await counted(tx, device, taken, touched, now_us)
        amounts: Counter[str] = Counter()
        for one in taken.repeated:
            happening = one.happening
            if hasattr(happening, "amount") and hasattr(happening, "pass_"):
                amounts[happening.pass_] -= happening.amount
        if amounts:
            lines = balances.Books(tx)
            await lines.open(amounts)
            lines.move(amounts)
            await lines.write()
        return done

    module: Any = ingest
    counted = module._count
    module._count = count


def lose_what_dies() -> None:
    """A cloud that says that it counted before it has: entries are committed apart, later."""
    handler = app.HANDLERS["send_ledger"]

    async def hasty(asked: Asked) -> Any:
        if random.random() < 0.1:
            last = [e for e in decode_batch(asked.raw) if isinstance(e, Entry)][-1]
            return answer(
                LedgerAnswer(epoch=last.epoch, counted=last.sequence, head_hash=last.hash.hex())
            )
        return await handler(asked)

    app.HANDLERS["send_ledger"] = hasty


OVER_GAPS = "device pushes over gaps"

DEVICES: dict[str, Callable[[], None]] = {
    "device moves cursor first": move_cursor_first,
    "device moves head first": move_head_first,
    OVER_GAPS: push_over_gaps,
    "device counts twice": forget_own_counted,
    "device sends nothing again": keep_what_is_lost,
}

CLOUDS: dict[str, Callable[[], None]] = {
    "cloud counts twice": count_twice,
    "cloud answers first": lose_what_dies,
}
