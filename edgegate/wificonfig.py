"""`[wifi]`: who may ask by RADIUS, and what access points are told beside yes and no."""

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, ClassVar, Literal, final

from msgspec import Meta, Struct, field

from edgegate.faults import Fault, Where
from edgegate.passes.model import Id
from edgegate.secret import Secret, SecretSource
from edgegate.strict import Readers
from edgegate.tomlfile import Document
from edgegate.wording import shown

Port = Annotated[int, Meta(ge=1, le=65_535)]
FilePath = Annotated[str, Meta(pattern=r"\A/", description="an absolute path")]
Vlan = Annotated[int, Meta(ge=1, le=4094)]
"""A VLAN's number: IEEE 802.1Q, 9.6."""

Vendor = Literal["generic", "hostapd", "mikrotik", "unifi", "aruba", "cisco", "meraki"]
Method = Literal["pap", "chap", "mac", "eap-ttls", "eap-tls"]
Vlans = Annotated[dict[Id, Vlan], Meta(max_length=256)]

SECRET_BYTES_GOOD = 32
"""A shorter shared secret is warned of: RFC 2865 §3 asks for at least 16, more for a secret that
an attacker may try offline."""


SSID_BYTES_MAX = 32
"""IEEE 802.11-2020, 9.4.2.2."""


def is_ssid(name: str) -> bool:
    """Whether a network of that name can be found, and shown to people."""
    return 0 < len(name.encode()) <= SSID_BYTES_MAX and name.isprintable()


@final
class NasSecret(Secret):
    """What an access point and this server sign their packets with."""

    bytes_min: ClassVar[int] = 16
    """RFC 2865 §3."""
    __slots__ = ()

    @classmethod
    def hint(cls, source: SecretSource) -> str:
        """How a shared secret is made."""
        return f"make one with: openssl rand -hex 24 > {source.file or source.credential}"


class Network(str):
    """An address, or a network of them, as it was written."""

    __slots__ = ()

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """What it says; it was checked when it was read."""
        return ip_network(self)


class CertificateFiles(Struct, frozen=True, kw_only=True):
    """`certificate`: what the installer brings, in PEM."""

    chain: FilePath
    """The server's certificate, and behind it those between it and its authority."""
    key: FilePath


class NasConfig(Struct, frozen=True, kw_only=True):
    """`[[wifi.nas]]`: an access point, a controller, or a network of access points."""

    id: Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
            description="1 to 64 letters, digits, dots, dashes or underscores",
        ),
    ]
    address: Network
    secret: NasSecret
    location: Id
    """Whose passes count there."""
    vendor: Vendor = "generic"
    """How it is told which session to end."""
    require_message_authenticator: Literal["auto", "yes", "no"] = "auto"
    """`auto`: from the moment that it sent one (CVE-2024-3596)."""
    disconnect_port: Port | None = None
    """Where it takes Disconnect-Requests; else where its vendor's do."""


class VlanSection(Struct, frozen=True, kw_only=True):
    """`[wifi.vlans]`: into which network whom; a team goes before a plan."""

    default: Vlan | None = None
    teams: Vlans = {}
    plans: Vlans = {}
    """The first of these that a customer has."""


class WifiSection(Struct, frozen=True, kw_only=True):
    """`[wifi]`: this appliance answers RADIUS."""

    listen: Annotated[str, Meta(pattern=r"\A[0-9A-Fa-f:.]{2,45}\Z", description="an address")] = (
        "0.0.0.0"  # noqa: S104 - access points are elsewhere; whoever is not named is not answered
    )
    auth_port: Port = 1812
    """RFC 2865 §3."""
    acct_port: Port = 1813
    """RFC 2866 §3."""
    server_name: Annotated[
        str, Meta(pattern=r"\A[A-Za-z0-9.-]{1,253}\Z", description="a host's name")
    ] = "wifi.edgegate.internal"
    """What devices check the server's certificate for."""
    ssid: str | None = None
    """The members' network: what slips, pages and profiles name unless they are told another."""
    methods: Annotated[tuple[Method, ...], Meta(min_length=1, max_length=5)] = (
        "eap-ttls",
        "eap-tls",
        "pap",
        "chap",
        "mac",
    )
    """By what devices may prove who they are; EAP offers its methods in this order."""
    interim_s: Annotated[int, Meta(ge=60, le=86_400)] = 300
    """How often accounting is asked for; hostapd passes over anything below 60 (RFC 2869 §5.16)."""
    devices_max: Annotated[int, Meta(ge=1, le=1000)] = 5
    """Devices of one customer at once; with one more the oldest is disconnected."""
    learn_macs_days: Annotated[int, Meta(ge=0, le=365)] = 0
    """How long a device that signed in at the portal comes in by its MAC address; 0: never."""
    in_flight_max: Annotated[int, Meta(ge=1, le=10_000)] = 256
    """Requests that may wait for their answer; one more is dropped, and the device asks again."""
    half_open_max: Annotated[int, Meta(ge=1, le=10_000)] = 256
    """EAP conversations at once; with one more the oldest is dropped."""
    certificate: CertificateFiles | None = None
    """Without it the appliance makes its own, with an authority of its own."""
    client_ca: FilePath | None = None
    """Who signs client certificates for EAP-TLS; else the appliance's own authority."""
    vlans: VlanSection | None = None
    all_nas: Annotated[tuple[NasConfig, ...], Meta(min_length=1, max_length=256)] = field(
        name="nas"
    )

    def __post_init__(self) -> None:
        """Refuse one port for both, and a network of no name."""
        if self.ssid is not None and not is_ssid(self.ssid):
            raise ValueError(f"ssid has 1 to {SSID_BYTES_MAX} bytes, all printable")
        if self.auth_port == self.acct_port:
            raise ValueError("auth_port and acct_port must differ")

    def warnings(self) -> Iterator[str]:
        """What works, and should not stay so."""
        for nas in self.all_nas:
            if len(nas.secret.reveal()) < SECRET_BYTES_GOOD:
                yield f"wifi nas {nas.id}: its secret is shorter than {SECRET_BYTES_GOOD} bytes"
            if nas.require_message_authenticator == "no":
                yield f"wifi nas {nas.id}: whoever is between can forge its answers (CVE-2024-3596)"


def _read_network(data: object, where: Where, faults: list[Fault]) -> Network | None:
    with suppress(ValueError):
        if isinstance(data, str):
            ip_network(data)
            return Network(data)
    hint = 'like "192.0.2.7" or "192.0.2.0/24", with no bit set behind the network\'s own'
    faults.append(where.fault(f"must be an address or a network (got {shown(data)})", hint))
    return None


READERS: Readers = {NasSecret: NasSecret.read, Network: _read_network}


def check(section: WifiSection | None, document: Document, faults: list[Fault]) -> None:
    """Check access points against each other: of two with one network nobody knows which is meant.

    It works beside other faults, on what could be read.
    """
    seen: dict[object, int] = {}
    for index, nas in enumerate(section.all_nas if section is not None else ()):
        where = document.where.at("wifi", "nas", index)
        for key, value in (("id", nas.id), ("address", nas.address.network)):
            before = seen.setdefault(value, index)
            if before is not index:
                first = document.where.at("wifi", "nas", before, key)
                problem = f"must differ from {first.field} (line {first.line})"
                faults.append(where.at(key).fault(problem))
