"""Backup and restore of cloud and appliance, up to a ledger that forks."""

import asyncio
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from edgegate.passes.model import Customer, Location, Pass
from edgegate.store import sealed_file, sync_state
from edgegate.store.errors import StoreInUseError
from edgegate.store.sealed_file import SealedFileError
from edgegate_sync.appliance import backup as appliance
from edgegate_sync.appliance.upload import Uploader, read_beside
from edgegate_sync.cloud import backup, feed, ingest
from edgegate_sync.cloud.cloud import Settings, opened
from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.desk import ensure_site
from edgegate_sync.cloud.history import parked
from edgegate_sync.cloud.ledger_tables import ledger_entry
from edgegate_sync.cloud.tables import record
from edgegate_sync.cloud.vault import VaultError
from edgegate_sync.wire.events import LedgerAnswer
from rig.books import put
from rig.devices import AT, SITE, Device, debit
from rig.postgres import Postgres

pytest_plugins = ("rig.further_fixtures",)

PASSPHRASE = "correct horse battery"  # noqa: S105 - a test's


class InProcess:
    """The cloud's answers to a device's uploads, without the network between."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def ask_ledger(self) -> LedgerAnswer:
        return await ingest.ask_ledger(self.database, SITE, "front")

    async def post_ledger(self, body: bytes) -> LedgerAnswer:
        return await ingest.send_ledger(self.database, SITE, "front", body, AT)


async def upload(device: Device, cloud: InProcess) -> None:
    uploader = Uploader(device.thread, device.ledger, cloud, now_s=AT.timestamp)
    await uploader.upload_all()


async def keys(database: Database) -> set[tuple[int, int]]:
    statement = select(ledger_entry.c.epoch, ledger_entry.c.sequence)
    async with database.reading() as connection:
        return {(row.epoch, row.sequence) for row in await fetch(connection, statement)}


async def set_up(database: Database) -> None:
    """The site that the device belongs to, with ten uses of Ana's."""
    async with database.writing() as writing:
        await feed.create_site(writing, SITE, SITE)
    records = Location(id="mill"), Customer(id="ana"), Pass(id="days", holder="ana", amount=10)
    await put(database, *records, site=SITE)


async def spend(device: Device, name: str) -> None:
    await device.happen(debit("days", name))


async def left(database: Database) -> int:
    async with database.site(SITE) as tx:
        found = await tx.get("balance", "days")
    assert found is not None
    return int(json.loads(found)["remaining"])


async def test_a_restored_appliance_begins_an_epoch_and_nothing_is_lost(
    database: Database, tmp_path: Path
) -> None:
    await set_up(database)
    cloud = InProcess(database)
    async with Device(tmp_path) as device:
        await spend(device, "one")
        out = tmp_path / "box.backup"
        await asyncio.to_thread(appliance.make, device.state_dir, out, PASSPHRASE)
        await spend(device, "two")
        await spend(device, "three")
        await upload(device, cloud)
    before = await keys(database)
    with pytest.raises(FileExistsError):
        await asyncio.to_thread(appliance.restore, device.state_dir, out, PASSPHRASE)
    done = await asyncio.to_thread(
        lambda: appliance.restore(device.state_dir, out, PASSPHRASE, replace=True)
    )
    async with Device(tmp_path) as device:
        # Before the cloud was asked: what is recorded offline must not clash either.
        await spend(device, "four")
        await upload(device, cloud)
        await spend(device, "five")
        await upload(device, cloud)
        assert await read_beside(device.ledger, sync_state.quarantined) == []
    after = await keys(database)
    assert before < after
    assert {epoch for epoch, _ in after - before} == {done.epoch}
    assert await left(database) == 5
    assert await quarantined_here(database) == {}


async def quarantined_here(database: Database) -> dict[int | None, str]:
    async with database.reading() as connection:
        return {p.sequence: p.fault for p in await parked(connection, SITE, "", 100)}


async def test_a_card_that_was_copied_forks_and_the_cloud_asks_for_an_epoch(
    database: Database, tmp_path: Path
) -> None:
    await set_up(database)
    cloud = InProcess(database)
    async with Device(tmp_path) as device:
        await spend(device, "one")
    await asyncio.to_thread(shutil.copytree, device.state_dir, tmp_path / "image")
    async with Device(tmp_path) as device:
        await spend(device, "two")
        await spend(device, "three")
        await upload(device, cloud)
        first = (await device.entries())[0].epoch
    await asyncio.to_thread(shutil.rmtree, device.state_dir)
    await asyncio.to_thread(shutil.copytree, tmp_path / "image", device.state_dir)
    async with Device(tmp_path) as device:
        # Recorded before anybody could know: its numbers are taken.
        for name in ("other two", "other three", "other four"):
            await spend(device, name)
        await upload(device, cloud)
        await spend(device, "five")
        await upload(device, cloud)
        epochs = [entry.epoch for entry in await device.entries()]
        put_aside = await read_beside(device.ledger, sync_state.quarantined)
    assert set(epochs[:4]) == {first}
    assert epochs[4] > first
    forks = await quarantined_here(database)
    assert forks == {2: "fork", 3: "fork"}
    assert {one.place.sequence for one in put_aside} == {2, 3}
    # One, two, three as they were first told; then what has numbers of its own: four and five.
    assert await left(database) == 5


async def test_an_appliance_that_runs_is_not_restored(tmp_path: Path) -> None:
    async with Device(tmp_path) as device:
        out = tmp_path / "box.backup"
        await asyncio.to_thread(appliance.make, device.state_dir, out, PASSPHRASE)
        with pytest.raises(StoreInUseError):
            await asyncio.to_thread(
                lambda: appliance.restore(device.state_dir, out, PASSPHRASE, replace=True)
            )
        assert len(await device.entries()) == 0


async def test_an_identity_comes_along(tmp_path: Path) -> None:
    async with Device(tmp_path) as device:
        await device.report(1)
    directory = device.state_dir / "identity"
    out = tmp_path / "box.backup"

    def there_and_back() -> tuple[bytes, int]:
        directory.mkdir()
        (directory / "device.pem").write_bytes(b"key and certificate")
        (directory / "enrolment.json").write_bytes(b"{}")
        appliance.make(device.state_dir, out, PASSPHRASE)
        done = appliance.restore(tmp_path / "new", out, PASSPHRASE)
        assert done.has_identity
        assert b"key and certificate" not in out.read_bytes()
        made = tmp_path / "new" / "identity" / "device.pem"
        return made.read_bytes(), made.stat().st_mode & 0o777

    assert await asyncio.to_thread(there_and_back) == (b"key and certificate", 0o600)
    async with Device(tmp_path, "new") as restored:
        assert len(await restored.entries()) == 1


async def wifi_papers(state_dir: Path, content: dict[str, str]) -> None:
    directory = state_dir / "wifi"
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    for name, text in content.items():
        await asyncio.to_thread((directory / name).write_text, text)


async def test_the_wifis_authority_comes_along(tmp_path: Path) -> None:
    async with Device(tmp_path / "old") as old:
        papers = {"authority.pem": "key", "ca.pem": "public", "clients.json": "revoked"}
        await wifi_papers(old.state_dir, {**papers, "server.pem": "made anew"})
        out = tmp_path / "box.backup"
        await asyncio.to_thread(appliance.make, old.state_dir, out, PASSPHRASE)
    fresh = tmp_path / "fresh"
    await asyncio.to_thread(appliance.restore, fresh, out, PASSPHRASE)
    assert {p.name: p.read_text() for p in (fresh / "wifi").iterdir()} == papers
    # The same authority: what was revoked since stays revoked.
    await wifi_papers(fresh, {"clients.json": "revoked since"})
    again = partial(appliance.restore, fresh, out, PASSPHRASE, replace=True)
    await asyncio.to_thread(again)
    assert (fresh / "wifi" / "clients.json").read_text() == "revoked since"
    # Another one, as a fresh start makes it: it is set aside, not lost.
    await wifi_papers(fresh, {"authority.pem": "another key"})
    await asyncio.to_thread(again)
    found = {p.name: p.read_text() for p in (fresh / "wifi").iterdir()}
    assert papers.items() <= found.items()
    assert "another key" in found.values()


async def test_a_cloud_comes_back_with_its_keys(tmp_path: Path) -> None:
    settings = Settings(
        database=f"sqlite:///{tmp_path}/a/cloud.db", key_file=tmp_path / "a" / "cloud.key"
    )
    await asyncio.to_thread((tmp_path / "a").mkdir)
    out = tmp_path / "cloud.backup"
    async with opened(settings) as cloud:
        async with cloud.database.writing() as writing:
            await ensure_site(writing, cloud.keys, "north")
        async with cloud.database.site("north") as tx:
            await tx.put("customer", "ana", b'{"id":"ana","name":"Ana Secret"}')
        known = await cloud.keys.authorities()
        # In use meanwhile.
        await asyncio.to_thread(backup.make, settings, out, PASSPHRASE)
        async with cloud.database.site("north") as tx:
            await tx.put("customer", "bo", b'{"id":"bo"}')
    assert b"Ana Secret" not in await asyncio.to_thread(out.read_bytes)
    with pytest.raises(FileExistsError):
        await asyncio.to_thread(backup.restore, settings, out, PASSPHRASE)
    other = Settings(
        database=f"sqlite:///{tmp_path}/b/cloud.db", key_file=tmp_path / "b" / "cloud.key"
    )
    await asyncio.to_thread(backup.restore, other, out, PASSPHRASE)
    assert (await backup.check(other)).done.startswith("All is there: 2")
    async with opened(other) as cloud:
        assert await cloud.keys.authorities() == known
        async with cloud.database.reading() as connection:
            found = (await fetch(connection, select(record.c.id))).scalars().all()
    assert found == ["ana"]


@pytest.mark.parametrize("damage", ["passphrase", "flipped", "cut", "swapped", "other"])
async def test_a_damaged_backup_changes_nothing(tmp_path: Path, damage: str) -> None:
    settings = Settings(database=f"sqlite:///{tmp_path}/cloud.db", key_file=tmp_path / "cloud.key")
    async with opened(settings):
        pass
    out = tmp_path / "cloud.backup"
    passphrase = PASSPHRASE

    def restore() -> None:
        backup.make(settings, out, PASSPHRASE)
        data = bytearray(out.read_bytes())
        if damage == "flipped":
            data[-100] ^= 1
        elif damage == "cut":
            del data[-1000:]
        elif damage == "swapped":
            data = bytearray(data.replace(b'"version":"', b'"version":" ', 1))
        elif damage == "other":
            data = bytearray(data.replace(b'"cloud"', b'"fleet"', 1))
        out.write_bytes(data)
        used = "another passphrase" if damage == "passphrase" else passphrase
        backup.restore(settings, out, used, replace=True)

    before = await asyncio.to_thread(settings.key_file.read_bytes)
    with pytest.raises(SealedFileError):
        await asyncio.to_thread(restore)
    assert await asyncio.to_thread(settings.key_file.read_bytes) == before
    async with opened(settings):
        pass


async def test_of_postgresql_the_key_is_kept_and_checked(
    postgres_server: Postgres, tmp_path: Path
) -> None:
    url = await asyncio.to_thread(postgres_server.database)
    settings = Settings(database=url, key_file=tmp_path / "cloud.key")
    async with opened(settings) as cloud, cloud.database.writing() as writing:
        await ensure_site(writing, cloud.keys, "north")
    out = tmp_path / "cloud.backup"
    made = await asyncio.to_thread(backup.make, settings, out, PASSPHRASE)
    assert "pg_dump" in made.left
    await asyncio.to_thread(settings.key_file.unlink)
    with pytest.raises(VaultError):
        await backup.check(settings)
    await asyncio.to_thread(backup.restore, settings, out, PASSPHRASE)
    assert "2 authorities" in (await backup.check(settings)).done


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    header = sealed_file.new_header("cloud", "now")
    with pytest.raises(ValueError, match="8 characters"):
        sealed_file.write(tmp_path / "x", "short", header, {})


def test_large_parts_keep_every_byte(tmp_path: Path) -> None:
    parts: dict[str, Path | bytes] = {
        "a": b"x" * (2 * sealed_file.PIECE_BYTES - 11), "b": b"", "c": b"y" * 12,
    }  # fmt: skip
    sealed_file.write(tmp_path / "f", PASSPHRASE, sealed_file.new_header("k", "now"), parts)
    (tmp_path / "into").mkdir()
    _, found = sealed_file.read(tmp_path / "f", PASSPHRASE, "k", tmp_path / "into")
    assert {name: path.read_bytes() for name, path in found.items()} == parts


def test_a_file_that_ends_with_a_whole_piece_too_early_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "f"
    # The first part fills the first piece: but for its mark the file would look whole.
    first = b"x" * (sealed_file.PIECE_BYTES - 10 - 1)
    parts: dict[str, Path | bytes] = {"a": first, "b": b"y" * 100}
    sealed_file.write(path, PASSPHRASE, sealed_file.new_header("k", "now"), parts)
    data = path.read_bytes()
    # `says` is an object, and the last field of the header.
    head = data.index(b"}}") + 2
    path.write_bytes(data[: head + sealed_file.PIECE_BYTES + sealed_file.TAG_BYTES])
    (tmp_path / "into").mkdir()
    with pytest.raises(SealedFileError):
        sealed_file.read(path, PASSPHRASE, "k", tmp_path / "into")
