"""The floor: what no door controller with these records on this disk could do without.

It reads the same bytes from the same kind of pseudo-terminal as the daemon, runs the same reads,
each of them once, makes one durable commit of the same rows, and writes the same line to the same
kind of socket. It is one thread that blocks, has no rules, parses no record, hashes no chain, and
its entries are bytes of the daemon's sizes. `tap.py` compares what both have written.
"""

import hashlib
import hmac
import os
import socket
import sqlite3
import sys
import time
from pathlib import Path

from edgegate.store.connections import connect

GRANTED_BYTES = 200
COVERED_BYTES = 203
DEBITED_BYTES = 210
OPENED_BYTES = 398
DENIED_BYTES = 150
UNKNOWN_BYTES = 155
COVERAGE_BYTES = 140
SESSION_BYTES = 386
MONOTONIC = "00000000-0000-0000-0000-000000000000:0000000.000000"
SOURCE = "edgegate/bench/pi"
DAY_US = 86_400_000_000

INSERT_ENTRY = (
    "INSERT INTO entry (key, source, type, at, subject, clock, monotonic, salt, data, data_hash,"
    " prevhash, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Floor:
    """One door."""

    def __init__(self, state: Path, key: bytes, strike: socket.socket) -> None:
        self.key = key
        self.strike = strike
        # The daemon's own way to open files: the same pragmas and sizes of page cache.
        self.ledger = connect(state / "ledger.db", "FULL", 1024)
        self.cache = connect(state / "cache.db", "NORMAL", 4096)
        self.one(self.cache, "SELECT body FROM location")
        self.one(self.cache, "SELECT body FROM door")

    def one(
        self, connection: sqlite3.Connection, query: str, *values: object
    ) -> tuple[object, ...]:
        return connection.execute(query, values).fetchone() or ()

    def tap(self, code: bytes) -> bool:
        """From a code to its durable record; whether the door opens."""
        at_us = time.time_ns() // 1000
        number = hmac.new(self.key, b"qr_static\x00" + code, hashlib.sha256).hexdigest()
        self.ledger.execute("BEGIN IMMEDIATE")
        self.one(self.ledger, "SELECT MIN(deadline) FROM session")
        find = "SELECT body, customer FROM credential WHERE lookup = ? ORDER BY id"
        credential = self.one(self.cache, find, number)
        if not credential:
            self.write([("access.denied", UNKNOWN_BYTES)], at_us)
            self.ledger.execute("COMMIT")
            return False
        customer = str(credential[1])
        session = self.read_facts(customer, at_us)
        if code.startswith(b"EXPIRED"):
            self.write([("access.denied", DENIED_BYTES)], at_us)
        elif session:
            self.write([("access.granted", COVERED_BYTES)], at_us)
            self.move(customer, at_us)
        else:
            self.enter(customer, at_us)
        self.ledger.execute("COMMIT")
        return not code.startswith(b"EXPIRED")

    def read_facts(self, customer: str, at_us: int) -> tuple[object, ...]:
        """All that a decision needs; the open session, if there is one."""
        cache, ledger = self.cache, self.ledger
        self.one(cache, "SELECT body FROM customer WHERE id = ?", customer)
        passes = "SELECT id, body FROM pass WHERE holder = ? ORDER BY id"
        found = cache.execute(passes, (customer,)).fetchall()
        contracts = "SELECT body FROM contract WHERE holder = ? ORDER BY id"
        cache.execute(contracts, (customer,)).fetchall()
        ids = [row[0] for row in found]
        marks = ", ".join("?" * len(ids))
        cache.execute(f"SELECT body FROM balance WHERE id IN ({marks})", ids).fetchall()  # noqa: S608 - marks
        debits = f"SELECT pass, device, epoch, sequence, amount FROM debit WHERE pass IN ({marks})"  # noqa: S608 - marks
        ledger.execute(debits, ids).fetchall()
        coverages = "SELECT body FROM coverage WHERE customer = ? AND (until IS NULL OR until > ?)"
        ledger.execute(coverages, (customer, at_us)).fetchall()
        minutes = "SELECT body FROM session WHERE pass = ? ORDER BY customer, location"
        ledger.execute(minutes, ids[-1:]).fetchall()
        reservations = "SELECT body FROM reservation WHERE customer = ? ORDER BY id"
        cache.execute(reservations, (customer,)).fetchall()
        session = "SELECT body FROM session WHERE customer = ? AND location = ?"
        return self.one(ledger, session, customer, "hq")

    def enter(self, customer: str, at_us: int) -> None:
        """An entry on a use: three entries of the ledger and a row of each projection."""
        kinds = [
            ("access.granted", GRANTED_BYTES),
            ("pass.debited", DEBITED_BYTES),
            ("session.opened", OPENED_BYTES),
        ]
        key = self.write(kinds, at_us)
        self.move(customer, at_us)
        pass_id = customer.replace("customer", "pass") + "-0"
        run = self.ledger.execute
        name = f"pi-{key >> 32}-{key & 0xFFFFFFFF}"
        debit = "INSERT INTO debit VALUES (?, ?, ?, ?, ?, ?)"
        run(debit, (pass_id, "pi", key >> 32, key & 0xFFFFFFFF, 1, name))
        run("DELETE FROM coverage WHERE customer = ? AND until < ?", (customer, at_us - 2 * DAY_US))
        coverage = "INSERT INTO coverage (customer, until, session, body) VALUES (?, ?, ?, ?)"
        run(coverage, (customer, at_us + DAY_US, None, bytes(COVERAGE_BYTES)))
        deadline_us = at_us + DAY_US
        run(
            "INSERT INTO session (id, customer, location, pass, deadline, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (name, customer, "hq", pass_id, deadline_us, bytes(SESSION_BYTES)),
        )
        run("UPDATE session SET deadline = ? WHERE id = ?", (deadline_us + 1, name))

    def move(self, customer: str, at_us: int) -> None:
        """That somebody came, and that the day has begun."""
        run = self.ledger.execute
        run("INSERT OR REPLACE INTO moved VALUES (?, ?, ?, ?)", (customer, "hq", at_us, "entry"))
        begun = (
            "INSERT INTO begun VALUES (?, ?) ON CONFLICT DO UPDATE SET day = excluded.day WHERE 0"
        )
        run(begun, ("hq", "2026-01-01"))

    def write(self, kinds: list[tuple[str, int]], at_us: int) -> int:
        """Append entries of these types and sizes; the key of the first."""
        head = (
            "SELECT (SELECT value FROM meta WHERE name = 'epoch'), key, hash"
            " FROM entry ORDER BY key DESC LIMIT 1"
        )
        last = self.one(self.ledger, head)
        epoch = last or self.one(self.ledger, "SELECT value FROM meta WHERE name = 'epoch'")
        key = int(str(last[1])) if last else int(str(epoch[0])) << 32
        salts = os.urandom(16 * len(kinds))
        digest = bytes(32)
        rows = [
            (
                key + 1 + place,
                SOURCE,
                f"edgegate.{kind}",
                at_us,
                "door/door-00",
                "untrusted",
                MONOTONIC,
                salts[place * 16 : place * 16 + 16],
                bytes(size),
                digest,
                digest,
                digest,
            )
            for place, (kind, size) in enumerate(kinds)
        ]
        self.ledger.executemany(INSERT_ENTRY, rows)
        return key + 1


def main() -> None:
    state, key_file, scanner, board, channel, release_s = sys.argv[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as strike:
        strike.connect(board)
        strike.send(f"strike {channel}\n0\n".encode())
        floor = Floor(Path(state), Path(key_file).read_bytes(), strike)
        port = os.open(scanner, os.O_RDWR | os.O_NOCTTY)
        code = b""
        while True:
            code += os.read(port, 4096)
            *ended, code = code.replace(b"\n", b"").split(b"\r")
            for whole in ended:
                if floor.tap(whole):
                    strike.send(b"1\n")
                    time.sleep(float(release_s))
                    strike.send(b"0\n")


if __name__ == "__main__":
    main()
