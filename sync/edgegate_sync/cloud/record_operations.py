"""The table of what the admin API does with records: the same for every kind."""

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

from edgegate.passes.model import Id
from edgegate_sync.wire.changes import BODY_BYTES_MAX, FEED_TYPE, Op
from edgegate_sync.wire.enrolment import Name
from edgegate_sync.wire.errors import FieldFault
from edgegate_sync.wire.kinds import ERASURES, KINDS
from edgegate_sync.wire.operations import Body, Operation, Parameter, Part, Place, Scope, told

PAGE_MAX = 500
BULK_BYTES_MAX = 16 * 1024 * 1024
BULK_MAX = 50_000
"""Records in one bulk request."""

ADMIN = "/admin/v1"
SITE = Parameter("site", Name, "The site's id.", place=Place.PATH)
RECORD_ID = Parameter("id", Id, "The record's id.", place=Place.PATH)
LIMIT = Parameter(
    "limit", Annotated[int, Meta(ge=1, le=PAGE_MAX)], "How many at most.", default=100
)
CURSOR = Parameter(
    "cursor",
    Annotated[str, Meta(max_length=128)],
    "Where to go on: `next` of the page before; what comes is greater.",
    default="",
)
OWNER = Parameter("owner", Id | None, "Only those of this customer, holder or team.", default=None)


class Stored(Struct, frozen=True, kw_only=True):
    """A record as it is kept."""

    id: str
    seq: int
    body: Raw


class Page(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some records in the order of their ids; `next` is the cursor if there may be more."""

    records: tuple[Stored, ...]
    next: str | None = None


class Written(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was written: the feed's head after it; `warnings` name what it refers to in vain."""

    head: int
    warnings: tuple[FieldFault, ...] = ()


class Erased(Struct, frozen=True, kw_only=True):
    """How many records went."""

    head: int
    records: int


class BulkItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change: `body` is there for `put` alone; a person is erased by its own operation."""

    kind: str
    id: Id
    op: Op = Op.PUT
    body: Any = None


class BulkWritten(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a bulk request; a fault's `line` is the place of its record, from 1."""

    written: int
    head: int
    faults: tuple[FieldFault, ...] = ()


ALL_OR_NOTHING = Parameter(
    "all_or_nothing", bool, "Write nothing if any record is faulty.", default=False
)
_BULK_ANSWER = told("What was written, and each fault.", BulkWritten)
_BULK_MORE = (
    f"At most {BULK_MAX} changes. Without `all_or_nothing` they are written in transactions of"
    " at most 500, the faulty ones left out; with it in one, and one fault refuses all with 422."
)


def part_of_site(tag: str, scope: Scope, *known: Parameter) -> Part:
    """A part of the admin API that concerns one site."""
    return Part(
        tag,
        scope,
        base=f"{ADMIN}/sites/{{site}}",
        known=(SITE, *known),
        problems={404: "There is no such site."},
    )


def _of_kind(kind: str) -> tuple[Operation, ...]:
    part = part_of_site(kind, Scope.READ, RECORD_ID)
    word = kind.replace("_", " ")
    erasing = (_erase(part, word),) if kind in ERASURES else ()
    return (*_reads(part, word), *_writes(part, word), *erasing)


def _reads(part: Part, word: str) -> tuple[Operation, ...]:
    kind = part.tag
    return (
        part.operation(
            f"list_{kind}",
            f"GET /records/{kind}",
            f"List records of kind {word}, page by page.",
            told("A page.", Page),
            *(LIMIT, CURSOR, OWNER),
        ),
        part.operation(
            f"get_{kind}",
            f"GET /records/{kind}/{{id}}",
            f"Read one {word}.",
            told("The record.", Stored),
            problems={404: "There is no such site or record."},
        ),
    )


def _writes(part: Part, word: str) -> tuple[Operation, ...]:
    kind = part.tag
    return (
        part.operation(
            f"put_{kind}",
            f"PUT /records/{kind}/{{id}}",
            f"Create or replace one {word}.",
            told("It is written, and on its way to the devices.", Written),
            scope=Scope.WRITE,
            body=Body(type=KINDS[kind].type, bytes_max=BODY_BYTES_MAX),
        ),
        part.operation(
            f"delete_{kind}",
            f"DELETE /records/{kind}/{{id}}",
            f"Delete one {word}; that there is none is no error.",
            told("It is gone.", Written),
            scope=Scope.WRITE,
        ),
    )


def _erase(part: Part, word: str) -> Operation:
    return part.operation(
        f"erase_{part.tag}",
        f"POST /records/{part.tag}/{{id}}/erase",
        f"Erase one {word} and all that is about it, here and on every device, for ever.",
        told("It is erased.", Erased),
        scope=Scope.ADMIN,
    )


_RECORDS = part_of_site("records", Scope.WRITE)

BULK_OPERATIONS = (
    _RECORDS.operation(
        "put_records",
        "POST /records",
        "Write many records of any kinds, from a JSON array.",
        _BULK_ANSWER,
        ALL_OR_NOTHING,
        body=Body(lines=(BulkItem,), bytes_max=BULK_BYTES_MAX),
        more=_BULK_MORE,
    ),
    _RECORDS.operation(
        "put_record_lines",
        "POST /records/lines",
        "Write many records of any kinds, one on each line.",
        _BULK_ANSWER,
        ALL_OR_NOTHING,
        body=Body(media_type=FEED_TYPE, lines=(BulkItem,), bytes_max=BULK_BYTES_MAX),
        more=_BULK_MORE,
    ),
)

RECORD_OPERATIONS = (
    *BULK_OPERATIONS,
    *(operation for kind in KINDS for operation in _of_kind(kind)),
)
