"""The kinds of records: their types, what of them restricts, and what erasing one takes along."""

import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from edgegate.passes import model
from edgegate.records import DeviceConfig, DoorGroup, Plan, StaffAccount
from edgegate_sync.wire.changes import BODY_BYTES_MAX
from edgegate_sync.wire.errors import MalformedError, WireError, read
from edgegate_sync.wire.strangers import Strangers

R = TypeVar("R", bound=Struct)

FEATURES: frozenset[str] = frozenset()
"""What a record may require of this version; there is nothing yet beyond version 1."""


class KindUnknownError(WireError):
    """A later version's kind: it is kept out and counted."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(f'this version knows no "{kind}"')


class RecordUnusableError(WireError):
    """A record requires features that this version does not know, and must not be used."""

    def __init__(self, kind: str, id_: str, features: Iterable[str]) -> None:
        self.kind = kind
        self.id = id_
        self.features = tuple(features)
        super().__init__(f"{kind} {id_} requires {', '.join(self.features)}, unknown here")


class RecordInvalidError(MalformedError):
    """A body does not validate: the record is quarantined under this error."""

    def __init__(self, kind: str, id_: str, error: MalformedError) -> None:
        super().__init__(f"{kind} {id_}", error.problem, error.field)
        self.kind = kind
        self.id = id_


@dataclass(frozen=True, slots=True)
class RecordKind(Generic[R]):
    """One kind of record."""

    name: str
    type: type[R]
    id_field: str = "id"
    """The wire name of the field that holds the record's id."""
    decoder: "msgspec.json.Decoder[R]" = field(init=False, repr=False)
    strangers: Strangers = field(init=False, repr=False)
    instants: tuple[str, ...] = field(init=False, repr=False)
    """The attributes that hold instants."""
    id_attribute: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        fields = msgspec.structs.fields(self.type)
        names = {f.encode_name: f.name for f in fields}
        for name, value in {
            "decoder": msgspec.json.Decoder(self.type),
            "strangers": Strangers(self.type),
            "instants": tuple(f.name for f in fields if _holds_instant(f.type)),
            "id_attribute": names[self.id_field],
        }.items():
            object.__setattr__(self, name, value)

    def id_of(self, record: R) -> str:
        """The record's id; a balance has that of its pass."""
        id_: str = getattr(record, self.id_attribute)
        return id_


class Read(Struct, Generic[R], frozen=True, kw_only=True):
    """A record that validates, and the fields of its body that this version does not know."""

    record: R
    unknown: tuple[str, ...] = ()
    """Their paths, like `hours[].colour`, each once: kept out, to be counted."""


class Erasure(Struct, frozen=True, kw_only=True):
    """What goes with an erased record: a person's traces."""

    records: tuple[tuple[str, str], ...] = ()
    """Kind and wire field: every record of that kind whose field holds the erased id. With a pass
    its balance goes; with a customer's contract nothing else does."""
    entry_fields: tuple[str, ...] = ()
    """Names of fields: every ledger entry in whose data such a field, at any depth, holds the
    erased id loses data and salt (`edgegate.store.ledger.erase`)."""


def _holds_instant(kind: Any) -> bool:
    """Whether a field's type is an instant, or one or nothing."""
    if typing.get_origin(kind) is Annotated:
        return _holds_instant(typing.get_args(kind)[0])
    return kind is datetime or any(map(_holds_instant, _members(kind)))


def _members(kind: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if is_union else ()


LOCATION = RecordKind("location", model.Location)
CUSTOMER = RecordKind("customer", model.Customer)
TEAM = RecordKind("team", model.Team)
PLAN = RecordKind("plan", Plan)
CONTRACT = RecordKind("contract", model.Contract)
CREDENTIAL = RecordKind("credential", model.Credential)
PASS = RecordKind("pass", model.Pass)
BALANCE = RecordKind("balance", model.Balance, id_field="pass")
OFFER = RecordKind("offer", model.Offer)
RESERVATION = RecordKind("reservation", model.Reservation)
RESOURCE = RecordKind("resource", model.Resource)
DOOR = RecordKind("door", model.Door)
DOOR_GROUP = RecordKind("door_group", DoorGroup)
STAFF_ACCOUNT = RecordKind("staff_account", StaffAccount)
DEVICE_CONFIG = RecordKind("device_config", DeviceConfig)

KINDS: dict[str, RecordKind[Any]] = {
    kind.name: kind
    for kind in (
        *(LOCATION, CUSTOMER, TEAM, PLAN, CONTRACT, CREDENTIAL, PASS, BALANCE, OFFER),
        *(RESERVATION, RESOURCE, DOOR, DOOR_GROUP, STAFF_ACCOUNT, DEVICE_CONFIG),
    )
}
"""Every kind by the name the feed gives it."""

ERASURES: dict[str, Erasure] = {
    "customer": Erasure(
        records=(
            ("credential", "customer"),
            ("contract", "holder"),
            ("pass", "holder"),
            ("reservation", "customer"),
        ),
        entry_fields=("customer",),
    ),
    "credential": Erasure(entry_fields=("credential",)),
    "staff_account": Erasure(entry_fields=("staff",)),
}
"""The kinds that are about a person, which alone can be erased; the named record always goes."""


def kind_of(name: str) -> RecordKind[Any]:
    """A kind by its name.

    Raises:
        KindUnknownError: if this version does not know it.
    """
    found = KINDS.get(name)
    if found is None:
        raise KindUnknownError(name)
    return found


def decode_record(
    kind: RecordKind[R],
    id_: str,
    body: bytes | Raw,
    requires: Iterable[str] = (),
    features: frozenset[str] = FEATURES,
) -> Read[R]:
    """A record out of a change's body; its instants are in UTC.

    Raises:
        RecordUnusableError: if it requires what `features` does not hold.
        RecordInvalidError: if the body does not validate, or is of another id.
    """
    # A snapshot has half a million of these: what costs a call is asked for only where it matters.
    if requires and (missing := [feature for feature in requires if feature not in features]):
        raise RecordUnusableError(kind.name, id_, missing)
    text = bytes(body)
    try:
        record = read(kind.decoder, text, "body", BODY_BYTES_MAX)
        if kind.instants:
            record = _in_utc(kind, record)
        if _NUL in text:
            _check_texts(text)
    except MalformedError as error:
        raise RecordInvalidError(kind.name, id_, error) from error
    found = kind.id_of(record)
    if found != id_:
        other = MalformedError("body", f'is "{found}"', kind.id_field)
        raise RecordInvalidError(kind.name, id_, other)
    return Read(record=record, unknown=kind.strangers.of(text))


def encode_record(record: Struct) -> bytes:
    """A record as the body of a change."""
    return _encoder.encode(record)


def _in_utc(kind: RecordKind[R], record: R) -> R:
    moved = {}
    for name in kind.instants:
        at = getattr(record, name)
        if at is not None and at.tzinfo is not UTC:
            try:
                moved[name] = at.astimezone(UTC)
            except OverflowError as error:
                problem = "must be a year from 1 to 9999 in UTC"
                raise MalformedError("body", problem, name.rstrip("_")) from error
    return msgspec.structs.replace(record, **moved) if moved else record


def _check_texts(text: bytes) -> None:
    """Refuse U+0000, which PostgreSQL cannot store and the system takes for the end of a text."""
    if _has_nul(_anything.decode(text)):
        raise MalformedError("body", "a text in it has the character U+0000")


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(map(_has_nul, value))


_encoder = msgspec.json.Encoder()
_anything = msgspec.json.Decoder()
_NUL = rb"\u0000"
