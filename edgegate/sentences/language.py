"""What a language must bring to say the sentences, and how its templates are filled."""

from collections.abc import Mapping
from functools import lru_cache
from string import Formatter

from msgspec import Struct

Templates = str | tuple[str, ...]
"""One `str.format` template, or several from the fullest to the plainest."""


class Language(Struct, frozen=True, kw_only=True):
    """The words of one language; templates name the fields that `say` and `walltime` fill.

    `member` and `staff` are by reason, or by "reason.variant" where `say` knows variants; the last
    template of each entry needs no field that could be missing. A text in `phrases` becomes a
    field of its own, which later phrases and all sentences may use, if one of its templates fits.
    Apostrophes are typed straight; the reader sees typographic ones.
    """

    weekdays: tuple[str, ...]
    weekdays_short: tuple[str, ...]
    months: tuple[str, ...]
    months_short: tuple[str, ...]
    date: str
    """Fields: weekday, day, month."""
    date_short: str
    with_year: str
    """Fields: date, year."""
    date_time: str
    """Fields: date, time."""
    tomorrow_time: str
    midnight: str
    hours: str
    """Fields: hours, minutes (two digits)."""
    minutes: str
    phrases: Mapping[str, Templates]
    member: Mapping[str, Templates]
    staff: Mapping[str, Templates]


def fit(templates: Templates, fields: Mapping[str, str]) -> str | None:
    """The first template whose fields are all known, filled; None if there is none."""
    for template in (templates,) if isinstance(templates, str) else templates:
        if all(name in fields for name in field_names(template)):
            return template.replace("'", "\u2019").format_map(fields)
    return None


@lru_cache(maxsize=1024)
def field_names(template: str) -> tuple[str, ...]:
    """The names of the fields in a template."""
    return tuple(name for _, name, _, _ in Formatter().parse(template) if name)
