"""An EAP peer for the load generator: EAP-TTLS/PAP and EAP-TLS (RFC 5281, RFC 5216, RFC 9190).

It knows nothing of the server's code. It checks the server's certificate and name, and that the
keys in the Access-Accept are those that it derived itself.
"""

import os
import struct
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from bench import radius_codec as radius
from bench.radius_load import COMMON, station

REQUEST, RESPONSE, SUCCESS, FAILURE = 1, 2, 3, 4
IDENTITY, NAK, TLS, TTLS = 1, 3, 13, 21

LENGTH_FLAG, MORE_FLAG, START_FLAG = 0x80, 0x40, 0x20
FRAGMENT_BYTES = 1000
TLS_BYTES_MAX = 16384

_USER_NAME_AVP, _USER_PASSWORD_AVP, _MANDATORY = 1, 2, 0x40


def context(authority: Path, *, own: Path | None = None, version: int | None = None) -> SSL.Context:
    """What all peers of a kind share; `own` holds a client's certificate and key."""
    shared = SSL.Context(SSL.TLS_CLIENT_METHOD)
    version = SSL.TLS1_3_VERSION if version is None else version
    shared.set_min_proto_version(version)
    shared.set_max_proto_version(version)
    shared.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # One group, so that every server does the same work: what else a new OpenSSL offers (ML-KEM
    # among it) an old one does not speak.
    shared.set_tmp_ecdh(ec.SECP256R1())
    shared.load_verify_locations(str(authority))
    shared.set_verify(SSL.VERIFY_PEER, lambda *arguments: bool(arguments[-1]))
    if own is not None:
        shared.use_certificate_chain_file(str(own))
        shared.use_privatekey_file(str(own))
    return shared


class Peer:
    """One station that joins; `inner` is what TTLS says inside: a name and a password.

    Its address is that of the member, or of the device that is named.
    """

    def __init__(
        self,
        shared: SSL.Context,
        secret: bytes,
        identity: str,
        inner: tuple[str, str] | None = None,
        device: str | None = None,
    ) -> None:
        self._secret = secret
        self._station = station(device or (inner or (identity,))[0])
        self._identity = identity.encode()
        self._inner = inner
        self._method = TLS if inner is None else TTLS
        self._tls = SSL.Connection(shared, None)
        self._tls.set_connect_state()
        self._state = b""
        self._out = b""
        """What the TLS engine said and has not been sent yet."""
        self._eap = struct.pack(">BBHB", RESPONSE, 0, 5 + len(self._identity), IDENTITY)
        self._eap += self._identity
        self._established = False

    def request(self, identifier: int) -> tuple[bytes, bytes]:
        authenticator = os.urandom(16)
        attributes: radius.Attributes = [
            (radius.USER_NAME, self._identity),
            (radius.CALLING_STATION_ID, self._station),
            (radius.FRAMED_MTU, (1400).to_bytes(4)),
            *COMMON,
            *radius.split(radius.EAP_MESSAGE, self._eap),
        ]
        if self._state:
            attributes.append((radius.STATE, self._state))
        return radius.request(identifier, authenticator, attributes, self._secret), authenticator

    def take(self, reply: radius.Reply, authenticator: bytes) -> bool:
        eap = reply.every(radius.EAP_MESSAGE)
        if reply.code == radius.ACCESS_ACCEPT and eap[:1] == bytes((SUCCESS,)):
            self._check_keys(reply, authenticator)
            return False
        if reply.code != radius.ACCESS_CHALLENGE or eap[:1] != bytes((REQUEST,)):
            raise radius.WrongReplyError(f"{self._identity!r}: code {reply.code}, EAP {eap.hex()}")
        self._state = reply.every(radius.STATE)
        self._eap = self._answer(eap[1], eap[4], eap[5:])
        return True

    def _answer(self, identifier: int, method: int, data: bytes) -> bytes:
        if method != self._method:
            return struct.pack(">BBHBB", RESPONSE, identifier, 6, NAK, self._method)
        flags, tls = data[0], data[5 if data[0] & LENGTH_FLAG else 1 :]
        if tls:
            self._tls.bio_write(tls)
        if not flags & MORE_FLAG and not self._out:
            self._turn()
        return self._fragment(identifier)

    def _fragment(self, identifier: int) -> bytes:
        piece, self._out = self._out[:FRAGMENT_BYTES], self._out[FRAGMENT_BYTES:]
        flags = MORE_FLAG if self._out else 0
        head = struct.pack(">BBHBB", RESPONSE, identifier, 6 + len(piece), self._method, flags)
        return head + piece

    def _turn(self) -> None:
        """Let the TLS engine read what came, and take what it says."""
        if self._established:
            # The commitment of RFC 9190 §2.1.4, or tickets: neither is answered with data.
            self._read()
        else:
            try:
                self._tls.do_handshake()
                self._established = True
            except SSL.WantReadError:
                pass
            if self._established and self._inner is not None:
                self._tls.sendall(_inner_pap(*self._inner))
            elif self._established:
                self._read()
        try:
            self._out = self._tls.bio_read(TLS_BYTES_MAX)
        except SSL.WantReadError:
            self._out = b""

    def _read(self) -> None:
        try:
            self._tls.recv(TLS_BYTES_MAX)
        except SSL.WantReadError:
            return

    def _check_keys(self, reply: radius.Reply, authenticator: bytes) -> None:
        """Compare the keys with one's own (RFC 5216 §2.3, RFC 5281 §8, RFC 9190 §2.3, RFC 9427)."""
        if not self._established:
            raise radius.WrongReplyError(f"{self._identity!r}: a success before its time")
        if self._tls.get_protocol_version() == SSL.TLS1_3_VERSION:
            label, extra = b"EXPORTER_EAP_TLS_Key_Material", bytes((self._method,))
            master = self._tls.export_keying_material(label, 128, extra)
        else:
            label = b"client EAP encryption" if self._inner is None else b"ttls keying material"
            master = self._tls.export_keying_material(label, 128)
        kinds = (radius.MPPE_RECV_KEY, radius.MPPE_SEND_KEY)
        keys = tuple(radius.mppe_key(reply, kind, authenticator, self._secret) for kind in kinds)
        if keys != (master[:32], master[32:64]):
            raise radius.WrongReplyError(f"{self._identity!r}: other keys than its own")


def _inner_pap(name: str, password: str) -> bytes:
    padded = password.encode() + bytes(-len(password.encode()) % 16)
    return _avp(_USER_NAME_AVP, name.encode()) + _avp(_USER_PASSWORD_AVP, padded)


def _avp(code: int, value: bytes) -> bytes:
    """An attribute-value pair of RFC 5281 §10.1."""
    head = struct.pack(">II", code, _MANDATORY << 24 | 8 + len(value))
    return head + value + bytes(-len(value) % 4)
