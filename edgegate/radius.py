"""Puts together what answers access points; imported only where there are any."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgegate.ports import DeviceAbsentError, DriverStatus
from edgegate.status import WifiCounts
from edgegate.store.wifi_grants import Later
from edgegate.store.wifi_rows import Due
from edgegate.supervisor import StatusBoard
from edgegate.wifi.access import Access, Verdict
from edgegate.wifi.access import Rules as AccessRules
from edgegate.wifi.accounting import Accounting
from edgegate.wifi.certificates import (
    Certificates,
    CertificatesError,
    Papers,
    expiry_warnings,
)
from edgegate.wifi.clients import ClientsError
from edgegate.wifi.disconnect import Disconnector, Ending, Outcome
from edgegate.wifi.eap.identity import IdentityError, ServerIdentity
from edgegate.wifi.eap.packet import Type
from edgegate.wifi.eap.server import EapServer
from edgegate.wifi.ending import Endings
from edgegate.wifi.endpoint import Endpoint, Service
from edgegate.wifi.extending import Extensions
from edgegate.wifi.nas import Nas, NasTable, Signing, twin
from edgegate.wifi.ownfiles import OwnFilesError
from edgegate.wifi.server import Server
from edgegate.wifi.sessions import Rules
from edgegate.wifi.turns import Turns
from edgegate.wifi.vendors import TEMPLATES
from edgegate.wificonfig import NasConfig, VlanSection, WifiSection

if TYPE_CHECKING:
    from edgegate.app import App

CERTIFICATE_LOOK_S = 3600.0
"""How often it is looked whether the server's certificate is to be renewed."""

CERTIFICATE_RETRY_S = 30.0
"""How soon, while there is none to show."""

REVOKED_LOOK_S = 1.0
"""How soon a client certificate that was revoked admits nobody; who came in by it goes after it."""

_NO_CERTIFICATE = (CertificatesError, ClientsError, OwnFilesError, IdentityError, OSError)
_EAP_METHODS = {"eap-ttls": Type.TTLS, "eap-tls": Type.TLS}
_names = msgspec.msgpack.Decoder(tuple[tuple[int, bytes], ...]).decode

log = logging.getLogger(__name__)


class Wifi:
    """An appliance's answers to access points, with both ports open."""

    def __init__(self, app: "App", section: WifiSection, disconnector: Disconnector) -> None:
        self._app = app
        self._section = section
        self._disconnector = disconnector
        self._certificates = Certificates(Path(app.config.device.state_dir))
        self._nas = {nas.id: nas_of(nas) for nas in section.all_nas}
        rules = AccessRules(
            devices_max=section.devices_max,
            learn_macs_days=section.learn_macs_days,
            vlans=section.vlans or VlanSection(),
        )
        key = app.config.site.key.reveal()
        self._access = Access(app.keeper, app.afterwards, app.clock, key, rules)
        interim = timedelta(seconds=section.interim_s)
        sessions = Rules(interim=interim, devices_max=section.devices_max)
        self.accounting = Accounting(app.keeper, app.clock, sessions, self._access.refusals)
        is_revoked = self._certificates.clients.is_revoked
        self.endings = Endings(app.keeper, app.clock, self._disconnect, is_revoked)
        self.extensions = Extensions(app.keeper, app.clock, self._nas, self._change_timeout)
        turns = Turns(lambda: not app.quiet.is_set() or app.keeper.is_computing)
        self.server = Server(
            self._access,
            self.accounting,
            app.clock,
            methods=section.methods,
            interim_s=section.interim_s,
            turns=turns,
            on_verdict=self._note_verdict,
        )
        known = tuple(self._nas.values())
        # `edgegate wifi test` asks in their place.
        table = NasTable((*known, *(twin(nas, place) for place, nas in enumerate(known))))
        limit = section.in_flight_max
        self.authentication = Endpoint(
            Service.AUTHENTICATION,
            table,
            self.server.authenticate,
            in_flight_max=limit,
            turns=turns,
        )
        self.bookkeeping = Endpoint(
            Service.ACCOUNTING,
            table,
            self.server.account,
            in_flight_max=limit,
            turns=turns,
        )
        self.accepted = 0
        self.again = 0
        self.refused = 0

    async def run(self) -> None:
        """Work on what no access point asks for, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.accounting.run(), name="wifi accounting")
            group.create_task(self.endings.run(), name="wifi endings")
            group.create_task(self.extensions.run(), name="wifi extensions")
            group.create_task(self._keep_certificate(), name="wifi certificate")

    def counts(self) -> WifiCounts:
        """How it went since the start."""
        ports = (self.authentication, self.bookkeeping)
        why: dict[str, int] = {}
        for port in ports:
            for (nas, kind, reason), count in port.counts.items():
                if kind in ("refused", "dropped", "failed"):
                    name = f"{nas or 'strangers'}: {kind}, {reason}"
                    why[name] = why.get(name, 0) + count
        for (nas, reason), count in self.server.counts.items():
            why[f"{nas}: {reason}"] = count
        for nas, count in self._access.guessed.items():
            why[f"{nas}: too many wrong passwords for one login"] = count
        return WifiCounts(
            accepted=self.accepted,
            again=self.again,
            refused=self.refused,
            leaving=self.endings.waiting,
            unanswered=why,
        )

    def write_down(self) -> None:
        """Have it recorded what was only counted so far, as the process ends."""
        note, clock = self._app.afterwards.note, self._app.clock
        note(lambda books: self._access.refusals.write(books, clock.now(), all_of_them=True))
        note(self.accounting.rest())

    def _note_verdict(self, verdict: Verdict) -> None:
        self.accepted += verdict.accepted
        self.again += verdict.again
        self.refused += not verdict.accepted
        self._app.count_verdict(verdict)

    async def _disconnect(self, due: Due) -> Outcome:
        nas = self._nas.get(due.nas)
        if nas is None or not due.names or not due.address:
            return Outcome(Ending.UNNAMED)
        return await self._disconnector.end(nas, due.address, _names(due.names))

    async def _change_timeout(self, later: Later, timeout_s: int) -> Outcome:
        nas = self._nas.get(later.nas)
        if nas is None or not later.address:
            return Outcome(Ending.UNNAMED)
        session = _names(later.names)
        return await self._disconnector.change_timeout(nas, later.address, session, timeout_s)

    async def _keep_certificate(self) -> None:
        wanted = [_EAP_METHODS[name] for name in self._section.methods if name in _EAP_METHODS]
        looked_at_s = -math.inf
        while wanted:
            every_s = CERTIFICATE_LOOK_S if self.server.eap is not None else CERTIFICATE_RETRY_S
            if time.monotonic() - looked_at_s >= every_s:
                looked_at_s = time.monotonic()
                await self._renew(wanted, self._app.devices)
            await asyncio.sleep(REVOKED_LOOK_S)
            await self._reload_revoked()

    async def _reload_revoked(self) -> None:
        try:
            await asyncio.to_thread(self._certificates.clients.follow)
        except (ClientsError, OSError) as error:
            log.error("wifi clients: %s", error)  # noqa: TRY400 - expected

    async def _renew(self, wanted: list[Type], board: StatusBoard) -> None:
        """Show the certificate as it is now; without one only EAP does not work."""
        try:
            identity, warnings = await asyncio.to_thread(self._identity)
        except _NO_CERTIFICATE as error:
            if board.note("wifi certificate", DriverStatus.OFFLINE, str(error)):
                log.error("wifi certificate: %s", error)  # noqa: TRY400 - expected
            return
        board.note("wifi certificate", DriverStatus.ENABLED, "; ".join(warnings))
        if self.server.eap is None:
            half_open = self._section.half_open_max
            self.server.eap = EapServer(
                identity, wanted, half_open_max=half_open, now=time.monotonic
            )
        else:
            self.server.eap.identity = identity

    def _identity(self) -> tuple[ServerIdentity, list[str]]:
        clients, now = self._certificates.clients, self._app.clock.now()
        clients.reload()
        papers = self._papers(now)
        identity = ServerIdentity(
            papers.chain,
            papers.key,
            client_authorities=papers.client_authorities,
            is_revoked=clients.is_revoked,
        )
        return identity, list(expiry_warnings(papers, now))

    def _papers(self, now: datetime) -> Papers:
        section = self._section
        client_ca = None if section.client_ca is None else Path(section.client_ca)
        if section.certificate is None:
            return self._certificates.own(section.server_name, now, client_ca)
        chain, key = Path(section.certificate.chain), Path(section.certificate.key)
        return self._certificates.installers(chain, key, section.server_name, now, client_ca)


def nas_of(config: NasConfig) -> Nas:
    """An access point of the configuration, as the ports know it."""
    template = TEMPLATES[config.vendor]
    return Nas(
        id=config.id,
        network=config.address.network,
        secret=config.secret.reveal(),
        location=config.location,
        vendor=config.vendor,
        signing=Signing(config.require_message_authenticator),
        disconnect_port=config.disconnect_port or template.disconnect_port,
        sentence_beside_eap=template.sentence_beside_eap,
    )


@asynccontextmanager
async def open_wifi(app: "App", section: WifiSection) -> AsyncIterator[Wifi]:
    """Listen at both ports for as long as the context is open.

    Raises:
        DeviceAbsentError: the address or a port cannot be had.
    """
    async with AsyncExitStack() as stack:
        disconnector = await stack.enter_async_context(Disconnector().open())
        wifi = Wifi(app, section, disconnector)
        for port, number in (
            (wifi.authentication, section.auth_port),
            (wifi.bookkeeping, section.acct_port),
        ):
            listening = port.listening(section.listen, number)
            try:
                await stack.enter_async_context(listening)
            except OSError as error:
                raise DeviceAbsentError(
                    f"port {number} of {section.listen} cannot be had: {error.strerror or error}"
                ) from error
        app.wifi = wifi
        try:
            yield wifi
        finally:
            app.wifi = None
            wifi.write_down()
