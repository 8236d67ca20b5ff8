"""Who may use the Wi-Fi: the real appliance, asked by radclient."""

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgegate.passes.model import (
    Contract,
    CredentialStatus,
    Customer,
    CustomerStatus,
    Pass,
    Team,
    Unit,
)
from edgegate.store.errors import StorageFailedError
from edgegate.wifi import verifiers
from edgegate.wifi.attributes import Attribute
from edgegate.wifi.proofs import LoginProof
from rig.radius import pap
from rig.wifi import Answer, WifiSite

GENERATED = "generated-password"
PHONE = "02-00-00-00-00-01"


@pytest.fixture
def site(tmp_path: Path) -> WifiSite:
    made = WifiSite(tmp_path)
    made.member("ana", GENERATED)
    return made


async def sign_in(
    site: WifiSite, name: str = "ana", word: str = GENERATED, station: str = PHONE
) -> Answer:
    return await site.ask(
        f'User-Name = "{name}", User-Password = "{word}", Calling-Station-Id = "{station}"'
    )


async def entries(site: WifiSite, kind: str) -> list[dict[str, Any]]:
    return await asyncio.to_thread(site.entries, kind)


async def test_a_pass_admits_and_says_for_how_long(site: WifiSite) -> None:
    async with site.serving() as app:
        answer = await sign_in(site, "Ana ")
        assert answer.code == "Access-Accept", answer.text
        assert answer.attributes["User-Name"] == "ana"
        assert 0 < int(answer.attributes["Session-Timeout"]) <= 90_000
        assert answer.attributes["Acct-Interim-Interval"] == "300"
        assert "Termination-Action" not in answer.attributes
        assert "Tunnel-Type" not in answer.text
        refused = await sign_in(site, word="wrong")
        assert refused.code == "Access-Reject"
        assert "password" in refused.attributes["Reply-Message"]
        assert (app.wifi.counts().accepted, app.wifi.counts().refused) == (1, 1)
    (accepted,) = await entries(site, "wifi.accepted")
    assert accepted["class"] == bytes.fromhex(answer.attributes["Class"][2:]).decode()
    assert "020000000001" not in str(accepted).lower()
    (granted,) = await entries(site, "access.granted")
    assert (granted["channel"], granted["customer"]) == ("wifi", "ana")
    (denied,) = await entries(site, "access.denied")
    assert (denied["reason"], denied["customer"]) == ("credential_forged", "ana")


async def test_the_minutes_of_a_pass_are_the_session_timeout(site: WifiSite) -> None:
    terms = {"unit": Unit.MINUTE, "amount": 7}
    await asyncio.to_thread(site.member, "bob", GENERATED, **terms)
    async with site.serving():
        answer = await sign_in(site, "bob")
        assert 7 * 60 - 5 <= int(answer.attributes["Session-Timeout"]) <= 7 * 60


REFUSED = {
    "expired": Pass(
        id="p", holder="eve", wifi=True, amount=1, expires_at=datetime.now(UTC) - timedelta(days=1)
    ),
    "wifi_not_included": Pass(id="p", holder="eve", amount=1),
    "used_up": Pass(id="p", holder="eve", wifi=True, amount=0),
    "no_pass": None,
}


@pytest.mark.parametrize("reason", REFUSED)
async def test_a_refusal_says_so_in_a_sentence(site: WifiSite, reason: str) -> None:
    found = REFUSED[reason]
    login = site.login("eve", verifiers.of_generated(b"pw"))
    records = [Customer(id="eve"), login, *([found] if found else [])]
    await asyncio.to_thread(site.put, *records)
    async with site.serving():
        answer = await sign_in(site, "eve", "pw")
        assert answer.code == "Access-Reject"
        assert answer.attributes["Reply-Message"].endswith(".")
    (denied,) = await entries(site, "access.denied")
    assert denied["reason"] == reason


async def test_blocked_logins_and_disabled_people_are_refused(site: WifiSite) -> None:
    verifier = verifiers.of_generated(b"pw")
    await asyncio.to_thread(
        site.put,
        Customer(id="bob"),
        site.login("bob", verifier, status=CredentialStatus.BLOCKED),
        Customer(id="cid", status=CustomerStatus.DISABLED),
        site.login("cid", verifier),
    )
    async with site.serving():
        assert (await sign_in(site, "bob", "pw")).code == "Access-Reject"
        assert (await sign_in(site, "cid", "pw")).code == "Access-Reject"
    denied = await entries(site, "access.denied")
    assert [d["reason"] for d in denied] == ["credential_blocked", "customer_disabled"]


async def test_staff_come_in_without_a_pass_and_are_asked_again(site: WifiSite) -> None:
    await asyncio.to_thread(
        site.put,
        Customer(id="sam", staff=True),
        site.login("sam", verifiers.of_generated(b"pw")),
    )
    async with site.serving():
        answer = await sign_in(site, "sam", "pw")
        assert answer.code == "Access-Accept"
        assert 0 < int(answer.attributes["Session-Timeout"]) <= 90_000


async def test_a_chosen_password_is_checked_slowly_and_then_known(
    site: WifiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    inner = verifiers._verified

    def verified(verifier: str, password: bytes) -> bool:
        asked.append(password)
        return inner(verifier, password)

    monkeypatch.setattr(verifiers, "_verified", verified)
    chosen = await asyncio.to_thread(verifiers.of_chosen, b"correct horse")
    await asyncio.to_thread(site.put, site.login("ana", chosen))
    async with site.serving():
        for password, code in (("correct horse", "Accept"), ("battery", "Reject")) * 2:
            assert (await sign_in(site, word=password)).code == f"Access-{code}"
    assert asked == [b"correct horse", b"battery"]


async def test_chap_needs_a_sealed_password(site: WifiSite) -> None:
    sealed = verifiers.of_sealed(b"portal", site.key, site.lookup_of("bob"))
    await asyncio.to_thread(site.member, "bob")
    await asyncio.to_thread(site.put, site.login("bob", sealed))
    async with site.serving():
        for name, password, code in (
            ("bob", "portal", "Accept"),
            ("bob", "other", "Reject"),
            ("ana", GENERATED, "Reject"),
        ):
            answer = await site.ask(f'User-Name = "{name}", CHAP-Password = "{password}"')
            assert answer.code == f"Access-{code}", answer.text


@pytest.mark.parametrize(
    "written",
    [
        "aabbccddeeff",
        "AABBCCDDEEFF",
        "aa:bb:cc:dd:ee:ff",
        "AA-BB-CC-DD-EE-FF",
        "aabb.ccdd.eeff",
        "aabbcc-ddeeff",
    ],
)
async def test_a_device_is_known_in_every_notation(site: WifiSite, written: str) -> None:
    device = site.device("ana", "AA:BB:CC:DD:EE:FF")
    await asyncio.to_thread(site.put, device, site.device("ana", "02:00:00:00:00:09"))
    async with site.serving():
        for request in (
            f'User-Name = "{written}", User-Password = "{written}"',
            f'User-Name = "{written}", User-Password = ""',
            f'User-Name = "{written}", Service-Type = Call-Check',
            f'User-Name = "{written}", CHAP-Password = "{written}"',
            'User-Name = "020000000009", User-Password = "020000000009"',
        ):
            answer = await site.ask(request)
            assert answer.code == "Access-Accept", answer.text
        spoofed = await site.ask(
            f'User-Name = "{written}", User-Password = "{written}",'
            ' Calling-Station-Id = "02-00-00-00-00-07"'
        )
        assert spoofed.code == "Access-Reject"


async def test_a_device_that_signed_in_at_the_portal_comes_in_by_its_address(
    site: WifiSite,
) -> None:
    by_address = f'User-Name = "{PHONE}", User-Password = "{PHONE}", Calling-Station-Id = "{PHONE}"'
    async with site.serving(wifi="learn_macs_days = 30"):
        assert (await site.ask(by_address)).code == "Access-Reject"
        assert (await sign_in(site)).code == "Access-Accept"
        answer = await site.ask(by_address)
        assert (answer.code, answer.attributes["User-Name"]) == ("Access-Accept", "ana")
    await asyncio.to_thread(site.put, site.login("ana", verifiers.of_generated(b"new")))
    async with site.serving(wifi="learn_macs_days = 30"):
        assert (await site.ask(by_address)).code == "Access-Reject"


async def test_without_leave_nothing_is_learnt(site: WifiSite) -> None:
    async with site.serving():
        assert (await sign_in(site)).code == "Access-Accept"
        answer = await site.ask(f'User-Name = "{PHONE}", User-Password = "{PHONE}"')
        assert answer.code == "Access-Reject"


async def test_a_team_goes_before_a_plan_into_its_own_network(site: WifiSite) -> None:
    verifier = verifiers.of_generated(b"pw")
    await asyncio.to_thread(
        site.put,
        Team(id="acme"),
        Customer(id="tim", team="acme"),
        site.login("tim", verifier),
        Pass(id="team-pass", holder="acme", wifi=True, amount=9),
        Contract(id="c1", holder="acme", plan="flex"),
        Contract(id="c2", holder="ana", plan="flex"),
        Contract(id="c3", holder="bob", plan="flex", ends_at=datetime(2026, 1, 1, tzinfo=UTC)),
    )
    await asyncio.to_thread(site.member, "bob", GENERATED)
    tail = "[wifi.vlans]\ndefault = 10\nplans = { flex = 20 }\nteams = { acme = 30 }"
    async with site.serving(tail=tail):
        for name, password, vlan in (
            ("tim", "pw", 30),
            ("ana", GENERATED, 20),
            ("bob", GENERATED, 10),
        ):
            answer = await sign_in(site, name, password)
            assert f'Tunnel-Private-Group-Id:0 = "{vlan}"' in answer.text
            assert "Tunnel-Type:0 = VLAN" in answer.text
            assert "Tunnel-Medium-Type:0 = IEEE-802" in answer.text


@pytest.mark.parametrize(("vendor", "told"), [("mikrotik", True), ("hostapd", False)])
async def test_routeros_is_told_its_network_in_its_own_words_too(
    site: WifiSite, vendor: str, told: bool
) -> None:
    async with site.serving(nas=f'vendor = "{vendor}"', tail="[wifi.vlans]\ndefault = 10"):
        answer = await sign_in(site)
    assert 'Tunnel-Private-Group-Id:0 = "10"' in answer.text
    own = [answer.attributes.get(f"Mikrotik-Wireless-VLANID{end}") for end in ("", "-Type")]
    assert own == (["10", "802.1q"] if told else [None, None])


async def test_methods_that_are_not_wanted_are_refused(site: WifiSite) -> None:
    await asyncio.to_thread(site.put, site.device("ana", "AA:BB:CC:DD:EE:FF"))
    async with site.serving(wifi='methods = ["eap-ttls"]') as app:
        assert (await sign_in(site)).code == "Access-Reject"
        device = 'User-Name = "aabbccddeeff", User-Password = "aabbccddeeff"'
        assert (await site.ask(device)).code == "Access-Reject"
        assert app.wifi.server.counts["ap", "nothing proven"] == 2


async def test_refusals_of_one_source_are_one_entry_and_a_count(site: WifiSite) -> None:
    async with site.serving() as app:
        for name in ("nobody", "nobody", "somebody", "ana"):
            assert (await sign_in(site, name, "wrong")).code == "Access-Reject"
        assert app.wifi.counts().refused == 4
    denied = await entries(site, "access.denied")
    assert [(d["reason"], d.get("customer")) for d in denied] == [
        ("unknown_credential", None),
        ("credential_forged", "ana"),
    ]
    assert "nobody" not in str(denied)
    rejected = await entries(site, "wifi.rejected")
    assert [(r["reason"], r["count"]) for r in rejected] == [
        ("unknown_credential", 3),
        ("credential_forged", 1),
    ]


async def test_the_same_packet_again_is_decided_once(site: WifiSite) -> None:
    request = pap("ana", GENERATED.encode(), (Attribute.CALLING_STATION_ID, PHONE.encode()))

    def ask_thrice() -> set[bytes]:
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            asking.settimeout(30)
            answers = set()
            for _ in range(3):
                asking.sendto(request, ("127.0.0.1", site.auth_port))
                answers.add(asking.recv(4096))
            return answers

    async with site.serving():
        (answer,) = await asyncio.to_thread(ask_thrice)
        assert answer[0] == 2
    assert len(await entries(site, "wifi.accepted")) == 1
    assert len(await entries(site, "access.granted")) == 1


async def test_failing_storage_refuses_with_its_sentence(
    site: WifiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site.serving() as app:

        async def fails(*_: object) -> None:
            raise StorageFailedError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(app.keeper, "do", fails)
            answer = await sign_in(site)
        assert answer.code == "Access-Reject"
        assert "try again" in answer.attributes["Reply-Message"]
        assert (await sign_in(site)).code == "Access-Accept"


async def test_a_poisonous_member_is_refused_alone(
    site: WifiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(site.member, "bob", GENERATED)
    async with site.serving():
        inner = verifiers.fits

        def fits(verifier: str, proof: Any, *rest: Any) -> bool:
            if proof.name == "ana":
                raise ZeroDivisionError("poison")
            return inner(verifier, proof, *rest)

        monkeypatch.setattr(verifiers, "fits", fits)
        answer = await sign_in(site)
        assert answer.code == "Access-Reject"
        assert "check your pass" in answer.attributes["Reply-Message"]
        assert (await sign_in(site, "bob")).code == "Access-Accept"
    (denied,) = await entries(site, "access.denied")
    assert denied["reason"] == "internal_error"
    assert "poison" in denied["fault"]


async def test_a_place_that_the_cache_does_not_know_admits_nobody(site: WifiSite) -> None:
    async with site.serving(location="elsewhere"):
        answer = await sign_in(site)
        assert answer.code == "Access-Reject"
        assert "try again later" in answer.attributes["Reply-Message"]


def test_a_verifier_that_is_broken_fits_nothing() -> None:
    proof = LoginProof("ana", b"pw")
    for verifier in (
        "",
        "pw",
        "sha256$",
        "sha256$zz$",
        "sha256$00$é",
        "sealed$",
        "sealed$AA==",
        "md5$x",
    ):
        assert not verifiers.fits(verifier, proof, b"k" * 32, "n"), verifier
    sealed = verifiers.of_sealed(b"pw", b"k" * 32, "n")
    assert verifiers.fits(sealed, proof, b"k" * 32, "n")
    assert not verifiers.fits(sealed, proof, b"k" * 32, "other")
    assert not verifiers.fits(sealed, proof, b"j" * 32, "n")


def test_a_verifier_that_would_stop_the_appliance_is_not_worked_on() -> None:
    greedy = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$" + "A" * 43
    assert not verifiers._verified(greedy, b"pw")
    assert not verifiers._verified("$argon2id$broken", b"pw")
