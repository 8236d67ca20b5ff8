"""EAP-TLS (RFC 5216, RFC 9190): the device has a certificate of the site's authority."""

from typing import ClassVar

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier
from OpenSSL.SSL import Context

from edgegate.wifi.eap.identity import ServerIdentity
from edgegate.wifi.eap.packet import Type
from edgegate.wifi.eap.tlsmethod import Broken, Outcome, Proved, TlsMethod
from edgegate.wifi.proofs import CertificateProof

COMMITMENT = b"\0"
"""RFC 9190 §2.5: on TLS 1.3 this says that no more of the handshake comes."""

NAME_CHARACTERS_MAX = 253
"""What a User-Name attribute can have (RFC 2865 §5.1)."""

_USER_PRINCIPAL_NAME = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
"""Microsoft's otherName for a login, a DER UTF8String."""

_UTF8_STRING = 0x0C
_SHORT_LENGTH_MAX = 0x7F


class EapTls(TlsMethod):
    """One conversation."""

    type: ClassVar[Type] = Type.TLS

    def _context(self, identity: ServerIdentity) -> Context:
        return identity.mutual

    def _established(self, packet_max: int) -> Outcome:  # noqa: ARG002 - the decision comes first
        certificate = self._tls.peer_certificate()
        name = None if certificate is None else name_of(certificate)
        if certificate is None or name is None:
            return Broken("the device's certificate names nobody")
        return Proved(CertificateProof(name, f"{certificate.serial_number:x}"))

    def _last_words(self) -> bytes:
        # With TLS 1.2 this is the server's Finished: a device that has it takes no for an error.
        if self._tls.is_tls13:
            self._tls.write(COMMITMENT)
        return self._tls.output()


def name_of(certificate: x509.Certificate) -> str | None:
    """The login that a certificate speaks for: its common name, else an alternative name."""
    try:
        found = _names(certificate)
    except (ValueError, x509.UnsupportedGeneralNameType, x509.DuplicateExtension):
        return None
    names = [name for name in found if 0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable()]
    return names[0] if names else None


def _names(certificate: x509.Certificate) -> list[str]:
    names = [
        attribute.value
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if isinstance(attribute.value, str)
    ]
    if names:
        return names
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    principals = [
        _utf8_string(other.value)
        for other in alternative.value.get_values_for_type(x509.OtherName)
        if other.type_id == _USER_PRINCIPAL_NAME
    ]
    return principals + alternative.value.get_values_for_type(x509.RFC822Name)


def _utf8_string(der: bytes) -> str:
    """The text of a short DER UTF8String; empty if it is none."""
    if len(der) < 2 or der[0] != _UTF8_STRING or der[1] != len(der) - 2:
        return ""
    return der[2:].decode(errors="replace") if der[1] <= _SHORT_LENGTH_MAX else ""
