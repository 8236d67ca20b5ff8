"""Records as the feed brings them: strict in what is known, lenient in what is new."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from edgegate import records
from edgegate.passes import model
from edgegate.store import cache
from edgegate_sync.wire import kinds, restricting
from edgegate_sync.wire.kinds import (
    KINDS,
    KindUnknownError,
    RecordInvalidError,
    RecordUnusableError,
    decode_record,
    encode_record,
)
from edgegate_sync.wire.restricting import restrictions, tighten
from edgegate_sync.wire.strangers import PATH_MAX, UNKNOWN_FIELDS_MAX, Strangers

AT = datetime(2026, 1, 30, 8, 0, tzinfo=UTC)

SAMPLES: dict[str, Struct] = {
    "location": model.Location(id="l", timezone="Europe/Berlin"),
    "customer": model.Customer(id="c", name="Žofie", team="t"),
    "team": model.Team(id="t"),
    "plan": records.Plan(
        id="flex",
        grants=(records.Grant(id="days", amount=10, hours=(model.Hours(from_="08:00"),)),),
    ),
    "contract": model.Contract(id="k", holder="c", plan="flex", starts_at=AT),
    "credential": model.Credential(
        id="n", customer="c", kind=model.CredentialKind.NFC_UID, lookup="ab", valid_until=AT
    ),
    "pass": model.Pass(id="p", holder="c", amount=10, expires_at=AT, hours=(model.Hours(),)),
    "balance": model.Balance(
        pass_="p",  # noqa: S106 - the name of a field
        remaining=-2,
        counted={"gate": model.Counted(epoch=1, sequence=2)},
    ),
    "offer": model.Offer(id="o", price=2000, currency="EUR"),
    "reservation": model.Reservation(id="r", customer="c", from_=AT, until=AT),
    "resource": model.Resource(id="room", location="l"),
    "door": model.Door(id="d", location="l", schedule=(model.Hours(to="12:00"),)),
    "door_group": records.DoorGroup(id="front", name="Front doors"),
    "staff_account": records.StaffAccount(id="mara", role=records.StaffRole.MANAGER),
    "device_config": records.DeviceConfig(id="gate", log_level=records.LogLevel.DEBUG),
}


def id_of(kind: str) -> str:
    return KINDS[kind].id_of(SAMPLES[kind])


def test_there_is_a_sample_of_every_kind_and_the_cache_knows_no_other() -> None:
    assert SAMPLES.keys() == KINDS.keys()
    assert {k: v.type for k, v in cache.KINDS.items()}.items() <= {
        k: v.type for k, v in KINDS.items()
    }.items()


@pytest.mark.parametrize("name", KINDS)
def test_a_record_is_read_as_it_was_written(name: str) -> None:
    read = decode_record(KINDS[name], id_of(name), encode_record(SAMPLES[name]))
    assert read.record == SAMPLES[name]
    assert read.unknown == ()


@pytest.mark.parametrize("name", KINDS)
def test_an_unknown_field_is_kept_out_and_named(name: str) -> None:
    body = msgspec.json.decode(encode_record(SAMPLES[name])) | {"colour": {"id": 1}}
    read = decode_record(KINDS[name], id_of(name), msgspec.json.encode(body))
    assert read.record == SAMPLES[name]
    assert read.unknown == ("colour",)


def test_unknown_fields_inside_are_named_once_by_their_path() -> None:
    body = (
        b'{"id":"flex","grants":[{"id":"a","hours":[{"x":1},{"x":2,"y":null}],"z":0},'
        b'{"id":"b","z":[]}],"w":{"q":1}}'
    )
    read = decode_record(kinds.PLAN, "flex", body)
    assert read.unknown == ("grants[].hours[].x", "grants[].hours[].y", "grants[].z", "w")

    # A device may be called as a field is.
    body = b'{"pass":"p","remaining":1,"counted":{"epoch":{"epoch":1,"sequence":2,"more":3}}}'
    assert decode_record(kinds.BALANCE, "p", body).unknown == ("counted{}.more",)


def test_unknown_fields_have_limits() -> None:
    names = [f"{number}{'x' * 300}" for number in range(UNKNOWN_FIELDS_MAX + 5)]
    body = msgspec.json.encode({"id": "t"} | dict.fromkeys(names, 1))
    found = decode_record(kinds.TEAM, "t", body).unknown
    assert len(found) == UNKNOWN_FIELDS_MAX
    assert {len(path) for path in found} == {PATH_MAX}


def test_strangers_are_found_in_any_shape() -> None:
    class Inner(Struct):
        a: int = 0

    class Outer(Struct):
        one: Inner | None = None
        many: dict[str, tuple[Inner, ...]] = {}
        plain: dict[str, int] = {}

    body = b'{"one":{"b":1},"many":{"k":[{"c":1}]},"plain":{"free":1}}'
    assert Strangers(Outer).of(body) == ("one.b", "many{}[].c")
    assert Strangers(Outer).of(b'{"one":null,"plain":{"free":1}}') == ()


LATE = (
    b'{"id":"r","customer":"c","from":"9999-12-31T23:00:00-05:00","until":"9999-12-31T23:59:59Z"}'
)


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("customer", b'{"id":"c","status":"gone"}', "status"),
        ("customer", b'{"id":"c","name":null}', "name"),
        ("customer", b'{"id":"other"}', "id"),
        ("customer", b"{}", ""),
        ("customer", b"[]", ""),
        ("customer", b"{", ""),
        ("customer", b'{"id":"c","name":"\xff"}', ""),
        ("customer", b'{"id":"c","name":"a\\u0000b"}', ""),
        ("customer", b'{"id":"c","x":{"\\u0000":1}}', ""),
        ("customer", b'{"id":"c","x":' + b"[" * 5_000 + b"]" * 5_000 + b"}", ""),
        ("customer", b'{"id":"c","name":"' + b"x" * 131_072 + b'"}', ""),
        ("pass", b'{"id":"p","holder":"c","hours":[{"from":"25:00"}]}', "hours[0].from"),
        ("pass", b'{"id":"p","holder":"c","expires_at":"2026-01-30T08:00:00"}', "expires_at"),
        ("pass", b'{"id":"p","holder":"c","expires_at":"0001-01-01T00:00:00+05:00"}', "expires_at"),
        ("reservation", LATE, "from"),
        ("balance", b'{"pass":"q","remaining":1}', "pass"),
        ("location", b'{"id":"l","timezone":"Europe/Nowhere"}', ""),
    ],
)  # fmt: skip
def test_a_body_that_does_not_validate_is_named_with_its_field(
    name: str, body: bytes, field: str
) -> None:
    with pytest.raises(RecordInvalidError) as caught:
        decode_record(KINDS[name], id_of(name), body)
    error = caught.value
    assert (error.kind, error.id, error.field) == (name, id_of(name), field)
    assert error.problem
    assert id_of(name) in str(error)


def test_a_backslash_before_u0000_is_only_text() -> None:
    assert decode_record(kinds.TEAM, "t", rb'{"id":"t","name":"\\u0000"}').record == model.Team(
        id="t", name=r"\u0000"
    )


def test_instants_come_out_in_utc() -> None:
    body = b'{"id":"k","holder":"c","ends_at":"2026-01-30T10:00:00+02:00"}'
    found = decode_record(kinds.CONTRACT, "k", body).record.ends_at
    assert found == AT
    assert found is not None
    assert found.tzinfo is UTC


def test_a_record_that_requires_what_is_unknown_is_unusable_and_says_so() -> None:
    body = encode_record(SAMPLES["team"])
    with pytest.raises(RecordUnusableError) as caught:
        decode_record(kinds.TEAM, "t", body, ["a", "b"], frozenset({"a"}))
    assert (caught.value.kind, caught.value.id, caught.value.features) == ("team", "t", ("b",))
    assert decode_record(kinds.TEAM, "t", body, ["a"], frozenset({"a"})).unknown == ()


def test_a_later_versions_kind_is_unknown() -> None:
    assert kinds.kind_of("pass") is kinds.PASS
    with pytest.raises(KindUnknownError, match="loyalty_card"):
        kinds.kind_of("loyalty_card")


def test_what_erasure_takes_along_exists() -> None:
    for name, erasure in kinds.ERASURES.items():
        assert name in KINDS
        for other, field in erasure.records:
            fields = {f.encode_name for f in msgspec.structs.fields(KINDS[other].type)}
            assert field in fields


def test_restricting_fields_exist_and_are_of_their_types() -> None:
    for name, fields in restricting.RESTRICTING.items():
        for restriction in fields:
            value = getattr(SAMPLES[name], restriction.field)
            assert value is None or isinstance(value, restriction.type)


def test_what_restricts_is_taken_out_of_an_invalid_body() -> None:
    body = (
        b'{"id":7,"state":"cancelled","payment_hold":true,"expires_at":"2026-01-30T10:00:00+02:00"}'
    )
    found = restrictions("pass", body)
    assert found == {"state": "cancelled", "payment_hold": True, "expires_at": AT}
    assert found["state"] is model.PassState.CANCELLED
    # One broken value does not hide another.
    assert restrictions("pass", b'{"state":"ended","payment_hold":true}') == {"payment_hold": True}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"status":null}', b'{"status":"new"}', b'{"staff":1}', b'"\xff"',
     b'{"status":' + b"[" * 5_000 + b"]" * 5_000 + b"}"],
)  # fmt: skip
def test_nothing_is_taken_out_of_what_says_nothing(body: bytes) -> None:
    assert restrictions("customer", body) == {}
    assert restrictions("unheard_of", body) == {}


@pytest.mark.parametrize("ends", ["2026-01-30T08:00:00", "0001-01-01T00:00:00+05:00", "soon"])
def test_an_end_that_is_no_instant_is_not_taken(ends: str) -> None:
    assert restrictions("contract", msgspec.json.encode({"ends_at": ends})) == {}


LATER = AT + timedelta(days=1)


@pytest.mark.parametrize(
    ("record", "kind", "found", "changed"),
    [
        (model.Customer(id="c"), "customer", {"status": model.CustomerStatus.PAUSED}, True),
        (
            model.Customer(id="c", status=model.CustomerStatus.DISABLED),
            "customer",
            {"status": model.CustomerStatus.ACTIVE},
            False,
        ),
        (model.Customer(id="c", staff=True), "customer", {"staff": False}, True),
        (model.Customer(id="c"), "customer", {"staff": True}, False),
        (model.Contract(id="k", holder="c"), "contract", {"ends_at": AT}, True),
        (model.Contract(id="k", holder="c", ends_at=AT), "contract", {"ends_at": LATER}, False),
        (model.Contract(id="k", holder="c", ends_at=LATER), "contract", {"ends_at": AT}, True),
        (model.Pass(id="p", holder="c"), "pass", {"payment_hold": True}, True),
        (model.Pass(id="p", holder="c", payment_hold=True), "pass", {"payment_hold": False}, False),
        (model.Team(id="t"), "team", {"name": "x"}, False),
    ],
)
def test_a_broken_body_takes_rights_away_and_gives_none_back(
    record: Struct, kind: str, found: dict[str, Any], changed: bool
) -> None:
    after = tighten(kind, record, found)
    assert after == (msgspec.structs.replace(record, **found) if changed else record)


def test_a_lots_id_is_the_same_however_often_it_is_granted_and_no_other_lots() -> None:
    def id_of_lot(contract: str, grant: str, renewal: int) -> str:
        return records.RenewedLot(contract=contract, grant=grant, renewal=renewal).pass_id

    assert id_of_lot("k", "days", 3) == id_of_lot("k", "days", 3)
    lots = [("k", "days", 3), ("k", "days", 4), ("k", "room", 3), ("k-r3", "days", 3)]
    lots += [("k" * 128, "g" * 128, 100_000), ("k" * 127, "g" * 128, 100_000)]
    ids = {id_of_lot(*lot) for lot in lots}
    assert len(ids) == len(lots)
    assert max(map(len, ids)) <= 128


def test_an_instant_keeps_its_meaning_whatever_its_offset() -> None:
    ist = timezone(timedelta(hours=5, minutes=30))
    body = encode_record(model.Contract(id="k", holder="c", starts_at=AT.astimezone(ist)))
    assert decode_record(kinds.CONTRACT, "k", body).record.starts_at == AT
