"""Taking in ledgers on both databases: once, in any order, and whatever comes."""

import asyncio

import msgspec
import pytest
from sqlalchemy import func, select

from edgegate.passes.happenings import Arrived, Charged, Refunded
from edgegate.passes.model import (
    Balance,
    Counted,
    Pass,
    Per,
    Reservation,
    ReservationState,
    Unit,
)
from edgegate.store.projection import microseconds
from edgegate_sync.cloud import ingest, reckon
from edgegate_sync.cloud.database import Database, fetch, open_database
from edgegate_sync.cloud.ledger_tables import ledger_entry, movement
from edgegate_sync.wire.errors import MalformedError, TooLargeError
from edgegate_sync.wire.events import BATCH_BYTES_MAX, LedgerAnswer, Outcome, encode_event
from rig.books import balance, flags, left, lines, put, quarantined, record, send, stored
from rig.ledgers import (
    SITE,
    START,
    Device,
    at,
    batch,
    batches,
    closed,
    minutes,
    opened,
    use,
)

pytest_plugins = ("rig.further_fixtures",)

DAYS = "days"


async def test_a_debit_comes_back_as_a_balance_that_says_up_to_where_it_counts(
    books: Database,
) -> None:
    device = Device("box-1")
    device.write(use("ana", "days", START))
    device.write(opened("ana", START, "s"))
    answer = await send(books, device)
    assert (answer.epoch, answer.counted) == (1, 2)
    assert answer.head_hash == device.link.hash.hex()
    assert answer.settled == ()
    assert await balance(books, "days") == Balance(
        pass_=DAYS, remaining=9, counted={"box-1": Counted(epoch=1, sequence=2)}
    )


async def test_sending_twice_changes_nothing_and_gets_the_same_answer(books: Database) -> None:
    device = Device("box-1")
    for day in range(12):
        device.write(use("ana", "days", at(day * 1440)), at(day * 1440))
    first = await send(books, device)
    async with books.site(SITE) as tx:
        head = await tx.lock()
    assert await send(books, device) == first
    async with books.site(SITE) as tx:
        assert await tx.lock() == head
    assert [s.outcome for s in first.settled] == [Outcome.FORGIVEN, Outcome.FORGIVEN]
    assert await left(books, "days") == 0


async def test_an_empty_batch_is_a_question(books: Database) -> None:
    device = Device("box-1")
    assert await send(books, device, b"[]") == LedgerAnswer(epoch=0, counted=0, stored=())
    device.write(use("ana", "days", START))
    answer = await send(books, device)
    assert await send(books, device, b"[]") == answer
    assert await ingest.ask_ledger(books, SITE, "box-1") == answer


async def test_a_device_gets_past_a_gap_and_the_gap_is_flagged_until_it_is_filled(
    books: Database,
) -> None:
    device = Device("box-1")
    for day in range(6):
        device.write(use("ana", "days", at(day * 1440)), at(day * 1440))
    first, last = batch(device.entries[:2]), batch(device.entries[4:])
    await send(books, device, first)
    answer = await send(books, device, last)
    assert answer.counted == 6
    assert await flags(books) == [("gap", 1, 5)]
    assert await left(books, "days") == 6
    assert (await send(books, device, batch(device.entries[2:4]))).counted == 6
    assert await flags(books) == []
    assert await left(books, "days") == 4


async def test_a_broken_chain_is_stored_and_flagged(books: Database) -> None:
    device, other = Device("box-1"), Device("box-1")
    device.write(use("ana", "days", START))
    other.write(use("ana", "days", at(1)))
    other.write(use("ana", "days", at(2000)))
    answer = await send(books, device, batch([device.entries[0], other.entries[1]]))
    assert answer.counted == 2
    assert not answer.begin_epoch
    assert await flags(books) == [("prevhash", 1, 2)]
    assert await left(books, "days") == 8


async def test_a_restored_backup_is_a_fork_that_is_parked_and_told(books: Database) -> None:
    device = Device("box-1")
    for day in range(4):
        device.write(use("ana", "days", at(day * 1440)), at(day * 1440))
    await send(books, device)
    restored = device.restored(2)
    restored.write(use("ana", "days", at(9000)), at(9000))
    answer = await send(books, restored, batch(restored.entries[1:]))
    assert answer.begin_epoch
    assert answer.head_hash == device.link.hash.hex()
    assert [(s.sequence, s.outcome) for s in answer.settled] == [(3, Outcome.QUARANTINED)]
    assert await quarantined(books) == {3: "fork"}
    assert await left(books, "days") == 6
    assert await send(books, restored, batch(restored.entries[1:])) == answer
    restored.begin_epoch(2)
    restored.write(use("ana", "days", at(9100)), at(9100))
    after = await send(books, restored, batch(restored.entries[3:]))
    assert (after.epoch, after.counted, after.begin_epoch) == (2, 1, False)
    assert await left(books, "days") == 5
    assert await flags(books) == [("behind", 1, 2), ("cut_off", 2, 1)]


async def test_a_new_card_begins_an_epoch_and_the_old_one_stays_counted(books: Database) -> None:
    device, fresh = Device("box-1", epoch=5), Device("box-1", epoch=9)
    device.write(use("ana", "days", START))
    fresh.write(use("ana", "days", at(2000)), at(2000))
    await send(books, device)
    answer = await send(books, fresh)
    assert (answer.epoch, answer.counted) == (9, 1)
    assert await flags(books) == [("restarted", 9, 1)]
    known = await balance(books, "days")
    assert known is not None
    assert (known.remaining, known.counted["box-1"]) == (8, Counted(epoch=9, sequence=1))


async def test_a_device_that_comes_with_less_than_it_had_is_noticed(books: Database) -> None:
    device = Device("box-1")
    for day in range(4):
        device.write(use("ana", "days", at(day * 1440)), at(day * 1440))
    await send(books, device)
    answer = await send(books, device, batch(device.entries[:2]))
    assert (answer.counted, answer.head_hash) == (4, device.link.hash.hex())
    assert await flags(books) == [("behind", 1, 2)]
    await send(books, device, batch(device.entries[2:]))
    assert await flags(books) == []


def poison(device: Device) -> list[bytes]:
    """Six good uses on six days, with something wrong after each."""
    texts: list[bytes] = []
    for day in range(6):
        entry = device.write(use("ana", "days", at(day * 1440)), at(day * 1440))
        texts.append(encode_event(entry))
        wrong = device.write(use("ana", "days", at(day * 1440 + 5)), at(day * 1440 + 5))
        text = encode_event(wrong)
        texts.append(
            [
                b'{"never":"seen"}',
                text.replace(b'"amount":1', b'"amount":9'),
                text.replace(b"edgegate/north/box-1", b"edgegate/north/box-9").replace(
                    b"box-1-1-", b"box-9-1-"
                ),
                text.replace(b"edgegate.pass.debited", b"edgegate.pass.eaten"),
                text.replace(b'"1.0"', b'"0.3"'),
                b"17",
            ][day]
        )
    return texts


async def test_poison_is_parked_by_name_and_holds_up_nothing(books: Database) -> None:
    device = Device("box-1")
    texts = poison(device)
    answer = await send(books, device, batch(texts))
    assert answer.counted == 12
    assert await left(books, "days") == 4
    assert await quarantined(books) == {
        2: "unreadable",
        4: "tampered",
        6: "foreign",
        8: "unknown_type",
        10: "unreadable",
        12: "unreadable",
    }
    assert {s.sequence for s in answer.settled} == {2, 4, 6, 8, 10, 12}
    assert {s.outcome for s in answer.settled} == {Outcome.QUARANTINED}
    assert await send(books, device, batch(texts)) == answer
    assert len(await stored(books)) == 6
    assert await flags(books) == []


async def test_a_batch_of_nothing_but_poison_moves_the_cursor_once(books: Database) -> None:
    device = Device("box-1")
    device.write(use("ana", "days", START))
    await send(books, device)
    answers = [await send(books, device, b"[null]") for _ in range(3)]
    assert [a.counted for a in answers] == [2, 2, 2]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("edgegate.pass.debited", b'{"pass":"days"}'),
        ("edgegate.pass.debited", b"[]"),
        ("edgegate.pass.debited", b"[" * 3000 + b"]" * 3000),
        ("edgegate.door.opened", b"\xff\xfe"),
    ],
)
async def test_data_that_is_not_of_its_type_is_absurd(
    books: Database, kind: str, data: bytes
) -> None:
    device = Device("box-1")
    device.append(kind, data)
    device.write(use("ana", "days", START))
    assert (await send(books, device)).counted == 2
    assert list((await quarantined(books)).values()) in (["absurd"], ["unreadable"])
    assert await left(books, "days") == 9


@pytest.mark.parametrize(
    "more",
    [
        {"amount": -1},
        {"amount": 10**12},
        {"session": "a\0b"},
        {"session": ""},
        {"location": "x" * 129},
        {"until": at(-5)},
        {"from_": START.replace(tzinfo=None)},
        {"from_": START.replace(year=1931)},
    ],
)
async def test_absurd_values_are_parked(books: Database, more: dict[str, object]) -> None:
    device = Device("box-1")
    device.write(msgspec.structs.replace(use("ana", "days", START), **more))
    assert (await send(books, device)).counted == 1
    assert list((await quarantined(books)).values()) == ["absurd"]
    assert await left(books, "days") is None


async def test_what_is_no_batch_is_refused_and_changes_nothing(books: Database) -> None:
    device = Device("box-1")
    for body in (b"{", b"{}", b"[" + b"1," * 500 + b"1]"):
        with pytest.raises(MalformedError):
            await send(books, device, body)
    with pytest.raises(TooLargeError):
        await send(books, device, b" " * (BATCH_BYTES_MAX + 1))
    assert len(await stored(books)) == 0


async def test_two_devices_spend_for_one_stay_and_the_earlier_stands(books: Database) -> None:
    one, other = Device("box-1"), Device("box-2")
    late = one.write(use("ana", "days", at(30)), at(30))
    other.write(use("ana", "days", START))
    await send(books, one)
    assert await left(books, "days") == 9
    await send(books, other)
    assert await left(books, "days") == 9
    again = await send(books, one)
    assert [(s.sequence, s.outcome) for s in again.settled] == [(late.sequence, Outcome.ACCEPTED)]
    assert "another device" in again.settled[0].why


async def test_an_entry_that_comes_late_is_followed_as_far_as_it_reaches(
    books: Database,
) -> None:
    one, other = Device("box-1"), Device("box-2")
    one.write(use("ana", "days", at(0), until=at(60)), at(0))
    one.write(use("ana", "days", at(90), until=at(120)), at(90))
    other.write(use("ana", "days", at(30), until=at(200)), at(30))
    await send(books, other)
    await send(books, one, batch(one.entries[1:]))
    assert await left(books, "days") == 9
    # What covered the second use was none itself.
    await send(books, one, batch(one.entries[:1]))
    assert await left(books, "days") == 8


async def test_overlapping_minutes_are_the_union(books: Database) -> None:
    await put(books, Pass(id="min", holder="ana", unit=Unit.MINUTE, amount=300))
    one, other = Device("box-1"), Device("box-2")
    one.write(minutes("ana", "min", at(0), at(60)), at(60))
    other.write(minutes("ana", "min", at(30), at(90)), at(90))
    await send(books, other)
    assert await left(books, "min") == 240
    await send(books, one)
    assert await left(books, "min") == 210


async def test_a_visit_covers_until_it_is_closed_whenever_that_is_told(books: Database) -> None:
    await put(books, Pass(id="visits", holder="ana", amount=9, per=Per.VISIT))
    one, other = Device("box-1"), Device("box-2")
    visit = use("ana", "visits", START, session="v", visit_only=True)
    one.write(msgspec.structs.replace(visit, until=None))
    one.write(opened("ana", START, "v"))
    other.write(use("ana", "days", at(60)), at(60))
    await send(books, one)
    await send(books, other)
    assert (await left(books, "visits"), await left(books, "days")) == (8, 10)
    # She had gone before: the other use was a use of its own.
    one.write(closed("ana", at(50), "v"), at(50))
    await send(books, one)
    assert (await left(books, "visits"), await left(books, "days")) == (8, 9)


async def test_what_a_device_gives_back_comes_back(books: Database) -> None:
    device = Device("box-1")
    spent = use("ana", "days", at(60), session="s")
    device.write(spent, at(60))
    device.write(
        Refunded(pass_=DAYS, customer="ana", location="hall", session="s", amount=1, from_=at(60)),
        at(90),
    )
    await send(books, device)
    assert await left(books, "days") == 10


async def test_a_reservation_arrives_on_the_feed(books: Database) -> None:
    await put(books, Reservation(id="r", customer="ana", from_=at(0), until=at(9)))
    device = Device("box-1")
    device.write(Arrived(reservation="r", customer="ana", location="hall"))
    await send(books, device)
    found = await record(books, "reservation", "r", Reservation)
    assert found.state is ReservationState.ARRIVED


async def test_an_overdraft_is_moved_charged_or_forgiven_and_shown(books: Database) -> None:
    await put(books, Pass(id="last", holder="ana", amount=1))
    device = Device("box-1")
    device.write(use("ana", "last", START))
    device.write(use("ana", "last", at(2000)), at(2000))
    answer = await send(books, device)
    assert [(s.sequence, s.outcome, s.why) for s in answer.settled] == [
        (2, Outcome.MOVED, "the pass last had nothing left; days paid")
    ]
    assert (await left(books, "last"), await left(books, "days")) == (0, 9)
    assert [(t.kind, t.pass_, t.amount) for t in await lines(books, "ana")] == [
        ("paid", "days", -1),
        ("moved", "last", 1),
        ("debit", "last", -1),
        ("debit", "last", -1),
    ]


async def test_what_a_pass_paid_that_is_gone_is_given_back_when_another_pays(
    books: Database,
) -> None:
    await put(books, Pass(id="last", holder="ana", amount=0))
    device = Device("box-1")
    device.write(use("ana", "last", START))
    await send(books, device)
    assert await left(books, "days") == 9
    await put(books, Pass(id="more", holder="ana", amount=5))
    async with books.site(SITE) as tx:
        await tx.delete("pass", "days")
        await reckon.refresh(tx, ["last"], microseconds(at(9999)))
    # Each of them audits the books.
    assert (await left(books, "last"), await left(books, "more")) == (0, 4)


async def test_two_workers_at_once_count_every_entry_once(
    books: Database, migrated_url: str
) -> None:
    devices = [Device(f"box-{n}") for n in range(3)]
    for number, device in enumerate(devices):
        for day in range(12):
            when = at(day * 1440 + number * 10)
            device.write(use("ana", "days", when, covers=False), when)
    other = await open_database(migrated_url)
    try:
        work = [
            ingest.send_ledger(worker, SITE, device.name, body, at(9999))
            for device in devices
            for body in batches(device.entries, 3)
            for worker in (books, other)
        ]
        await asyncio.gather(*work)
    finally:
        await other.close()
    assert len(await stored(books)) == 36
    assert await left(books, "days") == 0
    async with books.reading() as connection:
        found = await fetch(
            connection,
            select(movement.c.kind, func.sum(movement.c.amount).label("total")).group_by(
                movement.c.kind
            ),
        )
        assert {row.kind: int(row.total) for row in found} == {"debit": -36, "forgiven": 26}


async def test_whoever_was_erased_stays_erased_when_a_device_comes_late(books: Database) -> None:
    async with books.site(SITE) as tx:
        await tx.erase("customer", "ana")
    device = Device("box-1")
    device.write(use("ana", "days", START))
    device.write(
        Charged(
            offer="o",
            customer="ana",
            location="hall",
            session="s",
            amount=5,
            currency="EUR",
            used_s=9,
        )
    )
    await send(books, device)
    async with books.reading() as connection:
        rows = list(await fetch(connection, select(ledger_entry)))
        names = (await fetch(connection, select(movement.c.customer, movement.c.body))).all()
    assert [(row.data, row.salt, row.customer) for row in rows] == [(None, None, None)] * 2
    assert [tuple(name) for name in names] == [(None, None)] * 2
    assert [row.data_hash for row in rows] == [e.data_hash for e in device.entries]
