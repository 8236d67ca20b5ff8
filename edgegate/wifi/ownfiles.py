"""The installer's own certificate for the Wi-Fi server: read, and checked as phones will check it.

Nothing here blocks for long, but files are read: do it on a thread.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Struct

from edgegate.wifi.authority import Key, is_key_of, load_key

FILE_BYTES_MAX = 262_144
"""A larger file holds no chain of certificates."""

CHAIN_MAX = 8
RSA_BITS_MIN = 2048
"""What OpenSSL and phones accept at their default security level."""

LIFE_MAX = timedelta(days=825)
"""Apple's systems take no server certificate with a longer life (support article 103769)."""


class Trouble(StrEnum):
    """What can be wrong with the files."""

    UNREADABLE = "unreadable"
    NO_CERTIFICATE = "no_certificate"
    NO_KEY = "no_key"
    KEY_OPEN_TO_OTHERS = "key_open_to_others"
    KEY_MISMATCH = "key_mismatch"
    KEY_TOO_WEAK = "key_too_weak"
    NAME_MISSING = "name_missing"
    NOT_FOR_SERVERS = "not_for_servers"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    LIVES_TOO_LONG = "lives_too_long"
    CHAIN_BROKEN = "chain_broken"


class FileTrouble(Struct, frozen=True):
    """One thing that is wrong, with the words for whoever mends it."""

    trouble: Trouble
    file: Path
    words: str

    def __str__(self) -> str:
        return f"{self.file}: {self.words}"


class OwnFilesError(ValueError):
    """The files cannot be used; `troubles` says all that is wrong with them."""

    def __init__(self, troubles: Sequence[FileTrouble]) -> None:
        self.troubles = tuple(troubles)
        super().__init__("; ".join(str(trouble) for trouble in troubles))


class _NotUsableError(Exception):
    """One of the files cannot even be looked into."""

    def __init__(self, trouble: Trouble, file: Path, words: str) -> None:
        self.trouble = FileTrouble(trouble, file, words)
        super().__init__(words)


def read_own_files(
    chain_file: Path, key_file: Path, server_name: str, at: datetime
) -> tuple[tuple[x509.Certificate, ...], Key]:
    """The chain, the server's certificate first, and its key.

    Raises:
        OwnFilesError: if they cannot be used for a server of that name.
    """
    troubles: list[FileTrouble] = []
    chain: tuple[x509.Certificate, ...] = ()
    key: Key | None = None
    try:
        chain = read_chain(chain_file)
    except OwnFilesError as error:
        troubles += error.troubles
    try:
        key = _key(key_file)
        troubles += _of_mode(key_file)
    except _NotUsableError as error:
        troubles.append(error.trouble)
    if chain:
        found = (*_of_dates(chain, at), *_of_purpose(chain[0], server_name), *_of_chain(chain))
        troubles += [FileTrouble(trouble, chain_file, words) for trouble, words in found]
    if chain and key is not None and not is_key_of(key, chain[0]):
        words = f"does not belong to the certificate in {chain_file}"
        troubles.append(FileTrouble(Trouble.KEY_MISMATCH, key_file, words))
    if troubles or key is None:
        raise OwnFilesError(troubles)
    return chain, key


def read_chain(file: Path) -> tuple[x509.Certificate, ...]:
    """The certificates in a PEM file.

    Raises:
        OwnFilesError: if there are none, or too many.
    """
    try:
        chain = tuple(x509.load_pem_x509_certificates(_read(file)))
    except _NotUsableError as error:
        raise OwnFilesError([error.trouble]) from error
    except ValueError as error:
        words = "has no certificate in PEM (-----BEGIN CERTIFICATE-----)"
        raise OwnFilesError([FileTrouble(Trouble.NO_CERTIFICATE, file, words)]) from error
    if len(chain) > CHAIN_MAX:
        words = f"has {len(chain)} certificates, {CHAIN_MAX} at most"
        raise OwnFilesError([FileTrouble(Trouble.CHAIN_BROKEN, file, words)])
    return chain


def _key(file: Path) -> Key:
    try:
        return load_key(_read(file))
    except ValueError as error:
        words = f"has no private key in PEM: {error}"
        raise _NotUsableError(Trouble.NO_KEY, file, words) from error


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        words = f"cannot be read: {error.strerror or error}"
        raise _NotUsableError(Trouble.UNREADABLE, file, words) from error
    if len(content) > FILE_BYTES_MAX:
        raise _NotUsableError(Trouble.UNREADABLE, file, f"is larger than {FILE_BYTES_MAX} bytes")
    return content


def _of_mode(key_file: Path) -> Iterator[FileTrouble]:
    mode = key_file.stat().st_mode & 0o777
    if mode & 0o007:
        words = f"must be closed to others, has mode {mode:04o}: chmod o= {key_file}"
        yield FileTrouble(Trouble.KEY_OPEN_TO_OTHERS, key_file, words)


def _of_dates(chain: tuple[x509.Certificate, ...], at: datetime) -> Iterator[tuple[Trouble, str]]:
    for certificate in chain:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        whose = f"the certificate of {certificate.subject.rfc4514_string() or 'nobody'}"
        if at < begins:
            yield Trouble.NOT_YET_VALID, f"{whose} is valid only from {begins:%Y-%m-%d %H:%M} on"
        if at > ends:
            yield Trouble.EXPIRED, f"{whose} expired on {ends:%Y-%m-%d}"
    life = chain[0].not_valid_after_utc - chain[0].not_valid_before_utc
    if life > LIFE_MAX:
        words = f"lives {life.days} days; Apple's devices refuse more than {LIFE_MAX.days}"
        yield Trouble.LIVES_TOO_LONG, words


def _of_purpose(leaf: x509.Certificate, server_name: str) -> Iterator[tuple[Trouble, str]]:
    names: list[str] = []
    purposes: list[x509.ObjectIdentifier] = []
    try:
        for extension in leaf.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                names = extension.value.get_values_for_type(x509.DNSName)
            if isinstance(extension.value, x509.ExtendedKeyUsage):
                purposes = list(extension.value)
    except (ValueError, x509.UnsupportedGeneralNameType, x509.DuplicateExtension) as error:
        yield Trouble.NO_CERTIFICATE, f"its extensions cannot be read: {error}"
        return
    if server_name.lower() not in [name.lower() for name in names]:
        has = ", ".join(names[:8]) or "none"
        words = f"must name {server_name} as a subject alternative name; it names {has}"
        yield Trouble.NAME_MISSING, words
    # Apple's and Microsoft's devices ask for it, whatever RFC 5280 lets it be without.
    if ExtendedKeyUsageOID.SERVER_AUTH not in purposes:
        yield Trouble.NOT_FOR_SERVERS, "lacks the extended key usage serverAuth"
    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        words = f"its RSA key has {key.key_size} bits, {RSA_BITS_MIN} at least"
        yield Trouble.KEY_TOO_WEAK, words


def _of_chain(chain: tuple[x509.Certificate, ...]) -> Iterator[tuple[Trouble, str]]:
    for position, (certificate, issuer) in enumerate(pairwise(chain), 1):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            words = f"certificate {position} in it was not signed by number {position + 1}"
            yield Trouble.CHAIN_BROKEN, words
