"""What the admin API does with sites, devices, commands and tokens."""

from datetime import timedelta

from aiohttp import web
from msgspec import Raw
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgegate_sync.cloud import devices, problems, tokens
from edgegate_sync.cloud import feed as feed_of
from edgegate_sync.cloud.broker import BrokerAwayError, NoReplyError
from edgegate_sync.cloud.database import fetch
from edgegate_sync.cloud.feed import standing
from edgegate_sync.cloud.keys import fingerprint, typed
from edgegate_sync.cloud.operations import (
    Claim,
    Device,
    Devices,
    MadeToken,
    Site,
    Sites,
    Tokens,
)
from edgegate_sync.cloud.problems import ProblemError
from edgegate_sync.cloud.server import Asked, Handler, answer, nothing
from edgegate_sync.cloud.tables import site
from edgegate_sync.wire.errors import FieldFault, MalformedError, Problem
from edgegate_sync.wire.state import DeviceState, decode_state
from edgegate_sync.wire.topics import common_name

_columns = (site.c.id, site.c.name, site.c.head, site.c.created_at)


async def list_sites(asked: Asked) -> web.StreamResponse:
    """A page of sites."""
    limit = asked.values["limit"]
    statement = select(*_columns).where(site.c.id > asked.values["cursor"])
    async with asked.cloud.database.reading() as connection:
        found = await fetch(connection, statement.order_by(site.c.id).limit(limit))
        sites = tuple(
            Site(id=row.id, name=row.name, head=row.head, created_at=row.created_at)
            for row in found
        )
    return answer(Sites(sites=sites, next=sites[-1].id if len(sites) == limit else None))


async def create_site(asked: Asked) -> web.StreamResponse:
    """Make a site with its keys."""
    new = asked.body
    async with asked.cloud.database.writing() as writing:
        present = await writing.execute(select(site.c.id).where(site.c.id == new.id))
        if present.one_or_none() is not None:
            raise problems.conflict(f'There is a site "{new.id}" already.')
        await feed_of.create_site(writing, new.id, new.name)
        await asked.cloud.keys.create_site(writing, new.id)
    await asked.cloud.trust_new_sites()
    async with asked.cloud.database.reading() as connection:
        return answer(await _site(connection, new.id), 201)


async def get_site(asked: Asked) -> web.StreamResponse:
    """One site."""
    async with asked.cloud.database.reading() as connection:
        return answer(await _site(connection, asked.site))


async def _site(connection: AsyncConnection, site_id: str) -> Site:
    row = (await fetch(connection, select(*_columns).where(site.c.id == site_id))).one_or_none()
    if row is None:
        raise feed_of.SiteUnknownError(site_id)
    return Site(id=row.id, name=row.name, head=row.head, created_at=row.created_at)


async def create_claim(asked: Asked) -> web.StreamResponse:
    """Make a claim code."""
    new = asked.body
    try:
        common_name(asked.site, new.device or "device-00000000")
    except ValueError as error:
        raise problems.invalid([FieldFault(field="device", problem=str(error))]) from error
    async with asked.cloud.database.reading() as connection:
        await standing(connection, asked.site)
    async with asked.cloud.database.writing() as writing:
        code, expires_at = await devices.create_claim(
            writing, asked.site, new.device, timedelta(minutes=new.minutes)
        )
    ca = (await asked.cloud.keys.cloud()).certificate_pem
    is_public = asked.cloud.settings.certificate is not None
    made = Claim(
        claim=code,
        typed=code if is_public else typed(code, ca),
        expires_at=expires_at,
        ca=ca,
        ca_fingerprint=fingerprint(ca),
    )
    return answer(made, 201)


async def list_devices(asked: Asked) -> web.StreamResponse:
    """A page of devices."""
    limit = asked.values["limit"]
    async with asked.cloud.database.reading() as connection:
        await standing(connection, asked.site)
        rows = await devices.listed(connection, asked.site, asked.values["cursor"], limit)
    more = rows[-1].id if len(rows) == limit else None
    return answer(Devices(devices=tuple(_device(row) for row in rows), next=more))


async def get_device(asked: Asked) -> web.StreamResponse:
    """One device."""
    return answer(_device(await _known(asked)))


async def revoke_device(asked: Asked) -> web.StreamResponse:
    """Lock a device out."""
    async with asked.cloud.database.writing() as writing:
        if not await devices.revoke(writing, asked.site, asked.values["device"]):
            raise _no_device(asked)
    asked.cloud.access_changed()
    return nothing()


async def command_device(asked: Asked) -> web.StreamResponse:
    """Have a device do something now."""
    row = await _known(asked)
    state = _state(row)
    if state is None or row.revoked_at is not None:
        raise problems.conflict(
            "The device is revoked, or has not said anything yet: wait until it is connected."
        )
    broker = asked.cloud.broker
    if broker is None:
        raise problems.busy("There is no broker, so that no command can reach a device", 60)
    key = await asked.cloud.keys.command(asked.site)
    try:
        reply = await broker.command(
            asked.site, row.id, state.boot, asked.body.name, asked.body.args, key.private
        )
    except BrokerAwayError as error:
        raise problems.busy("The broker is away", 5) from error
    except NoReplyError as error:
        problem = Problem(title="The device did not answer", status=504, detail=str(error))
        raise ProblemError(problem) from error
    return answer(reply)


async def list_tokens(asked: Asked) -> web.StreamResponse:
    """All tokens."""
    async with asked.cloud.database.reading() as connection:
        return answer(Tokens(tokens=tuple(await tokens.listed(connection))))


async def create_token(asked: Asked) -> web.StreamResponse:
    """Make a token."""
    new = asked.body
    try:
        async with asked.cloud.database.writing() as writing:
            made, secret = await tokens.create(writing, new.name, new.scopes, new.expires_at)
    except tokens.TooManyTokensError as error:
        raise problems.conflict(str(error)) from error
    return answer(MadeToken(token=made, secret=secret), 201)


async def revoke_token(asked: Asked) -> web.StreamResponse:
    """Make a token worthless."""
    async with asked.cloud.database.writing() as writing:
        if not await tokens.revoke(writing, asked.values["token"]):
            raise problems.not_found(f'token "{asked.values["token"]}"')
    return nothing()


async def _known(asked: Asked) -> devices.DeviceRow:
    async with asked.cloud.database.reading() as connection:
        row = await devices.one(connection, asked.site, asked.values["device"])
    if row is None:
        raise _no_device(asked)
    return row


def _no_device(asked: Asked) -> ProblemError:
    return problems.not_found(f'device "{asked.values["device"]}" at this site')


def _state(row: devices.DeviceRow) -> DeviceState | None:
    if row.state is None:
        return None
    try:
        state = decode_state(row.state.encode())
    except MalformedError:
        return None
    return state if isinstance(state, DeviceState) else None


def _device(row: devices.DeviceRow) -> Device:
    return Device(
        id=row.id,
        created_at=row.created_at,
        seen_at=row.seen_at,
        revoked_at=row.revoked_at,
        online=row.online,
        state_at=row.state_at,
        state=Raw((row.state or "null").encode()),
    )


HANDLERS: dict[str, Handler] = {
    "list_sites": list_sites,
    "create_site": create_site,
    "get_site": get_site,
    "create_claim": create_claim,
    "list_devices": list_devices,
    "get_device": get_device,
    "revoke_device": revoke_device,
    "command_device": command_device,
    "list_tokens": list_tokens,
    "create_token": create_token,
    "revoke_token": revoke_token,
}
"""By operation."""
