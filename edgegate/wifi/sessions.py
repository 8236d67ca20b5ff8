"""What a packet of accounting changes: sessions of access points, and who is there (S-06).

A session is known by its access point, Acct-Session-Id, device and the customer whose Class it has,
never by User-Name: after a rejected re-authentication that may be anybody's. Every function here is
part of a job of the database thread.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum

from msgspec import Struct

from edgegate.checkin import enter, wifi_stopped
from edgegate.passes.facts import Request
from edgegate.passes.model import Channel
from edgegate.store import wifi, wifi_rows
from edgegate.store.books import Books
from edgegate.store.wifi import Why
from edgegate.store.wifi_rows import Counters, Grant, Key, Online
from edgegate.wifi.access import send_off_oldest
from edgegate.wifi.refusals import Refusals

INTERVALS_LOST = 3
"""Interims that must have failed to come before a session counts as gone (WIFI.md)."""

AWAITED = timedelta(minutes=1)
"""So long after an Accept its device counts as there, although no start was heard yet."""

UNKNOWN_MAX = 1000
"""Sessions that go on and are nobody's here; one more is answered and not kept."""

OURS = (Why.LOST, Why.RESTARTED)
"""Ends that were concluded and not told: an interim shows that the session goes on after all."""


class Status(Enum):
    """What a packet is about (Acct-Status-Type, RFC 2866 §5.1)."""

    START = "start"
    INTERIM = "interim"
    STOP = "stop"
    ON = "on"
    """The access point began anew: no session from before goes on."""
    OFF = "off"


class Report(Struct, frozen=True, kw_only=True):
    """One packet of an access point."""

    status: Status
    nas: str
    place: str
    location: str
    at: datetime
    """When it happened."""
    told_at: datetime
    """When it was told."""
    number: str = ""
    class_: str | None = None
    station: str = ""
    names: bytes = b""
    """What names it to the access point (`edgegate.wifi.vendors.kept`)."""
    address: str = ""
    seconds: int = 0
    received: int = 0
    sent: int = 0
    cause: int | None = None

    @property
    def counters(self) -> Counters:
        """How far the session has come."""
        return Counters(
            seen_at=self.at, seconds=self.seconds, received=self.received, sent=self.sent
        )

    @property
    def handle(self) -> tuple[str, str, str, str]:
        """What the packets of one session have in common."""
        return self.place, self.number, self.station, self.class_ or ""


class Rules(Struct, frozen=True, kw_only=True):
    """What of the configuration the sessions follow."""

    interim: timedelta = timedelta(minutes=5)
    devices_max: int = 5


def take(report: Report, rules: Rules, refusals: Refusals, books: Books) -> Key | None:
    """Carry one packet into the books; the session's key if it goes on.

    The same packet again changes nothing, and no order of packets makes a session's time shorter.
    """
    if report.status in (Status.ON, Status.OFF):
        _restarted(report, books)
        return None
    grant = _grant_of(report, books)
    if grant is None:
        return _nobodys(report, books)
    return _of_grant(report, grant, rules, refusals, books)


def _grant_of(report: Report, books: Books) -> Grant | None:
    """Which Accept a session stands on: its Class says; an access point without it, its number."""
    ledger = books.ledger
    if report.class_ is not None:
        return wifi_rows.grant(ledger, report.class_)
    known = wifi_rows.last_number(ledger, report.place, report.number, report.station)
    if known is not None and known.stopped_at is None and known.customer:
        return wifi_rows.grant(ledger, known.class_)
    return wifi_rows.newest_grant(ledger, report.place, report.station)


def _of_grant(
    report: Report, grant: Grant, rules: Rules, refusals: Refusals, books: Books
) -> Key | None:
    key = (report.place, report.number, report.station, grant.customer)
    row = wifi_rows.online(books.ledger, key)
    if row is not None and row.stopped_at is not None and grant.proven_at <= row.stopped_at:
        return _after_the_end(report, row, grant, books)
    if row is None or row.stopped_at is not None:
        # Nothing was heard of it, or its number was given anew after another Accept.
        row = _start(report, grant, rules, refusals, books)
    newest = _newer(row, grant, books)
    if report.status is Status.STOP:
        if newest:
            _stop(books, row, Why.STOP, report.counters, report.told_at, report.cause)
            return None
        # One of before the device authenticated again: the session goes on under its new Class.
        return key
    wifi_rows.count_on(books.ledger, key, report.counters)
    if newest:
        wifi_rows.address_session(
            books.ledger, key, grant.class_, report.names, report.address or row.address
        )
    return key


def _newer(row: Online, grant: Grant, books: Books) -> bool:
    """Whether an Accept is the one that a session goes on under, or a later one."""
    if row.class_ == grant.class_:
        return True
    current = wifi_rows.grant(books.ledger, row.class_)
    return current is None or current.at <= grant.at


def _start(report: Report, grant: Grant, rules: Rules, refusals: Refusals, books: Books) -> Online:
    key = (report.place, report.number, report.station, grant.customer)
    started = wifi.Started(
        place=report.place,
        number=report.number,
        station=report.station,
        customer=grant.customer,
        class_=grant.class_,
        nas=report.nas,
        location=grant.location,
        began_at=report.at - timedelta(seconds=report.seconds),
    )
    wifi.record(books, started, report.told_at)
    wifi_rows.address_session(books.ledger, key, grant.class_, report.names, report.address)
    if report.status is not Status.STOP:
        send_off_oldest(books, grant.customer, report.station, rules.devices_max, but=key)
        _is_there(report, grant, refusals, books)
    row = wifi_rows.online(books.ledger, key)
    if row is None:
        raise RuntimeError("a session that was just recorded is not there")
    return row


def _is_there(report: Report, grant: Grant, refusals: Refusals, books: Books) -> None:
    """A visit for which the Wi-Fi had fallen silent is seen there again (S-06).

    Whoever has no visit any more, or one without Wi-Fi, is not asked for: they are sent off, and
    authenticate again if they want to stay.
    """
    session = books.session_of(grant.customer, grant.location)
    if session is None or session.wifi or session.idle_since is None or session.id != grant.visit:
        return
    customer, location = books.customer(grant.customer), books.location(grant.location)
    if customer is not None and location is not None:
        request = Request(at=report.told_at, location=location, channel=Channel.WIFI)
        refusing = refusals.take(books, report.nas, report.told_at)
        enter(books, request, customer, refusing=refusing)


def _after_the_end(report: Report, row: Online, grant: Grant, books: Books) -> Key | None:
    """What still comes of a session that has ended.

    Where the access point itself ended it, that stands: packets overtake each other. Where its end
    was only concluded, an interim proves that it goes on, and a stop says when it really ended.
    """
    if row.why not in OURS:
        return None
    newest = _newer(row, grant, books)
    class_ = grant.class_ if newest else row.class_
    if report.status is Status.INTERIM:
        again = wifi.Started(
            place=row.place,
            number=row.number,
            station=row.station,
            customer=row.customer,
            class_=class_,
            nas=row.nas,
            location=row.location,
            began_at=row.started_at,
            again=True,
        )
        wifi.record(books, again, report.told_at)
        wifi_rows.address_session(books.ledger, row.key, class_, report.names, report.address)
        wifi_rows.count_on(books.ledger, row.key, report.counters)
        return row.key
    if report.status is Status.STOP and newest:
        _stop(books, row, Why.STOP, report.counters, report.told_at, report.cause)
    return None


def _stop(
    books: Books,
    row: Online,
    why: Why,
    counters: Counters,
    now: datetime,
    cause: int | None = None,
) -> None:
    reached = Counters(
        seen_at=row.seen_at, seconds=row.seconds, received=row.received, sent=row.sent
    ).with_later(counters)
    stopped = wifi.Stopped(
        place=row.place,
        number=row.number,
        station=row.station,
        customer=row.customer,
        location=row.location,
        why=why,
        ended_at=reached.seen_at,
        seconds=reached.seconds,
        received=reached.received,
        sent=reached.sent,
        cause=cause,
    )
    wifi.record(books, stopped, now)
    _has_gone(books, row.customer, row.location, reached.seen_at, now)


def conclude(books: Books, row: Online, why: Why, now: datetime) -> None:
    """End a session of which its access point says nothing, as of what it said last."""
    if row.customer:
        _stop(books, row, why, Counters(seen_at=row.seen_at), now)
    else:
        wifi_rows.end_unknown(books.ledger, row.key, row.seen_at, why.value)


def _has_gone(
    books: Books, customer: str, location: str, ended_at: datetime, now: datetime
) -> None:
    """With the last of somebody's devices at a location the Wi-Fi falls silent for their visit."""
    session = books.session_of(customer, location)
    online = wifi_rows.online_of(books.ledger, customer)
    if session is None or not session.wifi or any(o.location == location for o in online):
        return
    if wifi_rows.is_awaited(books.ledger, customer, location, now - AWAITED):
        return
    move = books.last_move(customer, location)
    at = max(ended_at, session.opened_at, move[1] if move is not None else ended_at)
    wifi_stopped(books, customer, location, min(at, now), now)


def _restarted(report: Report, books: Books) -> None:
    """No session of an access point goes on; one that began after it did is none of them."""
    for row in wifi_rows.online_at(books.ledger, report.place):
        if row.started_at > report.at:
            continue
        seen_at = report.at if report.status is Status.OFF else row.seen_at
        if row.customer:
            _stop(books, row, Why.RESTARTED, Counters(seen_at=seen_at), report.told_at)
        else:
            wifi_rows.end_unknown(books.ledger, row.key, seen_at, Why.RESTARTED.value)


def _nobodys(report: Report, books: Books) -> Key | None:
    """A session that another server or an earlier life accepted: kept, and nobody's.

    User-Name would name somebody, but not who it is.
    """
    key = (report.place, report.number, report.station, "")
    if report.status is Status.STOP:
        wifi_rows.end_unknown(books.ledger, key, report.at, Why.STOP.value)
        return None
    row = Online(
        place=report.place,
        number=report.number,
        station=report.station,
        customer="",
        class_=report.class_ or "",
        nas=report.nas,
        location=report.location,
        started_at=report.at - timedelta(seconds=report.seconds),
        seen_at=report.at,
        seconds=report.seconds,
        received=report.received,
        sent=report.sent,
        stopped_at=None,
        why="",
        names=b"",
        address=report.address,
    )
    known = wifi_rows.online(books.ledger, key)
    if known is not None and known.stopped_at is not None:
        return None
    if known is None:
        if wifi_rows.counts(books.ledger)[2] >= UNKNOWN_MAX:
            return None
        wifi_rows.keep_unknown(books.ledger, row)
    wifi_rows.count_on(books.ledger, key, report.counters)
    return key


def tend(
    pending: Mapping[Key, Counters],
    now: datetime,
    listens_since: datetime,
    rules: Rules,
    refusals: Refusals,
    books: Books,
) -> list[Key]:
    """Write down what interims said, end the silent, forget the old; which sessions ended."""
    for key, counters in pending.items():
        wifi_rows.count_on(books.ledger, key, counters)
    patience = INTERVALS_LOST * rules.interim
    gone: list[Online] = []
    # Who spoke while nobody listened is not silent for that.
    if now - listens_since >= patience:
        gone = wifi_rows.silent(books.ledger, now - patience)
    for row in gone:
        conclude(books, row, Why.LOST, now)
    for customer, location, ended_at in wifi_rows.gone_unnoticed(books.ledger):
        session = books.session_of(customer, location)
        if session is not None and session.opened_at <= ended_at:
            _has_gone(books, customer, location, ended_at, now)
    refusals.write(books, now)
    wifi_rows.forget_old(books.ledger, now)
    return [row.key for row in gone]
