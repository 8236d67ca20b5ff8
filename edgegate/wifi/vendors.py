"""What names a session to each kind of access point, and so what a Disconnect-Request may say.

RFC 5176 §3 leaves open which attributes a NAS knows, and has it refuse what it does not. So each
kind has its forms, the most exact first: the ones whose attributes are known are tried in turn.
The values are those the NAS sent itself, octet for octet: notations differ, and it compares text.
"""

from collections.abc import Iterator

from msgspec import Struct

from edgegate.wifi.attributes import MIKROTIK_802_1Q, Attribute, MikrotikAttribute, Vendor
from edgegate.wifi.hiding import vlan
from edgegate.wifi.packet import Attributes, number, vendor_attribute

_NAS_NAMES = (
    Attribute.NAS_IP_ADDRESS,
    Attribute.NAS_IPV6_ADDRESS,
    Attribute.NAS_IDENTIFIER,
)
_AUDIT_SESSION = b"audit-session-id="
_CISCO_AV_PAIR = 1


class Form(Struct, frozen=True):
    """One way to name a session."""

    needs: tuple[Attribute, ...]
    """All of these are known, or the form is not tried."""
    takes: tuple[Attribute, ...] = ()
    """These are said, too, where they are known."""
    cisco_session: bool = False
    """Cisco's audit-session-id is said, too, where it is known."""


class Template(Struct, frozen=True):
    """One kind of access point."""

    forms: tuple[Form, ...]
    disconnect_port: int = 3799
    """RFC 5176 §2.1; some kinds listen elsewhere."""
    changes_timeout: bool = False
    """Whether a CoA-Request with a new Session-Timeout is understood."""
    has_own_vlan: bool = False
    """Whether Mikrotik-Wireless-VLANID is what puts a device into a VLAN on its Wi-Fi."""
    sentence_beside_eap: bool = False
    """Whether it is known to pass over a Reply-Message beside EAP-Message, which RFC 3579 §2.6.5
    forbids: then its log tells why a device was refused."""


TEMPLATES: dict[str, Template] = {
    # hostapd's RADIUS DAS: attributes other than these get NAK 401; no CoA before 2.11.
    "hostapd": Template(
        (
            Form((Attribute.ACCT_SESSION_ID,), (Attribute.NAS_IP_ADDRESS,)),
            Form((Attribute.CALLING_STATION_ID,), (Attribute.NAS_IP_ADDRESS,)),
        ),
        sentence_beside_eap=True,
    ),
    # RouterOS, RADIUS client, "Disconnect-Request": a HotSpot's session is found by name and
    # address; a name that is a MAC address would otherwise mean the radio's own table.
    "mikrotik": Template(
        (
            Form((Attribute.USER_NAME, Attribute.FRAMED_IP_ADDRESS), (Attribute.ACCT_SESSION_ID,)),
            Form((Attribute.USER_NAME, Attribute.ACCT_SESSION_ID), (Attribute.NAS_IP_ADDRESS,)),
            Form((Attribute.USER_NAME, Attribute.CALLING_STATION_ID)),
        ),
        changes_timeout=True,
        has_own_vlan=True,
    ),
    # UniFi: the hotspot's controller finds Acct-Session-Id; an access point passes the request on
    # to its hostapd instances.
    "unifi": Template(
        (
            Form((Attribute.ACCT_SESSION_ID,)),
            Form((Attribute.CALLING_STATION_ID,), (Attribute.NAS_IP_ADDRESS,)),
        ),
        sentence_beside_eap=True,
    ),
    # AOS-CX, "Attributes supported in dynamic authorization": User-Name, a name of the NAS and
    # the session's id (or port and address) are mandatory. ArubaOS and Instant find any of them.
    "aruba": Template(
        (
            Form((Attribute.USER_NAME, Attribute.ACCT_SESSION_ID), _NAS_NAMES),
            Form(
                (Attribute.USER_NAME, Attribute.CALLING_STATION_ID),
                (*_NAS_NAMES, Attribute.NAS_PORT, Attribute.NAS_PORT_ID),
            ),
        )
    ),
    # Catalyst and WLC, "RADIUS Change of Authorization": Calling-Station-Id, Acct-Session-Id
    # and audit-session-id; all that are said must fit.
    "cisco": Template(
        (
            Form((Attribute.CALLING_STATION_ID,), (Attribute.ACCT_SESSION_ID,), cisco_session=True),
            Form((Attribute.ACCT_SESSION_ID,)),
        ),
        disconnect_port=1700,
    ),
    # Meraki MR, "Change of Authorization with RADIUS": as Cisco, and it looks at the NAS's name.
    "meraki": Template(
        (
            Form(
                (Attribute.CALLING_STATION_ID,),
                (Attribute.NAS_IP_ADDRESS, Attribute.ACCT_SESSION_ID),
                cisco_session=True,
            ),
        ),
        disconnect_port=1700,
    ),
    # RFC 5176 §3 says these suffice, and in this order the fewest devices refuse them.
    "generic": Template(
        (
            Form(
                (Attribute.ACCT_SESSION_ID, Attribute.USER_NAME),
                (*_NAS_NAMES, Attribute.CALLING_STATION_ID),
            ),
            Form((Attribute.ACCT_SESSION_ID,)),
            Form((Attribute.CALLING_STATION_ID,)),
            Form((Attribute.USER_NAME,)),
        )
    ),
}

KEPT = frozenset(
    {
        Attribute.VENDOR_SPECIFIC,
        *(kind for t in TEMPLATES.values() for f in t.forms for kind in (*f.needs, *f.takes)),
    }
)
"""The attributes of requests that some template may need to name the session later."""


def kept(attributes: Attributes) -> Attributes:
    """Of a request's attributes, those to keep with the session for its end."""
    return tuple(
        (kind, value)
        for kind, value in attributes
        if kind in KEPT and (kind != Attribute.VENDOR_SPECIFIC or _is_audit_session(value))
    )


def namings(vendor: str, attributes: Attributes) -> Iterator[Attributes]:
    """The ways to name a session to its NAS, the most exact first.

    Args:
        vendor: the NAS's kind; one that is not known is generic.
        attributes: what the NAS said of the session, at best in the latest of its requests.
    """
    for form in TEMPLATES.get(vendor, TEMPLATES["generic"]).forms:
        known = dict(reversed(attributes))
        if all(kind in known for kind in form.needs):
            named = [
                (int(kind), known[kind]) for kind in (*form.needs, *form.takes) if kind in known
            ]
            if form.cisco_session:
                named += [pair for pair in attributes if _is_audit_session(pair[1])][:1]
            yield tuple(named)


def vlan_for(vendor: str, vlan_number: int) -> Attributes:
    """What of an Access-Accept puts a device into a VLAN, in all the forms that this kind knows.

    RouterOS takes the tunnel attributes for wired 802.1X and its own on the air.
    """
    named = vlan(str(vlan_number))
    if not TEMPLATES.get(vendor, TEMPLATES["generic"]).has_own_vlan:
        return named
    own = (
        (MikrotikAttribute.WIRELESS_VLAN_ID, vlan_number),
        (MikrotikAttribute.WIRELESS_VLAN_ID_TYPE, MIKROTIK_802_1Q),
    )
    return (
        *named,
        *(vendor_attribute(Vendor.MIKROTIK, kind, number(value)) for kind, value in own),
    )


def _is_audit_session(value: bytes) -> bool:
    head = Vendor.CISCO.to_bytes(4) + bytes((_CISCO_AV_PAIR,))
    return value.startswith(head) and value[6:].startswith(_AUDIT_SESSION)
