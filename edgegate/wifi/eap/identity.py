"""Who the server is to devices, as the TLS contexts that every conversation shares."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL, crypto

ServerKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CIPHERS_TLS12 = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!PSK:!SRP"
"""Forward secrecy always; CBC at the end is for phones that are ten years old."""

CLIENT_CHAIN_MAX = 4
"""How many authorities may stand between a device's certificate and the site's."""

_OPTIONS = (
    SSL.OP_NO_TICKET
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_NO_COMPRESSION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
)

_VERIFY_WORDS = {
    9: "it is not valid yet: see the appliance's clock",
    10: "it has expired",
    18: "it is self-signed",
    19: "its authority is not the site's",
    20: "its authority is not the site's",
    21: "its authority is not the site's",
    26: "it is not for clients (extended key usage)",
    79: "an authority in its chain may not issue certificates",
}
"""X509_V_ERR_* of OpenSSL's x509_vfy.h."""

_UNVERIFIED = "error {} of X509_verify_cert"


class IdentityError(ValueError):
    """Certificates or a key that TLS cannot be spoken with."""


class ServerIdentity:
    """A certificate with its key, and whose client certificates count.

    It is made once and shared: a context costs more than a handshake. A renewed certificate is a
    new identity; conversations under way end with the old one.
    """

    def __init__(
        self,
        chain: Sequence[x509.Certificate],
        key: ServerKey,
        *,
        client_authorities: Sequence[x509.Certificate] = (),
        is_revoked: Callable[[str], bool] = lambda _serial: False,
    ) -> None:
        """Take the server's certificate with its intermediates, and authorities for EAP-TLS.

        `is_revoked` gets a serial number in lower-case hexadecimal; it must neither block nor
        raise.

        Raises:
            IdentityError: if the key is another's, or OpenSSL accepts one of them not.
        """
        self._is_revoked = is_revoked
        try:
            self.anonymous = _context(chain, key)
            """For tunnels: the device shows no certificate."""
            self.mutual = _context(chain, key)
            """For EAP-TLS: the device must show one that an authority of ours signed."""
            self._ask_for_certificates(client_authorities)
        except (SSL.Error, crypto.Error, TypeError, ValueError) as error:
            raise IdentityError(f"the server's certificate is of no use: {error}") from error

    def _ask_for_certificates(self, authorities: Sequence[x509.Certificate]) -> None:
        store = self.mutual.get_cert_store()
        for authority in authorities:
            self.mutual.add_client_ca(authority)
            if store is not None:
                store.add_cert(crypto.X509.from_cryptography(authority))
        self.mutual.set_verify_depth(CLIENT_CHAIN_MAX)
        self.mutual.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT | SSL.VERIFY_CLIENT_ONCE,
            self._verified,
        )

    def _verified(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        """What OpenSSL asks for each certificate of a device, its own last (depth 0)."""
        if not ok:
            connection.set_app_data(_VERIFY_WORDS.get(error, _UNVERIFIED.format(error)))
            return False
        if depth == 0 and self._is_revoked(f"{certificate.get_serial_number():x}"):
            connection.set_app_data("it was revoked")
            return False
        return True


def _context(chain: Sequence[x509.Certificate], key: ServerKey) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(_OPTIONS)
    # Resumption, handled naively, breaks EAP-TTLS on TLS 1.3 (RFC 9427 §4): nothing is kept.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS_TLS12)
    context.use_certificate(chain[0])
    for intermediate in chain[1:]:
        context.add_extra_chain_cert(intermediate)
    context.use_privatekey(key)
    context.check_privatekey()
    return context
