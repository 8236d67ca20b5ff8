"""Imports what another product exports: all of it or nothing, and as often as one likes.

Everything is read twice. The first time all is checked, and every fault is named with its file,
line and column; only where there is none, it is read again and written, a transaction for some
hundred records. An import that broke off is simply done again: what is there already stays.
"""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from sqlalchemy import and_, or_, select

from edgegate.passes.localtime import is_zone
from edgegate_sync.cloud import leases, mappings
from edgegate_sync.cloud.csv_import_files import (
    CsvFile,
    FileFaultyError,
    Header,
    ImportFault,
    recognise,
    rows,
)
from edgegate_sync.cloud.csv_import_rows import Translator, Wanted, merged
from edgegate_sync.cloud.csv_import_tables import imported
from edgegate_sync.cloud.csv_import_values import CardForm, World
from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.feed import Transaction, standing
from edgegate_sync.cloud.mappings import FileMapping, Mapping
from edgegate_sync.cloud.references import REFERENCES
from edgegate_sync.cloud.rows import upsert
from edgegate_sync.cloud.tables import record
from edgegate_sync.wire.changes import Op

BATCH_MAX = 250
"""Rows that stand in memory at once, and that one transaction writes."""

FAULTS_MAX = 10_000
"""Faults that a report lists; it counts all of them."""

TOLD_MAX = 1_000
"""Warnings, and records that are gone, that a report lists."""

IMPORT_LIFE = timedelta(minutes=30)
"""For how long a site's other imports wait at most for one that broke off."""

NAMED = ("location", "plan", "team", "resource")
"""Kinds that lines call by name."""

Key = tuple[str, str]
Present = dict[Key, tuple[str, bytes | None]]

_fields = msgspec.json.Decoder(dict[str, Any]).decode


class ImportBusyError(RuntimeError):
    """Another import into the same site is under way."""


class ImportOptions(Struct, frozen=True, kw_only=True):
    """How an import is done."""

    mapping: str
    dry_run: bool = False
    location: str | None = None
    timezone: str | None = None
    """Whose wall times the files have; default: the location's, or the one all locations have."""
    dates: tuple[str, ...] = ()
    """Formats of dates (strptime), tried before the product's own."""
    cards: CardForm = "hex"
    remove_gone: bool = False
    """Delete what an earlier import of this product wrote and these files do not have."""


class Tally(Struct, kw_only=True):
    """What an import comes to for one kind of record."""

    new: int = 0
    changed: int = 0
    same: int = 0
    gone: int = 0


class FileReport(Struct, frozen=True, kw_only=True):
    """What a file was taken for."""

    file: str
    table: str
    encoding: str


class GoneRecord(Struct, frozen=True, kw_only=True):
    """A record of an earlier import that these files do not have."""

    kind: str
    id: str


class ImportReport(Struct, kw_only=True, omit_defaults=True):
    """What an import found, would change, or changed."""

    dry_run: bool
    written: bool = False
    files: tuple[FileReport, ...] = ()
    kinds: dict[str, Tally] = {}
    gone: tuple[GoneRecord, ...] = ()
    """The first of them."""
    faults: tuple[ImportFault, ...] = ()
    faults_count: int = 0
    warnings: tuple[ImportFault, ...] = ()
    """What was or will be written all the same."""
    head: int = 0
    """The site's head after it."""


async def run(
    database: Database,
    site: str,
    files: Sequence[CsvFile],
    options: ImportOptions,
    site_key: bytes | None = None,
) -> ImportReport:
    """Import files of one product into a site; with faults nothing is written.

    Raises:
        LookupError: if there is no such mapping or site.
        ImportBusyError: if another import into this site is under way.
        ValueError: if an option cannot be meant.
    """
    mapping = await asyncio.to_thread(mappings.load, options.mapping)
    holder = f"import-{secrets.token_hex(8)}"
    if not await leases.take(database, f"import {site}", holder, IMPORT_LIFE):
        raise ImportBusyError(f'another import into "{site}" is under way')
    try:
        one = _Import(database, site, files, options, mapping)
        return await one.run(site_key, holder)
    finally:
        await leases.give_back(database, holder)


class _Import:
    """One import that is under way."""

    def __init__(
        self,
        database: Database,
        site: str,
        files: Sequence[CsvFile],
        options: ImportOptions,
        mapping: Mapping,
    ) -> None:
        self._database = database
        self._site = site
        self._files = files
        self._options = options
        self._mapping = mapping
        self._faults: list[ImportFault] = []
        self._warnings: list[ImportFault] = []
        self._tallies: dict[str, Tally] = {}
        self._seen: dict[Key, tuple[int, int]] = {}
        """By record: its line, and the hash of what the line says."""

    async def run(self, site_key: bytes | None, name: str) -> ImportReport:
        """Check everything, and write it unless there are faults."""
        found = await asyncio.to_thread(self._recognised)
        report = ImportReport(dry_run=self._options.dry_run)
        report.files = tuple(
            FileReport(file=f.name, table=table, encoding=f.encoding) for f, table, _ in found
        )
        world = await self._world(site_key)
        for file, _, known in found:
            await self._check(file, known, world)
        report.gone = await self._gone({r.kind for _, _, known in found for r in known.records})
        report.kinds, report.faults_count = self._tallies, len(self._faults)
        report.faults = tuple(self._faults[:FAULTS_MAX])
        report.warnings = tuple(self._warnings[:TOLD_MAX])
        if not self._options.dry_run and not self._faults:
            world = await self._world(site_key)
            for file, _, known in found:
                await self._write(file, known, world, name)
            await self._remove()
            report.written = True
        async with self._database.reading() as connection:
            report.head = (await standing(connection, self._site)).head
        return report

    def _recognised(self) -> list[tuple[CsvFile, str, FileMapping]]:
        """Which file is which, in the order in which they are imported."""
        order = list(self._mapping.files)
        found = []
        for file in self._files:
            unread: list[ImportFault] = []
            try:
                header = next(rows(file, unread))
                if isinstance(header, Header):
                    found.append((file, *recognise(file, header, self._mapping)))
            except FileFaultyError as error:
                self._faults.append(error.fault)
        return sorted(found, key=lambda one: order.index(one[1]))

    async def _world(self, site_key: bytes | None) -> World:
        """What the site has that lines may name."""
        statement = select(record.c.kind, record.c.id, record.c.body).where(
            record.c.site == self._site, record.c.kind.in_(NAMED), record.c.op == Op.PUT.value
        )
        names: dict[str, dict[str, str]] = {kind: {} for kind in NAMED}
        zones = {}
        async with self._database.reading() as connection:
            await standing(connection, self._site)
            for row in await fetch(connection, statement):
                fields = _fields(row.body)
                names[row.kind].setdefault(str(fields.get("name", "")).casefold(), row.id)
                names[row.kind][row.id.casefold()] = row.id
                if row.kind == "location":
                    zones[row.id] = fields.get("timezone", "UTC")
        for known in names.values():
            known.pop("", None)
        location = self._options.location or (next(iter(zones)) if len(zones) == 1 else None)
        if location is not None and location not in zones:
            raise ValueError(f'there is no location "{location}"')
        zone = self._options.timezone or _one_of(zones, location)
        if not await asyncio.to_thread(is_zone, zone):
            raise ValueError(f'"{zone}" is no time zone, like "Europe/Berlin"')
        return World(
            zone=await asyncio.to_thread(ZoneInfo, zone),
            dates=(*self._options.dates, *self._mapping.dates),
            decimal_comma=self._mapping.decimal_comma,
            cards=self._options.cards,
            site_key=site_key,
            names=names,
            location=location,
        )

    async def _check(self, file: CsvFile, known: FileMapping, world: World) -> None:
        batches = _batches(file, known, world, self._faults)
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            async with self._database.reading() as connection:
                keys = [(one.kind, one.id) for one in batch]
                present = _by_key(await fetch(connection, _present(self._site, keys)))
            bodies = await asyncio.to_thread(self._judge, file.name, batch, present)
            await self._warn_of_dangling(file.name, bodies)

    def _judge(
        self, file: str, batch: list[Wanted], present: Present
    ) -> list[tuple[Wanted, bytes]]:
        """Count what each record comes to, and find what is wrong with it."""
        good = []
        for one in batch:
            if self._is_repeated(file, one):
                continue
            op, body = present.get((one.kind, one.id), (Op.DELETE.value, None))
            tally = self._tallies.setdefault(one.kind, Tally())
            if op == Op.ERASE.value:
                self._warn(file, one, "was erased, and is left out", "Leave the line out.")
                continue
            made = merged(file, one, body)
            if isinstance(made, ImportFault):
                self._faults.append(made)
                continue
            good.append((one, made))
            if body is None:
                tally.new += 1
            elif made == body:
                tally.same += 1
            else:
                tally.changed += 1
        return good

    def _is_repeated(self, file: str, one: Wanted) -> bool:
        """Whether a line before says the same; if it says otherwise, that is a fault."""
        said = hash(msgspec.json.encode((one.always, one.at_first)))
        before = self._seen.setdefault((one.kind, one.id), (one.line, said))
        if before == (one.line, said):
            return False
        if before[1] != said:
            word = one.kind.replace("_", " ")
            problem = f"is the same {word} as line {before[0]}, and says otherwise"
            advice = "Leave one of them out, or export with the column of the ids."
            self._faults.append(
                ImportFault(file=file, line=one.line, problem=problem, advice=advice)
            )
        return True

    async def _warn_of_dangling(self, file: str, bodies: list[tuple[Wanted, bytes]]) -> None:
        wanted: list[tuple[Wanted, str, list[Key]]] = []
        for one, body in bodies:
            fields = _fields(body)
            for field, kinds in REFERENCES.get(one.kind, {}).items():
                to = fields.get(field)
                keys = [(kind, to) for kind in kinds] if isinstance(to, str) and to else []
                if keys and not any(key in self._seen for key in keys):
                    wanted.append((one, field, keys))
        sought = [key for _, _, keys in wanted for key in keys]
        if not sought:
            return
        async with self._database.reading() as connection:
            found = _by_key(await fetch(connection, _present(self._site, sought)))
        for one, field, keys in wanted:
            if not any(key in found and found[key][0] == Op.PUT.value for key in keys):
                words = " or ".join(kind.replace("_", " ") for kind, _ in keys)
                problem = f'there is no {words} "{keys[0][1]}"'
                self._warn(file, one, problem, "Make it, or import it as well.", field)

    def _warn(self, file: str, one: Wanted, problem: str, advice: str, column: str = "") -> None:
        if len(self._warnings) < TOLD_MAX:
            self._warnings.append(
                ImportFault(file=file, line=one.line, column=column, problem=problem, advice=advice)
            )

    async def _gone(self, kinds: set[str]) -> tuple[GoneRecord, ...]:
        """Of what earlier imports of this product wrote, what these files do not have."""
        told = []
        for kind in sorted(kinds):
            for record_id in await self._gone_of(kind):
                self._tallies.setdefault(kind, Tally()).gone += 1
                told.append(GoneRecord(kind=kind, id=record_id))
        self._all_gone = told
        return tuple(told[:TOLD_MAX])

    async def _gone_of(self, kind: str) -> list[str]:
        statement = (
            select(imported.c.id)
            .join(
                record,
                (record.c.site == imported.c.site)
                & (record.c.kind == imported.c.kind)
                & (record.c.id == imported.c.id),
            )
            .where(
                imported.c.site == self._site,
                imported.c.mapping == self._options.mapping,
                imported.c.kind == kind,
                record.c.op == Op.PUT.value,
            )
            .order_by(imported.c.id)
        )
        async with self._database.reading() as connection:
            found = (await fetch(connection, statement)).scalars()
            return [one for one in found if (kind, one) not in self._seen]

    async def _write(self, file: CsvFile, known: FileMapping, world: World, name: str) -> None:
        batches = _batches(file, known, world, [])
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            async with self._database.site(self._site) as tx:
                await tx.lock()
                await self._write_batch(tx, file.name, batch, name)

    async def _write_batch(
        self, tx: Transaction, file: str, batch: list[Wanted], name: str
    ) -> None:
        # Only the first of several lines that say the same counts, as when they were checked.
        once = {(w.kind, w.id): w for w in reversed(batch)}
        keys = list(once)
        present = _by_key(await tx.execute(_present(self._site, keys)))
        written = []
        for (kind, record_id), one in once.items():
            op, body = present.get((kind, record_id), (Op.DELETE.value, None))
            made = merged(file, one, body)
            # Whoever erased somebody meanwhile goes first.
            if op == Op.ERASE.value or isinstance(made, ImportFault):
                continue
            if made != body:
                await tx.put(kind, record_id, made)
            written.append({"kind": kind, "id": record_id})
        constant = {"site": self._site, "mapping": self._options.mapping, "run": name}
        await upsert(tx, imported, [constant | row for row in written], ("mapping", "run"))

    async def _remove(self) -> None:
        if not self._options.remove_gone:
            return
        for start in range(0, len(self._all_gone), BATCH_MAX):
            async with self._database.site(self._site) as tx:
                for one in self._all_gone[start : start + BATCH_MAX]:
                    await tx.delete(one.kind, one.id)


def _batches(
    file: CsvFile, known: FileMapping, world: World, faults: list[ImportFault]
) -> Iterator[list[Wanted]]:
    """The records of a file, some rows at a time."""
    lines = rows(file, faults)
    header = next(lines)
    if not isinstance(header, Header):
        raise TypeError(type(header))
    translator = Translator(file.name, header, known, world)
    batch: list[Wanted] = []
    for row in lines:
        if isinstance(row, Header):
            continue
        for wanted in translator.records(row, faults):
            name = wanted.always.get("name")
            if wanted.kind in NAMED and name:
                world.names[wanted.kind].setdefault(str(name).casefold(), wanted.id)
            batch.append(wanted)
        if len(batch) >= BATCH_MAX:
            yield batch
            batch = []
    if batch:
        yield batch


def _present(site: str, keys: Sequence[Key]) -> Any:
    by_kind: dict[str, list[str]] = {}
    for kind, record_id in keys:
        by_kind.setdefault(kind, []).append(record_id)
    # Kind by kind, as SQLite finds pairs in a list by reading the whole table.
    wanted = (and_(record.c.kind == kind, record.c.id.in_(ids)) for kind, ids in by_kind.items())
    return select(record.c.kind, record.c.id, record.c.op, record.c.body).where(
        record.c.site == site, or_(*wanted)
    )


def _by_key(found: Any) -> Present:
    return {
        (row.kind, row.id): (row.op, None if row.body is None else row.body.encode())
        for row in found
    }


def _one_of(zones: dict[str, str], location: str | None) -> str:
    """The zone of wall times: the location's, or that of all."""
    if location is not None:
        return zones[location]
    if len(set(zones.values())) > 1:
        raise ValueError("the locations have several time zones: say a location or a time zone")
    return next(iter(zones.values()), "UTC")
