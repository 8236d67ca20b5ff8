"""The demo's sample space: members with different passes, its records and its configuration."""

import secrets
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec import Struct

from edgegate.checkin import present
from edgegate.credentials.lookup import lookup
from edgegate.demo.wiring import (
    BOARD,
    CARD_READER,
    CLOUD,
    KEY_FILE,
    SCANNER,
    STATE,
    configuration,
)
from edgegate.passes.model import (
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
from edgegate.store.books import Books

AFTERNOON_HOUR = 14
KEY_BYTES = 32
IDA_MINUTES = 57
"""What was left of Ida's minutes when she came."""


class Lot(Struct, frozen=True, kw_only=True):
    """A pass, and how much of it was used before."""

    pass_: Pass
    used: int = 0


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
MIA = _card("Mia", "04A1000000FF13", "no pass")
STRANGER = Person(name="A stranger", holds="unknown card", number=bytes.fromhex("C0FFEE13"))

PEOPLE = (ANA, BEN, CLEO, DANA, EMIL, FAY, GIL, HUGO, IDA, JON, KIM, LEA, MIA)


class Pace(Struct, frozen=True, kw_only=True):
    """How long things take: a tour is quicker than a human at the keys."""

    open_s: float
    """How long a grant unlocks the front door, if nobody goes through."""
    exit_s: float
    """How long the exit button does, and a grant at the lounge."""
    held_open_s: float
    ida_runs_out_s: float
    """How soon after her visit was recorded Ida's minutes are used up."""


class Site(Struct, frozen=True, kw_only=True):
    """Where everything of the prepared space is."""

    directory: Path
    zone: str
    ida_runs_out_s: float

    @property
    def state(self) -> Path:
        """The state directory of the appliance."""
        return self.directory / STATE

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "config.toml"

    @property
    def key(self) -> Path:
        """The site's key, with which card numbers are hashed."""
        return self.directory / KEY_FILE

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

    @property
    def cloud(self) -> Path:
        """Where the cloud and the broker have their files."""
        return self.directory / CLOUD

    def local(self, at: datetime) -> datetime:
        """An instant on the space's wall clock."""
        return at.astimezone(ZoneInfo(self.zone))


def prepare(directory: Path, url: str, pace: Pace) -> Site:
    """Write key and configuration of an appliance of the cloud at `url` into a directory."""
    zone = zone_of_afternoon(datetime.now(UTC))
    site = Site(directory=directory, zone=zone, ida_runs_out_s=pace.ida_runs_out_s)
    site.key.touch(mode=0o600)
    site.key.write_bytes(secrets.token_bytes(KEY_BYTES))
    text = configuration(
        directory, url, open_s=pace.open_s, exit_s=pace.exit_s, held_open_s=pace.held_open_s
    )
    site.config.write_text(text, encoding="utf-8")
    site.state.mkdir(mode=0o700)
    return site


def zone_of_afternoon(now: datetime) -> str:
    """A zone where it is between 14:00 and 15:00, so that a morning pass is refused at any time."""
    ahead = AFTERNOON_HOUR - now.astimezone(UTC).hour
    # POSIX turns the sign round: Etc/GMT-3 is three hours ahead.
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


def come_in(key: bytes, person: Person, at: datetime, books: Books) -> None:
    """Let somebody have come in at the front door at an earlier instant: a job on the books."""
    present(books, "front", lookup(key, person.kind, person.number), at)


def records(site: Site, key: bytes, now: datetime) -> Iterator[Record]:
    """What the space is, but for its passes, in an order in which nothing is missing."""
    yield Location(id="house", name="Sample House", timezone=site.zone)
    yield Door(id="front", location="house", name="Front door")
    yield Door(id="lounge", location="house", name="Lounge", policy=DoorPolicy.MEMBERSHIP)
    yield Team(id="team", name="The Workshop")
    for person in PEOPLE:
        yield customer_of(person)
        yield Credential(
            id=f"{person.customer}-key",
            customer=person.customer,
            kind=person.kind,
            lookup=lookup(key, person.kind, person.number),
            status=CredentialStatus.BLOCKED if person is KIM else CredentialStatus.ACTIVE,
        )
    for holder in ("hugo", "jon"):
        yield Contract(id=f"{holder}-contract", holder=holder, plan="resident")
    for lot in lots(site, now):
        yield lot.pass_


def lots(site: Site, now: datetime) -> Iterator[Lot]:
    """The passes, and what was used of them before the space had this cloud."""
    yield from _day_passes(site.local(now).date(), site.zone)
    yield from _plans_and_minutes()


def customer_of(person: Person) -> Customer:
    """A person's record."""
    return Customer(
        id=person.customer,
        name=person.name,
        team="team" if person in (BEN, CLEO) else None,
        status=CustomerStatus.PAUSED if person is JON else CustomerStatus.ACTIVE,
        staff=person is LEA,
    )


def _day_passes(today: date, zone: str) -> Iterator[Lot]:
    ended_at = datetime.combine(today - timedelta(days=3), wall_time(), ZoneInfo(zone))
    yield _pack(Pass(id="ana-days", holder="ana", name="Day pass", amount=10), 2)
    yield _pack(Pass(id="team-days", holder="team", name="Team pass", amount=20), 1)
    mornings = (Hours(from_="08:00", to="12:00"),)
    yield _pack(
        Pass(id="emil-mornings", holder="emil", name="Morning pass", amount=10, hours=mornings), 6
    )
    yield _pack(
        Pass(id="fay-days", holder="fay", name="Day pass", amount=5, expires_at=ended_at), 3
    )
    waiting = PassState.AWAITING_APPROVAL
    yield Lot(pass_=Pass(id="gil-day", holder="gil", name="Trial day", amount=1, state=waiting))
    yield _pack(Pass(id="ida-days", holder="ida", name="Day pass", amount=5), 3)
    yield Lot(pass_=Pass(id="kim-days", holder="kim", name="Day pass", amount=5))


def _plans_and_minutes() -> Iterator[Lot]:
    for holder in ("hugo", "jon"):
        plan = Pass(
            id=f"{holder}-plan",
            holder=holder,
            name="Resident",
            unit=Unit.UNLIMITED,
            source=Source.PLAN,
            contract=f"{holder}-contract",
        )
        yield Lot(pass_=plan)
    minutes = Pass(
        id="dana-minutes", holder="dana", name="Minute pack", unit=Unit.MINUTE, amount=600
    )
    yield _pack(minutes, 12)
    minutes = Pass(
        id="ida-minutes",
        holder="ida",
        name="Minute pack",
        unit=Unit.MINUTE,
        amount=600,
        priority=Priority.HIGH,
    )
    yield _pack(minutes, IDA_MINUTES)


def _pack(p: Pass, left: int) -> Lot:
    """A pass of which so much is left."""
    return Lot(pass_=p, used=(p.amount or 0) - left)
