"""What an administrator does at the cloud's own machine, without the API."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from edgegate_sync.cloud import devices, feed, tls, tokens
from edgegate_sync.cloud.authority import device_certificate, private_pem
from edgegate_sync.cloud.cloud import Settings, opened
from edgegate_sync.cloud.database import Writing, open_database
from edgegate_sync.cloud.keys import Keys, fingerprint, typed
from edgegate_sync.cloud.migrate import migrate
from edgegate_sync.cloud.tables import site
from edgegate_sync.wire.topics import common_name


async def bring_up_to_date(url: str) -> None:
    """Run the revisions that a database lacks."""
    database = await open_database(url)
    try:
        await migrate(database)
    finally:
        await database.close()


async def make_token(
    settings: Settings, name: str, scopes: tuple[str, ...], life: timedelta | None
) -> str:
    """Make an API token; its secret."""
    expires_at = None if life is None else datetime.now(UTC) + life
    async with opened(settings) as cloud, cloud.database.writing() as writing:
        wanted = tuple(tokens.Scope(scope) for scope in scopes)
        _, secret = await tokens.create(writing, name, wanted, expires_at)
    return secret


async def make_claim(
    settings: Settings, site_id: str, device: str | None, life: timedelta
) -> tuple[str, str]:
    """What to type for a new claim code, and the fingerprint of the authority that is in it.

    The site is made if it is not there.

    Raises:
        ValueError: if site or device cannot be called so.
    """
    common_name(site_id, device or "device-00000000")
    async with opened(settings) as cloud:
        async with cloud.database.writing() as writing:
            await ensure_site(writing, cloud.keys, site_id)
            code, _ = await devices.create_claim(writing, site_id, device, life)
        ca = (await cloud.keys.cloud()).certificate_pem
        return typed(code, ca), fingerprint(ca)


async def ensure_site(writing: Writing, keys: Keys, site_id: str) -> bool:
    """Make a site with its keys, unless it is there; whether it was made."""
    present = await writing.execute(select(site.c.id).where(site.c.id == site_id))
    if present.one_or_none() is not None:
        return False
    await feed.create_site(writing, site_id, site_id)
    await keys.create_site(writing, site_id)
    return True


async def authorities(settings: Settings) -> str:
    """The certificates of the cloud's authority and of all sites'."""
    async with opened(settings) as cloud:
        return "".join((await cloud.keys.authorities()).values())


async def issue_files(
    settings: Settings, names: tuple[str, ...], out: Path, *, client: bool
) -> None:
    """Write a new key and certificate, signed by the cloud's authority: OUT.key and OUT.pem."""
    async with opened(settings) as cloud:
        authority = await cloud.keys.cloud()
    if client:
        key = ec.generate_private_key(ec.SECP256R1())
        made = device_certificate(authority, names[0], key.public_key(), datetime.now(UTC))
        pair = private_pem(key), made.public_bytes(Encoding.PEM)
    else:
        pair = tls.issue(authority, names)
    await asyncio.to_thread(_write, out, *pair)


async def escrowed(settings: Settings, site_id: str, passphrase: bytes) -> str:
    """A site's authority, its key under a passphrase.

    Raises:
        SiteUnknownError: if there is no such site.
    """
    async with opened(settings) as cloud:
        authority = await cloud.keys.site(site_id)
    return authority.certificate_pem + authority.escrow_pem(passphrase).decode()


def _write(out: Path, key: bytes, certificate: bytes) -> None:
    handle = os.open(out.with_suffix(".key"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key)
    out.with_suffix(".pem").write_bytes(certificate)
