"""A worker of the reference cloud that fails when it is told to, by words on its standard input.

Words: `die` kills it (SIGKILL) in the midst of its next transaction of records or entries, `die
after` once the next batch of entries is committed and before anybody is told so; `fail N` and `fail
after N` let the next N requests end in 500, before or after their work is done; `break N` lets so
many answers of the feed break off after some lines, and `stop N` end there as if that were all;
`calm` takes it all back, and `account` writes into the log what it waits for. For tests, as a
process: see `rig.sites`.
"""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edgegate_sync.cancelling import unfinished
from edgegate_sync.cloud import app, feed_api
from edgegate_sync.cloud.broker import BrokerAddress
from edgegate_sync.cloud.cloud import Cloud, Settings
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.limits import Limiter, Rate
from edgegate_sync.cloud.server import Asked, Handler
from edgegate_sync.wire.changes import Trailer
from edgegate_sync.wire.enrolment import Broker
from rig.broken import CLOUDS

PLENTY = Rate(burst=1_000_000, per_s=1_000_000)
FAILING = frozenset({"pull_feed", "send_ledger", "ask_ledger", "put_state"})


_stopped: ContextVar[bool] = ContextVar("stopped", default=False)
"""Whether the answer of this request has been told to stop."""


class Plan(Struct, frozen=True, kw_only=True):
    """How the worker is run; the one argument, as JSON."""

    database: str
    key_file: str
    broker: str = "localhost"
    broker_port: int = 0
    broker_ca: str = ""
    certificate: str = ""
    key: str = ""
    security: bool = False
    mutant: str = ""


class Failing:
    """What is to fail, and how often yet."""

    def __init__(self) -> None:
        self.due: Counter[str] = Counter()

    def hear(self) -> None:
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        *words, last = line.split()
        if last == "calm":
            self.due.clear()
        elif last == "account":
            print(unfinished(), file=sys.stderr, flush=True)
        elif last.isdigit():
            self.due[" ".join(words)] += int(last)
        else:
            self.due[" ".join((*words, last))] += 1

    def take(self, word: str) -> bool:
        if self.due[word] <= 0:
            return False
        self.due[word] -= 1
        return True

    def die(self, word: str) -> None:
        if self.take(word):
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Put the failures where they belong."""
        self._die_in_transactions()
        for name in FAILING:
            app.HANDLERS[name] = self._failing(app.HANDLERS[name], name)
        feed: Any = feed_api
        feed.changes = self._breaking(feed.changes)
        feed.encode_line = self._silent(feed.encode_line)

    def _die_in_transactions(self) -> None:
        transactions: Any = Transaction
        flush = transactions.flush

        async def flush_and_die(transaction: Transaction) -> None:
            await flush(transaction)
            self.die("die")

        # Everything is written then, and nothing committed.
        transactions.flush = flush_and_die

    def _failing(self, handler: Handler, name: str) -> Handler:
        @wraps(handler)
        async def failing(asked: Asked) -> Any:
            if self.take("fail"):
                raise RuntimeError("it was told to fail")
            done = await handler(asked)
            if name == "send_ledger":
                self.die("die after")
            if name != "pull_feed" and self.take("fail after"):
                raise RuntimeError("it was told to fail afterwards")
            return done

        return failing

    def _breaking(self, changes: Callable[..., AsyncGenerator[Any, None]]) -> Any:
        async def breaking(*args: Any, **more: Any) -> AsyncGenerator[Any, None]:
            async for rows in changes(*args, **more):
                if self.take("break"):
                    yield rows[: len(rows) // 2]
                    raise RuntimeError("it was told to break off")
                if self.take("stop"):
                    yield rows[: len(rows) // 2]
                    _stopped.set(True)
                    return
                yield rows

        return breaking

    def _silent(self, encode_line: Callable[[Any], bytes]) -> Any:
        def silent(line: Any) -> bytes:
            return b"" if isinstance(line, Trailer) and _stopped.get() else encode_line(line)

        return silent


def settings_of(plan: Plan) -> Settings:
    settings = Settings(database=plan.database, key_file=Path(plan.key_file), migrate=False)
    if not plan.broker_port:
        return settings
    address = BrokerAddress(host=plan.broker, port=plan.broker_port, security=plan.security)
    return msgspec.structs.replace(
        settings,
        broker=address,
        broker_ca=Path(plan.broker_ca),
        broker_certificate=Path(plan.certificate),
        broker_key=Path(plan.key),
        broker_told=Broker(host=plan.broker, port=plan.broker_port),
    )


def be_patient(cloud: Cloud) -> None:
    """A whole campaign comes from one address in seconds."""
    for name in ("enrol", "unknown", "admin", "device"):
        setattr(cloud.limits, name, Limiter(PLENTY))


async def main() -> None:
    """Serve until killed, or until the standard input ends."""
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    if plan.mutant in CLOUDS:
        CLOUDS[plan.mutant]()
    failing = Failing()
    failing.install()
    asyncio.get_running_loop().add_reader(sys.stdin, failing.hear)
    clouds: Any = Cloud
    set_up_tls = clouds.set_up_tls

    async def patient(cloud: Cloud) -> Any:
        be_patient(cloud)
        return await set_up_tls(cloud)

    clouds.set_up_tls = patient

    def say(text: str) -> None:
        print(text, flush=True)

    await app.serve(settings_of(plan), "127.0.0.1", 0, say)


if __name__ == "__main__":
    asyncio.run(main())
