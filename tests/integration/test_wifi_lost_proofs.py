"""A device leaves the air when what it came in by counts no more; its owner's visit goes on."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from edgegate.app import App
from edgegate.passes.model import Credential, CredentialStatus, Record
from edgegate.store import cache, wifi_rows
from edgegate.store.books import Books
from edgegate.store.files import Store
from edgegate.wifi import proven, verifiers
from edgegate.wifi.certificates import Certificates
from fakes.sites import KIND_OF
from rig.access_point import AccessPoint, Word, access_point
from rig.wifi import WAIT_S, WifiSite

WORD = "generated-password"
PHONE = "02-00-00-00-00-01"
PRINTER = "02-00-00-00-00-02"
DISCONNECT_ACK = 41


class Scene(NamedTuple):
    """A site at work, with an access point that does as it is asked."""

    site: WifiSite
    app: App
    point: AccessPoint

    async def join(self, name: str, word: str, station: str, session: str = "") -> str:
        """Sign in, and begin a session if it is named; the Class."""
        answer = await self.site.ask(
            f'User-Name = "{name}", User-Password = "{word}", Calling-Station-Id = "{station}"'
        )
        assert answer.code == "Access-Accept", answer.text
        class_ = answer.attributes["Class"]
        if session:
            told = {"Class": class_, "Calling_Station_Id": f'"{station}"'}
            await self.site.account("Start", session, **told)
        return class_

    async def change(self, *records: Record) -> None:
        """As if they had come from the cloud."""

        def changed(store: Store) -> None:
            for record in records:
                cache.put(store.cache, KIND_OF[type(record)], record)

        await self.app.thread.run_cache(changed)

    async def remove(self, credential: str) -> None:
        """As if the cloud had removed it."""

        def removed(store: Store) -> None:
            cache.delete(store.cache, cache.CREDENTIAL, credential)

        await self.app.thread.run_cache(removed)

    async def until_gone(self, count: int = 1) -> list[bytes]:
        """How the sessions were named that were ended, once there are so many."""
        await _until(lambda: len(self.point.heard) >= count)
        return [b"".join(heard.get(44, [])) for heard in self.point.heard]

    async def looks(self, count: int = 8) -> None:
        """Let it be looked so often who is to go."""
        until = self.app.wifi.endings._looks + count
        await _until(lambda: self.app.wifi.endings._looks >= until)


async def _until(is_so: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < ends_s
        await asyncio.sleep(0.05)


@asynccontextmanager
async def scene(site: WifiSite, **config: str) -> AsyncIterator[Scene]:
    async with access_point(Word(DISCONNECT_ACK)) as point:
        nas = f'vendor = "hostapd"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas, **config) as app:
            yield Scene(site, app, point)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WifiSite:
    monkeypatch.setattr("edgegate.wifi.ending.LOOK_S", 0.1)
    made = WifiSite(tmp_path)
    made.member("ana", WORD)
    made.member("bob", WORD)
    made.put(made.device("ana", "02:00:00:00:00:02"))
    return made


def blocked(site: WifiSite) -> Credential:
    verifier = verifiers.of_generated(WORD.encode())
    return site.login("ana", verifier, status=CredentialStatus.BLOCKED)


def outdated(site: WifiSite) -> Credential:
    verifier = verifiers.of_generated(WORD.encode())
    return site.login("ana", verifier, valid_until=datetime(2026, 1, 1, tzinfo=UTC))


def renewed(site: WifiSite) -> Credential:
    return site.login("ana", verifiers.of_generated(b"another"))


@pytest.mark.parametrize("changed", [blocked, outdated, renewed])
async def test_a_login_that_counts_no_more_ends_what_it_began(
    site: WifiSite, changed: Callable[[WifiSite], Credential]
) -> None:
    async with scene(site) as here:
        await here.join("ana", WORD, PHONE, "s1")
        await here.join(PRINTER, PRINTER, PRINTER, "s2")
        await here.join("bob", WORD, "02-00-00-00-00-03", "s3")
        await here.looks()
        assert here.point.heard == []
        await here.change(changed(site))
        assert await here.until_gone() == [b"s1"]
        await here.looks()
        # Her printer stays, as everybody else does, and so does her visit (S-11).
        assert len(here.point.heard) == 1
    assert await asyncio.to_thread(site.entries, "session.closed") == []


async def test_a_device_that_was_removed_leaves(site: WifiSite) -> None:
    async with scene(site) as here:
        await here.join(PRINTER, PRINTER, PRINTER, "s2")
        await here.join("ana", WORD, PHONE, "s1")
        await here.remove("mac-02:00:00:00:00:02")
        assert await here.until_gone() == [b"s2"]
        await here.looks()
        assert len(here.point.heard) == 1


async def test_a_device_that_was_learnt_leaves_with_the_login(site: WifiSite) -> None:
    async with scene(site, wifi="learn_macs_days = 3") as here:
        await here.join("ana", WORD, PHONE)
        await here.join(PHONE, PHONE, PHONE, "s1")
        await here.change(renewed(site))
        assert await here.until_gone() == [b"s1"]


async def test_a_device_of_whose_session_nobody_told_leaves_too(site: WifiSite) -> None:
    async with scene(site) as here:
        await here.join("ana", WORD, PHONE)
        await here.change(blocked(site))
        await here.until_gone()
        assert here.point.heard[0][31] == [PHONE.encode()]


async def test_who_came_in_anew_by_something_else_stays(site: WifiSite) -> None:
    async with scene(site) as here:
        await here.change(site.device("ana", "02:00:00:00:00:01"))
        await here.join("ana", WORD, PHONE, "s1")
        site.ahead += timedelta(seconds=1)
        await here.join(PHONE, PHONE, PHONE)
        await here.change(blocked(site))
        await here.looks()
        assert here.point.heard == []
        # The newest word counts, though its session was begun by the other.
        await here.remove("mac-02:00:00:00:00:01")
        assert await here.until_gone() == [b"s1"]


async def test_a_cache_that_is_made_again_sends_nobody_off(site: WifiSite) -> None:
    async with scene(site) as here:
        await here.join("ana", WORD, PHONE, "s1")
    await asyncio.to_thread((site.state / "cache.db").unlink)
    async with scene(site) as here:
        await here.looks()
        assert here.point.heard == []


async def test_a_block_that_is_taken_back_in_time_sends_nobody_off(
    site: WifiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegate.wifi.ending.LOOK_S", 3600.0)
    async with site.serving() as app:
        here = Scene(site, app, AccessPoint([]))
        await here.change(site.login("ana", (verifier := verifiers.of_generated(WORD.encode()))))
        await here.join("ana", WORD, PHONE)

        def looked(books: Books) -> list[str]:
            proven.note_lost(books, app.clock.now(), lambda _: False)
            found, _ = wifi_rows.due(books.ledger, app.clock.now())
            return [due.customer for due in found]

        await here.change(site.login("ana", verifier, status=CredentialStatus.BLOCKED))
        assert await app.keeper.do(looked) == ["ana"]
        await here.change(site.login("ana", verifier))
        assert await app.keeper.do(looked) == []


async def test_a_revoked_certificate_ends_what_it_began(site: WifiSite) -> None:
    def issued() -> str:
        papers = Certificates(site.state)
        made = papers.issue("ana", "password-of-file", datetime.now(UTC))
        file = site.directory / "ana.p12"
        file.write_bytes(made.pkcs12)
        return f"""
            eap=TLS
            identity="ana"
            ca_cert="{site.state}/wifi/ca.pem"
            private_key="{file}"
            private_key_passwd="password-of-file"
        """

    network = await asyncio.to_thread(issued)
    async with scene(site) as here:
        outcome = await site.eapol_test(network)
        assert outcome.succeeded, outcome.text[-3000:]
        await here.change(renewed(site))
        await here.looks()
        # A certificate only takes the place of the password: a new one does not end it.
        assert here.point.heard == []
        clients = Certificates(site.state).clients
        await asyncio.to_thread(clients.revoke_all, "ana", datetime.now(UTC))
        await here.until_gone()
