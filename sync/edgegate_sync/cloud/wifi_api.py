"""What the admin API does with Wi-Fi logins and devices, and blocking of any credential."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from edgegate.passes.model import CredentialStatus
from edgegate_sync.cloud import problems, wifi_logins
from edgegate_sync.cloud.csv_import_api import site_key
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.server import Asked, Handler, answer
from edgegate_sync.cloud.wifi_logins import Life
from edgegate_sync.cloud.wifi_operations import AddedDevice, Changed, IssuedLogin, IssuedPassword
from edgegate_sync.wire.errors import FieldFault

NO_STORE = {"Cache-Control": "no-store"}
"""What tells a password may lie in no cache (RFC 9111 §5.2.2.5)."""

NO_SITE_KEY = (
    "The site's key is not here, which names are hashed with. Deposit it once:"
    " edgegate cloud site-key --site SITE FILE."
)


async def issue_wifi_login(asked: Asked) -> web.StreamResponse:
    """Make a login."""
    wanted, key = asked.body, await _site_key(asked)
    life = Life(wanted.valid_from, wanted.valid_until)
    async with _changing(asked) as tx:
        made = await wifi_logins.issue(
            tx, key, asked.values["customer"], wanted.name, life, chap=wanted.chap
        )
    told = IssuedLogin(
        credential=made.credential, name=made.name, password=made.password, head=tx.head or 0
    )
    return answer(told, 201, NO_STORE)


async def renew_wifi_password(asked: Asked) -> web.StreamResponse:
    """Give a login another password."""
    key, credential = await _site_key(asked), asked.values["credential"]
    async with _changing(asked) as tx:
        password = await wifi_logins.renew(tx, key, credential, asked.body.chap)
    told = IssuedPassword(credential=credential, password=password, head=tx.head or 0)
    return answer(told, 200, NO_STORE)


async def add_wifi_device(asked: Asked) -> web.StreamResponse:
    """Know a device by its address."""
    wanted, key = asked.body, await _site_key(asked)
    life = Life(wanted.valid_from, wanted.valid_until)
    async with _changing(asked) as tx:
        credential, mac = await wifi_logins.add_device(
            tx, key, asked.values["customer"], wanted.mac, life
        )
        head = await tx.lock()
    # IEEE 802: the bit that says "locally administered".
    randomised = bool(int(mac[1], 16) & 2)
    told = AddedDevice(credential=credential, mac=mac, randomised=randomised, head=tx.head or head)
    return answer(told, 201)


async def set_status(status: CredentialStatus, asked: Asked) -> web.StreamResponse:
    """Block a credential, or let it work again."""
    async with _changing(asked) as tx:
        await wifi_logins.set_status(tx, asked.values["credential"], status)
        head = await tx.lock()
    return answer(Changed(head=tx.head or head))


async def _site_key(asked: Asked) -> bytes:
    key = await site_key(asked.cloud.database, asked.cloud.vault, asked.site)
    if key is None:
        async with asked.cloud.database.site(asked.site) as tx:
            await tx.lock()
        raise problems.conflict(NO_SITE_KEY)
    return key


@asynccontextmanager
async def _changing(asked: Asked) -> AsyncIterator[Transaction]:
    try:
        async with asked.cloud.database.site(asked.site) as tx:
            yield tx
    except wifi_logins.NotThereError as error:
        raise problems.not_found(str(error)) from error
    except wifi_logins.InTheWayError as error:
        raise problems.conflict(str(error)) from error
    except wifi_logins.UnusableError as error:
        raise problems.invalid([FieldFault(field=error.field, problem=str(error))]) from error


HANDLERS: dict[str, Handler] = {
    "issue_wifi_login": issue_wifi_login,
    "renew_wifi_password": renew_wifi_password,
    "add_wifi_device": add_wifi_device,
    "block_credential": partial(set_status, CredentialStatus.BLOCKED),
    "unblock_credential": partial(set_status, CredentialStatus.ACTIVE),
}
"""By operation."""
