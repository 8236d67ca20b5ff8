"""Makes values of records out of the texts of a CSV file."""

import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from hashlib import sha256
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from edgegate.credentials import lookup as cards
from edgegate.passes.model import CredentialKind
from edgegate_sync.cloud.mappings import Source

CardForm = Literal["hex", "hex_reversed", "decimal", "decimal_reversed"]
"""How card numbers are written: in hex or as a number, in the card's order or backwards."""

CARD_BYTES = (4, 7, 10)
"""Lengths of an id (ISO/IEC 14443-3, 6.5.4)."""

DECIMALS_MAX = 25
"""Digits of the largest number that ten bytes can be."""

NUMBER_MAX = 1_000_000_000
ID_CHARACTERS_MAX = 128

TRUE = frozenset({"1", "true", "yes", "y", "x", "ja", "oui", "on"})
FALSE = frozenset({"0", "false", "no", "n", "", "nein", "non", "off"})


class ValueFaultyError(ValueError):
    """A cell that cannot be read, and what to do about it."""

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(problem)
        self.advice = advice


class World(Struct, kw_only=True):
    """What is known apart from the file."""

    zone: ZoneInfo
    """Whose wall times the file has."""
    dates: tuple[str, ...] = ()
    """Formats, beside those of ISO 8601."""
    decimal_comma: bool = False
    cards: CardForm = "hex"
    site_key: bytes | None = None
    """What card numbers are hashed with; None: no file may have any."""
    names: dict[str, dict[str, str]] = {}
    """By kind, the ids of records by their id and by their name, case-folded."""
    location: str | None = None
    """Where passes and resources are at home whose line does not say it."""


def value_of(source: Source, text: str, world: World) -> Any:
    """A cell, which is not empty, as the value of a field.

    Raises:
        ValueFaultyError: if it cannot be read.
    """
    if source.values:
        return _translated(source, text)
    return _READERS[source.read](source, text, world)


def made_of(prefix: str, values: Mapping[str, Any], fields: tuple[str, ...]) -> str:
    """An id that the same fields always give."""
    whole = msgspec.json.encode([values.get(field) for field in fields])
    return prefix + sha256(whole).hexdigest()[:24]


def _translated(source: Source, text: str) -> Any:
    known = {word.casefold(): meaning for word, meaning in source.values.items()}
    found = known.get(text.casefold())
    if found is None:
        words = ", ".join(source.values)
        raise ValueFaultyError(f'"{text[:60]}" is not known', f"Write one of: {words}.")
    return found


def _text(_source: Source, text: str, _world: World) -> str:
    return text


def _id(source: Source, text: str, _world: World) -> str:
    whole = source.prefix + text
    if len(whole) > ID_CHARACTERS_MAX or any(unicodedata.category(c) == "Cc" for c in whole):
        raise ValueFaultyError("is no id", f"An id has at most {ID_CHARACTERS_MAX} characters.")
    return whole


def _hashed(source: Source, text: str, _world: World) -> str:
    # Ids stand in the envelopes of the ledger, where nothing personal may be.
    digest = sha256(text.strip().casefold().encode()).hexdigest()
    return f"{source.prefix}{digest[:24]}"


def _named(source: Source, text: str, world: World) -> str:
    found = world.names.get(source.of, {}).get(text.casefold())
    if found is not None:
        return found
    if source.of == "location":
        there = ", ".join(sorted(set(world.names.get("location", {}).values()))[:20])
        raise ValueFaultyError(
            f'there is no location "{text[:60]}"', f"Make it first; there are: {there or 'none'}."
        )
    return slug(text)


def slug(name: str) -> str:
    """An id made of a name: the same for the same name, and another for another."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    words = "".join(c if c.isalnum() else " " for c in plain).split()
    made = "-".join(words)[:80]
    if made == name.strip() or made == name.strip().casefold().replace(" ", "-"):
        return made
    # What was left out of the name keeps two of them apart.
    return f"{made}-{sha256(name.strip().casefold().encode()).hexdigest()[:8]}".lstrip("-")


def _instant(source: Source, text: str, world: World) -> str:
    read = _parsed(text, world)
    if type(read) is date:
        day = read + timedelta(days=1) if source.end_of_day else read
        read = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - its zone follows
    if not isinstance(read, datetime):
        raise TypeError(type(read))
    aware = read if read.tzinfo is not None else read.replace(tzinfo=world.zone)
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _date(_source: Source, text: str, world: World) -> str:
    read = _parsed(text, world)
    return (read.date() if isinstance(read, datetime) else read).isoformat()


def _parsed(text: str, world: World) -> datetime | date:
    for form in world.dates:
        try:
            read = datetime.strptime(text, form)  # noqa: DTZ007 - its zone follows
        except ValueError:
            continue
        return _sane(text, read if "%H" in form else read.date())
    try:
        return _sane(text, date.fromisoformat(text) if len(text) <= 10 else _iso(text))
    except ValueError:
        advice = "Write it like 2026-03-31 or 2026-03-31 18:00, or name its format."
        raise ValueFaultyError(f'"{text[:60]}" is no date', advice) from None


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _sane(text: str, read: datetime | date) -> datetime | date:
    if not 1970 <= read.year < 2200:
        raise ValueFaultyError(f'"{text[:60]}" is in the year {read.year}', "Check the year.")
    return read


def _decimal(text: str, world: World) -> Decimal:
    plain = text.replace("\u00a0", "").replace(" ", "").replace("'", "")
    group, point = (".", ",") if world.decimal_comma else (",", ".")
    head, _, tail = plain.partition(point)
    parts = head.split(group)
    # Only whole groups of three are groups: 1,5 with a decimal point is a mistake, not 15.
    is_grouped = all(len(part) == 3 for part in parts[1:]) and (len(parts) == 1 or parts[0])
    # What is not grouped so is left as it is, which is no number.
    whole = "".join(parts) if is_grouped and group not in tail else "?"
    try:
        number = Decimal(whole + (f".{tail}" if tail else ""))
    except InvalidOperation:
        advice = f'Write it like 12{point}5, with "{point}" before the decimals.'
        raise ValueFaultyError(f'"{text[:60]}" is no number', advice) from None
    if not number.is_finite() or abs(number) > NUMBER_MAX:
        raise ValueFaultyError(f'"{text[:60]}" is too large', f"At most {NUMBER_MAX}.")
    return number


def _number(source: Source, text: str, world: World) -> int:
    number = _decimal(text, world) * source.scale
    if number < 0:
        raise ValueFaultyError(f'"{text[:60]}" is below zero', "Leave the line out, or write 0.")
    if number != number.to_integral_value() and source.scale == 1:
        raise ValueFaultyError(f'"{text[:60]}" is not a whole number', "Write it without decimals.")
    return int(number.to_integral_value(ROUND_HALF_UP))


def _credits(source: Source, text: str, world: World) -> int:
    """Hundredths of a credit, rounded half-up once (Q-A3)."""
    number = _decimal(text, world) * source.scale
    if number < 0:
        raise ValueFaultyError(f'"{text[:60]}" is below zero', "Leave the line out, or write 0.")
    return int((number * 100).to_integral_value(ROUND_HALF_UP))


def _flag(_source: Source, text: str, _world: World) -> bool:
    word = text.casefold()
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise ValueFaultyError(f'"{text[:60]}" is neither yes nor no', "Write yes or no.")


def _list(source: Source, text: str, world: World) -> list[str]:
    parts = [part.strip() for part in text.replace("|", ";").split(";") if part.strip()]
    return [_named(source, part, world) if source.of else part for part in parts]


def _wall_time(_source: Source, text: str, _world: World) -> str:
    return text.zfill(5)


def _card(_source: Source, text: str, world: World) -> str:
    number = card_number(text, world.cards)
    if cards.is_random(number):
        raise ValueFaultyError(
            "the card makes up its number afresh at each tap", "Give the member another card."
        )
    return cards.lookup(_key(world), CredentialKind.NFC_UID, number)


def _code(_source: Source, text: str, world: World) -> str:
    return cards.lookup(_key(world), CredentialKind.QR_STATIC, text.encode())


def _key(world: World) -> bytes:
    if world.site_key is None:
        raise ValueFaultyError(
            "the site's key is not here, which card numbers are hashed with",
            "Deposit it once: edgegate cloud site-key --site SITE FILE.",
        )
    return world.site_key


def card_number(text: str, form: CardForm) -> bytes:
    """The bytes of a card's id.

    Raises:
        ValueFaultyError: if it is no number of that form; it never repeats the number.
    """
    plain = "".join(c for c in text if c not in " :-.").removeprefix("0x")
    raw = _from_decimal(plain) if form.startswith("decimal") else _from_hex(plain)
    if raw is None:
        raise ValueFaultyError(
            "is no card number", f"It is read as {form}; say so if it is written otherwise."
        )
    if len(raw) not in CARD_BYTES:
        raise ValueFaultyError(
            f"is a number of {len(raw)} bytes; cards have 4, 7 or 10",
            "Look for leading zeros that a spreadsheet took away.",
        )
    return raw[::-1] if form.endswith("reversed") else raw


def _from_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _from_decimal(text: str) -> bytes | None:
    """The bytes of a number, as many as the shortest card that can have it."""
    if not text.isdecimal() or not text.isascii() or len(text) > DECIMALS_MAX:
        return None
    number = int(text)
    size = next((size for size in CARD_BYTES if number < 256**size), None)
    return None if size is None else number.to_bytes(size)


_READERS: dict[str, Callable[[Source, str, World], Any]] = {
    "text": _text,
    "id": _id,
    "hashed": _hashed,
    "named": _named,
    "instant": _instant,
    "date": _date,
    "number": _number,
    "credits": _credits,
    "flag": _flag,
    "card": _card,
    "code": _code,
    "list": _list,
    "wall_time": _wall_time,
}
