"""The demo's sample space: a dozen members with different passes, its records and its config."""

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec import Struct

from edgegate.checkin import present
from edgegate.clock import SystemClock, boot_id
from edgegate.credentials.lookup import lookup
from edgegate.demo.wiring import BOARD, CARD_READER, KEY_FILE, SCANNER, STATE, configuration
from edgegate.passes.model import (
    Balance,
    Contract,
    Credential,
    CredentialKind,
    CredentialStatus,
    Customer,
    CustomerStatus,
    Door,
    DoorPolicy,
    Hours,
    Location,
    Pass,
    PassState,
    Priority,
    Record,
    Source,
    Team,
    Unit,
)
from edgegate.store import cache
from edgegate.store.books import Books
from edgegate.store.cache import Kind
from edgegate.store.files import Store
from edgegate.store.ledger import Stamp
from edgegate.store.projection import rebuild

AFTERNOON_HOUR = 14
IDA_MINUTES = 57
"""What was left of Ida's minutes when she came."""

_KINDS = {kind.type: kind for kind in cache.KINDS.values()}


class Person(Struct, frozen=True, kw_only=True):
    """Somebody of the sample space; the key that taps for them is their first letter."""

    name: str
    holds: str
    """What they have, in few words; `{left}` is what is left of `pass_`."""
    pass_: str | None = None
    kind: CredentialKind = CredentialKind.NFC_UID
    number: bytes = b""

    @property
    def key(self) -> str:
        """The key on the keyboard."""
        return self.name[0].lower()

    @property
    def customer(self) -> str:
        """The id of their record."""
        return self.name.lower()


def _card(name: str, uid: str, holds: str, pass_: str | None = None) -> Person:
    return Person(name=name, holds=holds, pass_=pass_, number=bytes.fromhex(uid))


def _code(name: str, code: str, holds: str, pass_: str | None = None) -> Person:
    kind = CredentialKind.QR_STATIC
    return Person(name=name, holds=holds, pass_=pass_, kind=kind, number=code.encode())


ANA = _card("Ana", "04A10000000A01", "day passes, {left} of 10", "ana-days")
BEN = _card("Ben", "04A10000000B02", "team pass, {left} left", "team-days")
CLEO = _code("Cleo", "CODE-CLEO-0003", "team pass, {left} left", "team-days")
DANA = _card("Dana", "04A10000000D04", "minutes, {left} left", "dana-minutes")
EMIL = _code("Emil", "CODE-EMIL-0005", "mornings, {left} left", "emil-mornings")
FAY = _card("Fay", "04A10000000F06", "passes that ended", "fay-days")
GIL = _card("Gil", "04A1000000AA07", "pass to be approved", "gil-day")
HUGO = _code("Hugo", "CODE-HUGO-0008", "plan without limit", "hugo-plan")
IDA = _card("Ida", "04A1000000CC09", "minutes {left}, then days", "ida-minutes")
JON = _card("Jon", "04A1000000DD10", "membership paused", "jon-plan")
KIM = _card("Kim", "04A1000000EE11", "card reported lost", "kim-days")
LEA = _card("Lea", "5EA0C012", "staff")
STRANGER = Person(name="A stranger", holds="unknown card", number=bytes.fromhex("C0FFEE13"))

PEOPLE = (ANA, BEN, CLEO, DANA, EMIL, FAY, GIL, HUGO, IDA, JON, KIM, LEA)


class Pace(Struct, frozen=True, kw_only=True):
    """How long things take: a tour is quicker than a human at the keys."""

    open_s: float
    """How long a grant unlocks the front door, if nobody goes through."""
    exit_s: float
    """How long the exit button does, and a grant at the lounge."""
    held_open_s: float
    ida_runs_out_s: float
    """How soon after the preparation Ida's minutes are used up."""


class Site(Struct, frozen=True, kw_only=True):
    """Where everything of the prepared space is."""

    directory: Path
    zone: str

    @property
    def state(self) -> Path:
        """The state directory of the appliance."""
        return self.directory / STATE

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "config.toml"

    @property
    def board(self) -> Path:
        """The socket of the board that strikes and sensors hang on."""
        return self.directory / BOARD

    @property
    def card_reader(self) -> Path:
        """The serial port of the card reader."""
        return self.directory / CARD_READER

    @property
    def scanner(self) -> Path:
        """The serial port of the code scanner."""
        return self.directory / SCANNER

    @property
    def log(self) -> Path:
        """What the appliance logs."""
        return self.directory / "edgegate.log"

    def local(self, at: datetime) -> datetime:
        """An instant on the space's wall clock."""
        return at.astimezone(ZoneInfo(self.zone))


def prepare(directory: Path, pace: Pace) -> Site:
    """Write key, configuration, records, and a visit that began an hour ago, into a directory."""
    now = datetime.now(UTC)
    site = Site(directory=directory, zone=zone_of_afternoon(now))
    key = secrets.token_bytes(32)
    key_file = directory / KEY_FILE
    key_file.touch(mode=0o600)
    key_file.write_bytes(key)
    text = configuration(
        site.directory, open_s=pace.open_s, exit_s=pace.exit_s, held_open_s=pace.held_open_s
    )
    site.config.write_text(text, encoding="utf-8")
    site.state.mkdir(mode=0o700)
    store = Store.open(site.state, rebuild)
    try:
        _put(store, _records(site, key, now))
        came_at = now + timedelta(seconds=pace.ida_runs_out_s) - timedelta(minutes=IDA_MINUTES)
        _come_in(store, lookup(key, IDA.kind, IDA.number), came_at)
    finally:
        store.close()
    return site


def zone_of_afternoon(now: datetime) -> str:
    """A zone where it is between 14:00 and 15:00, so that a morning pass is refused at any time."""
    ahead = AFTERNOON_HOUR - now.astimezone(UTC).hour
    # POSIX turns the sign round: Etc/GMT-3 is three hours ahead.
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


def _put(store: Store, records: Iterator[Record | Balance]) -> None:
    """Write records into the cache, as the feed would, in one transaction."""
    store.cache.execute("PRAGMA query_only = OFF")
    store.cache.execute("BEGIN IMMEDIATE")
    for record in records:
        kind: Kind[Record | Balance] = _KINDS[type(record)]
        cache.put(store.cache, kind, record)
    store.cache.execute("COMMIT")
    store.cache.execute("PRAGMA query_only = ON")


def _come_in(store: Store, number: str, at: datetime) -> None:
    """Let somebody have come in at the front door at an earlier instant."""
    stamp = Stamp(
        source="edgegate/demo/demo",
        clock=SystemClock().trust(),
        boot_id=boot_id(),
        monotonic_s=time.monotonic(),
    )
    store.ledger.execute("BEGIN IMMEDIATE")
    present(Books(store, lambda: stamp), "front", number, at)
    store.ledger.execute("COMMIT")


def _records(site: Site, key: bytes, now: datetime) -> Iterator[Record | Balance]:
    yield Location(id="house", name="Sample House", timezone=site.zone)
    yield Door(id="front", location="house", name="Front door")
    yield Door(id="lounge", location="house", name="Lounge", policy=DoorPolicy.MEMBERSHIP)
    yield Team(id="team", name="The Workshop")
    for person in PEOPLE:
        yield _customer(person)
        yield Credential(
            id=f"{person.customer}-key",
            customer=person.customer,
            kind=person.kind,
            lookup=lookup(key, person.kind, person.number),
            status=CredentialStatus.BLOCKED if person is KIM else CredentialStatus.ACTIVE,
        )
    yield from _day_passes(site.local(now).date(), site.zone)
    yield from _plans_and_minutes()


def _customer(person: Person) -> Customer:
    return Customer(
        id=person.customer,
        name=person.name,
        team="team" if person in (BEN, CLEO) else None,
        status=CustomerStatus.PAUSED if person is JON else CustomerStatus.ACTIVE,
        staff=person is LEA,
    )


def _day_passes(today: date, zone: str) -> Iterator[Record | Balance]:
    ended_at = datetime.combine(today - timedelta(days=3), wall_time(), ZoneInfo(zone))
    yield from _pack(Pass(id="ana-days", holder="ana", name="Day pass", amount=10), 2)
    yield from _pack(Pass(id="team-days", holder="team", name="Team pass", amount=20), 1)
    mornings = (Hours(from_="08:00", to="12:00"),)
    yield from _pack(
        Pass(id="emil-mornings", holder="emil", name="Morning pass", amount=10, hours=mornings), 6
    )
    yield from _pack(
        Pass(id="fay-days", holder="fay", name="Day pass", amount=5, expires_at=ended_at), 3
    )
    waiting = PassState.AWAITING_APPROVAL
    yield Pass(id="gil-day", holder="gil", name="Trial day", amount=1, state=waiting)
    yield from _pack(Pass(id="ida-days", holder="ida", name="Day pass", amount=5), 3)
    yield Pass(id="kim-days", holder="kim", name="Day pass", amount=5)


def _plans_and_minutes() -> Iterator[Record | Balance]:
    for holder in ("hugo", "jon"):
        yield Contract(id=f"{holder}-contract", holder=holder, plan="resident")
        yield Pass(
            id=f"{holder}-plan",
            holder=holder,
            name="Resident",
            unit=Unit.UNLIMITED,
            source=Source.PLAN,
            contract=f"{holder}-contract",
        )
    minutes = Pass(
        id="dana-minutes", holder="dana", name="Minute pack", unit=Unit.MINUTE, amount=600
    )
    yield from _pack(minutes, 12)
    minutes = Pass(
        id="ida-minutes",
        holder="ida",
        name="Minute pack",
        unit=Unit.MINUTE,
        amount=600,
        priority=Priority.HIGH,
    )
    yield from _pack(minutes, IDA_MINUTES)


def _pack(p: Pass, left: int) -> Iterator[Record | Balance]:
    """A pass of which so much is left."""
    yield p
    yield Balance(pass_=p.id, remaining=left)
