"""Who may ask: access points and controllers by address, the most specific network first."""

from collections.abc import Iterable, Iterator
from enum import StrEnum, unique
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from msgspec import Struct
from msgspec.structs import replace

ADDRESSES_KEPT_MAX = 4096
"""Addresses whose NAS is kept found; when full they are found anew."""

_TWINS = int(IPv4Address("127.83.0.0"))


@unique
class Signing(StrEnum):
    """Whether an Access-Request must carry Message-Authenticator (CVE-2024-3596)."""

    AUTO = "auto"
    """From the moment that the address was seen to send a good one."""
    YES = "yes"
    NO = "no"
    """Only for devices that cannot; EAP must carry it all the same (RFC 3579 §3.1)."""


class Nas(Struct, frozen=True, kw_only=True, gc=False):
    """A network access server: an access point, a controller, or a network of them."""

    id: str
    network: IPv4Network | IPv6Network
    secret: bytes
    location: str = ""
    vendor: str = "generic"
    """Which template of `vendors` names a session to it."""
    signing: Signing = Signing.AUTO
    disconnect_port: int = 3799
    """RFC 5176 §2.1."""
    sentence_beside_eap: bool = False
    """`edgegate.wifi.vendors.Template` says when."""
    host: str = ""
    """Of a request: the address that it came from, which is where its sessions are ended."""

    def __repr__(self) -> str:
        return f"Nas(id={self.id!r}, network={str(self.network)!r}, vendor={self.vendor!r})"


def twin(nas: Nas, place: int) -> Nas:
    """An access point as a test acts it from this very computer: its secret, at an own address.

    `place` is its place in the configuration; nothing from outside comes from 127.0.0.0/8. The
    test signs, and whatever else runs on this computer has to know the secret, too.
    """
    own = IPv4Network(IPv4Address(_TWINS + 1 + place))
    return replace(nas, network=own, signing=Signing.YES, sentence_beside_eap=True)


class NasTable:
    """Every NAS of the configuration."""

    def __init__(self, all_nas: Iterable[Nas]) -> None:
        self._by_specificity = sorted(all_nas, key=lambda nas: -nas.network.prefixlen)
        self._found: dict[str, Nas | None] = {}

    def __iter__(self) -> Iterator[Nas]:
        return iter(self._by_specificity)

    def find(self, address: str) -> Nas | None:
        """The NAS of an address, with that address as its `host`; None for a stranger.

        An IPv4 address in an IPv6 socket's form (`::ffff:192.0.2.1`) is the IPv4 address.
        """
        try:
            return self._found[address]
        except KeyError:
            if len(self._found) >= ADDRESSES_KEPT_MAX:
                self._found.clear()
            found = self._found[address] = self._search(address)
            return found

    def _search(self, address: str) -> Nas | None:
        parsed = ip_address(address)
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        for nas in self._by_specificity:
            if parsed.version == nas.network.version and parsed in nas.network:
                return replace(nas, host=str(parsed))
        return None
