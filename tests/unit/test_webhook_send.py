"""Where webhooks may go, and how they are signed."""

import base64
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from edgegate_sync.cloud.webhook_events import wants
from edgegate_sync.cloud.webhook_send import (
    AddressRefusedError,
    Guard,
    GuardedResolver,
    headers,
    secret_text,
    signature,
)
from edgegate_sync.cloud.webhooks import BACKOFF_S_MAX, backoff
from rig.hooks import verified

REFUSED = [
    *("http://example.com/", "ftp://example.com/", "https:///x", "https://a@example.com/"),
    *(
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
    ),
    *("https://[::ffff:10.0.0.1]/", "https://[fd00::1]/", "https://[64:ff9b::a00:1]/"),
    *("https://[2002:a00:1::]/", "https://224.0.0.1/", "https://0.0.0.0/", "https://x.example/#a"),
    *(
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://ex\u00e4mple.com/",
        "nonsense",
    ),
]


@pytest.mark.parametrize("url", REFUSED)
def test_no_webhook_goes_where_it_may_not(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Guard().check_url(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/x", "https://93.184.216.34:8443/", "https://[2606:4700::1]/"]
)
def test_the_public_internet_is_open(url: str) -> None:
    Guard().check_url(url)


def test_a_network_can_be_named() -> None:
    guard = Guard(["127.0.0.0/8"])
    guard.check_url("http://127.0.0.1:8080/hook")
    with pytest.raises(ValueError, match="https"):
        guard.check_url("http://example.com/")
    with pytest.raises(ValueError, match="public"):
        guard.check_url("https://10.0.0.1/")


class Names(AbstractResolver):
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=a, port=port, family=family, proto=0, flags=0)
            for a in self.addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_name_that_points_inside_is_not_followed() -> None:
    mixed = GuardedResolver(Guard(), Names("10.0.0.1", "93.184.216.34", "::1"))
    assert [one["host"] for one in await mixed.resolve("x.example", 443)] == ["93.184.216.34"]
    inside = GuardedResolver(Guard(), Names("10.0.0.1", "169.254.169.254"))
    with pytest.raises(AddressRefusedError):
        await inside.resolve("x.example", 443)


def test_signatures_are_those_of_the_specification() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks (spec and libraries).
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_are_good_while_one_is_replaced() -> None:
    old, new = b"o" * 32, b"n" * 32
    fields = headers((new, old), "evt_1", 1, b"{}")
    assert verified(secret_text(old), fields, b"{}")
    assert verified(secret_text(new), fields, b"{}")
    assert not verified(secret_text(b"x" * 32), fields, b"{}")
    assert not verified(secret_text(new), fields, b"{} ")


def test_the_wait_grows_and_has_an_end() -> None:
    waits = [backoff(n).total_seconds() for n in range(1, 40)]
    assert 2.5 <= waits[0] <= 5
    assert all(BACKOFF_S_MAX / 2 <= wait <= BACKOFF_S_MAX for wait in waits[12:])


def test_words_stand_for_kinds_of_events() -> None:
    assert wants("session.* access.denied", "session.opened")
    assert wants("*", "device.offline")
    assert not wants("session.* access.denied", "access.granted")
    assert not wants("session.*", "sessions.opened")
