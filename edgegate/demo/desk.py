"""The desk of the demo's space: what staff do in the cloud, by its admin API."""

import asyncio
import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edgegate.demo.servers import Prepared, ServersError
from edgegate.demo.site import Lot, Person, customer_of
from edgegate.demo.wiring import DEVICE, SITE
from edgegate.passes.model import CustomerStatus, Pass, Record
from edgegate_sync.wire.kinds import KINDS

CALL_S_MAX = 60.0
"""A machine on which the cloud needs longer for one answer shows nothing worth seeing."""

TAKEN_OVER = "used before the space had this cloud"

_NAMES = {kind.type: kind.name for kind in KINDS.values()}


class Standing(Struct, frozen=True, kw_only=True):
    """Where the cloud's books stand."""

    counted: tuple[int, int]
    """Epoch and sequence of the appliance's newest entry that is in the cloud."""
    faults: int
    remaining: dict[str, int]
    """What is left of each pass that is counted."""


class Desk:
    """A connection to the admin API; use it as a context manager."""

    def __init__(self, url: str, prepared: Prepared) -> None:
        """Prepare; the token is one with all rights."""
        self._base = f"{url}/admin/v1/sites/{SITE}"
        self._prepared = prepared
        self._session: aiohttp.ClientSession | None = None
        self._sold = 0

    async def __aenter__(self) -> Self:
        ca = self._prepared.ca
        context = await asyncio.to_thread(ssl.create_default_context, cadata=ca)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            headers={"Authorization": f"Bearer {self._prepared.token}"},
            timeout=aiohttp.ClientTimeout(total=CALL_S_MAX),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def furnish(self, records: Iterable[Record], lots: Iterable[Lot]) -> int:
        """Put a whole space; the number of the last change."""
        items = [
            {
                "kind": (kind := _NAMES[type(record)]),
                "id": KINDS[kind].id_of(record),
                "body": record,
            }
            for record in records
        ]
        await self._ask("POST", "/records?all_or_nothing=true", items)
        for lot in lots:
            if lot.used:
                await self._adjust(lot.pass_.id, -lot.used, TAKEN_OVER)
        return await self.head()

    async def head(self) -> int:
        """The number of the newest change of the site."""
        return int((await self._ask("GET", ""))["head"])

    async def sell_day(self, person: Person) -> int:
        """Sell somebody a day pass; the number of the change."""
        self._sold += 1
        sold = Pass(
            id=f"{person.customer}-sold-{self._sold}",
            holder=person.customer,
            name="Day pass",
            amount=1,
        )
        return int((await self._ask("PUT", f"/records/pass/{sold.id}", sold))["head"])

    async def top_up(self, pass_id: str, amount: int) -> int:
        """Add to a pass; how much of it is left then."""
        return await self._adjust(pass_id, amount, "topped up in the demo")

    async def pause(self, person: Person, *, paused: bool) -> int:
        """Pause somebody's membership or let it go on; the number of the change."""
        status = CustomerStatus.PAUSED if paused else CustomerStatus.ACTIVE
        record = replace(customer_of(person), status=status)
        return int((await self._ask("PUT", f"/records/customer/{record.id}", record))["head"])

    async def standing(self) -> Standing:
        """Where the books stand now."""
        ledgers = await self._ask("GET", "/ledgers?limit=100")
        parked = await self._ask("GET", "/quarantine?limit=100")
        page = await self._ask("GET", "/records/balance?limit=500")
        heads = [(h["epoch"], h["sequence"]) for h in ledgers["heads"] if h["device"] == DEVICE]
        return Standing(
            counted=max(heads, default=(0, 0)),
            faults=len(ledgers["faults"]) + len(parked["parked"]),
            remaining={r["id"]: r["body"]["remaining"] for r in page["records"]},
        )

    async def _adjust(self, pass_id: str, amount: int, memo: str) -> int:
        body = {"amount": amount, "memo": memo}
        return int((await self._ask("POST", f"/passes/{pass_id}/adjustments", body))["remaining"])

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        if self._session is None:
            raise ServersError("the desk is closed")
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, self._base + path, data=data, headers=headers
            ) as response:
                text = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServersError(f"the cloud does not answer: {error}") from error
        answer = msgspec.json.decode(text)
        if not response.ok:
            raise ServersError(answer.get("detail") or answer.get("title", "refused"))
        return answer
