"""Runs a worker of the reference cloud on loopback, and asks it as its users do."""

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession, TCPConnector
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from edgegate_sync.cloud.app import serving, working
from edgegate_sync.cloud.authority import private_pem
from edgegate_sync.cloud.cloud import Cloud, Settings, opened
from edgegate_sync.cloud.desk import ensure_site
from edgegate_sync.cloud.tokens import ALL_SCOPES, create

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy


UNTIL_S_MAX = 60


@dataclass
class Reply:
    """An answer that was read to its end."""

    status: int
    headers: "CIMultiDictProxy[str]"
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


class Caller:
    """Somebody with a connection to the cloud of their own: an administrator or a device."""

    def __init__(self, base: str, session: ClientSession, token: str | None = None) -> None:
        self.base = base
        self.session = session
        self.token = token

    async def ask(self, method: str, path: str, **more: Any) -> Reply:
        headers = dict(more.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        async with self.session.request(
            method, self.base + path, headers=headers, **more
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def put(self, kind: str, record: dict[str, Any], site: str = "north") -> Reply:
        record_id = record.get("id", record.get("pass", ""))
        path = f"/admin/v1/sites/{site}/records/{kind}/{record_id}"
        return await self.ask("PUT", path, json=record)


@dataclass
class DeviceFiles:
    """A device's key and certificate, as files."""

    name: str
    certificate: Path
    key: Path
    enrolled: dict[str, Any]


@dataclass
class RunningCloud:
    """A worker that serves on loopback, with what its callers need."""

    cloud: Cloud
    base: str
    ca: str
    secret: str
    stack: AsyncExitStack
    directory: Path

    def context(self, files: DeviceFiles | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca)
        if files is not None:
            context.load_cert_chain(files.certificate, files.key)
        return context

    async def caller(self, files: DeviceFiles | None = None, token: str | None = None) -> Caller:
        context = self.context(files)
        session = ClientSession(connector=TCPConnector(ssl=context), auto_decompress=True)
        await self.stack.enter_async_context(session)
        return Caller(self.base, session, token)

    async def admin(self) -> Caller:
        return await self.caller(token=self.secret)

    async def claim(self, device: str | None = None, site: str = "north") -> str:
        admin = await self.admin()
        body = {} if device is None else {"device": device}
        made = await admin.ask("POST", f"/admin/v1/sites/{site}/claims", json=body)
        assert made.status == 201, made.body
        return str(made.json["claim"])

    async def enrol(self, device: str = "door", site: str = "north") -> DeviceFiles:
        caller = await self.caller()
        key, csr = request_for(device)
        made = await caller.ask(
            "POST", "/v1/enroll", json={"claim": await self.claim(device, site), "csr": csr}
        )
        assert made.status == 201, made.body
        return self.files(key, made.json)

    def files(self, key: ec.EllipticCurvePrivateKey, enrolled: dict[str, Any]) -> DeviceFiles:
        stem = self.directory / secrets.token_hex(4)
        certificate, key_file = stem.with_suffix(".pem"), stem.with_suffix(".key")
        certificate.write_text(enrolled["certificate"])
        key_file.write_bytes(private_pem(key))
        return DeviceFiles(enrolled["device"], certificate, key_file, enrolled)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(UNTIL_S_MAX):
        while not holds():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.01)


def request_for(
    name: str, curve: ec.EllipticCurve | None = None
) -> tuple[ec.EllipticCurvePrivateKey, str]:
    """A new key and a request for its certificate."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    return key, request.public_bytes(Encoding.PEM).decode()


@asynccontextmanager
async def running(
    url: str, directory: Path, site: str | None = "north", **settings: Any
) -> AsyncIterator[RunningCloud]:
    """Run one worker on a database that may have others; with a site."""
    made = Settings(database=url, key_file=directory / "cloud.key", **settings)
    async with AsyncExitStack() as stack:
        cloud = await stack.enter_async_context(opened(made))
        async with cloud.database.writing() as writing:
            _, secret = await create(writing, "test", ALL_SCOPES)
            if site is not None:
                await ensure_site(writing, cloud.keys, site)
        port = await stack.enter_async_context(serving(cloud, "127.0.0.1", 0))
        await stack.enter_async_context(working(cloud))
        ca = (await cloud.keys.cloud()).certificate_pem
        base = f"https://localhost:{port}"
        callers = await stack.enter_async_context(AsyncExitStack())
        yield RunningCloud(cloud, base, ca, secret, callers, directory)
