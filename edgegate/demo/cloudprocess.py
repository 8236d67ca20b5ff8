"""The demo's cloud, in a process of its own: what its operator prepares, then what serves it."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edgegate import logs
from edgegate.demo.servers import CloudPlan, Prepared
from edgegate.demo.tied import tie
from edgegate.demo.wiring import DEVICE, SITE
from edgegate_sync.cloud import devices, tls, tokens
from edgegate_sync.cloud.app import serve
from edgegate_sync.cloud.authority import Authority, device_certificate, private_pem
from edgegate_sync.cloud.broker import BrokerAddress
from edgegate_sync.cloud.cloud import Cloud, Settings, opened
from edgegate_sync.cloud.desk import ensure_site
from edgegate_sync.cloud.keys import typed
from edgegate_sync.wire.enrolment import Broker

CLAIM_LIFE = timedelta(hours=1)


def settings_of(plan: CloudPlan) -> Settings:
    """The settings that `edgegate cloud serve` would make of its options."""
    directory = Path(plan.directory)
    settings = Settings(
        database=f"sqlite:///{directory / 'cloud.db'}",
        key_file=directory / "cloud.key",
        names=(plan.host,),
    )
    if plan.broker_port is None:
        return settings
    return msgspec.structs.replace(
        settings,
        broker=BrokerAddress(host=plan.host, port=plan.broker_port),
        broker_ca=directory / "trust.pem",
        broker_certificate=directory / "client.pem",
        broker_key=directory / "client.key",
        broker_told=Broker(host=plan.host, port=plan.broker_port),
    )


async def prepare(settings: Settings, plan: CloudPlan) -> Prepared:
    """Do what `edgegate cloud claim, token, trust, certificate` do, with one start for all."""
    async with opened(settings) as cloud:
        authority = await cloud.keys.cloud()
        async with cloud.database.writing() as writing:
            await ensure_site(writing, cloud.keys, SITE)
            code, _ = await devices.create_claim(writing, SITE, DEVICE, CLAIM_LIFE)
            _, token = await tokens.create(writing, "demo", tokens.ALL_SCOPES)
        if plan.broker_port is not None:
            await _certify_broker(cloud, authority, plan)
    ca = authority.certificate_pem
    return Prepared(token=token, claim=typed(code, ca), ca=ca)


async def _certify_broker(cloud: Cloud, authority: Authority, plan: CloudPlan) -> None:
    directory = Path(plan.directory)
    trust = "".join((await cloud.keys.authorities()).values())

    def write() -> None:
        (directory / "trust.pem").write_text(trust, encoding="ascii")
        key = ec.generate_private_key(ec.SECP256R1())
        client = device_certificate(authority, plan.client, key.public_key(), datetime.now(UTC))
        _write_pair(directory / "client", private_pem(key), client.public_bytes(Encoding.PEM))
        _write_pair(directory / "broker", *tls.issue(authority, (plan.host,)))

    await asyncio.to_thread(write)


def _write_pair(stem: Path, key: bytes, certificate: bytes) -> None:
    handle = os.open(stem.with_suffix(".key"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key)
    stem.with_suffix(".pem").write_bytes(certificate)


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """Prepare if that is asked for, tell what came of it, and serve until told to stop."""
    plan = msgspec.json.decode(sys.argv[1], type=CloudPlan)
    tie(plan.parent)
    logs.set_up("info", for_journal=False)
    settings = settings_of(plan)
    if plan.prepare:
        _say(msgspec.json.encode(asyncio.run(prepare(settings, plan))).decode())
    asyncio.run(serve(settings, plan.host, plan.port, _say))


if __name__ == "__main__":
    main()
