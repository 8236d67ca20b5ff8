"""The table of what the admin API does with records: the same for every kind."""

from http import HTTPMethod
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

from edgegate.passes.model import Id
from edgegate_sync.wire.changes import BODY_BYTES_MAX, FEED_TYPE, Op
from edgegate_sync.wire.enrolment import Name
from edgegate_sync.wire.errors import FieldFault
from edgegate_sync.wire.kinds import ERASURES, KINDS
from edgegate_sync.wire.operations import Answer, Body, Operation, Parameter, Place, Scope

PAGE_MAX = 500
BULK_BYTES_MAX = 16 * 1024 * 1024
BULK_MAX = 50_000
"""Records in one bulk request."""

BASE = "/admin/v1/sites/{site}"
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
_NO_SITE = {404: "There is no such site."}
_NO_RECORD = {404: "There is no such site or record."}
_BULK_ANSWER = {200: Answer("What was written, and each fault.", Body(type=BulkWritten))}
_BULK_MORE = (
    f"At most {BULK_MAX} changes. Without `all_or_nothing` they are written in transactions of"
    " at most 500, the faulty ones left out; with it in one, and one fault refuses all with 422."
)


def _of_kind(kind: str) -> tuple[Operation, ...]:
    path = f"{BASE}/records/{kind}"
    word = kind.replace("_", " ")
    erasing = (_erase(kind, path, word),) if kind in ERASURES else ()
    return (*_reads(kind, path, word), *_writes(kind, path, word), *erasing)


def _reads(kind: str, path: str, word: str) -> tuple[Operation, ...]:
    return (
        Operation(
            name=f"list_{kind}",
            method=HTTPMethod.GET,
            path=path,
            tag=kind,
            says=f"List records of kind {word}, page by page.",
            scope=Scope.READ,
            parameters=(SITE, LIMIT, CURSOR, OWNER),
            answers={200: Answer("A page.", Body(type=Page))},
            problems=_NO_SITE,
        ),
        Operation(
            name=f"get_{kind}",
            method=HTTPMethod.GET,
            path=f"{path}/{{id}}",
            tag=kind,
            says=f"Read one {word}.",
            scope=Scope.READ,
            parameters=(SITE, RECORD_ID),
            answers={200: Answer("The record.", Body(type=Stored))},
            problems=_NO_RECORD,
        ),
    )


def _writes(kind: str, path: str, word: str) -> tuple[Operation, ...]:
    written = Answer("It is written, and on its way to the devices.", Body(type=Written))
    return (
        Operation(
            name=f"put_{kind}",
            method=HTTPMethod.PUT,
            path=f"{path}/{{id}}",
            tag=kind,
            says=f"Create or replace one {word}.",
            scope=Scope.WRITE,
            parameters=(SITE, RECORD_ID),
            body=Body(type=KINDS[kind].type, bytes_max=BODY_BYTES_MAX),
            answers={200: written},
            problems=_NO_SITE,
        ),
        Operation(
            name=f"delete_{kind}",
            method=HTTPMethod.DELETE,
            path=f"{path}/{{id}}",
            tag=kind,
            says=f"Delete one {word}; that there is none is no error.",
            scope=Scope.WRITE,
            parameters=(SITE, RECORD_ID),
            answers={200: Answer("It is gone.", Body(type=Written))},
            problems=_NO_SITE,
        ),
    )


def _erase(kind: str, path: str, word: str) -> Operation:
    return Operation(
        name=f"erase_{kind}",
        method=HTTPMethod.POST,
        path=f"{path}/{{id}}/erase",
        tag=kind,
        says=f"Erase one {word} and all that is about it, here and on every device, for ever.",
        scope=Scope.ADMIN,
        parameters=(SITE, RECORD_ID),
        answers={200: Answer("It is erased.", Body(type=Erased))},
        problems=_NO_SITE,
    )


BULK_OPERATIONS = (
    Operation(
        name="put_records",
        method=HTTPMethod.POST,
        path=f"{BASE}/records",
        tag="records",
        says="Write many records of any kinds, from a JSON array.",
        scope=Scope.WRITE,
        parameters=(SITE, ALL_OR_NOTHING),
        body=Body(lines=(BulkItem,), bytes_max=BULK_BYTES_MAX),
        answers=_BULK_ANSWER,
        problems=_NO_SITE,
        more=_BULK_MORE,
    ),
    Operation(
        name="put_record_lines",
        method=HTTPMethod.POST,
        path=f"{BASE}/records/lines",
        tag="records",
        says="Write many records of any kinds, one on each line.",
        scope=Scope.WRITE,
        parameters=(SITE, ALL_OR_NOTHING),
        body=Body(media_type=FEED_TYPE, lines=(BulkItem,), bytes_max=BULK_BYTES_MAX),
        answers=_BULK_ANSWER,
        problems=_NO_SITE,
        more=_BULK_MORE,
    ),
)

RECORD_OPERATIONS = (
    *BULK_OPERATIONS,
    *(operation for kind in KINDS for operation in _of_kind(kind)),
)
