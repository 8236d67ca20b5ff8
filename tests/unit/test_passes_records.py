"""What the cloud's records may say, and what goes for what they do not say (PASSES §1, §10)."""

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import asdict

from edgegate.passes import facts, model
from edgegate.passes.model import (
    AntiPassback,
    Audience,
    CredentialStatus,
    CustomerStatus,
    Day,
    Direction,
    DoorPolicy,
    HolidayRule,
    LeaseRule,
    OnNoPass,
    OrderKey,
    PassState,
    Per,
    Priority,
    ReservationState,
    Unit,
)

MAX = 1_000_000_000
LENGTH_MAX = 1_000_000
DAYS_MAX = 36_500
INSTANT = "2026-03-02T09:00:00Z"
NEEDED: dict[type[msgspec.Struct], dict[str, object]] = {
    model.Location: {"id": "hq"},
    model.Customer: {"id": "ana"},
    model.Team: {"id": "crew"},
    model.Contract: {"id": "c", "holder": "ana"},
    model.Credential: {"id": "tag", "customer": "ana", "kind": "pin"},
    model.Pass: {"id": "p", "holder": "ana"},
    model.Offer: {"id": "o", "price": 100},
    model.Resource: {"id": "room", "location": "hq"},
    model.Reservation: {"id": "r", "customer": "ana", "from": INSTANT, "until": INSTANT},
    model.Balance: {"pass": "p", "remaining": 1},
    model.Counted: {"epoch": 1, "sequence": 1},
    model.Door: {"id": "front", "location": "hq"},
    model.Hours: {},
}
LOCATION: dict[str, object] = {
    "parent": None,
    "timezone": "UTC",
    "day_cutoff": "00:00",
    "preset": None,
    "order": tuple(
        OrderKey(key) for key in ("priority", "expires_at", "source", "remaining", "id")
    ),
    "holder_first": "personal",
    "payg": (),
    "payg_offline_ceiling": None,
    "payg_hand_over": False,
    "paused_may_enter": False,
    "reservation_lead_minutes": 0,
    "auto_checkout_at": None,
    "auto_checkout_after_minutes": None,
    "wifi_presence": False,
    "wifi_idle_minutes": 15,
    "exclude_booked_minutes": False,
    "credit_price": None,
    "credit_plan_prices": {},
    "capacity": None,
    "holidays": (),
    "keep_expired_days": 30,
    "ledger_keep_days": 90,
    "name": "",
    "id": "hq",
}
TERMS: dict[str, object] = {
    "name": "",
    "unit": Unit.USE,
    "per": Per.DAY,
    "window_minutes": None,
    "amount": 0,
    "home": None,
    "locations": (),
    "audience": Audience.ALL,
    "plans": (),
    "hours": (),
    "holidays": HolidayRule.OPEN,
    "door_groups": (),
    "wifi": False,
    "resources": (),
    "increment_minutes": 1,
    "minimum_minutes": 0,
}
UNSAID: dict[type[msgspec.Struct], dict[str, object]] = {
    model.Location: LOCATION,
    model.Customer: {
        "id": "ana",
        "name": "",
        "team": None,
        "language": "",
        "status": CustomerStatus.ACTIVE,
        "staff": False,
    },
    model.Team: {"id": "crew", "name": ""},
    model.Contract: {"id": "c", "holder": "ana", "plan": "", "starts_at": None, "ends_at": None},
    model.Credential: {
        "id": "tag",
        "customer": "ana",
        "kind": model.CredentialKind.PIN,
        "lookup": "",
        "verifier": "",
        "status": CredentialStatus.ACTIVE,
        "valid_from": None,
        "valid_until": None,
    },
    model.Pass: {
        **TERMS,
        "id": "p",
        "holder": "ana",
        "priority": Priority.NORMAL,
        "source": None,
        "valid_from": None,
        "expires_at": None,
        "contract": None,
        "on_date": None,
        "state": PassState.ACTIVE,
        "payment_hold": False,
    },
    model.Offer: {
        **TERMS,
        "id": "o",
        "minimum_minutes": 15,
        "price": 100,
        "currency": "",
        "plan_prices": {},
        "sold_to": (),
    },
    model.Resource: {"id": "room", "location": "hq", "name": "", "credit_price_hour": None},
    model.Reservation: {
        "id": "r",
        "customer": "ana",
        "location": None,
        "pass_": None,
        "resource": None,
        "from_": datetime(2026, 3, 2, 9, tzinfo=UTC),
        "until": datetime(2026, 3, 2, 9, tzinfo=UTC),
        "state": ReservationState.SCHEDULED,
    },
    model.Door: {
        "id": "front",
        "location": "hq",
        "name": "",
        "groups": (),
        "resource": None,
        "direction": Direction.ENTRY,
        "policy": DoorPolicy.PASS,
        "on_no_pass": OnNoPass.DENY,
        "schedule": (),
        "schedule_after_first_entry": False,
        "anti_passback": AntiPassback.OFF,
        "lease_hours": 72,
        "lease_rule": LeaseRule.DENY_NEW,
        "device": None,
    },
    model.Hours: {"days": tuple(Day), "from_": "00:00", "to": "24:00"},
}


def made(kind: type[msgspec.Struct], **said: object) -> msgspec.Struct:
    return msgspec.convert({**NEEDED[kind], **said}, kind, strict=False)


@pytest.mark.parametrize("kind", UNSAID, ids=lambda kind: kind.__name__)
def test_what_a_record_does_not_say(kind: type[msgspec.Struct]) -> None:
    assert asdict(made(kind)) == UNSAID[kind]


def test_facts_that_are_not_given() -> None:
    """The facts of somebody of whom nothing is known, at a location that nobody is in."""
    known = facts.Facts(customer=model.Customer(id="ana"), ancestry=("hq",))
    assert (known.lockdown, known.day_begun, known.clock_trusted) == (False, False, True)
    assert known.inside == 0
    assert known.cache_age == facts.ZERO
    assert not known.cache_age


NUMBERS = (
    (model.Location, "reservation_lead_minutes", 0, LENGTH_MAX),
    (model.Location, "payg_offline_ceiling", 0, MAX),
    (model.Location, "auto_checkout_after_minutes", 1, LENGTH_MAX),
    (model.Location, "wifi_idle_minutes", 1, LENGTH_MAX),
    (model.Location, "keep_expired_days", 0, DAYS_MAX),
    (model.Location, "ledger_keep_days", 0, DAYS_MAX),
    (model.Pass, "window_minutes", 1, LENGTH_MAX),
    (model.Pass, "increment_minutes", 1, LENGTH_MAX),
    (model.Pass, "minimum_minutes", 0, LENGTH_MAX),
    (model.Offer, "minimum_minutes", 0, LENGTH_MAX),
    (model.Pass, "amount", 0, MAX),
    (model.Balance, "remaining", -MAX, MAX),
    (model.Counted, "epoch", 0, 2**31 - 1),
    (model.Counted, "sequence", 0, 2**31 - 1),
    (model.Door, "lease_hours", 1, LENGTH_MAX),
)


@pytest.mark.parametrize(("kind", "name", "least", "most"), NUMBERS)
def test_a_number_lies_within_its_limits(
    kind: type[msgspec.Struct], name: str, least: int, most: int
) -> None:
    assert getattr(made(kind, **{name: least}), name) == least
    with pytest.raises(msgspec.ValidationError, match=f">= {least}"):
        made(kind, **{name: least - 1})
    assert getattr(made(kind, **{name: most}), name) == most
    with pytest.raises(msgspec.ValidationError, match=f"<= {most}"):
        made(kind, **{name: most + 1})


TEXTS = (
    (model.Customer, "id", ("a", "a" * 128), ("", "a" * 129)),
    (
        model.Location,
        "day_cutoff",
        ("00:00", "23:59", "09:05"),
        ("24:00", "9:00", "09:60", "x", "09:00\n"),
    ),
    (model.Hours, "to", ("00:00", "23:59", "24:00"), ("24:01", "9:00", "", "24:00\n")),
    (model.Hours, "from", ("00:00", "23:59"), ("24:00", "09:00 ")),
    (model.Location, "holder_first", ("personal", "team"), ("", "teams", "personal\n")),
    (model.Location, "timezone", ("UTC", "Europe/Berlin"), ("Europe/Berlim", "", "../etc/passwd")),
)


@pytest.mark.parametrize(("kind", "name", "good", "bad"), TEXTS)
def test_a_text_is_of_its_form(
    kind: type[msgspec.Struct], name: str, good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    field = {"from": "from_"}.get(name, name)
    for text in good:
        assert getattr(made(kind, **{name: text}), field) == text
    for text in bad:
        with pytest.raises(msgspec.ValidationError):
            made(kind, **{name: text})


def test_an_instant_has_an_offset() -> None:
    made(model.Pass, expires_at="2026-03-02T09:00:00+01:00")
    with pytest.raises(msgspec.ValidationError, match="timezone"):
        made(model.Pass, expires_at="2026-03-02T09:00:00")


def test_a_zone_that_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(msgspec.ValidationError, match='"Mars/Olympus" is no time zone'):
        made(model.Location, timezone="Mars/Olympus")


def test_a_window_needs_its_length() -> None:
    with pytest.raises(msgspec.ValidationError, match="needs window_minutes"):
        made(model.Pass, per="window")
    made(model.Pass, per="window", window_minutes=1)
    made(model.Pass, per="visit")
    made(model.Pass, per="day", window_minutes=1)


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ({"unit": "use"}, None),
        ({"unit": "minute", "amount": 60}, None),
        ({"unit": "minute", "amount": 1}, None),
        ({"unit": "use", "amount": 1}, None),
        ({"unit": "minute", "amount": 0}, "how many minutes"),
        ({"unit": "unlimited", "amount": 1}, "by the minute or by the day"),
        ({"unit": "credit", "amount": 1}, "by the minute or by the day"),
        ({"unit": "use", "per": "slot"}, "by the minute or by the day"),
        ({"unit": "use", "per": "visit"}, "by the minute or by the day"),
        ({"unit": "minute", "amount": 60, "per": "visit"}, "by the minute or by the day"),
        ({"unit": "use", "per": "window"}, "needs window_minutes"),
    ],
)
def test_an_offer_can_be_charged(said: dict[str, object], refused: str | None) -> None:
    """P-01, P-02: by the minute, which needs a number of minutes, or by the day."""
    if refused is None:
        assert made(model.Offer, **said)
        return
    with pytest.raises(msgspec.ValidationError, match=refused):
        made(model.Offer, **said)
