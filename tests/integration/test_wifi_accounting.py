"""What access points tell of sessions: the real appliance, told by radclient."""

import asyncio
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgegate.checkin import enter, leave
from edgegate.passes.facts import Request
from edgegate.passes.model import Channel, Customer, CustomerStatus, Location, Pass, Unit
from edgegate.store import wifi, wifi_rows
from edgegate.store.books import Books
from edgegate.store.errors import StorageFailedError
from edgegate.store.files import Store
from rig.access_point import Word, access_point
from rig.wifi import WAIT_S, WifiSite

WORD = "generated-password"
PHONE = "02-00-00-00-00-01"
DISCONNECT_ACK, DISCONNECT_NAK = 41, 42


@pytest.fixture
def site(tmp_path: Path) -> WifiSite:
    made = WifiSite(tmp_path)
    made.member("ana", WORD)
    return made


async def join(site: WifiSite, session: str = "", name: str = "ana", station: str = PHONE) -> str:
    """Sign in, and begin a session if it is named; the Class."""
    answer = await site.ask(
        f'User-Name = "{name}", User-Password = "{WORD}", Calling-Station-Id = "{station}"'
    )
    assert answer.code == "Access-Accept", answer.text
    class_ = answer.attributes["Class"]
    if session:
        await site.account("Start", session, Class=class_, Calling_Station_Id=f'"{station}"')
    return class_


async def tell(site: WifiSite, status: str, session: str, class_: str, **more: Any) -> None:
    more = {"Calling_Station_Id": f'"{PHONE}"'} | more
    answer = await site.account(status, session, Class=class_, **more)
    assert answer.code == "Accounting-Response", answer.text


async def entries(site: WifiSite, kind: str) -> list[dict[str, Any]]:
    return await asyncio.to_thread(site.entries, kind)


async def rows(site: WifiSite, query: str) -> list[tuple[Any, ...]]:
    return await asyncio.to_thread(site.rows, query)


async def visit_of(site: WifiSite) -> list[str]:
    return [str(row[0]) for row in await rows(site, "SELECT body FROM session")]


async def until_entry(site: WifiSite, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """The entries of a kind, once there are so many."""
    ends_s = time.monotonic() + WAIT_S
    while len(found := await entries(site, kind)) < count:
        assert time.monotonic() < ends_s, f"there is no {kind}"
        await asyncio.sleep(0.05)
    return found


async def test_a_session_starts_goes_on_and_stops(site: WifiSite) -> None:
    async with site.serving() as app:
        class_ = await join(site, "s1")
        assert '"wifi":true' in (await visit_of(site))[0]
        await tell(site, "Interim-Update", "s1", class_, Acct_Session_Time=60)
        assert await rows(site, "SELECT seconds FROM wifi_session") == [(0,)]
        await app.wifi.accounting.flush()
        assert await rows(site, "SELECT seconds FROM wifi_session") == [(60,)]
        for _ in range(2):
            await tell(
                *(site, "Stop", "s1", class_),
                Acct_Session_Time=90,
                Acct_Input_Octets=5,
                Acct_Input_Gigawords=1,
                Acct_Terminate_Cause="User-Request",
            )
        assert "idle_since" in (await visit_of(site))[0]
    (started,) = await entries(site, "wifi.started")
    assert (started["customer"], started["number"]) == ("ana", "s1")
    stopped = await entries(site, "wifi.stopped")
    device = [entry for entry in stopped if "session" not in entry]
    assert [(d["seconds"], d["received"], d["cause"], d["why"]) for d in device] == [
        (90, (1 << 32) + 5, 1, "stop")
    ]
    assert [entry["customer"] for entry in stopped if "session" in entry] == ["ana"]


async def test_a_visit_is_silent_only_when_its_last_device_is(site: WifiSite) -> None:
    async with site.serving():
        first = await join(site, "s1")
        await join(site, "s2", station="02-00-00-00-00-02")
        await tell(site, "Stop", "s1", first)
        assert '"wifi":true' in (await visit_of(site))[0]


async def test_a_stop_while_another_access_point_takes_over_is_no_silence(site: WifiSite) -> None:
    async with site.serving() as app:
        first = await join(site, "s1")
        await join(site)
        await tell(site, "Stop", "s1", first)
        assert '"wifi":true' in (await visit_of(site))[0]
        site.ahead = timedelta(minutes=2)
        await app.wifi.accounting.flush()
        assert "idle_since" in (await visit_of(site))[0]


async def test_a_device_that_comes_back_without_asking_is_there_again(site: WifiSite) -> None:
    """Keys that access points remember let a device roam without another Access-Request."""
    async with site.serving():
        class_ = await join(site, "s1")
        await tell(site, "Stop", "s1", class_)
        assert "idle_since" in (await visit_of(site))[0]
        await tell(site, "Start", "s2", class_)
        (visit,) = await visit_of(site)
        assert '"wifi":true' in visit
        assert "idle_since" not in visit
    assert [g["reason"] for g in await entries(site, "access.granted")] == ["pass", "covered"]


async def test_what_comes_after_a_stop_changes_nothing(site: WifiSite) -> None:
    async with site.serving():
        class_ = await join(site, "s1")
        await tell(site, "Stop", "s1", class_, Acct_Session_Time=9)
        await tell(site, "Interim-Update", "s1", class_, Acct_Session_Time=60)
        await tell(site, "Start", "s1", class_)
        assert await rows(site, "SELECT seconds, why FROM wifi_session") == [(9, "stop")]
    assert len(await entries(site, "wifi.started")) == 1


async def test_a_lost_stop_ends_as_of_the_last_interim_and_an_interim_takes_it_back(
    site: WifiSite,
) -> None:
    async with site.serving(wifi="interim_s = 60") as app:
        class_ = await join(site, "s1")
        site.ahead = timedelta(minutes=1)
        await tell(site, "Interim-Update", "s1", class_, Acct_Session_Time=60)
        heard_at = app.clock.now()
        site.ahead = timedelta(minutes=3, seconds=50)
        await app.wifi.accounting.flush()
        assert len(await entries(site, "wifi.stopped")) == 0
        site.ahead = timedelta(minutes=4, seconds=10)
        await app.wifi.accounting.flush()
        device, visit = await entries(site, "wifi.stopped")
        assert (device["why"], device["seconds"]) == ("lost", 60)
        for at in (device["ended_at"], visit["at"]):
            assert abs(datetime.fromisoformat(at) - heard_at) < timedelta(seconds=20)
        await tell(site, "Interim-Update", "s1", class_, Acct_Session_Time=260)
        assert await rows(site, "SELECT seconds, stopped_at FROM wifi_session") == [(260, None)]
    assert [entry.get("again", False) for entry in await entries(site, "wifi.started")] == [
        False,
        True,
    ]


async def test_silence_counts_only_while_somebody_listened(site: WifiSite) -> None:
    async with site.serving(wifi="interim_s = 60"):
        await join(site, "s1")
    site.ahead = timedelta(minutes=10)
    async with site.serving(wifi="interim_s = 60") as app:
        await app.wifi.accounting.flush()
        site.ahead = timedelta(minutes=12)
        await app.wifi.accounting.flush()
        assert await rows(site, "SELECT why FROM wifi_session") == [("",)]
        site.ahead = timedelta(minutes=14)
        await app.wifi.accounting.flush()
        assert await rows(site, "SELECT why FROM wifi_session") == [("lost",)]


@pytest.mark.parametrize(
    ("attribute", "one", "two"),
    [
        ("NAS-Identifier", '"one"', '"two"'),
        ("NAS-IP-Address", "192.0.2.1", "192.0.2.2"),
        ("NAS-IPv6-Address", "2001:db8::1", "2001:db8::2"),
        ("Called-Station-Id", '"02-00-00-00-00-AA:Loft"', '"02-00-00-00-00-AB:Loft"'),
    ],
)
async def test_an_access_point_that_begins_anew_ends_its_own_sessions(
    site: WifiSite, attribute: str, one: str, two: str
) -> None:
    async with site.serving():
        for number, place in enumerate((one, two)):
            phone = f'Calling-Station-Id = "02-00-00-00-00-1{number}", {attribute} = {place}'
            answer = await site.ask(f'User-Name = "ana", User-Password = "{WORD}", {phone}')
            told = answer.attributes["Class"] + ", " + phone
            await site.account("Start", "s1", Class=told)
        await site.account("Accounting-On", "boot", **{attribute: one})
        left = await rows(site, "SELECT place, why FROM wifi_session ORDER BY place")
        names = [name.strip('"') for name in (one, two)]
        assert left == [
            (f"ap/127.0.0.1/{names[0]}", "restarted"),
            (f"ap/127.0.0.1/{names[1]}", ""),
        ]
        # Said again, it ends nothing that began after it.
        await join(site, "s9", station="02-00-00-00-00-09")
        await site.account("Accounting-On", "boot", Acct_Delay_Time=100)
        assert (None,) in await rows(
            site, "SELECT stopped_at FROM wifi_session WHERE number = 's9'"
        )
        await site.account("Accounting-Off", "boot", **{attribute: two})
        assert len(await rows(site, "SELECT 1 FROM wifi_session WHERE stopped_at IS NULL")) == 1


async def test_nobody_is_taken_for_somebody_by_name(site: WifiSite) -> None:
    """After a rejected re-authentication hostapd's Stop carries the outer identity."""
    async with site.serving() as app:
        class_ = await join(site, "s1")
        await tell(site, "Start", "s2", '"of another server"', User_Name='"ana"')
        await tell(site, "Stop", "s1", class_, User_Name='"anonymous"')
        counts = await rows(site, "SELECT number, customer, why FROM wifi_session ORDER BY number")
        assert counts == [("s1", "ana", "stop"), ("s2", "", "")]
        assert app.wifi.accounting.unknown == 1
    assert len(await entries(site, "wifi.started")) == 1


async def test_sessions_outlive_the_process(site: WifiSite) -> None:
    async with site.serving():
        class_ = await join(site, "s1")
        await tell(site, "Interim-Update", "s1", class_, Acct_Session_Time=60)
    assert await rows(site, "SELECT seconds FROM wifi_session") == [(60,)]
    async with site.serving():
        await tell(site, "Interim-Update", "s1", class_, Acct_Session_Time=90)
        await tell(site, "Stop", "s1", class_, Acct_Session_Time=95)
    assert await rows(site, "SELECT seconds, why FROM wifi_session") == [(95, "stop")]


async def test_what_is_not_safe_is_not_answered(
    site: WifiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site.serving() as app:
        class_ = await join(site)

        async def fails(*_: object) -> None:
            raise StorageFailedError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(app.keeper, "do", fails)
            attributes = f'Acct-Status-Type = Start, Acct-Session-Id = "s1", Class = {class_}'
            assert (await site.ask(attributes, "acct", r="1", t="1")).code == ""
        await tell(site, "Start", "s1", class_)


async def test_a_packet_of_no_kind_is_answered_and_is_nothing(site: WifiSite) -> None:
    async with site.serving() as app:
        answer = await site.account("Tunnel-Start", "s1")
        assert answer.code == "Accounting-Response"
        assert app.wifi.server.counts["ap", "accounting of no kind"] == 1
    assert await rows(site, "SELECT * FROM wifi_session") == []


async def test_minutes_that_run_out_end_with_a_disconnect_that_is_acknowledged(
    site: WifiSite,
) -> None:
    await asyncio.to_thread(site.member, "bob", WORD, unit=Unit.MINUTE, amount=2)
    async with access_point(Word(DISCONNECT_ACK)) as point:
        nas = f'vendor = "hostapd"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas):
            await join(site, "s7", name="bob")
            assert not point.heard
            site.ahead = timedelta(seconds=121)
            (ended,) = [e for e in await until_entry(site, "wifi.disconnected", 2) if "tries" in e]
            assert (ended["outcome"], ended["customer"], ended["tries"]) == ("acked", "bob", 1)
            (closed,) = await entries(site, "session.closed")
            assert (closed["reason"], closed["minutes"]) == ("used_up", 2)
            refused = await site.ask(f'User-Name = "bob", User-Password = "{WORD}"')
            assert refused.attributes["Reply-Message"].startswith("Your minutes are used up")
        assert point.genuine == [True]
        assert point.heard[0][44] == [b"s7"]


async def test_a_disconnect_goes_on_after_a_restart_until_it_is_done(site: WifiSite) -> None:
    await asyncio.to_thread(site.member, "bob", WORD, unit=Unit.MINUTE, amount=2)
    async with access_point(Word(DISCONNECT_NAK, cause=506), Word(DISCONNECT_ACK)) as point:
        nas = f'vendor = "hostapd"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas):
            await join(site, "s7", name="bob")
            site.ahead = timedelta(seconds=121)
            await until_entry(site, "wifi.disconnected", 2)
        async with site.serving(nas=nas):
            site.ahead = timedelta(seconds=131)
            found = [e for e in await until_entry(site, "wifi.disconnected", 3) if "tries" in e]
    assert [(e["outcome"], e.get("cause"), e["tries"]) for e in found] == [
        ("refused", 506, 1),
        ("acked", None, 2),
    ]


async def test_a_session_that_its_access_point_does_not_know_is_over(site: WifiSite) -> None:
    await asyncio.to_thread(site.member, "bob", WORD, unit=Unit.MINUTE, amount=2)
    async with access_point(Word(DISCONNECT_NAK, cause=503)) as point:
        nas = f'vendor = "hostapd"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas):
            await join(site, "s7", name="bob")
            site.ahead = timedelta(seconds=121)
            await until_entry(site, "wifi.disconnected", 2)
            assert await rows(site, "SELECT why FROM wifi_session") == [("gone",)]


async def test_a_device_too_many_sends_the_oldest_off(site: WifiSite) -> None:
    async with access_point(Word(DISCONNECT_ACK)) as point:
        nas = f'vendor = "hostapd"\ndisconnect_port = {point.port}'
        async with site.serving(wifi="devices_max = 2", nas=nas):
            for number in (1, 2):
                await join(site, f"s{number}", station=f"02-00-00-00-00-0{number}")
            assert await rows(site, "SELECT number FROM wifi_session WHERE surplus") == []
            await join(site, "s3", station="02-00-00-00-00-03")
            (ended,) = await until_entry(site, "wifi.disconnected")
            assert (ended["number"], ended["outcome"]) == ("s1", "acked")
            # The one that came last again is no further device.
            await join(site, station="02-00-00-00-00-03")
            assert len(point.heard) == 1


async def test_a_visit_that_goes_on_without_the_wifi_sends_its_devices_off(site: WifiSite) -> None:
    await asyncio.to_thread(site.member, "bob", WORD, unit=Unit.MINUTE, amount=2)
    await asyncio.to_thread(site.put, Pass(id="day", holder="bob", amount=5))
    async with access_point(Word(DISCONNECT_ACK)) as point:
        nas = f'vendor = "hostapd"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas) as app:
            await join(site, "s7", name="bob")

            def at_the_kiosk(books: Books) -> None:
                location, customer = books.location("hq"), books.customer("bob")
                assert location is not None
                assert customer is not None
                at = app.clock.now()
                enter(books, Request(at=at, location=location, channel=Channel.KIOSK), customer)

            await app.keeper.do(at_the_kiosk)
            site.ahead = timedelta(seconds=121)
            (ended,) = [e for e in await until_entry(site, "wifi.disconnected", 2) if "tries" in e]
            assert (ended["number"], ended["outcome"]) == ("s7", "acked")
            assert await entries(site, "session.closed") == []
            assert '"pass":"day"' in (await visit_of(site))[0]


async def test_a_device_without_accounting_is_sent_off_too(site: WifiSite) -> None:
    await asyncio.to_thread(site.member, "bob", WORD, unit=Unit.MINUTE, amount=3)
    async with access_point(Word(DISCONNECT_ACK)) as point:
        nas = f'vendor = "hostapd"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas) as app:
            await join(site, name="bob")
            # Somebody checks out long before the minutes are over.
            site.ahead = timedelta(minutes=1)

            def checked_out(books: Books) -> None:
                leave(books, "bob", "hq", app.clock.now())

            await app.keeper.do(checked_out)
            (ended,) = [e for e in await until_entry(site, "wifi.disconnected", 2) if "tries" in e]
            assert ended["outcome"] == "acked"
        assert point.heard[0][31] == [PHONE.encode()]


async def test_who_is_staff_no_more_is_sent_off(site: WifiSite) -> None:
    await asyncio.to_thread(site.member, "sam", WORD)
    await asyncio.to_thread(site.put, Customer(id="sam", staff=True))
    async with access_point(Word(DISCONNECT_ACK)) as point:
        nas = f'vendor = "hostapd"\ndisconnect_port = {point.port}'
        async with site.serving(nas=nas) as app:
            await join(site, "s1", name="sam")
            assert await visit_of(site) == []
            look = await app.keeper.do(lambda b: wifi_rows.due(b.ledger, app.clock.now()))
            assert look == ([], "")
        await asyncio.to_thread(
            site.put, Customer(id="sam", staff=True, status=CustomerStatus.DISABLED)
        )
        async with site.serving(nas=nas):
            (ended,) = await until_entry(site, "wifi.disconnected")
            assert (ended["customer"], ended["outcome"]) == ("sam", "acked")


async def test_who_lends_their_phone_is_not_sent_off_for_its_owner(site: WifiSite) -> None:
    await asyncio.to_thread(site.member, "bob", WORD)
    async with site.serving() as app:
        await join(site, name="bob")
        site.ahead = timedelta(seconds=1)
        await join(site, name="ana")

        def bob_leaves(books: Books) -> list[str]:
            leave(books, "bob", "hq", app.clock.now())
            found, _ = wifi_rows.due(books.ledger, app.clock.now())
            return [due.customer for due in found]

        assert await app.keeper.do(bob_leaves) == []


async def test_wifi_alone_ends_a_visit_when_it_falls_silent(site: WifiSite) -> None:
    hq = Location(id="hq", timezone=site.zone, wifi_idle_minutes=15)
    await asyncio.to_thread(site.put, hq)
    async with site.serving() as app:
        class_ = await join(site, "s1")
        site.ahead = timedelta(minutes=5)
        await tell(site, "Stop", "s1", class_, Acct_Session_Time=300)
        stopped_at = app.clock.now()
        site.ahead = timedelta(minutes=21)
        (closed,) = await until_entry(site, "session.closed")
        assert closed["reason"] == "wifi_idle"
        assert abs(datetime.fromisoformat(closed["at"]) - stopped_at) < timedelta(seconds=30)


async def test_the_tables_follow_from_the_entries(site: WifiSite) -> None:
    async with site.serving(wifi="learn_macs_days = 3"):
        class_ = await join(site, "s1")
        await join(site, "s2", station="02-00-00-00-00-02")
        await tell(site, "Stop", "s1", class_, Acct_Session_Time=9)
    kept = {
        "wifi_grant": "SELECT class, customer, location, visit, place, station, at, until, ended"
        " FROM wifi_grant",
        "wifi_session": "SELECT place, number, station, customer, class, started_at, stopped_at,"
        " why FROM wifi_session",
        "wifi_learnt": "SELECT * FROM wifi_learnt",
    }

    def rebuilt() -> tuple[dict[str, Any], dict[str, Any]]:
        before = {table: site.rows(query) for table, query in kept.items()}
        store = Store.open(site.state)
        store.ledger.execute("BEGIN")
        wifi.rebuild(store.ledger)
        store.ledger.execute("COMMIT")
        store.close()
        after = {table: site.rows(query) for table, query in kept.items()}
        return before, after

    before, after = await asyncio.to_thread(rebuilt)
    assert all(before.values())
    assert after == before
