"""What a device has proven about itself, before anybody decides what that is worth."""

from msgspec import Struct


class LoginProof(Struct, frozen=True):
    """A name with a password in clear text, from PAP or from inside an EAP-TTLS tunnel."""

    name: str
    password: bytes

    def __repr__(self) -> str:
        return f"LoginProof(name={self.name!r}, password=********)"


class CertificateProof(Struct, frozen=True):
    """A client certificate that the site's authority signed and nobody revoked."""

    name: str
    serial: str
    """In hexadecimal, lower case, without leading zeros."""


class ChapProof(Struct, frozen=True):
    """A name with CHAP's answer to a challenge (RFC 2865 §2.2); no password crosses the air."""

    name: str
    password: bytes
    """CHAP-Password: the identifier's octet, and the response."""
    challenge: bytes


class MacProof(Struct, frozen=True):
    """A device that an access point names by its address: as good as the address is."""

    mac: str
    """Twelve upper-case hexadecimal digits."""


Proof = LoginProof | ChapProof | MacProof | CertificateProof
