"""What the admin API does with imports, and where a site's key for card numbers is kept."""

import io
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated

from aiohttp import web
from msgspec import Meta
from sqlalchemy import delete, insert, select

from edgegate.passes.model import Id
from edgegate_sync.cloud import csv_import, mappings, problems
from edgegate_sync.cloud.csv_import import ImportBusyError, ImportOptions, ImportReport
from edgegate_sync.cloud.csv_import_files import CsvFile, Encoding, ImportFault
from edgegate_sync.cloud.csv_import_values import CardForm
from edgegate_sync.cloud.database import Database, Writing, fetch
from edgegate_sync.cloud.feed import SiteUnknownError
from edgegate_sync.cloud.keys import scope_of
from edgegate_sync.cloud.record_operations import part_of_site
from edgegate_sync.cloud.server import Asked, Handler, answer
from edgegate_sync.cloud.tables import sealed_key
from edgegate_sync.cloud.vault import Vault
from edgegate_sync.wire.errors import FieldFault
from edgegate_sync.wire.operations import Body, Parameter, Scope, told

CSV_TYPE = "text/csv"
CSV_BYTES_MAX = 32 * 1024 * 1024

LOOKUP = "lookup"
"""The purpose of a site's key that card numbers are hashed with."""

SITE_KEY_BYTES_MIN = 32
SITE_KEY_BYTES_MAX = 4096

MAPPINGS = mappings.names()
"""The products that are known; read once, as it looks into a directory."""

_NAMES = Annotated[str, Meta(max_length=64)]

IMPORT = part_of_site("import", Scope.WRITE).operation(
    "import_csv",
    "POST /import",
    "Import a file that another product exported, or say what that would come to.",
    told("What it comes to.", ImportReport),
    *(
        Parameter("mapping", _NAMES, f"The product: {', '.join(MAPPINGS)}."),
        Parameter("dry_run", bool, "Write nothing, and list every fault.", default=False),
        Parameter("table", _NAMES, "Which file it is, if the header does not tell.", default=""),
        Parameter("file", _NAMES, "What reports call the file.", default="file"),
        Parameter("encoding", Encoding, "How its characters are written.", default="utf-8"),
        Parameter("location", Id | None, "Where passes are at home.", default=None),
        Parameter("timezone", _NAMES, "Whose wall times it has.", default=""),
        Parameter("date_format", _NAMES, "How dates are written (strptime).", default=""),
        Parameter("cards", CardForm, "How card numbers are written.", default="hex"),
        Parameter("remove_gone", bool, "Delete what earlier imports had.", default=False),
    ),
    body=Body(media_type=CSV_TYPE, bytes_max=CSV_BYTES_MAX, says="The file as it was exported."),
    problems={
        409: "Another import into this site is under way.",
        422: "The file has faults, and nothing was written; a dry run lists them all.",
    },
    more="Importing a file twice changes nothing. See docs/import.md.",
)

IMPORT_OPERATIONS = (IMPORT,)


async def import_csv(asked: Asked) -> web.StreamResponse:
    """Import one file."""
    values = asked.values
    if values["mapping"] not in MAPPINGS:
        there = ", ".join(MAPPINGS)
        fault = FieldFault(
            field="mapping", problem="there is no such mapping", advice=f"There are: {there}."
        )
        raise problems.invalid([fault], 400)
    raw = asked.raw
    file = CsvFile(
        name=values["file"],
        open=lambda: io.BytesIO(raw),
        table=values["table"],
        encoding=values["encoding"],
    )
    options = ImportOptions(
        mapping=values["mapping"],
        dry_run=values["dry_run"],
        location=values["location"],
        timezone=values["timezone"] or None,
        dates=(values["date_format"],) if values["date_format"] else (),
        cards=values["cards"],
        remove_gone=values["remove_gone"],
    )
    key = await site_key(asked.cloud.database, asked.cloud.vault, asked.site)
    try:
        report = await csv_import.run(asked.cloud.database, asked.site, [file], options, key)
    except ImportBusyError as error:
        raise problems.conflict(f"{error}.") from error
    except SiteUnknownError:
        raise
    except ValueError as error:
        raise problems.invalid([FieldFault(problem=str(error))], 400) from error
    asked.cloud.counters.count("imports", "dry_run" if report.dry_run else "run")
    if report.faults and not report.dry_run:
        raise problems.invalid([_field_fault(fault) for fault in report.faults])
    return answer(report)


def _field_fault(fault: ImportFault) -> FieldFault:
    return FieldFault(
        field=fault.column, line=fault.line, problem=fault.problem, advice=fault.advice
    )


async def keep_site_key(writing: Writing, vault: Vault, site: str, key: bytes) -> str:
    """Deposit a site's key in the vault, in place of one that is there; its fingerprint.

    Raises:
        ValueError: if it is too short or too long to be one.
    """
    if not SITE_KEY_BYTES_MIN <= len(key) <= SITE_KEY_BYTES_MAX:
        raise ValueError(f"a site key has at least {SITE_KEY_BYTES_MIN} bytes; got {len(key)}")
    scope = scope_of(site)
    public = sha256(b"edgegate site key\0" + key).hexdigest()[:16]
    there = sealed_key.c.scope == scope, sealed_key.c.purpose == LOOKUP
    await writing.execute(delete(sealed_key).where(*there))
    await writing.execute(
        insert(sealed_key).values(
            scope=scope,
            purpose=LOOKUP,
            public=public,
            sealed=vault.seal(scope, LOOKUP, key),
            created_at=datetime.now(UTC),
        )
    )
    return public


async def site_key(database: Database, vault: Vault, site: str) -> bytes | None:
    """A site's key, if it was deposited."""
    scope = scope_of(site)
    async with database.reading() as connection:
        found = await fetch(
            connection,
            select(sealed_key.c.sealed).where(
                sealed_key.c.scope == scope, sealed_key.c.purpose == LOOKUP
            ),
        )
        sealed = found.scalar_one_or_none()
    return None if sealed is None else vault.open(scope, LOOKUP, sealed)


HANDLERS: dict[str, Handler] = {"import_csv": import_csv}
"""By operation."""
