"""The world of `bench/tap.py` in which every member also has a login for the Wi-Fi."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from bench import world
from bench.radius_subjects import Member
from edgegate.credentials.lookup import lookup
from edgegate.credentials.passwords import of_generated
from edgegate.passes.model import Credential, CredentialKind, Pass
from edgegate.store import cache
from edgegate.store.files import Store


def build(state: Path, key: bytes, people: list[Member]) -> None:
    """Make a store whose cache holds them, and one door."""
    world.build(state, key, len(people), 1)
    store = Store.open(state)
    connection = store.cache
    connection.execute("PRAGMA query_only = OFF")
    connection.execute("BEGIN IMMEDIATE")
    cache.put_many(connection, cache.PASS, _passes(len(people)))
    cache.put_many(connection, cache.CREDENTIAL, _logins(people, key))
    connection.execute("COMMIT")
    store.close()


def _passes(count: int) -> Iterator[Pass]:
    """One each that lets onto the Wi-Fi, for uses that are debited."""
    for number in range(count):
        yield Pass(
            id=f"pass-{number:06}-wifi", holder=f"customer-{number:06}", amount=10, wifi=True
        )


def _logins(people: Iterable[Member], key: bytes) -> Iterator[Credential]:
    kind = CredentialKind.WIFI_LOGIN
    for number, member in enumerate(people):
        yield Credential(
            id=f"login-{number:06}",
            customer=f"customer-{number:06}",
            kind=kind,
            lookup=lookup(key, kind, member.name.encode()),
            verifier=of_generated(member.password.encode()),
        )
