"""What everything that is handed out says: the network, whom to trust there, and whose it is."""

import uuid

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from edgegate.wificonfig import SSID_BYTES_MAX, is_ssid

OUTER_IDENTITY = "anonymous"
"""What a device calls itself before it has seen the server's certificate (RFC 5281 §14.1)."""

NAME_CHARACTERS_MAX = 64
_NAMESPACE = uuid.UUID("5f0c3b1e-7a0c-5d0e-9f5b-3d1f8f5f6f4a")
_ESCAPED = str.maketrans({character: f"\\{character}" for character in '\\;,":'})


class HandoutError(ValueError):
    """Something cannot be said to devices; the text says what."""


class Network(Struct, frozen=True, kw_only=True):
    """The network, and whom a device is to trust in it."""

    ssid: str
    server_name: str
    """What the server's certificate must be for."""
    authority: x509.Certificate
    """Who must have signed it: pinned, so that nobody else's certificate will do."""
    space: str
    """What the space is called."""
    help: str = ""
    """Who helps, as people write it: a telephone number, an address, "the desk"."""

    def __post_init__(self) -> None:
        """Refuse what no network is called."""
        if not is_ssid(self.ssid):
            raise HandoutError(f"a network's name has 1 to {SSID_BYTES_MAX} bytes, all printable")
        for text in (self.space, self.help):
            if len(text) > NAME_CHARACTERS_MAX or (text and not text.isprintable()):
                raise HandoutError(f'"{text[:40]}" is too long, or cannot be printed')

    @property
    def authority_der(self) -> bytes:
        """The authority's certificate as bytes."""
        return self.authority.public_bytes(Encoding.DER)

    @property
    def authority_pem(self) -> bytes:
        """The authority's certificate as text, as Android and Windows import it."""
        return self.authority.public_bytes(Encoding.PEM)


class Login(Struct, frozen=True):
    """A name with its password."""

    name: str
    password: str

    def __post_init__(self) -> None:
        """Refuse what XML could not carry, and people could not read."""
        for text in (self.name, self.password):
            if not text or not text.isprintable():
                raise HandoutError("a login and its password must be printable, and not empty")

    def __repr__(self) -> str:
        return f"Login(name={self.name!r}, password=********)"


class Paper(Struct, frozen=True):
    """A client certificate with its key, in the place of a password."""

    name: str
    pkcs12: bytes
    password: str
    """What opens the file."""

    def __repr__(self) -> str:
        return f"Paper(name={self.name!r})"


def identifier(network: Network, name: str, part: str) -> uuid.UUID:
    """The same for the same thing, so that whoever installs it again replaces it."""
    whose = f"{network.authority.serial_number:x}/{network.ssid}/{name}/{part}"
    return uuid.uuid5(_NAMESPACE, whose)


def wifi_text(network: Network, login: Login) -> str:
    """What a QR code of the network says, in the form that ZXing gave Android.

    It has no field for a certificate: a device that takes it must be told whom to trust by hand.
    """
    fields = {
        "T": "WPA2-EAP",
        "S": network.ssid,
        "E": "TTLS",
        "PH2": "PAP",
        "A": OUTER_IDENTITY,
        "I": login.name,
        "P": login.password,
    }
    return f"WIFI:{''.join(f'{k}:{v.translate(_ESCAPED)};' for k, v in fields.items())};"
