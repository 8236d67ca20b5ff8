"""The cloud's parts that need no database: limits, vault, authority, owners, rights."""

import asyncio
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from edgegate_sync.cancelling import finished
from edgegate_sync.cloud import dynsec, limits
from edgegate_sync.cloud.authority import (
    device_certificate,
    load_authority,
    new_authority,
    serial_of,
    server_certificate,
)
from edgegate_sync.cloud.feed import owner_of
from edgegate_sync.cloud.limits import Limiter, Rate
from edgegate_sync.cloud.tables import InstantType
from edgegate_sync.cloud.vault import Vault, VaultError, create_master_key, read_master_key

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_bucket_fills_again_and_never_above_its_burst() -> None:
    now_s = [0.0]
    limiter = Limiter(Rate(burst=2, per_s=0.5), clock_s=lambda: now_s[0])
    assert [limiter.take("a") for _ in range(3)] == [0, 0, 2.0]
    assert limiter.take("b") == 0
    now_s[0] = 2
    assert [limiter.take("a") for _ in range(2)] == [0, 2.0]
    now_s[0] = 1000
    assert [limiter.take("a") for _ in range(3)] == [0, 0, 2.0]


def test_the_longest_silent_client_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUCKETS_MAX", 2)
    limiter = Limiter(Rate(burst=1, per_s=0), clock_s=lambda: 0.0)
    limiter._rate = Rate(burst=1, per_s=1e-9)
    for client in ("a", "b", "a", "c"):
        limiter.take(client)
    assert limiter.take("a") > 0
    assert limiter.take("b") == 0
    assert len(limiter._buckets) == 2


def test_a_key_opens_at_its_place_with_its_master_key_alone() -> None:
    vault = Vault(bytes(32))
    sealed = vault.seal("site/a", "authority", b"key")
    assert b"key" not in sealed
    assert sealed != vault.seal("site/a", "authority", b"key")
    assert vault.open("site/a", "authority", sealed) == b"key"
    for other, scope in ((vault, "site/b"), (Vault(bytes(31) + b"x"), "site/a")):
        with pytest.raises(VaultError, match="put back the key file"):
            other.open(scope, "authority", sealed)


def test_the_master_key_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(VaultError, match="is not there"):
        read_master_key(path)
    made = create_master_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_master_key(path) == create_master_key(path) == made
    path.chmod(0o640)
    with pytest.raises(VaultError, match="chmod 600"):
        read_master_key(path)
    path.chmod(0o600)
    path.write_text("abc")
    with pytest.raises(VaultError, match="no master key"):
        read_master_key(path)


def test_leaves_are_what_they_should_be() -> None:
    authority = new_authority("site", NOW)
    again = load_authority(authority.certificate_pem, authority.key_pem)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    leaf = device_certificate(again, "north/door", key, NOW)
    assert leaf.not_valid_after_utc - NOW == timedelta(days=398)
    assert authority.certificate.not_valid_after_utc - NOW == timedelta(days=3650)
    store = Store([authority.certificate])
    builder = PolicyBuilder().store(store)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    leaf.verify_directly_issued_by(authority.certificate)
    server = server_certificate(authority, ("cloud.test", "127.0.0.1"), key, NOW)
    verifier = builder.time(NOW).build_server_verifier(x509.DNSName("cloud.test"))
    assert verifier.verify(server, [])
    assert serial_of(leaf) != serial_of(server)
    stranger = new_authority("site", NOW)
    with pytest.raises(InvalidSignature):
        device_certificate(stranger, "a/b", key, NOW).verify_directly_issued_by(
            authority.certificate
        )


@pytest.mark.parametrize(
    ("body", "owner"),
    [
        (b'{"id":"x","customer":"c"}', "c"),
        (b'{"id":"x","holder":"h"}', "h"),
        (b'{"id":"x","team":"t"}', "t"),
        (b'{"id":"x"}', None),
        (b'{"id":"x","customer":5}', None),
        (b"[]", None),
    ],
)
def test_the_owner_of_a_record(body: bytes, owner: str | None) -> None:
    assert owner_of(body) == owner


def test_an_instant_without_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        InstantType().process_bind_param(datetime(2026, 1, 1), None)  # type: ignore[arg-type]  # noqa: DTZ001 - that is the point


def test_a_device_may_write_its_own_topics_alone() -> None:
    acls = dynsec.rights("north", "door")
    send = {acl["topic"] for acl in acls if acl["acltype"] == "publishClientSend"}
    hear = {acl["topic"] for acl in acls if acl["acltype"] == "subscribePattern"}
    assert "edgegate/1/north/devices/door/state" in send
    assert "edgegate/1/north/devices/door/command" not in send
    assert "edgegate/1/north/feed" not in send
    assert "edgegate/1/north/devices/gate/command" not in hear
    assert not any(topic.endswith("#") for topic in send | hear)


async def test_a_step_is_finished_before_its_task_learns_that_it_was_cancelled() -> None:
    going, done = asyncio.Event(), []

    async def step() -> str:
        await going.wait()
        done.append("step")
        return "result"

    task = asyncio.create_task(finished(step()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    assert not task.done()
    going.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["step"]
    assert await finished(step()) == "result"


async def test_a_step_that_fails_is_told_unless_its_task_was_cancelled() -> None:
    going = asyncio.Event()

    async def step() -> None:
        await going.wait()
        raise ZeroDivisionError

    task = asyncio.create_task(finished(step()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    going.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ZeroDivisionError):
        await finished(step())
