"""The authorities and command keys of the cloud and its sites, made once and kept in the vault.

The cloud's own authority signs the certificates of servers, a site's those of its devices. A
device trusts the cloud's, and a stolen key of one site can sign for no other.
"""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct
from sqlalchemy import insert, select

from edgegate_sync.cloud.authority import Authority, load_authority, new_authority
from edgegate_sync.cloud.database import Database, Writing, fetch
from edgegate_sync.cloud.feed import SiteUnknownError
from edgegate_sync.cloud.tables import sealed_key
from edgegate_sync.cloud.vault import Vault
from edgegate_sync.wire.claims import typed_claim
from edgegate_sync.wire.commands import public_key_text

CLOUD = "cloud"
AUTHORITY = "authority"
COMMAND = "command"

CACHED_MAX = 1000
"""Keys kept in memory; when full all are forgotten and opened again as they are needed."""


def scope_of(site: str) -> str:
    """Where a site's keys are found."""
    return f"site/{site}"


class CommandKey(Struct, frozen=True):
    """A site's key for commands."""

    private: Ed25519PrivateKey
    public: str
    """In base64, as devices are told."""


class Keys:
    """Opens the keys of one database; keys never change, so they are kept in memory."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._opened: dict[tuple[str, str], tuple[str, bytes]] = {}

    async def create_cloud(self, writing: Writing) -> None:
        """Make the cloud's own authority if there is none."""
        present = select(sealed_key.c.scope).where(sealed_key.c.scope == CLOUD)
        if (await writing.execute(present)).one_or_none() is None:
            await self._create_authority(writing, CLOUD, "edgegate cloud")

    async def create_site(self, writing: Writing, site: str) -> None:
        """Make a new site's authority and command key, in the transaction that makes the site."""
        await self._create_authority(writing, scope_of(site), f"edgegate site {site}")
        key = Ed25519PrivateKey.generate()
        public = public_key_text(key.public_key())
        await self._keep(writing, scope_of(site), COMMAND, public, key.private_bytes_raw())

    async def cloud(self) -> Authority:
        """The authority whose servers devices trust."""
        return load_authority(*await self._open(CLOUD, AUTHORITY))

    async def site(self, site: str) -> Authority:
        """The authority of a site's devices.

        Raises:
            SiteUnknownError: if there is no such site.
        """
        return load_authority(*await self._open(scope_of(site), AUTHORITY))

    async def command(self, site: str) -> CommandKey:
        """What signs a site's commands.

        Raises:
            SiteUnknownError: if there is no such site.
        """
        public, private = await self._open(scope_of(site), COMMAND)
        return CommandKey(Ed25519PrivateKey.from_private_bytes(private), public)

    async def authorities(self) -> dict[str, str]:
        """The certificates of all authorities, by scope: whose devices may connect."""
        async with self._database.reading() as connection:
            found = await fetch(
                connection,
                select(sealed_key.c.scope, sealed_key.c.public).where(
                    sealed_key.c.purpose == AUTHORITY
                ),
            )
            return {row.scope: row.public for row in found}

    async def _create_authority(self, writing: Writing, scope: str, name: str) -> None:
        made = new_authority(name, datetime.now(UTC))
        await self._keep(writing, scope, AUTHORITY, made.certificate_pem, made.key_pem)

    async def _keep(
        self, writing: Writing, scope: str, purpose: str, public: str, private: bytes
    ) -> None:
        await writing.execute(
            insert(sealed_key).values(
                scope=scope,
                purpose=purpose,
                public=public,
                sealed=self._vault.seal(scope, purpose, private),
                created_at=datetime.now(UTC),
            )
        )

    async def _open(self, scope: str, purpose: str) -> tuple[str, bytes]:
        known = self._opened.get((scope, purpose))
        if known is not None:
            return known
        async with self._database.reading() as connection:
            found = await fetch(
                connection,
                select(sealed_key.c.public, sealed_key.c.sealed).where(
                    sealed_key.c.scope == scope, sealed_key.c.purpose == purpose
                ),
            )
            row = found.one_or_none()
        if row is None:
            raise SiteUnknownError(scope.removeprefix("site/"))
        if len(self._opened) >= CACHED_MAX:
            self._opened.clear()
        opened = (row.public, self._vault.open(scope, purpose, row.sealed))
        self._opened[scope, purpose] = opened
        return opened


def typed(code: str, certificate_pem: str) -> str:
    """What is to be typed on a device for a claim code, so that it knows this cloud by it."""
    der = x509.load_pem_x509_certificate(certificate_pem.encode()).public_bytes(Encoding.DER)
    return typed_claim(code, der)


def fingerprint(certificate_pem: str) -> str:
    """What an installer compares: SHA-256 of the certificate, in hexadecimal."""
    return x509.load_pem_x509_certificate(certificate_pem.encode()).fingerprint(SHA256()).hex()
