"""edgegate's RADIUS port and EAP over the same lookup as FreeRADIUS has in `bench/wifi.py`.

Its decision is one query of an SQLite file and a comparison: what the line adds is measured with
the daemon. Run as a process: `radius_server.py SECRET DATABASE CHAIN KEY AUTHORITY`; it prints its
port.
"""

import asyncio
import gc
import sqlite3
import sys
import time
from ipaddress import ip_network
from pathlib import Path
from typing import cast

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edgegate.wifi import verifiers
from edgegate.wifi.attributes import Attribute, Code
from edgegate.wifi.eap.identity import ServerIdentity
from edgegate.wifi.eap.packet import Type
from edgegate.wifi.eap.server import EapServer
from edgegate.wifi.eap.steps import Accepted, Challenge, Failed, Proof, Proven, Step
from edgegate.wifi.endpoint import Endpoint, Service
from edgegate.wifi.hiding import HiddenValueError, mppe_keys, reveal_password
from edgegate.wifi.nas import Nas, NasTable
from edgegate.wifi.packet import Packet, Reply, split
from edgegate.wifi.proofs import LoginProof

REJECT = Reply(Code.ACCESS_REJECT)
ACCEPT = Reply(Code.ACCESS_ACCEPT)


class Answers:
    """What is answered to an Access-Request."""

    def __init__(self, database: Path, identity: ServerIdentity) -> None:
        self._database = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        methods = (Type.TTLS, Type.TLS)
        self._eap = EapServer(identity, methods, half_open_max=512, now=time.monotonic)

    async def answer(self, packet: Packet, nas: Nas) -> Reply | None:
        """As the daemon's handler, with a lookup in place of the line."""
        eap = packet.concatenated(Attribute.EAP_MESSAGE)
        if eap is not None:
            return self._converse(packet, nas, eap)
        name, hidden = packet.text(Attribute.USER_NAME), packet.first(Attribute.USER_PASSWORD)
        if name is None or hidden is None:
            return REJECT
        try:
            password = reveal_password(hidden, packet.authenticator, nas.secret)
        except HiddenValueError:
            return REJECT
        return ACCEPT if self._knows(LoginProof(name, password)) else REJECT

    def _converse(self, packet: Packet, nas: Nas, eap: bytes) -> Reply | None:
        mtu = packet.number(Attribute.FRAMED_MTU)
        step: Step = self._eap.step(eap, packet.first(Attribute.STATE), mtu=mtu)
        if isinstance(step, Proven):
            handle = step.conversation
            step = handle.accept() if self._knows(step.proof) else handle.refuse("not known")
        match step:
            case Challenge(message, state):
                code, more = Code.ACCESS_CHALLENGE, [(int(Attribute.STATE), state)]
            case Accepted(message, msk):
                keys = mppe_keys(msk, packet.authenticator, nas.secret)
                code, more = Code.ACCESS_ACCEPT, list(keys)
            case Failed(message):
                code, more = Code.ACCESS_REJECT, []
            case _:
                return None
        return Reply(code, (*more, *split(Attribute.EAP_MESSAGE, message)))

    def _knows(self, proof: Proof) -> bool:
        query = "SELECT verifier FROM login WHERE name = ?"
        found = self._database.execute(query, (proof.name,)).fetchone()
        if found is None or not isinstance(proof, LoginProof):
            return found is not None
        return verifiers.fits(found[0], proof, b"", "")


def load_identity(chain: Path, key: Path, authority: Path) -> ServerIdentity:
    """The server's certificate, for tunnels and for stations that have one of the authority's."""
    own_key = cast("ec.EllipticCurvePrivateKey", load_pem_private_key(key.read_bytes(), None))
    return ServerIdentity(
        x509.load_pem_x509_certificates(chain.read_bytes()),
        own_key,
        client_authorities=x509.load_pem_x509_certificates(authority.read_bytes()),
    )


async def serve(answers: Answers, secret: bytes) -> None:
    """Answer until killed."""
    table = NasTable([Nas(id="bench", network=ip_network("127.0.0.0/8"), secret=secret)])
    endpoint = Endpoint(Service.AUTHENTICATION, table, answers.answer)
    async with endpoint.listening("127.0.0.1", 0) as address:
        gc.collect()
        gc.freeze()
        print(address[1], flush=True)
        await asyncio.Event().wait()


def main() -> None:
    secret, *paths = sys.argv[1:]
    database, *files = map(Path, paths)
    uvloop.run(serve(Answers(database, load_identity(*files)), secret.encode()))


if __name__ == "__main__":
    main()
