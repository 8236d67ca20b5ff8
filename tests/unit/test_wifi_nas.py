"""The most specific network says who asks; who is in none is a stranger."""

import pytest

from edgegate.wifi.nas import ADDRESSES_KEPT_MAX, NasTable
from rig.radius import SECRET, nas

TABLE = NasTable(
    [
        nas("all", "10.0.0.0/8"),
        nas("floor", "10.1.0.0/16"),
        nas("one", "10.1.2.3/32"),
        nas("six", "2001:db8::/32"),
        nas("link", "fe80::/10"),
    ]
)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.9.9.9", "all"),
        ("10.1.9.9", "floor"),
        ("10.1.2.3", "one"),
        ("::ffff:10.1.2.3", "one"),
        ("2001:db8::7", "six"),
        ("fe80::1%eth0", "link"),
        ("11.0.0.1", None),
        ("2001:db9::1", None),
        ("::ffff:11.0.0.1", None),
    ],
)
def test_the_most_specific_network_is_meant(address: str, found: str | None) -> None:
    for _ in range(2):
        asking = TABLE.find(address)
        assert (asking and asking.id) == found


def test_the_order_of_the_configuration_says_nothing() -> None:
    found = NasTable(reversed(list(TABLE))).find("10.1.9.9")
    assert found is not None
    assert found.id == "floor"


def test_a_flood_of_addresses_is_not_kept() -> None:
    table = NasTable([nas("all", "10.0.0.0/8")])
    for number in range(ADDRESSES_KEPT_MAX * 2 + 5):
        address = f"{11 + number % 2}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        assert table.find(address) is None
    assert len(table._found) <= ADDRESSES_KEPT_MAX


def test_a_secret_is_not_printed() -> None:
    assert SECRET.decode() not in repr(nas())
    assert "ap" in repr(nas())
