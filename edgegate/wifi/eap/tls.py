"""One TLS connection in memory: messages in, messages out, keys at the end."""

from cryptography import x509
from OpenSSL import SSL

from edgegate.wifi.eap.packet import Type

KEY_BYTES = 128
"""RFC 5216 §2.3: MSK and EMSK, 64 bytes each."""

_LABEL_TLS13 = b"EXPORTER_EAP_TLS_Key_Material"
"""RFC 9190 §2.3, and RFC 9427 §2.1 for EAP-TTLS; the method's type is the context."""

_LABELS_TLS12 = {Type.TLS: b"client EAP encryption", Type.TTLS: b"ttls keying material"}
"""RFC 5216 §2.3, RFC 5281 §8."""

_READ_BYTES = 65_536
_WHY_CHARACTERS_MAX = 120

_ALERTS = {
    "unknown ca": "the device does not trust the server's certificate: unknown CA",
    "bad certificate": "the device does not accept the server's certificate: bad certificate",
    "unsupported certificate": "the device does not accept the kind of the server's certificate",
    "certificate revoked": "the device holds the server's certificate for revoked",
    "certificate expired": "the device holds the server's certificate for expired: see its clock",
    "certificate unknown": "the device does not accept the server's certificate: see its name",
    "access denied": "the device denies access to the server's certificate",
    "user cancelled": "somebody cancelled on the device",
    "protocol version": "the device does not speak the server's versions of TLS",
    "handshake failure": "the device has no TLS cipher in common with the server",
    "insufficient security": "the device finds the server's TLS too weak",
    "decrypt error": "the device could not verify a TLS signature or checksum",
    # What hostap, and Android with it, says where the name is not the one it was told.
    "internal error": "the device broke TLS off: see which server name it was told",
}
"""RFC 8446 §6.2, in the words of OpenSSL's reasons."""

_FAULTS = {
    "peer did not return a certificate": "the device sent no certificate",
    "certificate verify failed": "the device's certificate is refused",
    "unsupported protocol": "the device speaks only versions of TLS before 1.2",
    "version too low": "the device speaks only versions of TLS before 1.2",
    "no shared cipher": "the device has no TLS cipher in common with the server",
    "no suitable signature algorithm": "the device has no TLS signature in common with the server",
    "wrong version number": "the device sent something that is no TLS",
    "http request": "the device sent something that is no TLS",
}


class TlsError(Exception):
    """TLS failed; the text says why, for whoever runs the network."""


class TlsConnection:
    """The server's end of one connection."""

    def __init__(self, context: SSL.Context) -> None:
        self._connection = SSL.Connection(context)
        self._connection.set_accept_state()

    def feed(self, message: bytes) -> None:
        """Take what the device sent; `handshake` or `read` looks at it."""
        if message:
            self._connection.bio_write(message)

    def handshake(self) -> bool:
        """Go on as far as that goes; whether the handshake is complete.

        Raises:
            TlsError: if it failed; `output` may have an alert for the device.
        """
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise TlsError(self._why(error)) from error
        return True

    def output(self) -> bytes:
        """What is to be sent to the device, if anything."""
        try:
            return self._connection.bio_read(_READ_BYTES)
        except SSL.WantReadError:
            return b""

    def read(self, bytes_max: int) -> bytes:
        """What the device said inside, as much of it as came.

        Raises:
            TlsError: if it is longer than that, or the device closed the connection.
        """
        said = b""
        try:
            while len(said) <= bytes_max:
                said += self._connection.recv(bytes_max + 1)
        except SSL.WantReadError:
            return said
        except SSL.ZeroReturnError as error:
            raise TlsError("the device closed the tunnel") from error
        except SSL.Error as error:
            raise TlsError(self._why(error)) from error
        raise TlsError("the device said too much inside the tunnel")

    def write(self, content: bytes) -> None:
        """Say something inside; `output` has it then."""
        self._connection.send(content)

    @property
    def is_tls13(self) -> bool:
        """Whether TLS 1.3 was agreed on; else it is 1.2."""
        return self._connection.get_protocol_version() == SSL.TLS1_3_VERSION

    def peer_certificate(self) -> x509.Certificate | None:
        """What the device showed."""
        return self._connection.get_peer_certificate(as_cryptography=True)

    def key_material(self, method: Type) -> bytes:
        """The method's exported keys, of which the first half is the MSK."""
        if self.is_tls13:
            context = bytes((method,))
            return self._connection.export_keying_material(_LABEL_TLS13, KEY_BYTES, context)
        return self._connection.export_keying_material(_LABELS_TLS12[method], KEY_BYTES)

    def _why(self, error: SSL.Error) -> str:
        reasons = [entry[-1] for entry in error.args[0]] if error.args else []
        reason = reasons[0] if reasons else "unexplained"
        if " alert " in reason:
            alert = reason.partition(" alert ")[2]
            return _ALERTS.get(alert, f"the device ended TLS: {alert}"[:_WHY_CHARACTERS_MAX])
        why = _FAULTS.get(reason, f"TLS failed: {reason}"[:_WHY_CHARACTERS_MAX])
        refused = self._connection.get_app_data()
        return f"{why}: {refused}" if isinstance(refused, str) else why
