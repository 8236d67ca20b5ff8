"""A small site on disk: its key, its records, its configuration, ready for the daemon to run."""

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgegate.credentials.lookup import lookup
from edgegate.passes.model import (
    Credential,
    CredentialKind,
    Customer,
    Door,
    Location,
    Pass,
    Record,
    Team,
)
from edgegate.store import cache
from edgegate.store.cache import Kind
from edgegate.store.files import Store
from fakes.midday import midday_zone

KIND_OF: dict[type[Record], Kind[Any]] = {kind.type: kind for kind in cache.KINDS.values()}


def put_records(store: Store, records: Iterable[Record]) -> None:
    """Write records into a store's cache, as the feed would, in one transaction."""
    connection = store.cache
    connection.execute("PRAGMA query_only = OFF")
    connection.execute("BEGIN IMMEDIATE")
    for record in records:
        cache.put(connection, KIND_OF[type(record)], record)
    connection.execute("COMMIT")
    connection.execute("PRAGMA query_only = ON")


class Site:
    """A site with one location "hq" and a door for each name, in a directory of the test."""

    def __init__(self, directory: Path, doors: Iterable[str] = ("front",)) -> None:
        self.directory = directory
        self.key = secrets.token_bytes(32)
        self.state = directory / "state"
        self.state.mkdir(mode=0o700, parents=True)
        self.key_file = directory / "site.key"
        self.key_file.write_bytes(self.key)
        self.key_file.chmod(0o600)
        self.board = directory / "board"
        self.doors = tuple(doors)
        self.zone = midday_zone()
        self.put(Location(id="hq", timezone=self.zone))
        self.put(*(Door(id=door, location="hq") for door in self.doors))

    def put(self, *records: Record) -> None:
        """Write records into the cache; only while the daemon does not run."""
        store = Store.open(self.state)
        put_records(store, records)
        store.close()

    def code_of(self, customer: str, code: str) -> Credential:
        """A static code of a customer."""
        kind = CredentialKind.QR_STATIC
        number = lookup(self.key, kind, code.encode())
        return Credential(id=f"code-{code}", customer=customer, kind=kind, lookup=number)

    def card_of(self, customer: str, uid: bytes) -> Credential:
        """A card of a customer."""
        kind = CredentialKind.NFC_UID
        number = lookup(self.key, kind, uid)
        return Credential(id=f"card-{uid.hex()}", customer=customer, kind=kind, lookup=number)

    def add_team(self, team: str, members: int, uses: int) -> list[str]:
        """A team with a pass of so many uses, and members whose codes are returned."""
        codes = [f"{team}-{number}" for number in range(members)]
        self.put(
            Team(id=team),
            Pass(id=f"{team}-pass", holder=team, amount=uses),
            *(Customer(id=code, name=code.title(), team=team) for code in codes),
            *(self.code_of(code, code) for code in codes),
        )
        return codes

    def write_config(self, *, release_s: float = 0.3, readers: str = "virtual") -> Path:
        """A configuration with a board's strike, contact and button for each door and one reader.

        `readers` is "virtual" for the board's own readers, or "scanner_serial" for serial ones at
        `<directory>/scanner-<door>`.
        """
        parts = [
            f'[device]\nid = "pi"\nstate_dir = "{self.state}"\nclock = "believed"',
            f'[site]\nid = "site"\nkey = {{ file = "{self.key_file}" }}',
        ]
        for door in self.doors:
            parts.append(f'[[door]]\nid = "{door}"\nrelease_s = {release_s}')
            parts += [
                f"{part} = {self._virtual(f'{door}-{part}')}"
                for part in ("strike", "contact", "exit_button")
            ]
            parts.append(f'[[reader]]\nname = "{door}"\ndoor = "{door}"\ndriver = "{readers}"')
            if readers == "virtual":
                parts.append(f'socket = "{self.board}"\nchannel = "{door}-reader"')
            else:
                parts.append(f'port = "{self.directory}/scanner-{door}"')
        file = self.directory / "config.toml"
        file.write_text("\n".join(parts) + "\n")
        return file

    def _virtual(self, channel: str) -> str:
        return f'{{ driver = "virtual", socket = "{self.board}", channel = "{channel}" }}'
