"""API tokens: 256 random bits that are shown once and kept as their SHA-256, with scopes.

A fast hash is enough: there is nothing to guess in 256 random bits.
"""

import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgegate_sync.cloud.database import Database, Writing, fetch
from edgegate_sync.cloud.tables import token

PREFIX = "egt_"
"""So that a scanner for leaked secrets can tell what it found."""

TOKENS_MAX = 1000

USE_NOTED_EVERY = timedelta(minutes=1)
"""How old the note of a token's last use may be."""


class Scope(StrEnum):
    """What a token is good for; each stands for itself only."""

    READ = "read"
    WRITE = "write"
    DEVICES = "devices"
    ADMIN = "admin"
    METRICS = "metrics"


ALL_SCOPES = tuple(Scope)


class Token(Struct, frozen=True, kw_only=True):
    """A token as one may see it afterwards."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class TooManyTokensError(RuntimeError):
    """There are `TOKENS_MAX` already."""


async def create(
    writing: Writing, name: str, scopes: tuple[Scope, ...], expires_at: datetime | None = None
) -> tuple[Token, str]:
    """A new token and its secret, which nobody can be told again.

    Raises:
        TooManyTokensError: if there are too many that are not revoked.
    """
    present = select(func.count()).select_from(token).where(~token.c.revoked)
    if (await writing.execute(present)).scalar_one() >= TOKENS_MAX:
        raise TooManyTokensError(f"there are {TOKENS_MAX} tokens: revoke some first")
    secret = PREFIX + secrets.token_urlsafe(32)
    made = Token(
        id=secrets.token_hex(8),
        name=name,
        scopes=tuple(sorted(set(scopes))),
        created_at=datetime.now(UTC),
        expires_at=expires_at,
        used_at=None,
    )
    await writing.execute(
        insert(token).values(
            id=made.id,
            hash=_hash(secret),
            name=name,
            scopes=" ".join(made.scopes),
            created_at=made.created_at,
            expires_at=expires_at,
        )
    )
    return made, secret


async def known(database: Database, secret: str) -> Token | None:
    """The token of that secret; None if it is unknown, revoked or expired."""
    now = datetime.now(UTC)
    async with database.reading() as connection:
        found = await fetch(
            connection, select(token).where(token.c.hash == _hash(secret), ~token.c.revoked)
        )
        row = found.one_or_none()
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    if row.used_at is None or row.used_at < now - USE_NOTED_EVERY:
        async with database.writing() as writing:
            await writing.execute(update(token).where(token.c.id == row.id).values(used_at=now))
    return _token(row)


async def listed(connection: AsyncConnection) -> list[Token]:
    """All tokens that are not revoked, oldest first."""
    found = await fetch(connection, select(token).where(~token.c.revoked).order_by("created_at"))
    return [_token(row) for row in found]


async def revoke(writing: Writing, token_id: str) -> bool:
    """Make a token worthless, at once and for ever; False if there is none of that id."""
    done = await writing.execute(
        update(token).where(token.c.id == token_id, ~token.c.revoked).values(revoked=True)
    )
    return done.rowcount == 1


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _token(row: Row[Any]) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        scopes=tuple(Scope(scope) for scope in row.scopes.split()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )
