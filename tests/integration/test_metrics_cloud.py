"""What the cloud tells Prometheus, on both databases."""

import json
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from edgegate_sync.cloud.tables import device
from rig.clouds import running
from rig.ledgers import Device, at, batch, opened

pytest_plugins = ("rig.further_fixtures",)


async def test_a_scrape_says_what_happened_and_what_waits(further_url: str, tmp_path: Path) -> None:
    async with running(further_url, tmp_path) as cloud:
        admin = await cloud.admin()
        files = await cloud.enrol("door")
        door = await cloud.caller(files)
        ledger = Device("door")
        ledger.write(opened("ana", at(0), "one"), at(0))
        ledger.write(opened("ana", at(9), "two"), at(9))
        body = batch([ledger.entries[0], b'{"id":"poison"}', ledger.entries[1]])
        sent = await door.ask(
            "POST", "/v1/ledger", data=body,
            headers={"Content-Type": "application/cloudevents-batch+json"},
        )  # fmt: skip
        assert sent.status == 200
        await admin.put("customer", {"id": "ana"})
        state = json.dumps({"head": 0, "ledger": {"backlog": 5}})
        async with cloud.cloud.database.writing() as writing:
            await writing.execute(update(device).values(state=state, online=True))
        made = await admin.ask(
            "POST", "/admin/v1/tokens", json={"name": "prometheus", "scopes": ["metrics"]}
        )
        assert made.status == 201, made.body
        scraper = await cloud.caller(token=made.json["secret"])
        scrape = await scraper.ask("GET", "/metrics")
        # Whoever may scrape may not read what the space knows of people.
        assert (await scraper.ask("GET", "/admin/v1/sites")).status == 403
        assert (await (await cloud.caller()).ask("GET", "/metrics")).status == 401
    assert scrape.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(scrape.body.decode())
        for sample in family.samples
    }
    prefix = "edgegate_cloud_"
    assert found[prefix + "http_requests_total", ("send_ledger", "200")] == 1
    assert found[prefix + "http_request_seconds_bucket", ("+Inf", "send_ledger")] == 1
    assert found[prefix + "http_request_seconds_count", ("send_ledger",)] == 1
    assert found[prefix + "ledger_batches_total", ()] == 1
    assert found[prefix + "ledger_entries_total", ()] >= 2
    assert sum(v for (n, _), v in found.items() if n == prefix + "quarantined_entries") == 1
    assert found[prefix + "feed_lag_changes", ()] == 1
    assert found[prefix + "outbox_changes", ()] == 1
    assert found[prefix + "devices_online", ()] == 1
    assert found[prefix + "devices_backlog_entries", ()] == 5
    assert found[prefix + "webhooks_waiting", ()] == 0


async def test_an_empty_cloud_can_be_scraped(further_url: str, tmp_path: Path) -> None:
    async with running(further_url, tmp_path, site=None) as cloud:
        admin = await cloud.admin()
        scrape = await admin.ask("GET", "/metrics")
        assert scrape.status == 200
        assert b"edgegate_cloud_outbox_changes 0.0" in scrape.body
