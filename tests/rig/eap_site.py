"""A RADIUS server that does nothing but EAP, for clients that nobody here wrote."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from edgegate.wifi.attributes import Attribute, Code
from edgegate.wifi.eap.identity import ServerIdentity
from edgegate.wifi.eap.server import EapServer
from edgegate.wifi.eap.steps import Accepted, Challenge, Ignored, Proven
from edgegate.wifi.endpoint import Endpoint, Service
from edgegate.wifi.hiding import mppe_keys
from edgegate.wifi.nas import Nas, NasTable
from edgegate.wifi.packet import Packet, Reply, split
from edgegate.wifi.proofs import CertificateProof, LoginProof

SECRET = b"testing123testing123"
LOGINS = {"anna": b"wonderful", "bob": b"bob", "bob@example.org": b"pass word"}


@dataclass
class EapSite:
    """Who may come in, and what was seen."""

    eap: EapServer
    port: int = 0
    proofs: list[LoginProof | CertificateProof] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    whys: list[str] = field(default_factory=list)

    async def answer(self, packet: Packet, nas: Nas) -> Reply | None:
        """The handler of the authentication port."""
        step = self.eap.step(
            packet.concatenated(Attribute.EAP_MESSAGE) or b"",
            packet.first(Attribute.STATE),
            mtu=packet.number(Attribute.FRAMED_MTU),
        )
        if isinstance(step, Proven):
            self.proofs.append(step.proof)
            self.identities.append(step.identity)
            handle = step.conversation
            step = handle.accept() if _is_known(step.proof) else handle.refuse("not known")
        if isinstance(step, Ignored):
            self.whys.append(step.why)
            return None
        message = split(Attribute.EAP_MESSAGE, step.eap)
        if isinstance(step, Challenge):
            state = (int(Attribute.STATE), step.state)
            return Reply(Code.ACCESS_CHALLENGE, (*message, state))
        if isinstance(step, Accepted):
            keys = mppe_keys(step.msk, packet.authenticator, nas.secret)
            return Reply(Code.ACCESS_ACCEPT, (*message, *keys))
        self.whys.append(step.why)
        return Reply(Code.ACCESS_REJECT, message)


@asynccontextmanager
async def eap_site(identity: ServerIdentity) -> AsyncIterator[EapSite]:
    """Such a server on a port of its own."""
    site = EapSite(EapServer(identity, now=time.monotonic))
    nas = Nas(id="test", network=ip_network("127.0.0.1/32"), secret=SECRET)
    endpoint = Endpoint(Service.AUTHENTICATION, NasTable([nas]), site.answer)
    async with endpoint.listening("127.0.0.1", 0) as address:
        site.port = address[1]
        yield site


@dataclass(frozen=True)
class Outcome:
    """What eapol_test saw."""

    succeeded: bool
    output: str


async def eapol_test(
    site: EapSite,
    network: str,
    directory: Path,
    *,
    framed_mtu: int | None = None,
    again: int = 0,
) -> Outcome:
    """Run hostap's EAP client with one network block's lines; `again`: so many times more."""
    file = directory / "eapol_test.conf"
    lines = "\n".join(f"\t{line.strip()}" for line in network.strip().splitlines())
    content = f"network={{\n\tkey_mgmt=WPA-EAP\n{lines}\n}}\n"
    await asyncio.to_thread(file.write_text, content)
    options = [f"-r{again}", *([] if framed_mtu is None else [f"-N12:d:{framed_mtu}"])]
    process = await asyncio.create_subprocess_exec(
        *("eapol_test", "-c", str(file), "-p", str(site.port), "-s", SECRET.decode(), "-t60"),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    output = said.decode(errors="replace")
    return Outcome(process.returncode == 0 and output.rstrip().endswith("SUCCESS"), output)


def _is_known(proof: LoginProof | CertificateProof) -> bool:
    if isinstance(proof, LoginProof):
        return LOGINS.get(proof.name) == proof.password
    return proof.name in LOGINS
