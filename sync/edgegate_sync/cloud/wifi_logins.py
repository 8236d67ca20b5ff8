"""Makes Wi-Fi logins and knows devices: the one place where a password is told, once.

What a site's devices know of a login is a keyed hash of its name and a hash of its password; the
credential's id follows from the former, so that no name is given twice.
"""

import re
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import select

from edgegate.credentials import passwords
from edgegate.credentials.lookup import canonical, lookup
from edgegate.passes.model import Credential, CredentialKind, CredentialStatus
from edgegate_sync.cloud.feed import Transaction
from edgegate_sync.cloud.tables import record
from edgegate_sync.wire.changes import Op
from edgegate_sync.wire.kinds import decode_record, encode_record, kind_of

CREDENTIAL = "credential"
CREDENTIALS_MAX = 64
"""Of one customer: more are a mistake of whoever asks."""

NAMES_TRIED_MAX = 8
"""So many made-up names are tried; that all of them are taken is no chance."""

_ID_CHARACTERS = 24
_SEALED = "sealed$"
_MAC = re.compile(r"[0-9A-F]{12}")
_PREFIXES = {CredentialKind.WIFI_LOGIN: "wifi", CredentialKind.MAC: "mac"}


class NotThereError(LookupError):
    """What was named is not there; the text says what."""


class InTheWayError(Exception):
    """Something stands in the way; the text says what, and what would help."""


class UnusableError(ValueError):
    """A name or an address cannot be used; `field` is which."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


class Life(Struct, frozen=True):
    """From when and until when a credential is good."""

    begins: datetime | None = None
    ends: datetime | None = None


class Issued(Struct, frozen=True):
    """A login and its password."""

    credential: str
    name: str
    password: str


async def issue(
    tx: Transaction, site_key: bytes, customer: str, name: str | None, life: Life, *, chap: bool
) -> Issued:
    """Make a login for a customer; without a name one is made up.

    Raises:
        NotThereError: there is no such customer.
        InTheWayError: the name is taken, or the customer has too many.
        UnusableError: nobody can be called so.
    """
    await _admit(tx, customer)
    if name is None:
        name = await _free_name(tx, site_key)
    elif (problem := _unusable(name)) is not None:
        raise UnusableError("name", problem)
    number = lookup(site_key, CredentialKind.WIFI_LOGIN, name.encode())
    if await _known(tx, CredentialKind.WIFI_LOGIN, number) is not None:
        raise InTheWayError(
            "There is a login of that name: choose another one, or give that one a new password."
        )
    password = passwords.new_password()
    made = Credential(
        id=_id(CredentialKind.WIFI_LOGIN, number),
        customer=customer,
        kind=CredentialKind.WIFI_LOGIN,
        lookup=number,
        verifier=_verifier(password, site_key, number, chap=chap),
        valid_from=life.begins,
        valid_until=life.ends,
    )
    await tx.put(CREDENTIAL, made.id, encode_record(made))
    return Issued(made.id, name, password)


async def renew(tx: Transaction, site_key: bytes, credential_id: str, chap: bool | None) -> str:
    """Give a login a new password, which is returned; `chap` None: kept as the old one was.

    Raises:
        NotThereError: there is no such credential.
        InTheWayError: it is no Wi-Fi login.
    """
    found = await _credential(tx, credential_id)
    if found.kind is not CredentialKind.WIFI_LOGIN:
        raise InTheWayError("It is no Wi-Fi login, and has no password.")
    sealed = found.verifier.startswith(_SEALED) if chap is None else chap
    password = passwords.new_password()
    verifier = _verifier(password, site_key, found.lookup, chap=sealed)
    await tx.put(CREDENTIAL, found.id, encode_record(replace(found, verifier=verifier)))
    return password


async def add_device(
    tx: Transaction, site_key: bytes, customer: str, mac: str, life: Life
) -> tuple[str, str]:
    """Let a customer's device come in by its address; its credential, and the address as known.

    Raises:
        NotThereError: there is no such customer.
        InTheWayError: the device is somebody else's, or the customer has too many.
        UnusableError: it is no address.
    """
    plain = canonical(CredentialKind.MAC, mac.encode()).decode()
    if _MAC.fullmatch(plain) is None:
        raise UnusableError("mac", "is no MAC address, such as aa:bb:cc:dd:ee:ff")
    if int(plain[1], 16) & 1:
        raise UnusableError("mac", "is an address of a group, not of a device")
    number = lookup(site_key, CredentialKind.MAC, plain.encode())
    known = await _known(tx, CredentialKind.MAC, number)
    if known is not None and known.customer != customer:
        raise InTheWayError("The device is another customer's: delete its credential there first.")
    if known is None:
        await _admit(tx, customer)
    made = Credential(
        id=_id(CredentialKind.MAC, number),
        customer=customer,
        kind=CredentialKind.MAC,
        lookup=number,
        status=CredentialStatus.ACTIVE if known is None else known.status,
        valid_from=life.begins,
        valid_until=life.ends,
    )
    if made != known:
        await tx.put(CREDENTIAL, made.id, encode_record(made))
    return made.id, plain


async def set_status(tx: Transaction, credential_id: str, status: CredentialStatus) -> None:
    """Block a credential, or let it work again.

    Raises:
        NotThereError: there is no such credential.
    """
    found = await _credential(tx, credential_id)
    if found.status is not status:
        await tx.put(CREDENTIAL, found.id, encode_record(replace(found, status=status)))


async def _admit(tx: Transaction, customer: str) -> None:
    """Lock the site, and see that the customer may have one more."""
    await tx.lock()
    if await tx.get("customer", customer) is None:
        raise NotThereError(f'customer "{customer}" at this site')
    statement = select(record.c.id).where(
        record.c.site == tx.site,
        record.c.kind == CREDENTIAL,
        record.c.owner == customer,
        record.c.op == Op.PUT.value,
    )
    found = await tx.execute(statement.limit(CREDENTIALS_MAX))
    if len(found.all()) >= CREDENTIALS_MAX:
        raise InTheWayError(
            f"The customer has {CREDENTIALS_MAX} credentials already: delete those of old devices."
        )


async def _free_name(tx: Transaction, site_key: bytes) -> str:
    for _ in range(NAMES_TRIED_MAX):
        name = passwords.new_name()
        number = lookup(site_key, CredentialKind.WIFI_LOGIN, name.encode())
        if await _known(tx, CredentialKind.WIFI_LOGIN, number) is None:
            return name
    raise InTheWayError("No free name was found: choose one.")


async def _known(tx: Transaction, kind: CredentialKind, number: str) -> Credential | None:
    try:
        return await _credential(tx, _id(kind, number))
    except NotThereError:
        return None


async def _credential(tx: Transaction, credential_id: str) -> Credential:
    await tx.lock()
    body = await tx.get(CREDENTIAL, credential_id)
    if body is None:
        raise NotThereError(f'credential "{credential_id}" at this site')
    found = decode_record(kind_of(CREDENTIAL), credential_id, body).record
    if not isinstance(found, Credential):
        raise TypeError(f"{credential_id} is no credential")
    return found


def _id(kind: CredentialKind, number: str) -> str:
    return f"{_PREFIXES[kind]}-{number[:_ID_CHARACTERS]}"


def _verifier(password: str, site_key: bytes, number: str, *, chap: bool) -> str:
    if chap:
        return passwords.of_sealed(password.encode(), site_key, number)
    return passwords.of_generated(password.encode())


def _unusable(name: str) -> str | None:
    """What is wrong with a login name."""
    if not name.isprintable() or name != name.strip():
        return "must be printable, without spaces at its ends"
    plain = canonical(CredentialKind.MAC, name.encode()).decode()
    if _MAC.fullmatch(plain) is not None:
        return "reads as a MAC address, which access points send in the place of names"
    return None
