"""A device that speaks EAP, as a test wants it to, without a network between."""

import time
from dataclasses import dataclass, field

from cryptography import x509
from OpenSSL import SSL, crypto

from edgegate.wifi.authority import Key, KeyKind
from edgegate.wifi.eap.fragments import Incoming, Outgoing, is_acknowledgement
from edgegate.wifi.eap.packet import Code, Type
from edgegate.wifi.eap.server import EapServer
from edgegate.wifi.eap.steps import Challenge, Failed, Proven, Step
from rig.wifi_papers import authority, client, identity

VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


def client_context(
    version: str,
    trusted: x509.Certificate,
    certificate: tuple[x509.Certificate, Key] | None = None,
) -> SSL.Context:
    """What a device brings to TLS."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(crypto.X509.from_cryptography(trusted))
    context.set_verify(SSL.VERIFY_PEER)
    if certificate is not None:
        context.use_certificate(certificate[0])
        context.use_privatekey(certificate[1])
    return context


def avp(code: int, value: bytes, *, flags: int = 0x40, vendor: int | None = None) -> bytes:
    """One attribute as RFC 5281 has it, padded."""
    head = b"" if vendor is None else vendor.to_bytes(4)
    flags |= 0 if vendor is None else 0x80
    length = 8 + len(head) + len(value)
    content = code.to_bytes(4) + bytes((flags,)) + length.to_bytes(3) + head + value
    return content + bytes(-length % 4)


def pap(name: str = "anna", password: bytes = b"wonderful") -> bytes:
    """What a device says in the tunnel."""
    return avp(1, name.encode()) + avp(2, password + bytes(-len(password) % 16))


@dataclass
class Device:
    """One device for one conversation."""

    context: SSL.Context
    method: Type = Type.TTLS
    inner: bytes = field(default_factory=pap)
    packet_max: int = 1024
    identity: bytes = b"anonymous"
    wants: bytes = b""
    """The types that it lists where it is offered another; its own if that is empty."""
    eager: bool = True
    """Whether it speaks in the tunnel as soon as it can, or waits for one packet more."""
    commitments: int = 0
    largest: int = 0

    def __post_init__(self) -> None:
        self.tls = SSL.Connection(self.context)
        self.tls.set_connect_state()
        self.incoming, self.outgoing = Incoming(), Outgoing()
        self.is_up = self.has_spoken = False

    def first(self) -> bytes:
        """Its answer to a request for its identity."""
        return self.response(0, Type.IDENTITY, self.identity)

    def response(self, identifier: int, type_: int, data: bytes) -> bytes:
        length = 5 + len(data)
        return bytes((Code.RESPONSE, identifier)) + length.to_bytes(2) + bytes((type_,)) + data

    def answer(self, request: bytes) -> bytes:
        """What it says to a request of the server."""
        assert request[0] == Code.REQUEST
        assert int.from_bytes(request[2:4]) == len(request)
        self.largest = max(self.largest, len(request))
        identifier, type_, data = request[1], request[4], request[5:]
        if type_ == Type.IDENTITY:
            return self.response(identifier, Type.IDENTITY, self.identity)
        if type_ != self.method:
            return self.response(identifier, Type.NAK, self.wants or bytes((self.method,)))
        return self.response(identifier, self.method, self.converse(data))

    def converse(self, data: bytes) -> bytes:
        if data == b"\x20":
            message = b""
        elif self.outgoing.is_under_way:
            assert is_acknowledgement(data)
            return self.outgoing.next(self.packet_max)
        else:
            whole = self.incoming.take(data)
            if whole is None:
                return b"\0"
            message = whole
        return self.outgoing.send(self.speak(message), self.packet_max)

    def speak(self, message: bytes) -> bytes:
        """TLS's answer to a message of TLS."""
        if message:
            self.tls.bio_write(message)
        was_up = self.is_up
        try:
            if not self.is_up:
                self.tls.do_handshake()
                self.is_up = True
            if self.method is Type.TTLS and not self.has_spoken and (was_up or self.eager):
                self.has_spoken = True
                if self.inner:
                    self.tls.send(self.inner)
            self.commitments += self.tls.recv(16) == b"\0"
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self.is_up = False
        try:
            return self.tls.bio_read(65_536)
        except SSL.WantReadError:
            return b""

    def msk(self) -> bytes:
        """The keys as it has them, by the RFCs' labels."""
        if self.tls.get_protocol_version() == SSL.TLS1_3_VERSION:
            label, context = b"EXPORTER_EAP_TLS_Key_Material", bytes((self.method,))
            return self.tls.export_keying_material(label, 128, context)[:64]
        labels = {Type.TLS: b"client EAP encryption", Type.TTLS: b"ttls keying material"}
        return self.tls.export_keying_material(labels[self.method], 128)[:64]


def converse(server: EapServer, device: Device, *, mtu: int | None = None) -> Step:
    """Let a device talk until something is proven or it is over."""
    return go_on(server, device, server.step(device.first(), None, mtu=mtu), mtu=mtu)


def go_on(server: EapServer, device: Device, step: Step, *, mtu: int | None = None) -> Step:
    """Let a device talk from some step on."""
    for _ in range(200):
        if not isinstance(step, Challenge):
            return step
        step = server.step(device.answer(step.eap), step.state, mtu=mtu)
    raise AssertionError("the conversation has no end")


def admitted(server: EapServer, device: Device, *, mtu: int | None = None) -> Step:
    """Let a device talk, say yes to what it proves, and let it come to the end."""
    step = converse(server, device, mtu=mtu)
    if isinstance(step, Proven):
        return go_on(server, device, step.conversation.accept("yes"), mtu=mtu)
    return step


def server(kind: KeyKind = "ec") -> EapServer:
    """A server with the site's papers."""
    return EapServer(identity(kind), now=time.monotonic)


def tunnelled(version: str = "1.3", kind: KeyKind = "ec", inner: bytes | None = None) -> Device:
    """A device that speaks EAP-TTLS."""
    context = client_context(version, authority(kind).certificate)
    return Device(context, Type.TTLS, pap() if inner is None else inner)


def certified(version: str = "1.3", kind: KeyKind = "ec", by: str | None = None) -> Device:
    """A device that speaks EAP-TLS."""
    paper = client("anna", kind, by) if by else client("anna", kind)
    return Device(client_context(version, authority(kind).certificate, paper), Type.TLS)


def why(step: Step) -> str:
    """Why it failed, as it did."""
    assert isinstance(step, Failed), step
    return step.why
