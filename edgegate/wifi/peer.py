"""A device's side of EAP-TTLS with PAP inside, which checks the server as phones should.

It says its password to nobody whose certificate is not what it was told: RFC 5281 §14.2.
"""

from datetime import datetime

from cryptography import x509
from msgspec import Struct
from OpenSSL import SSL, crypto

from edgegate.wifi.eap.fragments import Incoming, Outgoing, is_acknowledgement
from edgegate.wifi.eap.packet import HEADER_BYTES, Code, Type
from edgegate.wifi.profiles.handout import OUTER_IDENTITY, Login

PACKET_BYTES_MAX = 1024
_READ_BYTES = 65_536
_START = 0x20
_USER_NAME, _USER_PASSWORD, _MANDATORY = 1, 2, 0x40
_LABEL = b"EXPORTER_EAP_TLS_Key_Material"
_LABEL_TLS12 = b"ttls keying material"
_MSK_BYTES = 64


class Trust(Struct, frozen=True):
    """Whom a device was told to trust."""

    authority: x509.Certificate
    server_name: str


class PeerError(Exception):
    """The conversation cannot go on; `advice` says what helps."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.advice = advice


class Peer:
    """One conversation of one device."""

    def __init__(self, trust: Trust, login: Login, at: datetime) -> None:
        """Prepare; `at` is when certificates must be good."""
        self._trust = trust
        self._login = login
        self._at = at
        self._faults: list[tuple[int, int]] = []
        self._incoming, self._outgoing = Incoming(), Outgoing()
        self._tls = SSL.Connection(self._context())
        self._tls.set_connect_state()
        self._is_up = False
        self.certificate: x509.Certificate | None = None
        """What the server showed."""

    def first(self) -> bytes:
        """The answer to a request for an identity that nobody had to make."""
        return _response(0, Type.IDENTITY, OUTER_IDENTITY.encode())

    def answer(self, request: bytes) -> bytes:
        """What the device says to a request.

        Raises:
            PeerError: if it will not go on.
        """
        if len(request) <= HEADER_BYTES or request[0] != Code.REQUEST:
            raise PeerError("the server sent no EAP request", "Another server may answer here.")
        identifier, kind, data = request[1], request[HEADER_BYTES], request[HEADER_BYTES + 1 :]
        if kind == Type.IDENTITY:
            return _response(identifier, Type.IDENTITY, OUTER_IDENTITY.encode())
        if kind == Type.TTLS:
            return _response(identifier, Type.TTLS, self._converse(data))
        if kind == Type.NAK:
            raise PeerError("the server sent a NAK", "Another server may answer here.")
        return _response(identifier, Type.NAK, bytes((Type.TTLS,)))

    def msk(self) -> bytes:
        """The keys that the access point must have been given, too (RFC 5281 §8, RFC 9427)."""
        if self._tls.get_protocol_version() == SSL.TLS1_3_VERSION:
            made = self._tls.export_keying_material(_LABEL, 2 * _MSK_BYTES, bytes((Type.TTLS,)))
        else:
            made = self._tls.export_keying_material(_LABEL_TLS12, 2 * _MSK_BYTES)
        return made[:_MSK_BYTES]

    @property
    def version(self) -> str:
        """The version of TLS that was agreed on."""
        return self._tls.get_protocol_version_name()

    def _context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        store = context.get_cert_store()
        if store is None:
            raise PeerError("OpenSSL has no place for certificates", "Install pyOpenSSL anew.")
        store.add_cert(crypto.X509.from_cryptography(self._trust.authority))
        # An authority in the middle may be pinned as well.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        store.set_time(self._at.replace(tzinfo=None))
        context.set_verify(SSL.VERIFY_PEER, self._note)
        return context

    def _note(
        self, _tls: SSL.Connection, _certificate: crypto.X509, fault: int, depth: int, ok: int
    ) -> bool:
        """Go on whatever OpenSSL thinks: all that is wrong is told before anything is said."""
        if not ok:
            self._faults.append((fault, depth))
        return True

    def _converse(self, data: bytes) -> bytes:
        if data and data[0] & _START:
            return self._send(b"")
        if self._outgoing.is_under_way:
            if not is_acknowledgement(data):
                raise PeerError("the server did not acknowledge a fragment", "Try again.")
            return self._outgoing.next(PACKET_BYTES_MAX)
        message = self._incoming.take(data)
        return b"\0" if message is None else self._send(message)

    def _send(self, message: bytes) -> bytes:
        if message:
            self._tls.bio_write(message)
        try:
            if not self._is_up:
                self._tls.do_handshake()
                self._is_up = True
                self._check()
                self._tls.send(_pap(self._login))
            else:
                self._tls.recv(1)
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            why = error.args[0][0][-1] if error.args and error.args[0] else "it closed the tunnel"
            raise PeerError(f"TLS failed: {why}", "See the log: journalctl -u edgegate.") from error
        try:
            return self._outgoing.send(self._tls.bio_read(_READ_BYTES), PACKET_BYTES_MAX)
        except SSL.WantReadError:
            return b"\0"

    def _check(self) -> None:
        """See that this is the server, before the password is said."""
        shown = self._tls.get_peer_certificate(as_cryptography=True)
        if shown is None:
            raise PeerError("the server showed no certificate", "See edgegate wifi certificate.")
        self.certificate = shown
        for fault, depth in self._faults:
            whose = "the server's certificate" if depth == 0 else "an authority of its certificate"
            raise _of_fault(fault, whose, shown)
        names = _names(shown)
        if self._trust.server_name.lower() not in (name.lower() for name in names):
            raise PeerError(
                f"the server's certificate is for {', '.join(names) or 'nobody'},"
                f" devices were told {self._trust.server_name}",
                "Set server_name in [wifi] to what the certificate says, or get another one.",
            )


def _of_fault(fault: int, whose: str, shown: x509.Certificate) -> PeerError:
    begins, ends = shown.not_valid_before_utc, shown.not_valid_after_utc
    match fault:  # X509_V_ERR_* of OpenSSL's x509_vfy.h
        case 9:
            return PeerError(
                f"{whose} is good only from {begins:%Y-%m-%d %H:%M} UTC on",
                "See this computer's clock: timedatectl.",
            )
        case 10:
            return PeerError(
                f"{whose} expired on {ends:%Y-%m-%d}",
                "See this computer's clock (timedatectl), then put a new certificate in place; one"
                " of the appliance's own is renewed when the daemon starts.",
            )
        case 26:
            return PeerError(
                f"{whose} is not for servers", "It lacks serverAuth: have another one issued."
            )
    return PeerError(
        f"{whose} was not signed by the authority that devices pin",
        "Name that authority with --ca, or hand out profiles with the one that signed it.",
    )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return found.value.get_values_for_type(x509.DNSName)


def _pap(login: Login) -> bytes:
    """RFC 5281 §11.2.5: name and password, the latter padded with zeros."""
    password = login.password.encode()
    padded = password + bytes(-len(password) % 16)
    return _avp(_USER_NAME, login.name.encode()) + _avp(_USER_PASSWORD, padded)


def _avp(code: int, value: bytes) -> bytes:
    head = code.to_bytes(4) + bytes((_MANDATORY,)) + (8 + len(value)).to_bytes(3)
    return head + value + bytes(-len(value) % 4)


def _response(identifier: int, kind: int, data: bytes) -> bytes:
    length = HEADER_BYTES + 1 + len(data)
    return bytes((Code.RESPONSE, identifier)) + length.to_bytes(2) + bytes((kind,)) + data
