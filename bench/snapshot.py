"""What a snapshot costs: its apply beside a bare executemany, its memory, and the taps meanwhile.

The cloud is a server that streams a feed that was written before; the appliance (`fed.py`) is a
process of its own with an older cache of the same size, tapped all the while. The bare executemany
puts the same rows into the same tables with the same indexes, and does nothing else.
"""

import argparse
import asyncio
import gzip
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from bench import world
from bench.fed import Measured
from bench.report import Bar, Figure, print_json, print_rows, print_table, quantile
from edgegate.store import cache
from edgegate.store.cache_file import PAGE_CACHE_KIB
from edgegate.store.connections import connect
from edgegate.store.migrations import migrate
from edgegate_sync.appliance.snapshot import NICENESS
from edgegate_sync.wire.changes import FEED_TYPE, Change, Op, Trailer, encode_line

DOORS = 1
SUBJECT_S_MAX = 600.0
ROUNDS = 3
"""Of the bare executemany: the middle one counts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    customers: int
    idle_taps: int


FULL = Plan(customers=100_000, idle_taps=300)
QUICK = Plan(customers=20_000, idle_taps=50)


def rows_of(state: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a world's cache, by table."""
    with closing(connect(state / "cache.db", "NORMAL", PAGE_CACHE_KIB)) as connection:
        return {
            name: connection.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608 - own names
            for name in cache.KINDS
        }


def write_feed(rows: dict[str, list[tuple[Any, ...]]], file: Path) -> int:
    """Write the rows as a packed answer of the feed; how many there are."""
    seq = 0
    with gzip.open(file, "wb", compresslevel=6) as feed:
        for name, of_kind in rows.items():
            for id_, *_, body in of_kind:
                seq += 1
                change = Change(seq=seq, kind=name, id=id_, op=Op.PUT, body=msgspec.Raw(body))
                feed.write(encode_line(change))
        feed.write(encode_line(Trailer(head=seq)))
    return seq


def bare_beside_s(rows: dict[str, list[tuple[Any, ...]]], file: Path) -> float:
    """The same in a process that stands back as far as the one that builds the snapshot.

    So what else the machine does meets both.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.nice(NICENESS)
        os.write(theirs, str(bare_s(rows, file)).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as told:
        took = told.read()
    os.waitpid(child, 0)
    return float(took)


def bare_s(rows: dict[str, list[tuple[Any, ...]]], file: Path) -> float:
    """The seconds that a bare executemany of the rows takes."""
    with closing(connect(file, "NORMAL", PAGE_CACHE_KIB)) as connection:
        migrate(connection, "cache")
        begun_s = time.monotonic()
        connection.execute("BEGIN IMMEDIATE")
        for name, of_kind in rows.items():
            if of_kind:
                marks = ", ".join("?" * len(of_kind[0]))
                connection.executemany(f"INSERT INTO {name} VALUES ({marks})", of_kind)  # noqa: S608 - own names
        connection.execute("COMMIT")
        took_s = time.monotonic() - begun_s
    for left in file.parent.glob(f"{file.name}*"):
        left.unlink()
    return took_s


@contextmanager
def serving(feed: Path) -> Iterator[str]:
    """A cloud that answers every pull with that file, on a thread of its own."""
    loop = asyncio.new_event_loop()

    async def answer(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(
            feed, headers={"Content-Type": FEED_TYPE, "Content-Encoding": "gzip"}
        )

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/v1/feed", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def measure(plan: Plan, directory: Path) -> tuple[Measured, float, int]:
    """Measure the appliance and the seconds of the bare executemany; and of how many rows."""
    key = secrets.token_bytes(32)
    state = directory / "state"
    world.build(state, key, plan.customers, DOORS)
    rows = rows_of(state)
    feed = directory / "feed.gz"
    changes = write_feed(rows, feed)
    bare = [bare_beside_s(rows, directory / "bare.db") for _ in range(ROUNDS - 1)]
    with serving(feed) as url:
        arguments = (str(state), key.hex(), str(plan.customers), url, str(plan.idle_taps))
        told = subprocess.run(
            [sys.executable, "-m", "bench.fed", *arguments],
            check=True,
            stdout=subprocess.PIPE,
            timeout=SUBJECT_S_MAX,
        )
    bare.append(bare_beside_s(rows, directory / "bare.db"))
    return Measured(**json.loads(told.stdout)), sorted(bare)[ROUNDS // 2], changes


def figures_of(measured: Measured, bare: float) -> list[Figure]:
    """The figures and their bars."""
    grown = measured.peak_mib - measured.idle_mib
    idle_p99 = quantile(measured.idle_taps_s, 0.99) * 1000
    return [
        Figure(
            "snapshot_vs_executemany",
            measured.apply_s / bare,
            "",
            f"{bare:.2f} s, a bare executemany of the same rows",
            Bar("<=", 2.5),
        ),
        Figure(
            "snapshot_extra_mib",
            grown + measured.builder_mib,
            "MiB",
            f"{measured.idle_mib:.0f} MiB, the appliance's when idle",
            Bar("<=", 30),
        ),
        Figure(
            "tap_p99_ms_meanwhile",
            quantile(measured.taps_s, 0.99) * 1000,
            "ms",
            f"{idle_p99:.1f} ms, when nothing else happens",
            Bar("<=", 20),
        ),
    ]


def print_details(plan: Plan, measured: Measured, changes: int) -> None:
    """Print what the figures are made of."""
    print(f"{plan.customers:,} customers, {changes:,} records")
    download_s = measured.pull_s - measured.apply_s
    rows = [
        ("receive, s", f"{download_s:.2f}"),
        ("build beside, s", f"{measured.build_s:.2f}"),
        ("swap and look at all visits, s", f"{measured.apply_s - measured.build_s:.2f}"),
        ("open visits", f"{measured.visits}"),
        ("appliance grew by, MiB", f"{measured.peak_mib - measured.idle_mib:.1f}"),
        ("the process that builds, MiB", f"{measured.builder_mib:.1f}"),
    ]
    print_rows("snapshot", ("of", "value"), rows)
    taps = [
        (
            name,
            f"{quantile(seen, 0.5) * 1000:.2f}",
            f"{quantile(seen, 0.99) * 1000:.2f}",
            f"{max(seen) * 1000:.2f}",
            f"{len(seen)}",
        )
        for name, seen in (("idle", measured.idle_taps_s), ("meanwhile", measured.taps_s))
    ]
    print_rows("taps", ("when", "median ms", "p99 ms", "worst ms", "taps"), taps)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a smaller world")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    # Not /tmp, which may lie in memory, where a commit costs nothing.
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as directory:
        measured, bare, changes = measure(plan, Path(directory))
    figures = figures_of(measured, bare)
    if arguments.json:
        print_json("snapshot", figures)
    else:
        print_details(plan, measured, changes)
        print_table("snapshot", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
