"""A space as it might be: to look at, to try the API with, and for `make demo`.

Everything goes through the feed's transaction like what an administrator writes, under ids of its
own, so that doing it again changes nothing but what was changed since.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from edgegate.credentials.lookup import lookup
from edgegate.passes.model import (
    Audience,
    Contract,
    Credential,
    CredentialKind,
    CredentialStatus,
    Customer,
    CustomerStatus,
    Direction,
    Door,
    DoorPolicy,
    Hours,
    Kind,
    Location,
    Offer,
    Pass,
    PassState,
    Per,
    Priority,
    Reservation,
    Resource,
    Source,
    Team,
    Unit,
)
from edgegate.records import DoorGroup, Grant, Plan, StaffAccount, StaffRole
from edgegate_sync.cloud.database import Database
from edgegate_sync.wire.changes import BODY_BYTES_MAX
from edgegate_sync.wire.kinds import KINDS, encode_record

ZONE = "Europe/Berlin"
MILL, ANNEX = "mill", "annex"
SITE = "demo"

FIRST = (
    *("Ada", "Bao", "Carla", "Dimitri", "Esra", "Finn", "Grace", "Hugo", "Ines", "Jonas"),
    *("Kofi", "Lena", "Mira", "Nils", "Oda", "Pavel", "Quinn", "Rosa", "Sami", "Tara"),
)
LAST = ("Albers", "Brandt", "Costa", "Demir", "Eriksen", "Fischer", "Gupta", "Haas")
MEMBERS = 40

CARD = "04DE00{:02X}C0FFEE"
"""The cards' numbers, in hexadecimal: made up, and the same wherever this is used."""


async def write(database: Database, site: str, site_key: bytes | None, now: datetime) -> int:
    """Put the demo space into a site; how many records changed. Cards need the site's key.

    Raises:
        SiteUnknownError: if there is no such site.
    """
    # A time zone's name is looked up in files.
    wanted = await asyncio.to_thread(records, site_key, now)
    changed = 0
    async with database.site(site) as tx:
        await tx.lock()
        for kind, record in wanted:
            body = encode_record(record)
            if len(body) > BODY_BYTES_MAX:
                raise ValueError(f"{kind} {record.id} is too long")
            if await tx.get(kind, record.id) != body:
                await tx.put(kind, record.id, body)
                changed += 1
    return changed


def records(site_key: bytes | None, now: datetime) -> list[tuple[str, Any]]:
    """All records of the demo space with their kinds, in an order in which nothing is missing.

    Dates follow the month that it is, so that the same month gives the same records.
    """
    today = now.astimezone(ZoneInfo(ZONE)).date()
    begins = datetime(today.year, today.month, 1, tzinfo=UTC)
    made = [*_space(), *_plans(), *_people(begins), *_passes(begins), *_bookings(begins)]
    if site_key is not None:
        made += _cards(site_key)
    by_type = {kind.type: kind.name for kind in KINDS.values()}
    return [(by_type[type(one)], one) for one in made]


def card(number: int) -> str:
    """The number of a member's card, as a reader or `edgegate demo` would have it."""
    return CARD.format(number)


def _space() -> list[Any]:
    week = tuple(list(Hours().days)[:5])
    return [
        Location(
            id=MILL,
            name="The Mill",
            timezone=ZONE,
            day_cutoff="03:00",
            payg=(Kind.MEMBERS, Kind.CONTACTS),
            payg_offline_ceiling=5_000,
            capacity=60,
            credit_price=500,
            reservation_lead_minutes=10,
        ),
        Location(id=ANNEX, name="The Annex", parent=MILL, timezone=ZONE, day_cutoff="03:00"),
        DoorGroup(id="main", name="Entrances", location=MILL),
        DoorGroup(id="studio", name="Studio", location=ANNEX),
        Resource(id="oak", location=MILL, name="Oak room", credit_price_hour=800),
        Resource(id="phone-booth", location=MILL, name="Phone booth", credit_price_hour=200),
        Door(id="front", location=MILL, name="Front door", groups=("main",)),
        Door(id="back", location=MILL, name="Back door", groups=("main",), schedule=(
            Hours(days=week, from_="09:00", to="18:00"),), schedule_after_first_entry=True),
        Door(id="way-out", location=MILL, name="Way out", direction=Direction.EXIT),
        Door(id="oak-room", location=MILL, name="Oak room", resource="oak",
             policy=DoorPolicy.BOOKING),
        Door(id="annex-door", location=ANNEX, name="Annex", groups=("studio",),
             direction=Direction.TOGGLE),
        Door(id="store-room", location=ANNEX, name="Store room", policy=DoorPolicy.STAFF),
        Offer(id="hourly", name="By the hour", unit=Unit.MINUTE, amount=60, price=800,
              currency="EUR", home=MILL, sold_to=(Kind.MEMBERS, Kind.CONTACTS)),
        StaffAccount(id="desk", name="Front desk", role=StaffRole.DESK),
        StaffAccount(id="manager", name="Manager", role=StaffRole.MANAGER),
    ]  # fmt: skip


def _plans() -> list[Any]:
    ten = Grant(id="days", name="Day passes", unit=Unit.USE, amount=10, home=MILL)
    room = Grant(id="credits", name="Room credits", unit=Unit.CREDIT, amount=2_000, home=MILL)
    always = Grant(id="always", name="All days", unit=Unit.UNLIMITED, home=MILL, wifi=True)
    return [
        Plan(id="flex-10", name="Flex 10", location=MILL, grants=(ten,)),
        Plan(id="flex-plus", name="Flex plus", location=MILL, grants=(ten, room)),
        Plan(id="resident", name="Resident", location=MILL, grants=(always, room)),
        Plan(id="night-owl", name="Night owl", location=ANNEX, sold=False),
    ]


def _people(begins: datetime) -> list[Any]:
    teams = [Team(id="loom", name="Loom Studio"), Team(id="tide", name="Tide Labs")]
    made: list[Any] = [*teams]
    plans = ("flex-10", "flex-plus", "resident", "night-owl")
    for n in range(1, MEMBERS + 1):
        status = {38: CustomerStatus.PAUSED, 39: CustomerStatus.DISABLED}.get(n)
        made.append(
            Customer(
                id=_member(n),
                name=f"{FIRST[n % len(FIRST)]} {LAST[n % len(LAST)]}",
                team={0: "loom", 1: "tide"}.get(n % 10),
                language="de" if n % 3 else "en",
                status=status or CustomerStatus.ACTIVE,
                staff=n == MEMBERS,
            )
        )
        # Every fourth is a contact: they have passes, and no membership.
        if n % 4:
            ends_at = begins - timedelta(days=3) if n == 37 else None
            made.append(
                Contract(
                    id=f"contract-{n:02}",
                    holder=_member(n),
                    plan=plans[n % len(plans)],
                    starts_at=begins - timedelta(days=90),
                    ends_at=ends_at,
                )
            )
    return made


def _passes(begins: datetime) -> list[Any]:
    """For everybody one of the kinds of passes that there are, in turn."""
    end = begins + timedelta(days=45)
    evening = (Hours(from_="17:00", to="02:00"),)
    kinds: tuple[dict[str, Any], ...] = (
        {"name": "Ten days", "amount": 10, "source": Source.PURCHASE, "expires_at": end},
        {"name": "Twenty hours", "unit": Unit.MINUTE, "amount": 1200, "increment_minutes": 5},
        {"name": "All days", "unit": Unit.UNLIMITED, "wifi": True, "source": Source.PLAN},
        {"name": "Evenings", "amount": 8, "per": Per.SLOT, "hours": evening},
        {"name": "Four hours", "amount": 5, "per": Per.WINDOW, "window_minutes": 240},
        {"name": "Visits", "amount": 3, "per": Per.VISIT, "audience": Audience.MEMBERS},
        {"name": "Credits", "unit": Unit.CREDIT, "amount": 4_000, "resources": ("oak",),
         "door_groups": ("main",)},
        {"name": "A last day", "amount": 1, "priority": Priority.HIGH},
    )  # fmt: skip
    made = [
        Pass(id=f"pass-{n:02}", holder=_member(n), home=MILL, **kinds[n % len(kinds)])
        for n in range(1, MEMBERS)
    ]
    first = begins.date()
    made += [
        Pass(id="team-days", holder="loom", name="Team days", amount=50, home=MILL),
        Pass(id="dated", holder=_member(4), name="Open day", amount=1, home=MILL,
             on_date=date(first.year, first.month, 15)),
        Pass(id="waits", holder=_member(8), name="Trial", amount=1, home=MILL,
             state=PassState.AWAITING_APPROVAL),
        Pass(id="unpaid", holder=_member(12), name="Ten days", amount=10, home=MILL,
             payment_hold=True),
        Pass(id="over", holder=_member(16), name="Last month", amount=5, home=MILL,
             expires_at=begins - timedelta(days=1)),
        Pass(id="studio", holder=_member(20), name="Studio", amount=4, home=ANNEX,
             locations=(ANNEX,), door_groups=("studio",)),
    ]  # fmt: skip
    return made


def _bookings(begins: datetime) -> list[Any]:
    day = begins + timedelta(days=14, hours=9)
    return [
        Reservation(
            id=f"booking-{n}",
            customer=_member(n),
            resource="oak",
            location=MILL,
            from_=day + timedelta(days=n),
            until=day + timedelta(days=n, hours=2),
        )
        for n in (1, 2, 5, 9)
    ]


def _cards(site_key: bytes) -> list[Any]:
    kind = CredentialKind.NFC_UID
    return [
        Credential(
            id=f"card-{n:02}",
            customer=_member(n),
            kind=kind,
            lookup=lookup(site_key, kind, bytes.fromhex(card(n))),
            status=CredentialStatus.BLOCKED if n == 36 else CredentialStatus.ACTIVE,
        )
        for n in range(1, MEMBERS + 1)
    ]


def _member(n: int) -> str:
    return f"member-{n:02}"


__all__ = ["SITE", "card", "records", "write"]
