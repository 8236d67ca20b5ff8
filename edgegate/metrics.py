"""What an appliance tells Prometheus: in a file that node_exporter's textfile collector reads.

So nothing listens, and a scrape asks the daemon for nothing. Counts begin at zero with the process.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edgegate.line import Passage
from edgegate.passes.reasons import Reason
from edgegate.ports import DriverStatus, OperatingError
from edgegate.status import Status


class Verdict(Protocol):
    """What is counted of an answer to an access point (`edgegate.wifi.access.Verdict`)."""

    @property
    def again(self) -> bool:
        """Whether it is the answer of just now once more."""

    @property
    def accepted(self) -> bool:
        """Whether the device may come in."""

    @property
    def reason(self) -> Reason:
        """Why, or why not."""


EVERY_S = 15.0
"""How often the file is written."""

LATENCY_BOUNDS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0)
CLOCK_TRUSTS = ("trusted", "holdover", "untrusted")

log = logging.getLogger(__name__)


class Metrics:
    """The counts and measurements of one appliance."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._taps = Counter(
            "edgegate_taps",
            "Scans answered, by door, answer and reason.",
            ("door", "granted", "reason"),
            registry=self.registry,
        )
        self._latency_s = Histogram(
            "edgegate_tap_seconds",
            "From the last byte of a scan to the strike.",
            buckets=LATENCY_BOUNDS_S,
            registry=self.registry,
        )
        self._verdicts = Counter(
            "edgegate_wifi_verdicts",
            "Answers to access points, by answer and reason.",
            ("accepted", "reason"),
            registry=self.registry,
        )
        self._again = Counter(
            "edgegate_wifi_again",
            "Accepts of a device that had just come in: not recorded again.",
            registry=self.registry,
        )
        self._on_wifi = self._gauge("wifi_devices", "Devices on the Wi-Fi.")
        self._leaving = self._gauge("wifi_leaving_devices", "Devices yet to be disconnected.")
        self._backlog = self._gauge("ledger_backlog_entries", "Entries the cloud has not counted.")
        self._oldest_s = self._gauge("ledger_oldest_unsent_seconds", "Age of the oldest of them.")
        self._head = self._gauge("feed_head", "Up to which change of the feed it has applied.")
        self._quarantined = self._gauge("quarantined_records", "Records that cannot be used.")
        self._dropped = self._gauge("dropped_records", "Exits that could not be recorded.")
        self._written_s = self._gauge("written_timestamp_seconds", "When this was written.")
        self._free_bytes = self._gauge("disk_free_bytes", "Room where the databases are.")
        self._certificate_s = self._gauge(
            "certificate_expiry_timestamp_seconds", "When the device's certificate ends."
        )
        self._clock = self._gauge("clock_trust", "1 for the trust the clock has.", "trust")
        self._drivers = self._gauge(
            "driver_status", "1 for the status a configured device has.", "driver", "status"
        )

    def note(self, passage: Passage) -> None:
        """Count one scan; cheap enough for the line."""
        outcome = passage.outcome
        granted = outcome is None or outcome.decision.opens
        reason = "left" if outcome is None else outcome.decision.reason.value
        self._taps.labels(passage.place.door, str(granted).lower(), reason).inc()
        self._latency_s.observe(passage.actuated_us / 1_000_000)

    def note_verdict(self, verdict: Verdict) -> None:
        """Count one answer to an access point."""
        self._verdicts.labels(str(verdict.accepted).lower(), verdict.reason.value).inc()
        self._again.inc(verdict.again)

    def show(self, status: Status, dropped: int) -> None:
        """Take over how the appliance is doing."""
        state = status.state
        if status.wifi is not None:
            self._on_wifi.set(status.wifi.devices)
            self._leaving.set(status.wifi.counts.leaving if status.wifi.counts is not None else 0)
        self._backlog.set(state.ledger.backlog)
        oldest = state.ledger.oldest_unsent_at
        age_s = 0.0 if oldest is None else (state.at - oldest).total_seconds()
        self._oldest_s.set(max(0.0, age_s))
        self._head.set(state.head)
        self._quarantined.set(state.quarantined_count)
        self._dropped.set(dropped)
        self._written_s.set(state.at.timestamp())
        if state.disk is not None:
            self._free_bytes.set(state.disk.free_bytes)
        if state.certificate_expires_at is not None:
            self._certificate_s.set(state.certificate_expires_at.timestamp())
        for trust in CLOCK_TRUSTS:
            self._clock.labels(trust).set(trust == state.clock)
        self._drivers.clear()
        for driver in state.drivers:
            for known in DriverStatus:
                self._drivers.labels(driver.name, known.value).set(known.value == driver.status)

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"edgegate_{name}", says, labels, registry=self.registry)


async def keep_file(
    metrics: Metrics,
    path: Path,
    status: Callable[[], Awaitable[Status]],
    dropped: Callable[[], int],
    every_s: float = EVERY_S,
) -> None:
    """Write the file every so often, until it is cancelled.

    What cannot be read or written now is logged and tried again: `edgegate_written_timestamp…`
    then stands still, which is what to alert on.
    """
    while True:
        try:
            metrics.show(await status(), dropped())
            await asyncio.to_thread(write, path, metrics.text())
        except (OperatingError, OSError) as error:
            log.warning("the metrics could not be written: %s", error)
        await asyncio.sleep(every_s)


def write(path: Path, text: bytes) -> None:
    """Replace a file at once, readable by everybody: the collector never sees half of it."""
    # Its name does not end in .prom, so that the collector does not read it too.
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(text)
    beside.chmod(0o644)
    os.replace(beside, path)  # noqa: PTH105 - named for what it does
