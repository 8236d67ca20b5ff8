"""`edgegate enroll` against the real cloud over real TLS: whom it believes, and what it says."""

import asyncio
import gzip
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import update

from edgegate.synccli import enroll as enroll_command
from edgegate_sync.appliance.client import CloudClient, Timing
from edgegate_sync.appliance.enrol import EnrolError, enrol
from edgegate_sync.appliance.errors import TruncatedError
from edgegate_sync.appliance.identity import Identity
from edgegate_sync.cloud.authority import Authority, new_authority, private_pem
from edgegate_sync.cloud.tables import claim as claim_table
from edgegate_sync.wire.claims import typed_claim
from edgegate_sync.wire.enrolment import Enrolled, EnrolRequest
from rig.clouds import RunningCloud, running

QUICK = Timing(connect_s=5.0, silence_s=5.0, total_s=5.0)


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[RunningCloud]:
    async with running(f"sqlite:///{tmp_path}/cloud.db", tmp_path) as made:
        yield made


async def typed(cloud: RunningCloud, device: str | None = "front") -> str:
    """What the cloud says is to be typed."""
    admin = await cloud.admin()
    body = {} if device is None else {"device": device}
    made = await admin.ask("POST", "/admin/v1/sites/north/claims", json=body)
    return str(made.json["typed"])


async def refusal(url: str, claim: str, state_dir: Path) -> str:
    with pytest.raises(EnrolError) as told:
        await enrol(url, claim, state_dir, timing=QUICK)
    assert not (state_dir / "identity" / "device.pem").exists()
    return str(told.value)


async def test_a_device_that_trusts_nobody_yet_enrols(cloud: RunningCloud, tmp_path: Path) -> None:
    state = tmp_path / "state"
    made = await enrol(cloud.base, await typed(cloud), state)
    assert (made.site, made.device, made.names) == ("north", "front", ("north/front",))
    loaded = await asyncio.to_thread(Identity.load, state)
    context = await asyncio.to_thread(loaded.tls)
    async with CloudClient(cloud.base, context) as client:
        async with client.feed(0) as answer:
            packed = b"".join([chunk async for chunk in answer.chunks()])
        assert b'"complete":true' in gzip.decompress(packed)
        assert client.time is not None


async def test_the_name_is_the_claims_else_what_the_device_asked_for(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    named = await enrol(cloud.base, await typed(cloud, "gate"), tmp_path / "1", "wanted")
    asked = await enrol(cloud.base, await typed(cloud, None), tmp_path / "2", "wanted")
    assert (named.device, asked.device) == ("gate", "wanted")


async def test_a_claim_whose_answer_was_lost_is_good_for_the_same_device_again(
    cloud: RunningCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await typed(cloud)
    real = CloudClient.enroll

    async def lose(self: CloudClient, request: EnrolRequest) -> Enrolled:
        await real(self, request)
        raise TruncatedError("the answer broke off")

    monkeypatch.setattr(CloudClient, "enroll", lose)
    assert "broke off" in await refusal(cloud.base, told, tmp_path / "state")
    monkeypatch.setattr(CloudClient, "enroll", real)
    assert "does not take this claim code" in await refusal(cloud.base, told, tmp_path / "other")
    assert (await enrol(cloud.base, told, tmp_path / "state")).device == "front"


@pytest.mark.parametrize("kind", ["unknown", "used", "expired"])
async def test_a_code_that_is_no_good_says_what_to_do(
    cloud: RunningCloud, tmp_path: Path, kind: str
) -> None:
    told = await typed(cloud)
    if kind == "used":
        await enrol(cloud.base, told, tmp_path / "first")
    elif kind == "expired":
        async with cloud.cloud.database.writing() as writing:
            await writing.execute(update(claim_table).values(expires_at=claim_table.c.created_at))
    else:
        told = "0000-0000-0000-0000-0000@" + told.partition("@")[2]
    said = await refusal(cloud.base, told, tmp_path / "state")
    assert "mistyped, was used before, or has expired" in said
    assert "edgegate cloud claim" in said


async def test_a_name_that_is_taken_is_told(cloud: RunningCloud, tmp_path: Path) -> None:
    await enrol(cloud.base, await typed(cloud), tmp_path / "first")
    with pytest.raises(EnrolError, match='there is a device "front" already'):
        await enrol(cloud.base, await typed(cloud, None), tmp_path / "second", "front")


async def test_many_tries_are_told_to_wait(cloud: RunningCloud, tmp_path: Path) -> None:
    told = "0000-0000-0000-0000-0000@" + (await typed(cloud)).partition("@")[2]
    said = [await refusal(cloud.base, told, tmp_path / "state") for _ in range(6)]
    assert re.search(r"wait \d+ s", said[-1])


async def test_the_claim_code_is_not_told_to_another_cloud(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    told = await typed(cloud)
    (tmp_path / "other").mkdir()
    async with running(f"sqlite:///{tmp_path}/other/cloud.db", tmp_path / "other") as other:
        said = await refusal(other.base, told, tmp_path / "state")
        assert "another cloud" in said
        assert other.cloud.counters is not None
        assert "claims_refused" not in repr(vars(other.cloud.counters))
    assert (await enrol(cloud.base, told, tmp_path / "state")).site == "north"


async def test_without_a_fingerprint_only_public_authorities_are_believed(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    code = (await typed(cloud)).partition("@")[0]
    said = await refusal(cloud.base, code, tmp_path / "state")
    assert "no public authority vouches" in said
    assert '"@"' in said


async def test_a_public_authority_is_believed_and_remembered(
    cloud: RunningCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cloud's own one stands for a public one here: OpenSSL reads SSL_CERT_FILE."""
    code = (await typed(cloud)).partition("@")[0]
    bundle = tmp_path / "public.pem"
    bundle.write_text(cloud.ca)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    await enrol(cloud.base, code, tmp_path / "state")
    stored = (tmp_path / "state" / "identity" / "enrolment.json").read_text()
    assert '"trust":"public"' in stored


async def test_a_wrong_host_name_is_told(cloud: RunningCloud, tmp_path: Path) -> None:
    url = cloud.base.replace("localhost", "127.0.0.2")
    said = await refusal(url, await typed(cloud), tmp_path / "state")
    assert "not for 127.0.0.2" in said or "no way to" in said


@asynccontextmanager
async def server_of(
    authority: Authority, name: str, begins: timedelta, ends: timedelta, directory: Path
) -> AsyncIterator[str]:
    """A server that names its authority, and refuses everything else as no cloud does."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(authority.key, SHA256())
    )
    pem = directory / "server.pem"
    pem.write_bytes(private_pem(key) + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    application = web.Application()

    async def name_authority(_: web.Request) -> web.Response:
        return web.json_response({"ca": authority.certificate_pem})

    application.router.add_get("/v1/authority", name_authority)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"https://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("begins", "ends", "name", "said"),
    [
        (DAY, 9 * DAY, "localhost", "this device's clock is wrong: it says 20"),
        (-9 * DAY, -DAY, "localhost", "has expired, or this device's clock is wrong"),
        (-DAY, DAY, "elsewhere.example", "not for localhost"),
        (-DAY, DAY, "localhost", "is no edgegate cloud"),
    ],
)
async def test_what_is_wrong_with_a_server_is_told_in_words(
    tmp_path: Path, begins: timedelta, ends: timedelta, name: str, said: str
) -> None:
    authority = await asyncio.to_thread(new_authority, "test", datetime.now(UTC))
    told = typed_claim("0" * 20, authority.certificate.public_bytes(Encoding.DER))
    async with server_of(authority, name, begins, ends, tmp_path) as url:
        assert said in await refusal(url, told, tmp_path / "state")


async def test_a_server_that_shows_another_authority_than_it_is_of_is_told_no_claim(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    """Somebody who stands between knows the authority, which is public, but has not its key."""
    other = await asyncio.to_thread(new_authority, "test", datetime.now(UTC))
    shown = Authority((await cloud.cloud.keys.cloud()).certificate, other.key)
    async with server_of(shown, "localhost", -DAY, DAY, tmp_path) as url:
        said = await refusal(url, await typed(cloud), tmp_path / "state")
    assert 'not of the authority behind the claim code\'s "@"' in said


async def test_where_nobody_answers_is_told(tmp_path: Path) -> None:
    claim = f"{'0' * 20}@{'0' * 20}"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        free = listening.getsockname()[1]
    assert "no way to" in await refusal(f"https://127.0.0.1:{free}", claim, tmp_path / "state")
    said = await refusal("https://no-such-host.invalid", claim, tmp_path / "state")
    assert "there is no host no-such-host.invalid" in said
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        quick = Timing(connect_s=0.3, silence_s=0.3, total_s=0.3)
        with pytest.raises(EnrolError, match="does not answer"):
            await enrol(url, claim, tmp_path / "state", timing=quick)


@pytest.mark.parametrize(
    ("url", "claim", "said"),
    [
        ("http://cloud.example", "0" * 20, "no address of a cloud"),
        ("cloud.example:8443", "0" * 20, "no address of a cloud"),
        ("https://cloud.example/v1", "0" * 20, "no address of a cloud"),
        ("https://cloud.example", "0" * 7, "claim code"),
        ("https://cloud.example", f"{'0' * 20}@0000", "4 characters"),
    ],
)
async def test_what_was_mistyped_is_told_before_anybody_is_asked(
    tmp_path: Path, url: str, claim: str, said: str
) -> None:
    assert said in await refusal(url, claim, tmp_path / "state")


# The command.


def enroll(cloud: RunningCloud, claim: str, *options: str) -> Result:
    arguments = ["--cloud", cloud.base, "--claim", claim, *options]
    return CliRunner().invoke(enroll_command, arguments)


async def test_the_command_says_what_was_set_up_and_what_to_configure(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    options = ("--state-dir", str(state), "-c", str(tmp_path / "none.toml"))
    done = await asyncio.to_thread(enroll, cloud, await typed(cloud), *options)
    assert done.exit_code == 0, done.output
    assert "Enrolled as north/front" in done.output
    assert f'url = "{cloud.base}"' in done.output
    assert 'id = "north"' in done.output
    again = await asyncio.to_thread(enroll, cloud, "0" * 20, *options)
    assert again.exit_code == 2
    assert again.output.startswith("Not enrolled: no public authority")


async def test_the_command_takes_names_from_the_configuration(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    config = write_config(tmp_path, cloud.base, site="north", device="hall")
    # Its secret is for the unit alone, as with `key = { credential = … }`; enrolling needs none.
    (tmp_path / "site.key").unlink()
    told = await typed(cloud, None)
    done = await asyncio.to_thread(enroll, cloud, told, "-c", str(config))
    assert done.exit_code == 0, done.output
    assert "Enrolled as north/hall" in done.output
    assert "must say" not in done.output
    other = write_config(tmp_path, cloud.base, site="south", device="hall")
    told = await typed(cloud, "gate")
    done = await asyncio.to_thread(enroll, cloud, told, "-c", str(other))
    assert 'id = "north"' in done.output
    assert 'id = "gate"' in done.output
    assert "url" not in done.output


def write_config(directory: Path, url: str, *, site: str, device: str) -> Path:
    key = directory / "site.key"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    config = directory / "config.toml"
    config.write_text(
        f"""
[device]
id = "{device}"
state_dir = "{directory}/state"
[site]
id = "{site}"
key = {{ file = "{key}" }}
[cloud]
url = "{url}"
[[door]]
id = "front"
strike = {{ driver = "virtual", socket = "{directory}/board.sock", channel = "strike" }}
[[reader]]
name = "r"
door = "front"
driver = "virtual"
socket = "{directory}/board.sock"
channel = "reader"
"""
    )
    return config
