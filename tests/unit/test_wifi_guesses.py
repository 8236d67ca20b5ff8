"""Passwords that people chose: how many wrong ones are looked at, and whom that keeps out."""

import asyncio
import os
import threading
from contextlib import suppress

import pytest

from edgegate.wifi import verifiers
from edgegate.wifi.verifiers import (
    GUESS_S,
    GUESSED_MAX,
    GUESSES_MAX,
    WAITING_MAX,
    Guesses,
    HastyError,
    Slowly,
)

RIGHT = b"correct horse"


class Watch:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that argon2 was asked about."""
    asked: list[bytes] = []

    def verified(_verifier: str, password: bytes) -> bool:
        asked.append(password)
        return password == RIGHT

    monkeypatch.setattr(verifiers, "_verified", verified)
    return asked


async def guess(slowly: Slowly, count: int, verifier: str = "ana") -> int:
    """Try so many wrong passwords; how many were looked at."""
    looked = 0
    for _ in range(count):
        with suppress(HastyError):
            assert not await slowly.fits(verifier, os.urandom(8))
            looked += 1
    return looked


async def test_guessing_comes_to_a_crawl(looked_at: list[bytes]) -> None:
    watch = Watch()
    slowly = Slowly(watch)
    assert await guess(slowly, GUESSES_MAX + 5) == GUESSES_MAX
    watch.now_s += GUESS_S * 3
    assert await guess(slowly, 5) == 3
    watch.now_s += 10 * GUESSES_MAX * GUESS_S
    assert await guess(slowly, GUESSES_MAX + 5) == GUESSES_MAX
    assert len(looked_at) == 2 * GUESSES_MAX + 3


async def test_who_guesses_keeps_out_neither_others_nor_devices_that_were_there(
    looked_at: list[bytes],
) -> None:
    slowly = Slowly(Watch())
    assert await slowly.fits("ana", RIGHT)
    assert await guess(slowly, 50) == GUESSES_MAX
    with pytest.raises(HastyError):
        await slowly.fits("ana", b"once more")
    # What is known needs no look; her phone has guesses of its own; Bob is somebody else.
    assert await slowly.fits("ana", RIGHT)
    assert not await slowly.fits("ana", b"a typing error", device="her phone")
    assert await slowly.fits("bob", RIGHT)
    assert len(looked_at) == GUESSES_MAX + 3


@pytest.mark.usefixtures("looked_at")
async def test_neither_the_right_password_nor_the_same_wrong_one_again_is_a_guess() -> None:
    watch = Watch()
    slowly = Slowly(watch)
    for _ in range(GUESSES_MAX * 3):
        watch.now_s += verifiers.KEPT_S + 1
        assert await slowly.fits("ana", RIGHT)
    watch.now_s += GUESSES_MAX * GUESS_S
    for _ in range(GUESSES_MAX * 3):
        assert not await slowly.fits("ana", b"an old password")
    assert await guess(slowly, 50) == GUESSES_MAX - 1


async def test_a_flood_for_one_login_leaves_the_queue_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()

    def verified(_verifier: str, password: bytes) -> bool:
        gate.wait(30)
        return password == RIGHT

    monkeypatch.setattr(verifiers, "_verified", verified)
    slowly = Slowly(Watch())
    flood = [asyncio.create_task(slowly.fits("ana", b"%d" % number)) for number in range(500)]
    bob = asyncio.create_task(slowly.fits("bob", RIGHT))
    await asyncio.sleep(0)
    gate.set()
    answers = await asyncio.gather(*flood, return_exceptions=True)
    assert await bob
    assert sum(answer is False for answer in answers) == GUESSES_MAX


def test_logins_are_counted_up_to_a_number() -> None:
    guesses = Guesses(Watch())
    for number in range(GUESSED_MAX + 10):
        assert guesses.take(number)
    assert len(guesses._spent_until_s) == GUESSED_MAX
    guesses.give_back("nobody")


async def test_of_many_that_pretend_not_all_wait(looked_at: list[bytes]) -> None:
    slowly = Slowly()
    await slowly.pretend()
    assert await slowly.fits("ana", RIGHT)
    assert looked_at
    slowly._took_s = 3600
    many = [asyncio.create_task(slowly.pretend()) for _ in range(WAITING_MAX + 5)]
    done, _ = await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
    assert done <= set(many[WAITING_MAX:])
    for one in many:
        one.cancel()
    await asyncio.gather(*many, return_exceptions=True)
    assert slowly._pretending == 0
