"""An entry of the ledger as one line for people."""

import msgspec

from edgegate.store.chain import Entry

_NAMES = ("door", "customer", "reason", "pass", "amount", "minutes", "cause", "status", "name")
"""What of an entry's data is shown first, where it has it."""


def line_of(entry: Entry) -> str:
    """`17  2026-03-02 09:00:00Z  access.granted  door/front  customer=ana pass=five`."""
    kind = entry.type.removeprefix("edgegate.")
    at = entry.at.strftime("%Y-%m-%d %H:%M:%SZ")
    subject = entry.subject or ""
    return f"{entry.sequence:>7}  {at}  {kind:<16} {subject:<18} {_data(entry)}".rstrip()


def _data(entry: Entry) -> str:
    if entry.data is None:
        return "(erased)"
    data = msgspec.json.decode(entry.data)
    if kind := data.get("session") if isinstance(data.get("session"), dict) else None:
        data = {**data, **kind}
    shown = {key: data[key] for key in _NAMES if data.get(key) not in (None, "")}
    return " ".join(f"{key}={value}" for key, value in shown.items())
