"""Wi-Fi logins and devices at the cloud's own machine, without the API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from edgegate_sync.cloud import wifi_logins
from edgegate_sync.cloud.cloud import Settings, opened
from edgegate_sync.cloud.csv_import_api import site_key
from edgegate_sync.cloud.feed import Transaction, standing
from edgegate_sync.cloud.wifi_api import NO_SITE_KEY
from edgegate_sync.cloud.wifi_logins import Issued, Life


async def make_login(
    settings: Settings, site: str, customer: str, name: str | None, *, chap: bool
) -> Issued:
    """Make a login for a customer; its password is told this once.

    Raises:
        SiteUnknownError: if there is no such site.
        ValueError: if it cannot be made; the sentence says why.
    """
    async with _changing(settings, site) as (tx, key):
        return await wifi_logins.issue(tx, key, customer, name, Life(), chap=chap)


async def add_device(settings: Settings, site: str, customer: str, mac: str) -> tuple[str, str]:
    """Let a customer's device come in by its address; its credential, and the address as known.

    Raises:
        SiteUnknownError: if there is no such site.
        ValueError: if it cannot be; the sentence says why.
    """
    async with _changing(settings, site) as (tx, key):
        return await wifi_logins.add_device(tx, key, customer, mac, Life())


@asynccontextmanager
async def _changing(settings: Settings, site: str) -> AsyncIterator[tuple[Transaction, bytes]]:
    async with opened(settings) as cloud:
        async with cloud.database.reading() as connection:
            await standing(connection, site)
        key = await site_key(cloud.database, cloud.vault, site)
        if key is None:
            raise ValueError(NO_SITE_KEY)
        try:
            async with cloud.database.site(site) as tx:
                yield tx, key
        except wifi_logins.NotThereError as error:
            raise ValueError(f"There is no {error}.") from error
        except wifi_logins.InTheWayError as error:
            raise ValueError(str(error)) from error
        except wifi_logins.UnusableError as error:
            raise ValueError(f"The {error.field} {error}.") from error
