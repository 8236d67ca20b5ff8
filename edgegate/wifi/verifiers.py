"""How a password is held against what a credential's `verifier` keeps of it.

Generated passwords, which nobody can guess, are `sha256$<salt>$<hash>`; those that people chose
are argon2id in PHC string format; `sealed$…` keeps the password itself under a key that follows
from the site's, for portals that speak CHAP.
"""

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Callable

import argon2
from argon2.exceptions import Argon2Error, InvalidHashError

from edgegate.credentials.passwords import of_generated, of_sealed, unsealed
from edgegate.wifi.hiding import chap_matches
from edgegate.wifi.proofs import ChapProof, LoginProof

__all__ = [
    "PASSWORD_BYTES_MAX",
    "CrowdedError",
    "Slowly",
    "digest_of",
    "fits",
    "is_slow",
    "of_chosen",
    "of_generated",
    "of_sealed",
]

PASSWORD_BYTES_MAX = 253
"""More than any attribute holds (RFC 2865 §5)."""

MEMORY_KIB = 19_456
"""19 MiB, two passes: the least that OWASP's Password Storage Cheat Sheet asks of argon2id."""

MEMORY_KIB_MAX = 65_536
PASSES_MAX = 10
"""A verifier that asks for more is not worked on: it would stop the appliance."""

KEPT_S = 600.0
"""How long a password that fitted, or did not, is known by its keyed hash."""

KEPT_MAX = 1024
WAITING_MAX = 64
"""Passwords that may wait for argon2, which takes one at a time; one more is dropped."""

GUESSES_MAX = 10
"""Wrong passwords for one login in a row; whoever tries more waits: people choose poor ones."""

GUESS_S = 60.0
"""After that, so long for each: 1440 a day."""

GUESSED_MAX = 4096
"""Logins whose wrong passwords are counted; with one more the one begun first is forgotten."""

_ARGON = "$argon2id$"

_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=MEMORY_KIB, parallelism=1)


class CrowdedError(Exception):
    """Too many passwords wait to be checked: the access point is to ask again."""


class HastyError(Exception):
    """Too many passwords for one login were wrong: this one is not looked at, whatever it is."""


def of_chosen(password: bytes) -> str:
    """The verifier of a password that somebody made up; takes a while, so call it in a thread."""
    return _hasher.hash(password)


def is_slow(verifier: str) -> bool:
    """Whether only `Slowly` may check it."""
    return verifier.startswith(_ARGON)


def fits(verifier: str, proof: LoginProof | ChapProof, site_key: bytes, lookup: str) -> bool:
    """Whether a proof fits a verifier that is not slow, in constant time; a broken one fits none.

    CHAP fits only where the password is sealed: its check needs the password itself.
    """
    kind, _, rest = verifier.partition("$")
    if kind == "sealed":
        password = unsealed(rest, site_key, lookup)
        if password is None:
            return False
        if isinstance(proof, ChapProof):
            return chap_matches(password, proof.password, proof.challenge)
        return hmac.compare_digest(password, proof.password)
    if kind != "sha256" or isinstance(proof, ChapProof):
        return False
    salt, _, digest = rest.partition("$")
    try:
        salted = bytes.fromhex(salt) + proof.password
    except ValueError:
        return False
    return hmac.compare_digest(hashlib.sha256(salted).hexdigest().encode(), digest.encode())


def digest_of(verifier: str) -> str:
    """What is remembered of a verifier, to see whether it is still the same."""
    return hashlib.sha256(verifier.encode()).hexdigest()[:16]


class Guesses:
    """How many wrong passwords may still be tried, for each login: some at once, then few."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._spent_until_s: dict[object, float] = {}
        """When all that was tried will be forgiven."""

    def take(self, login: object) -> bool:
        """Spend one; whether there was one."""
        now_s = self._now_s()
        until_s = max(self._spent_until_s.get(login, now_s), now_s) + GUESS_S
        if until_s - now_s > GUESSES_MAX * GUESS_S:
            return False
        if login not in self._spent_until_s and len(self._spent_until_s) >= GUESSED_MAX:
            del self._spent_until_s[next(iter(self._spent_until_s))]
        self._spent_until_s[login] = until_s
        return True

    def give_back(self, login: object) -> None:
        """What was tried was no guess."""
        if login in self._spent_until_s:
            self._spent_until_s[login] -= GUESS_S


class Slowly:
    """Checks passwords against argon2id, one at a time in a thread, and remembers what came of it.

    Devices ask with the same password again and again, the wrong one too. What is remembered is
    keyed by a secret of this process: nothing of a password lies in memory for longer than it is
    looked at.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._key = os.urandom(32)
        self._known: dict[bytes, tuple[bool, float]] = {}
        self._guesses = Guesses(now_s)
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0
        self._pretending = 0
        self._took_s = 0.0

    def known(self, verifier: str, password: bytes) -> bool | None:
        """Whether it fits, as far as that was found out lately; for any thread."""
        found = self._known.get(self._name(verifier, password))
        return None if found is None or found[1] <= self._now_s() else found[0]

    async def fits(self, verifier: str, password: bytes, device: str = "") -> bool:
        """Whether it fits; a `device` that came in by this login before has guesses of its own.

        So nobody is kept out for what strangers try in their name.

        Raises:
            CrowdedError: too many wait already.
            HastyError: too many were wrong.
        """
        known = self.known(verifier, password)
        if known is not None:
            return known
        if self._waiting >= WAITING_MAX:
            raise CrowdedError(f"{WAITING_MAX} passwords wait to be checked")
        login = (verifier, device)
        if not self._guesses.take(login):
            raise HastyError
        is_wrong = False
        self._waiting += 1
        try:
            async with self._turn:
                # Whoever waited may have waited for the same one.
                known = self.known(verifier, password)
                if known is None:
                    began_s = self._now_s()
                    known = await asyncio.to_thread(_verified, verifier, password)
                    self._took_s = self._now_s() - began_s
                    self._remember(verifier, password, known)
                    is_wrong = not known
                return known
        finally:
            self._waiting -= 1
            if not is_wrong:
                self._guesses.give_back(login)

    async def pretend(self) -> None:
        """Take as long as a look at a password, of those that there was none at.

        So nobody learns by a watch which logins there are. Of many at once not all wait: they
        would keep others out.
        """
        if self._pretending >= WAITING_MAX:
            return
        self._pretending += 1
        try:
            await asyncio.sleep(self._took_s)
        finally:
            self._pretending -= 1

    def _remember(self, verifier: str, password: bytes, fits: bool) -> None:
        if len(self._known) >= KEPT_MAX:
            del self._known[next(iter(self._known))]
        self._known[self._name(verifier, password)] = (fits, self._now_s() + KEPT_S)

    def _name(self, verifier: str, password: bytes) -> bytes:
        return hmac.digest(self._key, verifier.encode() + b"\0" + password, "sha256")


def _verified(verifier: str, password: bytes) -> bool:
    try:
        asked = argon2.extract_parameters(verifier)
        if asked.memory_cost > MEMORY_KIB_MAX or asked.time_cost > PASSES_MAX:
            return False
        return _hasher.verify(verifier, password)
    except (Argon2Error, InvalidHashError):
        return False
