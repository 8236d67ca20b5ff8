"""A site's own records, and how they stood when an export begins."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edgegate.faults import Fault, FaultsError, Where
from edgegate.passes.happenings import Arrived, Debited, Happening, Refunded
from edgegate.passes.model import (
    Balance,
    Counted,
    Pass,
    Record,
    Reservation,
    ReservationState,
)
from edgegate.scenario import KINDS, RecordReader
from edgegate.store import cache
from edgegate.store.chain import Entry
from edgegate.store.connections import connect_read_only
from edgegate.strict import Options, read_struct
from edgegate.tomlfile import load


class SiteRecords(Struct, frozen=True, kw_only=True):
    """Records by kind and id, and what is left of each pass when the replay begins."""

    by_kind: dict[str, dict[str, Record]]
    remaining: dict[str, int]

    def get(self, kind: str, record_id: str | None) -> Any:
        """The record of that kind and id, or None."""
        return None if record_id is None else self.by_kind[kind].get(record_id)

    def name_of(self, kind: str, record_id: str | None) -> str:
        """A record's name, or its id where it has none."""
        record = self.get(kind, record_id)
        return getattr(record, "name", "").strip() or record_id or ""


class Known(Struct, frozen=True, kw_only=True):
    """The records as they are now, with what the cloud has counted of each pass."""

    records: SiteRecords
    balances: dict[str, Balance] = {}


def from_cache(path: Path) -> Known:
    """The records of a state directory's cache, all from one moment.

    Raises:
        FaultsError: if it is not there or cannot be read.
    """
    where = Where(str(path))
    try:
        with closing(connect_read_only(path)) as connection:
            connection.execute("BEGIN")
            by_kind = {
                k.name: {r.id: r for r in cache.every(connection, k)} for k in KINDS.values()
            }
            balances = {b.pass_: b for b in cache.every(connection, cache.BALANCE)}
    except sqlite3.Error as error:
        hint = "name the state directory with --state-dir, or records with --records"
        raise FaultsError([where.fault(f"cannot be read: {error}", hint)]) from error
    except msgspec.DecodeError as error:
        raise FaultsError([where.fault(f"holds a record that cannot be read: {error}")]) from error
    passes: dict[str, Any] = by_kind[cache.PASS.name]
    remaining = {
        id_: balances[id_].remaining if id_ in balances else p.amount for id_, p in passes.items()
    }
    return Known(records=SiteRecords(by_kind=by_kind, remaining=remaining), balances=balances)


class _Head(Struct, frozen=True, kw_only=True):
    title: str = ""
    proves: tuple[str, ...] = ()
    preset: str | None = None


def from_file(path: Path) -> Known:
    """The records of a file in the scenarios' format; steps in it are passed over.

    A pass's `remaining` is what was left when the export begins.

    Raises:
        FaultsError: with everything that is wrong with it.
    """
    document = load(path)
    faults: list[Fault] = []
    head = {key: v for key, v in document.data.items() if key not in (*KINDS, "step")}
    read_struct(_Head, head, document.where, faults, Options(elsewhere=tuple(KINDS)))
    preset = head.get("preset")
    reader = RecordReader(preset if isinstance(preset, str) else None, document.where, faults)
    by_kind: dict[str, dict[str, Record]] = {name: {} for name in KINDS}
    for name in KINDS:
        for _, record in reader.read_table(name, document.data.get(name, [])):
            by_kind[name][record.id] = record
    if faults:
        raise FaultsError(faults)
    passes: dict[str, Any] = by_kind[cache.PASS.name]
    remaining = {id_: reader.remaining.get(id_, p.amount) for id_, p in passes.items()}
    return Known(records=SiteRecords(by_kind=by_kind, remaining=remaining))


class Rewind:
    """Takes the records back to the beginning of an export, as far as its entries tell how.

    A balance has what the cloud counted already taken off: what the export says of that is put
    back. A reservation for which somebody came in the export was still to come.
    """

    def __init__(self, known: Known) -> None:
        self._known = known
        self._put_back: Counter[str] = Counter()
        self._arrived: set[str] = set()
        self._reached: dict[str, tuple[int, int]] = {}

    def note(self, entry: Entry, happening: Happening | None) -> None:
        """Look at an entry of the export."""
        place = (entry.epoch, entry.sequence)
        self._reached[entry.device] = max(place, self._reached.get(entry.device, place))
        match happening:
            case Debited() if self._is_counted(happening.pass_, entry):
                self._put_back[happening.pass_] += happening.amount
            case Refunded() if self._is_counted(happening.pass_, entry):
                self._put_back[happening.pass_] -= happening.amount
            case Arrived():
                self._arrived.add(happening.reservation)

    def records(self) -> SiteRecords:
        """The records as they stood when the export begins."""
        now = self._known.records
        remaining = {id_: left + self._put_back[id_] for id_, left in now.remaining.items()}
        reservations = {id_: self._to_come(r) for id_, r in now.by_kind["reservation"].items()}
        by_kind = {**now.by_kind, cache.RESERVATION.name: reservations}
        return SiteRecords(by_kind=by_kind, remaining=remaining)

    def beyond(self) -> dict[str, Counted]:
        """Up to where the cloud has counted devices of the export, where that is past its end."""
        found: dict[str, Counted] = {}
        for balance in self._known.balances.values():
            for device, counted in balance.counted.items():
                here = (counted.epoch, counted.sequence)
                known = found.get(device)
                further = known is None or here > (known.epoch, known.sequence)
                if device in self._reached and here > self._reached[device] and further:
                    found[device] = counted
        return found

    def unheard(self) -> list[str]:
        """The devices that the cloud has counted and of which the export has no entry."""
        devices = {d for b in self._known.balances.values() for d in b.counted}
        return sorted(devices - self._reached.keys())

    def _is_counted(self, pass_id: str, entry: Entry) -> bool:
        balance = self._known.balances.get(pass_id)
        counted = balance.counted.get(entry.device) if balance is not None else None
        place = (entry.epoch, entry.sequence)
        return counted is not None and place <= (counted.epoch, counted.sequence)

    def _to_come(self, record: Record) -> Record:
        if record.id not in self._arrived or not isinstance(record, Reservation):
            return record
        if record.state is ReservationState.CANCELLED:
            return record
        return msgspec.structs.replace(record, state=ReservationState.SCHEDULED)


def holder_name(records: SiteRecords, p: Pass) -> str:
    """The name of the member or team that holds a pass."""
    kind = "customer" if records.get("customer", p.holder) is not None else "team"
    return records.name_of(kind, p.holder)
