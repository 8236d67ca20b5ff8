"""Devices: claim codes, enrolment, renewal, revocation, and what they last said of themselves."""

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct
from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgegate_sync.cloud.authority import device_certificate, requested_key, serial_of
from edgegate_sync.cloud.database import Database, Writing, fetch
from edgegate_sync.cloud.keys import Keys
from edgegate_sync.cloud.tables import certificate, claim, device
from edgegate_sync.wire import claims
from edgegate_sync.wire.enrolment import Broker, EnrolRequest, Renewed
from edgegate_sync.wire.topics import common_name

CLAIM_GROUPS, CLAIM_GROUP_LENGTH = 5, 4
"""100 random bits, too many to guess."""

SEEN_NOTED_EVERY = timedelta(minutes=1)

CERTIFICATES_MAX = 4
"""A device's certificates that are valid at once; renewing beyond that revokes the oldest."""


class ClaimUnknownError(LookupError):
    """A claim code is unknown, used, or expired; which of them is not told."""


class NameTakenError(ValueError):
    """The name is another device's, and the claim code does not say that it is replaced."""


class Identity(Struct, frozen=True):
    """Who is at the other end of a connection."""

    site: str
    device: str
    serial: str


class Shown(Struct, frozen=True):
    """What a client certificate tells."""

    identity: Identity
    good: bool
    seen_at: datetime | None
    """When the device was last noted."""


class DeviceRow(Struct, frozen=True, kw_only=True):
    """A device as it is kept."""

    id: str
    created_at: datetime
    seen_at: datetime | None
    revoked_at: datetime | None
    state: str | None
    state_at: datetime | None
    online: bool


async def create_claim(
    writing: Writing, site: str, device_id: str | None, life: timedelta
) -> tuple[str, datetime]:
    """A new claim code, which nobody can be told again, and when it expires."""
    code = "-".join(
        "".join(secrets.choice(claims.CHARACTERS) for _ in range(CLAIM_GROUP_LENGTH))
        for _ in range(CLAIM_GROUPS)
    )
    now = datetime.now(UTC)
    await writing.execute(
        insert(claim).values(
            hash=_claim_hash(code),
            site=site,
            device=device_id,
            created_at=now,
            expires_at=now + life,
        )
    )
    return code, now + life


class Enrolment:
    """Turns claims and requests into certificates."""

    def __init__(self, database: Database, keys: Keys, broker: Broker | None) -> None:
        self._database = database
        self._keys = keys
        self._broker = broker

    async def enrol(self, request: EnrolRequest) -> Renewed:
        """Use up a claim code; the same request again gets the same certificate again.

        Raises:
            RequestFaultError: if the certificate request is no good; the claim stays good.
            ClaimUnknownError: if the claim is.
            NameTakenError: if the wanted name is another device's; the claim stays good.
        """
        key = requested_key(request.csr)
        async with self._database.writing() as writing:
            found = await _claimed(writing, request.claim)
            if found.used_at is not None:
                pem = await _issued_before(writing, found, key)
            else:
                pem = await self._use(writing, found, request.device, key)
            site, name = found.site, _name_in(pem)
        return await self._renewed(site, name, pem)

    async def renew(self, identity: Identity, csr: str) -> Renewed:
        """Another certificate for a device that has one; the present one stays good meanwhile.

        Raises:
            RequestFaultError: if the certificate request is no good.
        """
        key = requested_key(csr)
        authority = await self._keys.site(identity.site)
        now = datetime.now(UTC)
        name = common_name(identity.site, identity.device)
        made = device_certificate(authority, name, key, now)
        async with self._database.writing() as writing:
            await _keep(writing, identity.site, identity.device, made)
            await _revoke_oldest(writing, identity)
        return await self._renewed(
            identity.site, identity.device, made.public_bytes(Encoding.PEM).decode()
        )

    async def _use(
        self, writing: Writing, found: Row[Any], wanted: str | None, key: ec.EllipticCurvePublicKey
    ) -> str:
        name = found.device or wanted or f"device-{secrets.token_hex(4)}"
        subject = common_name(found.site, name)
        at_name = (device.c.site == found.site) & (device.c.id == name)
        now = datetime.now(UTC)
        present = (await writing.execute(select(device).where(at_name))).one_or_none()
        if present is not None and found.device is None:
            raise NameTakenError(
                f'there is a device "{name}" already: ask for a claim code that names it'
            )
        if present is None:
            await writing.execute(insert(device).values(site=found.site, id=name, created_at=now))
        else:
            # The one that is replaced is locked out at once.
            await _revoke_certificates(writing, found.site, name, now)
            await writing.execute(update(device).where(at_name).values(revoked_at=None))
        authority = await self._keys.site(found.site)
        made = device_certificate(authority, subject, key, now)
        await _keep(writing, found.site, name, made)
        await writing.execute(
            update(claim).where(claim.c.hash == found.hash).values(used_at=now, used_by=name)
        )
        return made.public_bytes(Encoding.PEM).decode()

    async def _renewed(self, site: str, name: str, pem: str) -> Renewed:
        made = x509.load_pem_x509_certificate(pem.encode())
        trusted = await self._keys.cloud()
        command = await self._keys.command(site)
        return Renewed(
            site=site,
            device=name,
            certificate=pem,
            ca=trusted.certificate_pem,
            expires_at=made.not_valid_after_utc,
            command_key=command.public,
            broker=self._broker,
            names=(common_name(site, name),),
        )


async def identity_of(connection: AsyncConnection, der: bytes) -> Shown | None:
    """Whose a client certificate is, and whether it is still good; None if it is none of ours."""
    shown = x509.load_der_x509_certificate(der)
    found = await fetch(
        connection,
        select(certificate, device.c.revoked_at.label("device_revoked_at"), device.c.seen_at)
        .join(device)
        .where(certificate.c.serial == serial_of(shown)),
    )
    row = found.one_or_none()
    if row is None or x509.load_pem_x509_certificate(row.pem.encode()) != shown:
        return None
    good = row.revoked_at is None and row.device_revoked_at is None
    return Shown(Identity(row.site, row.device, row.serial), good, row.seen_at)


async def revoked_among(connection: AsyncConnection, serials: list[str]) -> set[str]:
    """Those of the serial numbers that are revoked now."""
    found = await fetch(
        connection,
        select(certificate.c.serial)
        .join(device)
        .where(
            certificate.c.serial.in_(serials),
            or_(certificate.c.revoked_at.is_not(None), device.c.revoked_at.is_not(None)),
        ),
    )
    return set(found.scalars())


async def revoke(writing: Writing, site: str, device_id: str) -> bool:
    """Lock a device out for good; False if there is none of that name."""
    now = datetime.now(UTC)
    await _revoke_certificates(writing, site, device_id, now)
    done = await writing.execute(
        update(device)
        .where(device.c.site == site, device.c.id == device_id)
        .values(revoked_at=now, online=False)
    )
    return done.rowcount == 1


async def note_state(
    writing: Writing, site: str, device_id: str, state: bytes | None, *, online: bool = True
) -> None:
    """Keep what a device said of itself; None keeps the state before, as with a last will."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {"online": online, "seen_at": now}
    if state is not None:
        values |= {"state": state.decode(), "state_at": now}
    await writing.execute(
        update(device).where(device.c.site == site, device.c.id == device_id).values(values)
    )


async def note_seen(database: Database, shown: Shown) -> None:
    """Note that a device is here, at most once a minute."""
    now = datetime.now(UTC)
    if shown.seen_at is None or shown.seen_at < now - SEEN_NOTED_EVERY:
        mine = (device.c.site == shown.identity.site) & (device.c.id == shown.identity.device)
        async with database.writing() as writing:
            await writing.execute(update(device).where(mine).values(seen_at=now))


async def listed(
    connection: AsyncConnection, site: str, after: str, count_max: int
) -> list[DeviceRow]:
    """A site's devices whose names come after one, in their order."""
    found = await fetch(
        connection,
        select(device)
        .where(device.c.site == site, device.c.id > after)
        .order_by(device.c.id)
        .limit(count_max),
    )
    return [_row(row) for row in found]


async def one(connection: AsyncConnection, site: str, device_id: str) -> DeviceRow | None:
    """A device; None if there is none of that name."""
    statement = select(device).where(device.c.site == site, device.c.id == device_id)
    row = (await fetch(connection, statement)).one_or_none()
    return None if row is None else _row(row)


def _row(row: Row[Any]) -> DeviceRow:
    return DeviceRow(
        id=row.id,
        created_at=row.created_at,
        seen_at=row.seen_at,
        revoked_at=row.revoked_at,
        state=row.state,
        state_at=row.state_at,
        online=row.online,
    )


def _claim_hash(code: str) -> str:
    return sha256(claims.canonical(code).encode()).hexdigest()


async def _claimed(writing: Writing, code: str) -> Row[Any]:
    """The claim of a code, locked, so that it is used once."""
    found = await writing.execute(
        select(claim)
        .where(claim.c.hash == _claim_hash(code), claim.c.expires_at > datetime.now(UTC))
        .with_for_update()
    )
    row = found.one_or_none()
    if row is None:
        raise ClaimUnknownError("the claim code is unknown, used, or expired")
    return row


async def _issued_before(writing: Writing, found: Row[Any], key: ec.EllipticCurvePublicKey) -> str:
    """What this claim was used for, if by the same key: its answer got lost on the way."""
    issued = await writing.execute(
        select(certificate.c.pem)
        .where(
            certificate.c.site == found.site,
            certificate.c.device == found.used_by,
            certificate.c.revoked_at.is_(None),
        )
        .order_by(certificate.c.not_before.desc())
    )
    for pem in issued.scalars():
        if _raw(x509.load_pem_x509_certificate(pem.encode()).public_key()) == _raw(key):
            return str(pem)
    raise ClaimUnknownError("the claim code is unknown, used, or expired")


def _raw(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _name_in(pem: str) -> str:
    subject = x509.load_pem_x509_certificate(pem.encode()).subject
    name = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    return str(name).partition("/")[2]


async def _keep(writing: Writing, site: str, name: str, made: x509.Certificate) -> None:
    await writing.execute(
        insert(certificate).values(
            serial=serial_of(made),
            site=site,
            device=name,
            pem=made.public_bytes(Encoding.PEM).decode(),
            not_before=made.not_valid_before_utc,
            not_after=made.not_valid_after_utc,
        )
    )


async def _revoke_certificates(
    writing: Writing, site: str, name: str, at: datetime, serials: list[str] | None = None
) -> None:
    which = (certificate.c.site == site) & (certificate.c.device == name)
    if serials is not None:
        which &= certificate.c.serial.in_(serials)
    await writing.execute(
        update(certificate).where(which, certificate.c.revoked_at.is_(None)).values(revoked_at=at)
    )


async def _revoke_oldest(writing: Writing, identity: Identity) -> None:
    now = datetime.now(UTC)
    found = await writing.execute(
        select(certificate.c.serial)
        .where(
            certificate.c.site == identity.site,
            certificate.c.device == identity.device,
            certificate.c.revoked_at.is_(None),
            certificate.c.not_after > now,
            certificate.c.serial != identity.serial,
        )
        .order_by(certificate.c.not_before.desc())
    )
    old = list(found.scalars())[CERTIFICATES_MAX - 1 :]
    await _revoke_certificates(writing, identity.site, identity.device, now, old)
