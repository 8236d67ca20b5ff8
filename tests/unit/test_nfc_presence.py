"""When a card that the NFC reader sees counts as presented."""

import pytest

from edgegate_drivers.nfc import CARDS_MAX, Presence

AWAY = 500
A, B = b"\x04\x00\x00\x01", b"\x04\x00\x00\x02"


def looks(*found: tuple[int, bytes | None]) -> list[int]:
    """The instants at which a card counted as presented."""
    presence = Presence(AWAY)
    return [at for at, number in found if presence.presented(number, at)]


def test_held_card_is_presented_once() -> None:
    assert looks(*((at, A) for at in range(0, 10_000, 50))) == [0]


@pytest.mark.parametrize(("back_at", "presented"), [(599, [0]), (600, [0, 600])])
def test_card_must_be_away_for_long_enough(back_at: int, presented: list[int]) -> None:
    assert looks((0, A), (100, None), (150, None), (back_at, A), (back_at + 50, A)) == presented


def test_flickering_card_starts_its_absence_anew() -> None:
    flicker = [(at, None if at % 400 else A) for at in range(0, 4000, 50)]
    assert looks(*flicker) == [0]


def test_time_in_which_nobody_looked_is_no_absence() -> None:
    assert looks((0, A), (9000, A), (9050, None), (9100, A)) == [0]


def test_second_card_is_presented_at_once_and_two_in_one_wallet_once_each() -> None:
    assert looks((0, A), (50, B)) == [0, 50]
    assert looks(*((at, A if at % 100 else B) for at in range(0, 3000, 50))) == [0, 50]


def test_phone_with_random_ids_is_one_card() -> None:
    phone = [(at, bytes([8, at % 251, 1, 2])) for at in range(0, 3000, 50)]
    assert looks(*phone) == [0]
    assert looks((0, b"\x08\x01\x02\x03"), (50, b"\x08\x01\x02\x03\x04\x05\x06")) == [0, 50]


def test_leading_zeros_tell_cards_apart() -> None:
    assert looks((0, b"\x00\x01\x02\x03"), (50, b"\x01\x02\x03\x00")) == [0, 50]


def test_memory_of_cards_is_bounded() -> None:
    presence = Presence(AWAY)
    for number in range(100):
        assert presence.presented(bytes([4, 0, 0, number]), number)
    assert len(presence._missing_since_ns) == CARDS_MAX
