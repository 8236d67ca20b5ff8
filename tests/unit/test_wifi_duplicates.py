"""Answers are kept for as long as RFC 5080 advises, also under a load that fills their room."""

import pytest

from edgegate.wifi.duplicates import Duplicates, Key

ADVISED_S = 5
"""RFC 5080 §2.2.2: no less."""


def key(number: int) -> Key:
    return ("192.0.2.1", 1645), number.to_bytes(20)


@pytest.mark.parametrize(
    ("per_second", "answer_bytes"),
    [
        pytest.param(1_700, 350, id="a crowd's handshakes"),
        pytest.param(4_000, 150, id="logins"),
        pytest.param(700, 4096, id="the longest there can be"),
    ],
)
def test_a_full_room_still_keeps_answers_for_long_enough(
    per_second: int, answer_bytes: int
) -> None:
    kept, answer = Duplicates(), b"\x0b" * answer_bytes
    crowd = per_second * ADVISED_S
    # Wherever in a generation an answer comes, so many later ones do not push it out.
    for number in range(4 * crowd):
        kept.settle(key(number), answer)
        if number >= crowd:
            assert kept.answer(key(number - crowd)) == answer
