"""The demo space: believable, of records that devices take, and the same when made again."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime

from edgegate.credentials.lookup import lookup
from edgegate.passes.model import CredentialKind
from edgegate_sync.cloud import demo_data
from edgegate_sync.cloud.database import Database
from edgegate_sync.cloud.feed import create_site
from edgegate_sync.cloud.references import dangling
from edgegate_sync.wire.kinds import decode_record, encode_record, kind_of

pytest_plugins = ("rig.further_fixtures",)

KEY = b"k" * 32
NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


async def test_the_demo_space_is_made_once(database: Database) -> None:
    async with database.writing() as writing:
        await create_site(writing, "demo", "Demo")
    made = await demo_data.write(database, "demo", KEY, NOW)
    wanted = await asyncio.to_thread(demo_data.records, KEY, NOW)
    assert made == len(wanted)
    assert await demo_data.write(database, "demo", KEY, NOW) == 0
    async with database.site("demo") as tx:
        await tx.put("customer", "member-01", b'{"id":"member-01","name":"Somebody"}')
    assert await demo_data.write(database, "demo", KEY, NOW) == 1
    async with database.site("demo") as tx:
        for kind, record in wanted:
            assert await dangling(tx, kind, encode_record(record)) == ()


def test_it_has_what_a_space_has() -> None:
    made = demo_data.records(KEY, NOW)
    counts = Counter(kind for kind, _ in made)
    assert counts["customer"] == counts["credential"] == 40
    assert counts["location"] == 2
    assert len({(kind, record.id) for kind, record in made}) == len(made)
    for kind, record in made:
        assert decode_record(kind_of(kind), record.id, encode_record(record)).record == record
    passes = [record for kind, record in made if kind == "pass"]
    assert {p.unit.value for p in passes} == {"use", "minute", "credit", "unlimited"}
    assert {p.per.value for p in passes} == {"day", "slot", "window", "visit"}


def test_the_cards_open_with_the_sites_key_only() -> None:
    number = bytes.fromhex(demo_data.card(7))
    (card,) = [r for k, r in demo_data.records(KEY, NOW) if k == "credential" and r.id == "card-07"]
    assert card.lookup == lookup(KEY, CredentialKind.NFC_UID, number)
    assert demo_data.card(7) not in json.dumps(card.lookup)
    assert not [k for k, _ in demo_data.records(None, NOW) if k == "credential"]
