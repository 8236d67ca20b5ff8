"""A device's identity on disk: private, whole or not at all, and of one piece."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from edgegate_sync.appliance.identity import (
    Identity,
    NotEnrolledError,
    adopt,
    next_key,
    renewal_due,
    request_pem,
)
from edgegate_sync.cloud.authority import (
    Authority,
    device_certificate,
    new_authority,
    requested_key,
)
from edgegate_sync.wire.commands import public_key_text
from edgegate_sync.wire.enrolment import Broker, Renewed
from edgegate_sync.wire.errors import MalformedError

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority("test", NOW)


def given(
    authority: Authority, key: ec.EllipticCurvePrivateKey, name: str = "mill/front", **more: Any
) -> Renewed:
    made = device_certificate(authority, name, key.public_key(), NOW)
    site, _, device = name.partition("/")
    command_key = public_key_text(Ed25519PrivateKey.generate().public_key())
    values: dict[str, Any] = {
        "site": site,
        "device": device,
        "certificate": made.public_bytes(Encoding.PEM).decode(),
        "ca": authority.certificate_pem,
        "expires_at": made.not_valid_after_utc,
        "command_key": command_key,
        "names": (name,),
    }
    return Renewed(**(values | more))


@pytest.fixture
def enrolled(authority: Authority, tmp_path: Path) -> Identity:
    key = next_key(tmp_path)
    return adopt(tmp_path, given(authority, key, broker=Broker(host="b")), key, "own")


def test_what_was_adopted_is_loaded(enrolled: Identity, tmp_path: Path) -> None:
    loaded = Identity.load(tmp_path)
    assert (loaded.site, loaded.device, loaded.names) == ("mill", "front", ("mill/front",))
    assert loaded.broker() == Broker(host="b")
    assert loaded.command_key() is not None
    assert loaded.expires_at() == enrolled.expires_at() == NOW + timedelta(days=398)
    assert loaded.tls().get_ca_certs()


def test_nobody_else_can_read_it(enrolled: Identity, tmp_path: Path) -> None:
    assert enrolled
    next_key(tmp_path)
    files = sorted(path.name for path in (tmp_path / "identity").iterdir())
    assert files == ["device.pem", "enrolment.json", "next.key"]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "identity").iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o700


def test_the_key_is_made_here_and_kept_until_its_answer_comes(
    authority: Authority, tmp_path: Path
) -> None:
    key = next_key(tmp_path)
    again = next_key(tmp_path)
    assert key.private_numbers() == again.private_numbers()
    requested = requested_key(request_pem(key))
    assert requested.public_numbers() == key.public_key().public_numbers()
    adopt(tmp_path, given(authority, key), key, "own")
    assert next_key(tmp_path).private_numbers() != key.private_numbers()


def test_a_damaged_next_key_is_made_anew(tmp_path: Path) -> None:
    next_key(tmp_path)
    (tmp_path / "identity" / "next.key").write_bytes(b"-----BEGIN PRIVATE KEY-----")
    assert next_key(tmp_path)


def test_without_an_enrolment_it_says_how_to_enrol(tmp_path: Path) -> None:
    with pytest.raises(NotEnrolledError, match="edgegate enroll"):
        Identity.load(tmp_path)


@pytest.mark.parametrize("name", ["device.pem", "enrolment.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 100, b" " * 300_000])
def test_damage_is_told(enrolled: Identity, tmp_path: Path, name: str, content: bytes) -> None:
    assert enrolled
    (tmp_path / "identity" / name).write_bytes(content)
    with pytest.raises(NotEnrolledError, match="damaged"):
        Identity.load(tmp_path)


@pytest.mark.parametrize("field", ["site", "device"])
def test_files_of_two_devices_do_not_go_together(
    enrolled: Identity, tmp_path: Path, field: str
) -> None:
    assert enrolled
    path = tmp_path / "identity" / "enrolment.json"
    other = path.read_text().replace(f'"{field}":"', f'"{field}":"x')
    path.write_text(other)
    with pytest.raises(NotEnrolledError, match="belong together"):
        Identity.load(tmp_path)


def test_a_certificate_for_another_key_changes_nothing(
    enrolled: Identity, authority: Authority, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "identity").iterdir()}
    key, other = next_key(tmp_path), ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ValueError, match="not for this device's key"):
        enrolled.renew(given(authority, other), key)
    with pytest.raises(ValueError, match="mill/back"):
        enrolled.renew(given(authority, key, "mill/back"), key)
    with pytest.raises(MalformedError):
        enrolled.renew(given(authority, key, command_key="A" * 44), key)
    with pytest.raises(ValueError, match="no certificate"):
        enrolled.renew(given(authority, key, ca="no certificate"), key)
    after = {path: path.read_bytes() for path in before}
    assert after == before
    assert Identity.load(tmp_path).serial == enrolled.serial


class PowerCutError(Exception):
    """The machine lost its power here."""


@pytest.mark.parametrize("cut_at", range(1, 9))
def test_a_power_cut_leaves_an_identity_that_works(
    enrolled: Identity,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cut_at: int,
) -> None:
    """At whichever step of the exchange it comes."""
    old = enrolled.serial
    key = next_key(tmp_path)
    renewed = given(authority, key)
    steps = 0

    def stepping(name: str) -> None:
        real = getattr(os, name)

        def step(*args: object, **more: object) -> object:
            nonlocal steps
            steps += 1
            if steps == cut_at:
                raise PowerCutError
            return real(*args, **more)

        monkeypatch.setattr(os, name, step)

    with monkeypatch.context() as patch:
        del patch
        for name in ("fsync", "open", "replace", "unlink"):
            stepping(name)
        try:
            enrolled.renew(renewed, key)
        except PowerCutError:
            assert steps == cut_at
        monkeypatch.undo()
    new = x509.load_pem_x509_certificate(renewed.certificate.encode()).serial_number
    found = Identity.load(tmp_path)
    assert found.serial in (old, new)
    assert found.tls()
    # And the exchange can be made again.
    key = next_key(tmp_path)
    found.renew(given(authority, key), key)
    assert Identity.load(tmp_path).tls()


def test_it_is_renewed_when_two_thirds_are_over_and_not_all_on_one_day(
    authority: Authority, tmp_path: Path
) -> None:
    dues = []
    for number in range(12):
        key = next_key(tmp_path / str(number))
        made = adopt(tmp_path / str(number), given(authority, key), key, "own")
        due = renewal_due(made)
        assert due == renewal_due(Identity.load(tmp_path / str(number)))
        dues.append(due)
    begins, ends = made.life
    assert all(begins + (ends - begins) * 2 / 3 <= due for due in dues)
    assert all(due <= begins + (ends - begins) * 0.72 for due in dues)
    assert len({due.date() for due in dues}) > 3


def test_root_leaves_it_to_the_owner_of_the_state_directory(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_to: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, *to: given_to.__setitem__(Path(path).name, to))
    key = next_key(tmp_path)
    adopt(tmp_path, given(authority, key), key, "own")
    owner = tmp_path.stat()
    assert set(given_to) == {"identity", "next.key.new", "enrolment.json.new", "device.pem.new"}
    assert set(given_to.values()) == {(owner.st_uid, owner.st_gid)}
