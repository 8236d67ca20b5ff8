"""What a Disconnect-Request says to each kind of access point, by what that kind documents."""

import pytest

from edgegate.wifi.attributes import Attribute, Vendor
from edgegate.wifi.packet import Attributes, vendor_attribute
from edgegate.wifi.vendors import TEMPLATES, kept, namings

AUDIT = vendor_attribute(Vendor.CISCO, 1, b"audit-session-id=0a0b")
SAID: Attributes = (
    (1, b"ada"),
    (4, bytes((10, 0, 0, 9))),
    (5, bytes(4)),
    (8, bytes((10, 0, 0, 77))),
    (30, b"02-00-00-00-00-01:space"),
    (31, b"AA-BB-CC-DD-EE-FF"),
    (32, b"ap-1"),
    (44, b"SESSION"),
    vendor_attribute(Vendor.CISCO, 1, b"ssid=space"),
    AUDIT,
    (2, b"hidden"),
)
HOSTAPD_ALLOWS = {1, 4, 31, 32, 44, 50, 89, 95}
"""hostapd 2.10, src/radius/radius_das.c; with anything else it answers NAK 401."""


def kinds(vendor: str, said: Attributes = SAID) -> list[list[int]]:
    return [[kind for kind, _ in naming] for naming in namings(vendor, said)]


def test_hostapd_hears_nothing_that_it_refuses() -> None:
    assert kinds("hostapd") == [[44, 4], [31, 4]]
    assert all(set(naming) <= HOSTAPD_ALLOWS for naming in kinds("hostapd"))


def test_aos_cx_hears_the_name_the_nas_and_the_session() -> None:
    assert kinds("aruba") == [[1, 44, 4, 32], [1, 31, 4, 32, 5]]


def test_mikrotik_hears_name_and_address() -> None:
    assert kinds("mikrotik")[0] == [1, 8, 44]
    without_address = tuple(pair for pair in SAID if pair[0] != 8)
    assert kinds("mikrotik", without_address)[0] == [1, 44, 4]


def test_cisco_hears_its_own_session() -> None:
    first = next(namings("cisco", SAID))
    assert first == ((31, b"AA-BB-CC-DD-EE-FF"), (44, b"SESSION"), AUDIT)


def test_meraki_hears_its_device_and_its_own_session_where_cisco_listens() -> None:
    assert list(namings("meraki", SAID)) == [
        ((31, b"AA-BB-CC-DD-EE-FF"), (4, bytes((10, 0, 0, 9))), (44, b"SESSION"), AUDIT)
    ]
    assert {TEMPLATES[vendor].disconnect_port for vendor in ("cisco", "meraki")} == {1700}


def test_unifi_hears_the_session_and_else_the_device() -> None:
    assert kinds("unifi") == [[44], [31, 4]]


def test_any_other_hears_less_and_less() -> None:
    assert kinds("generic") == [[44, 1, 4, 32, 31], [44], [31], [1]]


@pytest.mark.parametrize("vendor", sorted(TEMPLATES))
def test_every_kind_names_a_session_by_what_is_kept_of_it(vendor: str) -> None:
    assert list(namings(vendor, kept(SAID))) == list(namings(vendor, SAID)) != []
    assert list(namings(vendor, ())) == []


def test_an_unknown_kind_is_generic() -> None:
    assert kinds("a new one") == kinds("generic")


def test_what_is_kept_holds_no_secret() -> None:
    assert Attribute.USER_PASSWORD not in dict(kept(SAID))
    assert AUDIT in kept(SAID)
    assert len([kind for kind, _ in kept(SAID) if kind == 26]) == 1


def test_the_first_of_several_values_counts() -> None:
    assert next(namings("unifi", ((44, b"one"), (44, b"two")))) == ((44, b"one"),)
