"""What an appliance tells Prometheus."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from edgegate.checkin import Outcome
from edgegate.line import Passage, Place
from edgegate.metrics import Metrics, keep_file
from edgegate.passes.model import Direction
from edgegate.passes.payment import refuse
from edgegate.passes.reasons import Reason
from edgegate.ports import OperatingError
from edgegate.status import Status, WifiCounts, WifiStatus
from edgegate.wifi.access import Verdict
from edgegate_sync.wire.state import DeviceState, DriverState, LedgerState

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
PLACE = Place(reader="r", door="front", direction=Direction.ENTRY, release_s=5)


def status(clock: str = "trusted", driver: str = "enabled") -> Status:
    ledger = LedgerState(
        epoch=1, sequence=9, backlog=3, oldest_unsent_at=NOW - timedelta(minutes=2)
    )
    drivers = (DriverState(name="reader front", status=driver),)
    state = DeviceState(
        at=NOW, version="1", boot="b", uptime_s=1, head=7, ledger=ledger, clock=clock,
        drivers=drivers, quarantined_count=2,
    )  # fmt: skip
    return Status(running=True, site="north", device="door", state=state)


def samples(text: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_scans_are_counted_by_reason_and_measured() -> None:
    metrics = Metrics()
    refused = Outcome(at=NOW, decision=refuse(Reason.USED_UP), door="front")
    metrics.note(Passage(place=PLACE, outcome=refused, opened=False, actuated_us=4_000))
    metrics.note(Passage(place=PLACE, outcome=None, opened=True, actuated_us=40_000))
    found = samples(metrics.text())
    assert found["edgegate_taps_total", ("front", "false", "used_up")] == 1
    assert found["edgegate_taps_total", ("front", "true", "left")] == 1
    assert found["edgegate_tap_seconds_bucket", ("0.005",)] == 1
    assert found["edgegate_tap_seconds_count", ()] == 2


def test_the_state_is_shown_as_it_is_now() -> None:
    metrics = Metrics()
    metrics.show(status("untrusted", "offline"), 0)
    metrics.show(status(), 4)
    found = samples(metrics.text())
    assert found["edgegate_ledger_backlog_entries", ()] == 3
    assert found["edgegate_ledger_oldest_unsent_seconds", ()] == 120
    assert found["edgegate_feed_head", ()] == 7
    assert found["edgegate_quarantined_records", ()] == 2
    assert found["edgegate_dropped_records", ()] == 4
    assert found["edgegate_clock_trust", ("trusted",)] == 1
    assert found["edgegate_clock_trust", ("untrusted",)] == 0
    assert found["edgegate_driver_status", ("reader front", "enabled")] == 1
    assert found["edgegate_driver_status", ("reader front", "offline")] == 0


def test_answers_to_access_points_are_counted_and_devices_shown() -> None:
    metrics = Metrics()
    metrics.note_verdict(Verdict(reason=Reason.COVERED, sentence="", accepted=True))
    metrics.note_verdict(Verdict(reason=Reason.COVERED, accepted=True, again=True))
    metrics.note_verdict(Verdict(reason=Reason.USED_UP, sentence=""))
    wifi = WifiStatus(devices=5, customers=4, counts=WifiCounts(leaving=2))
    metrics.show(replace(status(), wifi=wifi), 0)
    found = samples(metrics.text())
    assert found["edgegate_wifi_verdicts_total", ("true", "covered")] == 2
    assert found["edgegate_wifi_again_total", ()] == 1
    assert found["edgegate_wifi_verdicts_total", ("false", "used_up")] == 1
    assert found["edgegate_wifi_devices", ()] == 5
    assert found["edgegate_wifi_leaving_devices", ()] == 2


async def test_the_file_outlives_what_goes_wrong(tmp_path: Path) -> None:
    path = tmp_path / "edgegate.prom"
    asked = asyncio.Event()
    asks: list[None] = []
    troubles = [OperatingError("no store"), OSError("no disk")]

    async def ask() -> Status:
        if troubles:
            raise troubles.pop()
        asks.append(None)
        if len(asks) > 1:
            asked.set()
        return status()

    task = asyncio.create_task(keep_file(Metrics(), path, ask, lambda: 0, every_s=0.01))
    async with asyncio.timeout(10):
        await asked.wait()
    task.cancel()
    await asyncio.wait((task,))
    text = await asyncio.to_thread(path.read_bytes)
    assert samples(text)["edgegate_feed_head", ()] == 7
    mode = await asyncio.to_thread(path.stat)
    assert mode.st_mode & 0o777 == 0o644
