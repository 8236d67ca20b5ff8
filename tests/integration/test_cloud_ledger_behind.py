"""A batch that comes again, told from a device that came with less than it had."""

from edgegate_sync.cloud.database import Database
from rig.books import flags, left, send
from rig.ledgers import Device, at, batch, use

pytest_plugins = ("rig.further_fixtures",)


async def test_an_old_batch_that_the_network_brings_again_is_only_a_duplicate(
    books: Database,
) -> None:
    device = Device("box-1")
    for day in range(6):
        device.write(use("ana", "days", at(day * 1440)), at(day * 1440))
    device.begin_epoch(2)
    device.write(use("ana", "days", at(9000)), at(9000))
    # The second one ends with something that nobody can read, the last one in another epoch.
    old = [
        batch(device.entries[:2]),
        batch([*device.entries[2:4], b'{"never":"seen"}']),
        batch(device.entries[5:]),
    ]
    for minute, body in enumerate(old):
        answer = await send(books, device, body, at(9999 + minute))
    spent = await left(books, "days")
    assert (answer.epoch, answer.counted, spent) == (2, 1, 4)
    for body in old:
        again = await send(books, device, body, at(10_100))
        assert (again.epoch, again.counted) in {(1, 6), (2, 1)}
        assert not again.begin_epoch
    assert await left(books, "days") == spent
    assert await flags(books) == []


async def test_a_duplicate_takes_back_no_flag(books: Database) -> None:
    device = Device("box-1")
    for day in range(4):
        device.write(use("ana", "days", at(day * 1440)), at(day * 1440))
    for minute in range(2):
        await send(books, device, batch(device.entries[minute * 2 :][:2]), at(9999 + minute))
    await send(books, device, batch(device.entries[:1]))
    assert await flags(books) == [("behind", 1, 1)]
    await send(books, device, batch(device.entries[:2]))
    assert await flags(books) == [("behind", 1, 1)]


async def test_a_device_that_went_back_to_the_end_of_a_batch_is_noticed_by_its_next_step(
    books: Database,
) -> None:
    device = Device("box-1")
    for day in range(4):
        device.write(use("ana", "days", at(day * 1440)), at(day * 1440))
    for minute in range(2):
        await send(books, device, batch(device.entries[minute * 2 :][:2]), at(9999 + minute))
    restored = device.restored(2)
    await send(books, restored)
    assert await flags(books) == []
    restored.write(use("ana", "days", at(9000)), at(9000))
    assert (await send(books, restored)).begin_epoch
    assert await flags(books) == [("behind", 1, 2)]
    restored.begin_epoch(2)
    restored.write(use("ana", "days", at(9100)), at(9100))
    await send(books, restored, batch(restored.entries[3:]))
    assert await flags(books) == [("behind", 1, 2), ("cut_off", 2, 1)]
