"""Devices' addresses: every notation that access points write, as one."""

import re

from msgspec import Struct

from edgegate.wifi.hiding import chap_matches

_PAIR = "[0-9A-Fa-f]{2}"
_NOTATION = re.compile(
    rf"""(?:
        {_PAIR}(?::{_PAIR}){{5}} | {_PAIR}(?:-{_PAIR}){{5}} | [0-9A-Fa-f]{{12}}
      | [0-9A-Fa-f]{{4}}(?:\.[0-9A-Fa-f]{{4}}){{2}} | [0-9A-Fa-f]{{4}}(?:-[0-9A-Fa-f]{{4}}){{2}}
      | [0-9A-Fa-f]{{6}}[-:][0-9A-Fa-f]{{6}}
    )""",
    re.VERBOSE,
)
_SEPARATORS = str.maketrans("", "", ":-.")


class CalledStation(Struct, frozen=True):
    """What Called-Station-Id says: the radio's address and the network's name (RFC 3580 §3.20)."""

    mac: str | None
    ssid: str


def canonical(text: str) -> str | None:
    """Twelve upper-case hexadecimal digits; None for what is no MAC address."""
    if _NOTATION.fullmatch(text) is None:
        return None
    return text.translate(_SEPARATORS).upper()


def is_randomised(mac: str) -> bool:
    """Whether a canonical address was made up by its device (IEEE 802: locally administered)."""
    return bool(int(mac[1], 16) & 2)


def called_station(text: str) -> CalledStation:
    """Read Called-Station-Id; a portal that only writes its own name there has no address."""
    found = _NOTATION.match(text)
    if found is None:
        return CalledStation(None, "")
    rest = text[found.end() :]
    if rest and not rest.startswith(":"):
        return CalledStation(None, "")
    return CalledStation(canonical(found.group()), rest[1:])


def asked_by_mac(name: str, password: bytes | None, calling: str | None) -> str | None:
    """The address when an access point asks for a device by its address instead of for a person.

    Args:
        name: User-Name.
        password: User-Password in the clear; access points repeat the name in some notation, or
            send none, or an empty one.
        calling: Calling-Station-Id; where there is one, it must be the same address.
    """
    mac = canonical(name)
    if mac is None or (calling is not None and canonical(calling) != mac):
        return None
    if password and canonical(password.decode(errors="replace")) != mac:
        return None
    return mac


def asked_by_mac_chap(
    name: str, chap_password: bytes, challenge: bytes, calling: str | None
) -> str | None:
    """As `asked_by_mac`, where the repeated name comes as CHAP."""
    mac = asked_by_mac(name, None, calling)
    if mac is None or not (
        chap_matches(name.encode(), chap_password, challenge)
        or chap_matches(b"", chap_password, challenge)
    ):
        return None
    return mac
