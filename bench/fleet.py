"""A fleet at once: how soon each device has a change, and what it costs to take in its ledgers.

Devices (`fleet_devices.py`, thin, but true to the protocol) meet workers of the cloud, a mosquitto
with mutual TLS and dynamic security, and PostgreSQL, all of them processes of their own. The same
ledgers are sent to one worker and to two, which have to come to the same totals; beside them stands
a bare COPY of the same rows into the same PostgreSQL.
"""

import argparse
import asyncio
import hashlib
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from aiohttp import ClientSession, TCPConnector

from bench import fleet_ledger
from bench.fleet_rig import Rig, Run, Sites, cpu_s, sites_of
from bench.report import Bar, Figure, print_json, print_rows, print_table, quantile
from edgegate.passes.model import Customer

DESKS = 8
"""How many changes are asked for at once."""

PAUSE_S = 1.0
"""Between two rounds of changes."""

DRAIN_S = 0.5
"""After the last answer: what was committed is on its way still."""

BATCH, BATCH_SMALL = 500, 100
"""Entries: what a device sends that was away, and less."""

STARVED = 0.5
"""A part that is the limit and busy for less of the time is kept from a processor by others."""

COPIES = 10
"""How often the rows are copied: the system counts processor time in hundredths of a second."""

TABLES = ("ledger_entry", "movement", "visit")
"""Where entries leave rows of their own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    devices: int
    per_site: int
    processes: int
    rounds: int
    senders: int
    """Of the devices, who send batches of `BATCH` entries; `senders_small` send small ones."""
    senders_small: int
    entries: int
    """Of each sender."""


FULL = Plan(
    devices=1000,
    per_site=10,
    processes=2,
    rounds=3,
    senders=60,
    senders_small=20,
    entries=500,
)
QUICK = Plan(
    devices=40, per_site=10, processes=2, rounds=3, senders=12, senders_small=4, entries=500
)


@dataclass
class Cost:
    """What some time took: in seconds of the wall, and of processors by who used them."""

    wall_s: float = 0.0
    of: dict[str, float] = field(default_factory=dict)

    def share(self, who: str) -> float:
        """How many processors it kept busy."""
        return self.of[who] / self.wall_s

    @property
    def cloud_s(self) -> float:
        """Of the workers and PostgreSQL."""
        return self.of["workers"] + self.of["postgresql"]


@dataclass
class Ingested:
    """What came of sending ledgers."""

    size: int
    workers: int
    entries: int
    cost: Cost

    def per_1000(self, *who: str) -> float:
        """Processor seconds for 1,000 entries."""
        return sum(self.cost.of[one] for one in who) / self.entries * 1000


@dataclass
class Results:
    """All that was measured."""

    latencies_s: list[float] = field(default_factory=list)
    pushing: Cost = field(default_factory=Cost)
    joining: Cost = field(default_factory=Cost)
    pulls: int = 0
    ingested: list[Ingested] = field(default_factory=list)
    copied: dict[str, float] = field(default_factory=dict)
    """Processor seconds of a bare COPY, by side."""
    copied_entries: int = 0
    totals: dict[int, str] = field(default_factory=dict)
    """By number of workers, a hash of all that the books say."""
    load: tuple[float, float] = (0.0, 0.0)
    """Of the machine, before and after."""

    def one(self, size: int, workers: int) -> Ingested:
        """What it cost with batches of a size and so many workers."""
        return next(i for i in self.ingested if i.size == size and i.workers == workers)

    @property
    def copy_per_1000(self) -> float:
        """Processor seconds of both sides of a bare COPY, for 1,000 entries."""
        return sum(self.copied.values()) / self.copied_entries * 1000


class Meter:
    """Notes what the processes of a run use from one moment to another."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._begun_s = time.monotonic()
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        run = self._run
        return {
            "workers": run.workers_cpu_s(),
            "postgresql": run.rig.postgres_cpu_s(),
            "broker": cpu_s([run.broker_pid]),
            "devices": cpu_s(child.pid for child in run.children),
        }

    def cost(self) -> Cost:
        """What was used since."""
        wall_s = time.monotonic() - self._begun_s
        return Cost(wall_s, {who: used - self._before[who] for who, used in self._read().items()})


async def change_all(run: Run, rounds: int) -> dict[str, list[tuple[int, float]]]:
    """Change a record of every site, again and again: by site, each head and when it was told."""
    told: dict[str, list[tuple[int, float]]] = {site: [] for site in run.sites}
    desks = asyncio.Semaphore(DESKS)
    headers = {"Authorization": f"Bearer {run.secret}", "Content-Type": "application/json"}
    connector = TCPConnector(ssl=run.context(), limit=DESKS)
    async with ClientSession(connector=connector, headers=headers) as session:

        async def change(number: int, site: str, name: str) -> None:
            worker = run.workers[number % len(run.workers)]
            customer = f"shared-{number % fleet_ledger.SHARED}"
            url = f"{worker.url}/admin/v1/sites/{site}/records/customer/{customer}"
            body = msgspec.json.encode(Customer(id=customer, name=name))
            async with desks, session.put(url, data=body) as response:
                response.raise_for_status()
                head = msgspec.json.decode(await response.read())["head"]
                told[site].append((head, time.monotonic()))

        for number in range(rounds):
            async with asyncio.TaskGroup() as group:
                for place, site in enumerate(run.sites):
                    group.create_task(change(place, site, f"round {number}"))
            await asyncio.sleep(PAUSE_S)
    return told


async def push(run: Run, plan: Plan, results: Results) -> None:
    """How soon every device has applied a change to its site."""
    meter = Meter(run)
    await run.ask("join")
    # What every device said of itself is written down before the changes begin.
    await asyncio.sleep(PAUSE_S)
    results.joining = meter.cost()
    await run.ask("applied", heads={})
    meter = Meter(run)
    told = await change_all(run, plan.rounds)
    results.pushing = meter.cost()
    heads = {site: max(head for head, _ in answers) for site, answers in told.items()}
    for process in await run.ask("applied", heads=heads):
        results.pulls += process["pulls"]
        for site, applied in process["applied"]:
            for head, answered_s in told[site]:
                applied_s = next(at_s for known, at_s in applied if known >= head)
                results.latencies_s.append(max(0.0, applied_s - answered_s))


async def ingest(run: Run, plan: Plan, results: Results) -> None:
    """What it costs to take in ledgers, with large batches and with small ones."""
    parts = ((BATCH, 0, plan.senders), (BATCH_SMALL, plan.senders, plan.senders_small))
    for size, first, count in parts:
        each = {"first": first // plan.processes, "count": count // plan.processes}
        await run.ask("write", entries=plan.entries, size=size, **each)
        meter = Meter(run)
        told = await run.ask("upload")
        await asyncio.sleep(DRAIN_S)
        cost = meter.cost()
        counted = sum(process["counted"] for process in told)
        results.ingested.append(Ingested(size, len(run.workers), counted, cost))
    results.totals[len(run.workers)] = await totals(run)


async def totals(run: Run) -> str:
    """A hash of what the books say: entries, movements, sums, and the balances that devices get."""
    queries = (
        "SELECT site, device, epoch, sequence, hash FROM ledger_entry ORDER BY 1, 2, 3, 4",
        "SELECT site, id, kind, pass, amount, money FROM movement ORDER BY 1, 2",
        "SELECT site, pass, moved FROM book ORDER BY 1, 2",
        # As jsonb, where the order of names is always the same.
        "SELECT site, id, body::jsonb::text FROM record WHERE kind = 'balance' ORDER BY 1, 2",
        "SELECT site, device, epoch, sequence, kind FROM ledger_flag ORDER BY 1, 2, 3, 4",
    )
    digest = hashlib.sha256()
    async with run.rig.connected(run.url) as connection:
        for query in queries:
            for row in await connection.fetch(query):
                digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()


async def copy(run: Run, results: Results) -> None:
    """A bare COPY of the same rows, into tables with the same keys and indexes."""
    async with run.rig.connected(run.url) as connection:
        await connection.execute("CREATE SCHEMA bare")
        for table in TABLES:
            like = f"CREATE TABLE bare.{table} (LIKE public.{table} INCLUDING ALL)"
            await connection.execute(like)
            query = f"SELECT * FROM public.{table}"  # noqa: S608 - own names
            rows = [tuple(row) for row in await connection.fetch(query)]
            if table == TABLES[0]:
                results.copied_entries = len(rows)
            used = [0.0, 0.0]
            for _ in range(COPIES):
                await connection.execute(f"TRUNCATE bare.{table}")
                ours_s, theirs_s = time.process_time(), run.rig.postgres_cpu_s()
                await connection.copy_records_to_table(table, schema_name="bare", records=rows)
                used[0] += time.process_time() - ours_s
                used[1] += run.rig.postgres_cpu_s() - theirs_s
            results.copied[f"{table}, client"] = used[0] / COPIES
            results.copied[f"{table}, PostgreSQL"] = used[1] / COPIES


async def measure(plan: Plan, directory: Path) -> Results:
    """Measure everything."""
    results = Results()
    sites: Sites = sites_of(plan.devices, plan.per_site)
    begun = os.getloadavg()[0]
    with ExitStack() as stack:
        rig = Rig(stack)
        async with Run(rig, directory / "one", sites) as run:
            await run.start(1, plan.processes)
            await ingest(run, plan, results)
            await copy(run, results)
        async with Run(rig, directory / "two", sites) as run:
            await run.start(2, plan.processes)
            await push(run, plan, results)
            await ingest(run, plan, results)
    results.load = begun, os.getloadavg()[0]
    return results


def figures_of(results: Results) -> list[Figure]:
    """The figures and their bars."""
    one = results.one(BATCH, 1)
    cost, bare = one.per_1000("workers", "postgresql"), results.copy_per_1000
    return [
        Figure(
            "fleet_p99_s",
            quantile(results.latencies_s, 0.99),
            "s",
            f"{quantile(results.latencies_s, 0.5):.3f} s, the median",
            Bar("<", 2),
        ),
        Figure(
            "ingest_cpu_s_per_1000",
            cost,
            "s",
            f"{bare * 1000:.1f} ms, a bare COPY of the same rows, both sides",
            Bar("<=", 50 * bare),
        ),
        Figure("ingest_vs_copy", cost / bare, "", "1, a bare COPY of the same rows", Bar("<=", 50)),
    ]


def print_details(plan: Plan, results: Results) -> None:
    """Print what the figures are made of."""
    sites = -(-plan.devices // plan.per_site)
    print(
        f"{plan.devices:,} devices at {sites} sites, 2 workers; the machine has"
        f" {os.cpu_count()} processors, its load was {results.load[0]:.1f} before and"
        f" {results.load[1]:.1f} after"
    )
    seen = results.latencies_s
    rows = [(f"{part:g}", f"{quantile(seen, part) * 1000:.0f}") for part in (0.5, 0.9, 0.99, 1)]
    print_rows(f"{len(seen):,} changes applied, {results.pulls:,} pulls", ("part", "ms"), rows)
    costs = [
        (
            f"{i.size}",
            f"{i.workers}",
            f"{i.entries:,}",
            f"{i.entries / i.cost.wall_s:,.0f}",
            f"{i.per_1000('workers') * 1000:.1f}",
            f"{i.per_1000('postgresql') * 1000:.1f}",
            f"{i.per_1000('workers', 'postgresql') / results.copy_per_1000:.1f}",
        )
        for i in results.ingested
    ]
    head = ("batch", "workers", "entries", "per second", "worker ms/1000", "PostgreSQL ms/1000")
    print_rows("ingestion", (*head, "x COPY"), costs)
    per_1000 = 1_000_000 / results.copied_entries
    bare = [(side, f"{used_s * per_1000:.2f}") for side, used_s in results.copied.items()]
    print_rows("a bare COPY", ("of", "ms/1000"), bare)
    print_limits(results)


def print_limits(results: Results) -> None:
    """Print who was busy meanwhile, and so what limits it."""
    phases = [("devices join", results.joining), ("changes", results.pushing)]
    phases += [(f"batches of {i.size}, {i.workers} workers", i.cost) for i in results.ingested]
    who = tuple(results.pushing.of)
    rows = [
        (name, f"{cost.wall_s:.1f}", *(f"{cost.share(one):.2f}" for one in who))
        for name, cost in phases
    ]
    print_rows("processors kept busy", ("while", "s", *who), rows)
    same = len(set(results.totals.values())) == 1
    print(f"\n  one and two workers end with {'identical' if same else 'DIFFERENT'} totals")
    one, two = results.one(BATCH, 1), results.one(BATCH, 2)
    gain = (two.entries / two.cost.wall_s) / (one.entries / one.cost.wall_s)
    print(f"  what limits it: {limit_of(one)}; two workers take in {gain:.2f} x as much")


def limit_of(one: Ingested) -> str:
    """What one worker's ingestion waits for."""
    busy = {who: one.cost.share(who) for who in ("workers", "postgresql")}
    most = max(busy, key=lambda who: busy[who])
    name = {"workers": "the worker's one thread", "postgresql": "PostgreSQL"}[most]
    part = busy[most] / sum(one.cost.share(who) for who in one.cost.of)
    told = f"{name}, which uses {part:.0%} of the processor time that all of it uses"
    if busy[most] < STARVED:
        return f"others on this machine: {name} got a processor for {busy[most]:.0%} of the time"
    return f"{told}, and is busy for {busy[most]:.0%} of the time"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer devices")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    # Not /tmp, which may lie in memory, where a commit costs nothing.
    tempfile.tempdir = "/var/tmp"  # noqa: S108 - PostgreSQL's directory is made there too
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        results = asyncio.run(measure(plan, Path(directory)))
    figures = figures_of(results)
    if arguments.json:
        print_json("fleet", figures)
    else:
        print_details(plan, results)
        print_table("fleet", figures)
    return 0 if len(set(results.totals.values())) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
