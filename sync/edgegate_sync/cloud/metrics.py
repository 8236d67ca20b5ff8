"""Shows Prometheus what a worker counted, and how far behind devices and receivers are.

What a worker counts is its own: Prometheus asks each and adds them up. What stands in the database
is the same at every worker, and is asked for at each scrape with a handful of small queries.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from edgegate import __version__
from edgegate_sync.cloud.counters import BOUNDS_S, Counters, Histogram
from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.ledger_tables import ledger_epoch, quarantine
from edgegate_sync.cloud.server import Asked, Handler
from edgegate_sync.cloud.tables import device, outbox, site
from edgegate_sync.cloud.webhook_tables import webhook, webhook_delivery, webhook_event
from edgegate_sync.wire.operations import Answer, Body, Part, Scope

PREFIX = "edgegate_cloud_"
TEXT_TYPE = "text/plain"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus, "Exposition formats"."""

DEVICES_MAX = 5_000
"""Devices whose states are looked into at a scrape."""

LABELS: dict[str, tuple[str, ...]] = {
    "http_requests": ("operation", "status"),
    "http_request_seconds": ("operation",),
    "ledger_settled": ("outcome",),
    "webhooks": ("outcome",),
    "tasks_failed": ("task",),
    "imports": ("run",),
}
"""What the words of a count's label are called."""

HELP = {
    "http_requests": "Requests answered.",
    "http_request_seconds": "How long answers took.",
    "ledger_batches": "Batches of ledger entries taken in.",
    "ledger_settled": "Settlements told to devices, repeated ones included.",
    "webhooks": "Attempts to deliver webhooks.",
}

METRICS = Part("metrics", Scope.METRICS).operation(
    "get_metrics",
    "GET /metrics",
    "Read what this worker counts, as Prometheus reads it.",
    {200: Answer("Prometheus's text format.", Body(media_type=TEXT_TYPE))},
    more="Give Prometheus a token with the scope `metrics` alone.",
)

METRICS_OPERATIONS = (METRICS,)


class Depths(Struct, frozen=True, kw_only=True):
    """How far behind everything is, as the database says."""

    outbox: int
    """Changes that no broker was told of yet."""
    devices: int
    devices_online: int
    feed_lag_max: int
    """By how many changes the device that is farthest behind is so."""
    ledger_backlog: int
    """Entries that devices said they have yet to send."""
    entries: int
    quarantined: dict[str, int]
    webhooks_waiting: int
    webhooks_failing: int
    webhooks_parked: int


class _Ledger(Struct):
    backlog: int = 0


class _State(Struct):
    """What is read of a device's state."""

    head: int | None = None
    ledger: _Ledger = msgspec.field(default_factory=_Ledger)


_state = msgspec.json.Decoder(_State).decode


async def depths(database: Database) -> Depths:
    """How far behind everything is."""
    async with database.reading() as connection:

        async def one(statement: Any) -> int:
            return int((await fetch(connection, statement)).scalar_one() or 0)

        behind = func.sum(site.c.head - outbox.c.published)
        faults = select(quarantine.c.fault, func.count().label("entries")).where(
            quarantine.c.dismissed_us.is_(None)
        )
        waiting = select(func.count()).select_from(
            webhook.join(
                webhook_event,
                (webhook_event.c.site == webhook.c.site)
                & (webhook_event.c.number > webhook.c.sent),
            )
        )
        states = (
            select(device.c.state, device.c.online, site.c.head)
            .join(site, site.c.id == device.c.site)
            .where(device.c.revoked_at.is_(None))
            .limit(DEVICES_MAX)
        )
        rows = list(await fetch(connection, states))
        read = await asyncio.to_thread(_read_states, rows)
        return Depths(
            outbox=await one(select(behind).join(outbox, outbox.c.site == site.c.id)),
            devices=len(rows),
            devices_online=sum(1 for row in rows if row.online),
            feed_lag_max=max(
                (
                    row.head - state.head
                    for row, state in zip(rows, read, strict=True)
                    if state.head is not None
                ),
                default=0,
            ),
            ledger_backlog=sum(state.ledger.backlog for state in read),
            entries=await one(select(func.sum(ledger_epoch.c.sequence))),
            quarantined={
                row.fault: row.entries
                for row in await fetch(connection, faults.group_by(quarantine.c.fault))
            },
            webhooks_waiting=await one(waiting),
            webhooks_failing=await one(select(func.count()).where(webhook.c.failures > 0)),
            webhooks_parked=await one(
                select(func.count()).where(webhook_delivery.c.state == "parked")
            ),
        )


def _read_states(rows: list[Any]) -> list[_State]:
    found = []
    for row in rows:
        try:
            found.append(_State() if row.state is None else _state(row.state))
        except msgspec.MsgspecError:
            # A later version's state; that it is here shows elsewhere.
            found.append(_State())
    return found


class _Shown(Collector):
    """One scrape."""

    def __init__(self, counters: Counters, found: Depths) -> None:
        self._counters = counters
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """Everything that is counted and measured, and every depth."""
        yield _info()
        yield from _counted(self._counters)
        yield from _measured(self._counters)
        yield from _behind(self._found)


def _info() -> Metric:
    info = GaugeMetricFamily(f"{PREFIX}info", "Which version runs.", labels=["version"])
    info.add_metric([__version__], 1)
    return info


def _counted(counters: Counters) -> Iterator[Metric]:
    families: dict[str, CounterMetricFamily] = {}
    for (name, label), count in sorted(counters.counts.items()):
        labels = LABELS.get(name, ("label",) if label else ())
        if name not in families:
            says = HELP.get(name, name.replace("_", " ").capitalize() + ".")
            families[name] = CounterMetricFamily(PREFIX + name, says, labels=labels)
        families[name].add_metric(label.split(" ", len(labels) - 1) if labels else [], count)
    yield from families.values()


def _measured(counters: Counters) -> Iterator[Metric]:
    families: dict[str, HistogramMetricFamily] = {}
    for (name, label), histogram in sorted(counters.histograms.items(), key=lambda one: one[0]):
        if name not in families:
            says = HELP.get(name, name)
            families[name] = HistogramMetricFamily(PREFIX + name, says, labels=LABELS[name])
        families[name].add_metric([label], _cumulated(histogram), histogram.total_s)
    yield from families.values()


def _cumulated(histogram: Histogram) -> list[tuple[str, float]]:
    total = 0
    found = []
    names = [*map(str, BOUNDS_S), "+Inf"]
    for bound, count in zip(names, histogram.buckets, strict=True):
        total += count
        found.append((bound, float(total)))
    return found


def _behind(found: Depths) -> Iterator[Metric]:
    gauges = {
        "outbox_changes": ("Changes that no broker was told of yet.", found.outbox),
        "devices": ("Devices that are not revoked.", found.devices),
        "devices_online": ("Devices that are connected to the broker.", found.devices_online),
        "feed_lag_changes": ("How far the device that is last is behind.", found.feed_lag_max),
        "devices_backlog_entries": ("Entries that devices have to send.", found.ledger_backlog),
        "webhooks_waiting": ("Events that endpoints were not told of yet.", found.webhooks_waiting),
        "webhooks_failing": ("Endpoints whose last attempt failed.", found.webhooks_failing),
        "webhooks_parked": ("Deliveries that were given up.", found.webhooks_parked),
    }
    for name, (says, value) in gauges.items():
        yield GaugeMetricFamily(PREFIX + name, says, value=value)
    yield CounterMetricFamily(
        f"{PREFIX}ledger_entries", "Entries up to which ledgers were taken in.", found.entries
    )
    faults = GaugeMetricFamily(
        f"{PREFIX}quarantined_entries", "Entries in quarantine.", labels=["fault"]
    )
    for fault, count in sorted(found.quarantined.items()):
        faults.add_metric([fault], count)
    yield faults


async def text(database: Database, counters: Counters) -> bytes:
    """One scrape in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Shown(counters, await depths(database)))
    return generate_latest(registry)


async def get_metrics(asked: Asked) -> web.StreamResponse:
    """What this worker counts."""
    body = await text(asked.cloud.database, asked.cloud.counters)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


HANDLERS: dict[str, Handler] = {"get_metrics": get_metrics}
"""By operation."""
