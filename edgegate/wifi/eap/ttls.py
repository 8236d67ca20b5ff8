"""EAP-TTLS with PAP inside (RFC 5281): a login's name and password, in a tunnel to the server."""

from collections.abc import Iterator
from typing import ClassVar

from msgspec import Struct
from OpenSSL.SSL import Context

from edgegate.wifi.eap.identity import ServerIdentity
from edgegate.wifi.eap.packet import Type
from edgegate.wifi.eap.tlsmethod import Broken, Outcome, Proved, TlsMethod
from edgegate.wifi.proofs import LoginProof

INNER_BYTES_MAX = 4096
"""What a device may say inside the tunnel: a name and a password are far shorter."""

AVPS_MAX = 32
NAME_BYTES_MAX = 253
PASSWORD_BYTES_MAX = 253
"""What a RADIUS attribute can have (RFC 2865 §5); the AVPs stand for such attributes."""

_HEADER_BYTES = 8
_VENDOR_BYTES = 4
_HAS_VENDOR, _IS_MANDATORY = 0x80, 0x40
_MICROSOFT = 311

_USER_NAME = (0, 1)
_USER_PASSWORD = (0, 2)
_OTHER_METHODS = {
    (_MICROSOFT, 25): "MSCHAPv2",
    (_MICROSOFT, 1): "MSCHAP",
    (_MICROSOFT, 11): "MSCHAP",
    (0, 3): "CHAP",
    (0, 60): "CHAP",
    (0, 79): "EAP",
}
"""RFC 5281 §11.2: what else a device may try, by the attribute that gives it away, surest first."""


class InnerError(ValueError):
    """What stood in the tunnel is of no use; the text says why."""


class Avp(Struct, frozen=True):
    """One attribute in Diameter's form (RFC 5281 §10)."""

    vendor: int
    code: int
    is_mandatory: bool
    value: bytes


class Ttls(TlsMethod):
    """One conversation."""

    type: ClassVar[Type] = Type.TTLS

    def __init__(self, identity: ServerIdentity) -> None:
        super().__init__(identity)
        self._inner = b""
        self._is_asked = False

    def _context(self, identity: ServerIdentity) -> Context:
        return identity.anonymous

    def _established(self, packet_max: int) -> Outcome:
        self._inner += self._tls.read(INNER_BYTES_MAX - len(self._inner))
        output = self._tls.output()
        # On TLS 1.3 a device may speak with its Finished; before, it waits for the server's.
        if self._inner and (self._tls.is_tls13 or not output):
            return _proved(self._inner)
        if output or not self._is_asked:
            self._is_asked = not output
            return self._send(output, packet_max)
        return Broken("the device sent neither name nor password into the tunnel")

    def _last_words(self) -> None:
        return None


def _proved(inner: bytes) -> Outcome:
    try:
        return Proved(login_of(inner))
    except InnerError as error:
        return Broken(str(error))


def login_of(inner: bytes) -> LoginProof:
    """The login that a device sent.

    Raises:
        InnerError: if it is none, or another method than PAP.
    """
    said = list(avps(inner))
    kinds = {(avp.vendor, avp.code) for avp in said}
    for kind, name in _OTHER_METHODS.items():
        if kind in kinds:
            raise InnerError(f"EAP-TTLS with {name} inside is not offered: set the device to PAP")
    found: dict[tuple[int, int], bytes] = {}
    for avp in said:
        kind = (avp.vendor, avp.code)
        if kind in (_USER_NAME, _USER_PASSWORD):
            if kind in found:
                raise InnerError(f"the device sent attribute {avp.code} twice")
            found[kind] = avp.value
        elif avp.is_mandatory:
            # RFC 5281 §10.1: what must be understood and is not, ends it.
            raise InnerError("the device asks for an attribute that is not known here")
    return _login(found.get(_USER_NAME), found.get(_USER_PASSWORD))


def _login(name: bytes | None, password: bytes | None) -> LoginProof:
    if not name or password is None:
        missing = "password" if name else "name"
        raise InnerError(f"the device sent no {missing} into the tunnel")
    # RFC 5281 §11.2.5: padded with zeros, so that an eavesdropper does not learn its length.
    password = password.rstrip(b"\0")
    if len(name) > NAME_BYTES_MAX or len(password) > PASSWORD_BYTES_MAX:
        raise InnerError("the device sent a name or password that is too long")
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise InnerError("the device sent a name that is no UTF-8") from error
    if not text.isprintable():
        raise InnerError("the device sent a name that cannot be printed")
    return LoginProof(text, password)


def avps(content: bytes) -> Iterator[Avp]:
    """The attributes in what a device said.

    Raises:
        InnerError: if one is cut short, or there are too many.
    """
    at = 0
    for _ in range(AVPS_MAX):
        if at >= len(content):
            return
        code = int.from_bytes(content[at : at + 4])
        flags = content[at + 4 : at + 5]
        length = int.from_bytes(content[at + 5 : at + 8])
        begin = at + _HEADER_BYTES
        vendor = 0
        if flags and flags[0] & _HAS_VENDOR:
            vendor = int.from_bytes(content[begin : begin + _VENDOR_BYTES])
            begin += _VENDOR_BYTES
        end = at + length
        if end < begin or end > len(content):
            raise InnerError("the device sent an attribute cut short into the tunnel")
        yield Avp(vendor, code, bool(flags[0] & _IS_MANDATORY), content[begin:end])
        # Each begins at a multiple of four; the last one's padding may be missing.
        at = end + -length % 4
    if at < len(content):
        raise InnerError(f"the device sent more than {AVPS_MAX} attributes into the tunnel")
