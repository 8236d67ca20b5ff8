"""The closed lists of the law: the words that ledger, cloud and scenario files share."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import msgspec
import pytest

from edgegate.passes import happenings, model, reasons, state
from edgegate.passes.localtime import Edge

TEN_DAYS = "p"
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)

LISTS: dict[type[StrEnum], str] = {
    Edge: "start end",
    model.Day: "mon tue wed thu fri sat sun",
    model.CustomerStatus: "active paused disabled",
    model.CredentialKind: "nfc_uid nfc_ntag424 qr_static qr_signed qr_rotating mac wifi_login pin",
    model.CredentialStatus: "active blocked",
    model.Unit: "use minute credit unlimited",
    model.Per: "day slot window visit",
    model.Priority: "high normal low",
    model.Source: "plan promo manual refund purchase payg",
    model.Audience: "all members contacts plans",
    model.Kind: "members contacts",
    model.HolidayRule: "open closed",
    model.PassState: "active awaiting_approval rejected cancelled",
    model.Direction: "entry exit toggle",
    model.DoorPolicy: "pass check_in_first booking membership staff free",
    model.OnNoPass: "deny open_and_flag",
    model.AntiPassback: "off soft hard",
    model.LeaseRule: "deny_new allow_known allow_all deny_all",
    model.ReservationState: "scheduled arrived cancelled",
    model.Channel: "door wifi kiosk",
    model.OrderKey: "priority expires_at source remaining unit id",
    reasons.Reason: (
        "covered reservation pass credit payg unlimited membership free staff schedule flagged"
        " lease"
        " unknown_credential credential_blocked credential_not_valid credential_forged"
        " credential_replayed customer_disabled customer_paused no_pass not_approved payment_hold"
        " not_started expired contract_ended other_date other_location other_audience"
        " door_not_included wifi_not_included outside_hours used_up payg_ceiling check_in_first"
        " not_booked anti_passback location_full lockdown lease_expired clock_untrusted staff_only"
        " internal_error storage_failed"
    ),
    reasons.ClosingReason: (
        "exit checkout window_ended used_up expired contract_ended auto_checkout cutoff wifi_idle"
        " revoked"
    ),
}


@pytest.mark.parametrize("list_", LISTS, ids=lambda list_: list_.__name__)
def test_a_closed_list_is_as_the_law_has_it(list_: type[StrEnum]) -> None:
    """In this order: that of `Source` and of `Day` means something."""
    assert [member.value for member in list_] == LISTS[list_].split()


@dataclass(frozen=True)
class Written:
    """A thing with what must be said of it only, and how it is written down."""

    thing: msgspec.Struct
    text: dict[str, object]


INSTANT = "2026-03-02T09:00:00Z"
DAY = date(2026, 3, 2)
WHOSE = {"customer": "ana", "location": "hq"}
SALE = state.Sale(offer="o", price=500, currency="EUR", amount=None, minimum_minutes=15)
WRITTEN = (
    Written(
        happenings.Granted(
            location="hq",
            channel=model.Channel.DOOR,
            customer="ana",
            reason=reasons.Reason.PASS,
            day=DAY,
            pass_=TEN_DAYS,
        ),
        {**WHOSE, "channel": "door", "reason": "pass", "day": "2026-03-02", "pass": "p"},
    ),
    Written(
        happenings.Denied(
            location="hq", channel=model.Channel.WIFI, reason=reasons.Reason.EXPIRED, pass_=TEN_DAYS
        ),
        {"location": "hq", "channel": "wifi", "reason": "expired", "pass": "p"},
    ),
    Written(
        happenings.Debited(
            pass_=TEN_DAYS, customer="ana", location="hq", session="s", amount=1, day=DAY, from_=AT
        ),
        {**WHOSE, "pass": "p", "session": "s", "amount": 1, "day": "2026-03-02", "from": INSTANT},
    ),
    Written(
        happenings.Refunded(pass_=TEN_DAYS, customer="ana", location="hq", session="s", amount=1),
        {**WHOSE, "pass": "p", "session": "s", "amount": 1},
    ),
    Written(
        happenings.Refunded(
            pass_=TEN_DAYS, customer="ana", location="hq", session="s", amount=1, from_=AT
        ),
        {**WHOSE, "pass": "p", "session": "s", "amount": 1, "from": INSTANT},
    ),
    Written(
        happenings.Sold(sale=SALE, customer="ana", location="hq", session="s", day=DAY, from_=AT),
        {
            **WHOSE,
            "sale": {
                "offer": "o",
                "price": 500,
                "currency": "EUR",
                "amount": None,
                "minimum_minutes": 15,
            },
            "session": "s",
            "day": "2026-03-02",
            "from": INSTANT,
        },
    ),
    Written(
        happenings.Charged(
            offer="o",
            customer="ana",
            location="hq",
            session="s",
            amount=500,
            currency="EUR",
            used_s=60,
        ),
        {**WHOSE, "offer": "o", "session": "s", "amount": 500, "currency": "EUR", "used_s": 60},
    ),
    Written(
        happenings.SegmentEnded(session="s", customer="ana", pass_=TEN_DAYS, at=AT, reason=None),
        {"session": "s", "customer": "ana", "pass": "p", "at": INSTANT, "reason": None},
    ),
    Written(
        happenings.Closed(
            session="s",
            customer="ana",
            location="hq",
            at=AT,
            reason=reasons.ClosingReason.CUTOFF,
        ),
        {**WHOSE, "session": "s", "at": INSTANT, "reason": "cutoff"},
    ),
    Written(
        state.Coverage(pass_=TEN_DAYS, customer="ana", day=DAY, from_=AT),
        {"pass": "p", "customer": "ana", "day": "2026-03-02", "from": INSTANT},
    ),
    Written(state.Segment(from_=AT, pass_=TEN_DAYS), {"from": INSTANT, "pass": "p"}),
    Written(state.Scope(), {}),
    Written(
        state.Session(
            id="s",
            customer="ana",
            location="hq",
            opened_at=AT,
            channel=model.Channel.DOOR,
            closes_at=AT,
            closes_for=reasons.ClosingReason.CUTOFF,
        ),
        {
            **WHOSE,
            "id": "s",
            "opened_at": INSTANT,
            "channel": "door",
            "closes_at": INSTANT,
            "closes_for": "cutoff",
        },
    ),
    Written(
        model.Reservation(id="r", customer="ana", pass_=TEN_DAYS, from_=AT, until=AT),
        {"id": "r", "customer": "ana", "pass": "p", "from": INSTANT, "until": INSTANT},
    ),
    Written(
        model.Balance(pass_=TEN_DAYS, remaining=3), {"pass": "p", "remaining": 3, "counted": {}}
    ),
    Written(
        model.Hours(),
        {"days": list(model.Day), "from": "00:00", "to": "24:00"},
    ),
)


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: type(written.thing).__name__)
def test_what_is_written_down_is_written_like_this_and_read_again(written: Written) -> None:
    text = msgspec.json.encode(written.thing)
    assert msgspec.json.decode(text) == written.text
    assert msgspec.json.decode(text, type=type(written.thing)) == written.thing


def test_what_is_not_said_is_this() -> None:
    """A ledger leaves out what is as usual, so that what is usual may never change."""
    debited = happenings.Debited(
        pass_=TEN_DAYS, customer="ana", location="hq", session="s", amount=1, day=DAY, from_=AT
    )
    assert not debited.covers
    assert not debited.visit_only
    session = msgspec.json.decode(
        msgspec.json.encode(next(w.thing for w in WRITTEN if isinstance(w.thing, state.Session))),
        type=state.Session,
    )
    assert (session.door_entry, session.kiosk_entry, session.wifi) == (False, False, False)
    assert session.minutes == 0
    assert state.Segment(from_=AT).channel is model.Channel.KIOSK
    assert not state.Scope().wifi
    ended = happenings.SegmentEnded(session="s", customer="ana", at=AT, reason=None)
    assert ended.minutes == 0
    charged = next(w.thing for w in WRITTEN if isinstance(w.thing, happenings.Charged))
    assert not charged.taken_back
    closed = next(w.thing for w in WRITTEN if isinstance(w.thing, happenings.Closed))
    assert closed.minutes == 0
    for kind in (happenings.Granted, happenings.Denied, happenings.SegmentEnded, state.Coverage):
        assert kind.__struct_fields__.index("pass_") >= 0
    without = happenings.Granted(
        location="hq",
        channel=model.Channel.DOOR,
        customer="ana",
        reason=reasons.Reason.FREE,
        day=DAY,
    )
    assert without.pass_ is None
    denied = happenings.Denied(
        location="hq", channel=model.Channel.WIFI, reason=reasons.Reason.NO_PASS
    )
    assert denied.pass_ is None


def test_what_was_bought_in_a_visit_that_was_moved_is_written_in_the_ledgers_words() -> None:
    bought = happenings.Bought(offer="o", from_=AT)
    assert bought.pass_ is None
    moved = happenings.Moved(
        session="s",
        customer="ana",
        location="hq",
        was=AT,
        opened_at=AT + timedelta(hours=1),
        day=DAY,
        bought=(happenings.Bought(pass_=TEN_DAYS, from_=AT),),
    )
    assert moved.by == timedelta(hours=1)
    written = msgspec.to_builtins(moved)["bought"][0]
    assert (written["pass"], set(written)) == (TEN_DAYS, {"pass", "from"})


def test_a_verifier_has_its_length() -> None:
    def read(verifier: str) -> model.Credential:
        body = {"id": "c", "customer": "ana", "kind": "wifi_login", "verifier": verifier}
        return msgspec.convert(body, model.Credential)

    assert read("v" * 1024).verifier == "v" * 1024
    with pytest.raises(msgspec.ValidationError, match="1024"):
        read("v" * 1025)
