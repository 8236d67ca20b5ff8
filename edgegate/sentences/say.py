"""Chooses the sentence for an outcome and fills it with what is known."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from edgegate.checkin import Outcome
from edgegate.passes.model import Channel, Customer, Pass, PassState, Unit
from edgegate.passes.reasons import Reason
from edgegate.sentences.english import ENGLISH
from edgegate.sentences.language import Language, Templates, fit
from edgegate.sentences.walltime import WallClock

LANGUAGES: Mapping[str, Language] = {"en": ENGLISH}
"""By the first part of a language tag (BCP 47); whoever speaks another one reads English."""

NAME_CHARACTERS_MAX = 40
"""A longer name is cut."""

_ONE_DAY = timedelta(days=1)


def member(outcome: Outcome) -> str:
    """What the member reads in public: what is so, when it works, who helps; first name only."""
    language = _language_of(outcome.customer)
    return _say(language.member, outcome, language)


def staff(outcome: Outcome) -> str:
    """What staff read beside the member's name, in English."""
    return _say(ENGLISH.staff, outcome, ENGLISH)


def _language_of(customer: Customer | None) -> Language:
    tag = customer.language.partition("-")[0].lower() if customer is not None else ""
    return LANGUAGES.get(tag, ENGLISH)


def _say(sentences: Mapping[str, Templates], outcome: Outcome, language: Language) -> str:
    reason = outcome.decision.reason
    variant = _variant(outcome)
    if outcome.channel is Channel.WIFI and f"{reason}.{Channel.WIFI}" in sentences:
        variant = Channel.WIFI
    templates = sentences.get(f"{reason}.{variant}", sentences[reason])
    text = fit(templates, _fields(outcome, language))
    if text is None:
        raise LookupError(f"every sentence about {reason} needs something that is not known")
    return text


def _variant(outcome: Outcome) -> str:
    """What tells apart the cases of one reason; a catalogue need not know it."""
    p = outcome.pass_
    match outcome.decision.reason:
        case Reason.NOT_APPROVED if p is not None and p.state is PassState.REJECTED:
            return p.state
        case Reason.OTHER_AUDIENCE:
            return p.audience if p is not None else "door"
        case Reason.USED_UP if p is not None:
            return p.unit
        case Reason.PASS if p is not None and p.unit is Unit.MINUTE:
            return p.unit
        case Reason.PASS if (payment := outcome.decision.payment) is not None:
            return "free" if payment.spending.amount == 0 else ""
        case _:
            return ""


def _fields(outcome: Outcome, language: Language) -> dict[str, str]:
    """All that a sentence may speak of, as text; what is not known or does not apply is absent."""
    zone = outcome.location.timezone if outcome.location is not None else "UTC"
    clock = WallClock(zone=zone, now=outcome.at, language=language)
    fields = dict(_known(outcome, clock))
    for name, templates in language.phrases.items():
        text = fit(templates, fields)
        if text is not None:
            fields[name] = text
    return fields


def _known(outcome: Outcome, clock: WallClock) -> Iterator[tuple[str, str]]:
    name = outcome.customer.name.split() if outcome.customer is not None else []
    if name:
        yield "first", _cut(name[0])
    if outcome.ends_at is not None:
        yield "until", clock.until(outcome.ends_at)
    yield from _retry(outcome, clock)
    if outcome.pass_ is not None:
        yield from _pass(outcome.pass_, clock)
        yield from _left(outcome.pass_, outcome)


def _retry(outcome: Outcome, clock: WallClock) -> Iterator[tuple[str, str]]:
    """When it would work: today, tomorrow or later, and how long that is from now."""
    at = outcome.decision.retry_at
    starts = at or (outcome.pass_.valid_from if outcome.pass_ is not None else None)
    if starts is not None and starts > outcome.at:
        yield "starts", clock.long_date(clock.day(starts))
        yield "starts_short", clock.short_date(clock.day(starts))
    if at is None:
        return
    wall = clock.wall(at)
    date = clock.short_date(clock.day(at))
    match clock.days_ahead(at):
        case 0:
            yield "today", wall
        case 1:
            yield "tomorrow", wall
        case _:
            yield "later", clock.moment(at)
    yield "later_short", clock.language.date_time.format(date=date, time=wall)
    if at - outcome.at < _ONE_DAY:
        yield "wait", clock.duration(at - outcome.at)


def _pass(p: Pass, clock: WallClock) -> Iterator[tuple[str, str]]:
    if p.name.strip():
        yield "pass_name", _cut(p.name.strip())
    if p.on_date is not None:
        yield "on_date", clock.long_date(p.on_date)
        yield "on_date_short", clock.short_date(p.on_date)
    if p.expires_at is not None and p.expires_at <= clock.now:
        last = clock.last_day(p.expires_at)
        yield "ended", clock.long_date(last)
        yield "ended_short", clock.short_date(last)
        if last == clock.day(clock.now):
            yield "ended_today", clock.wall(p.expires_at)


def _left(p: Pass, outcome: Outcome) -> Iterator[tuple[str, str]]:
    """What is left of the pass, in its own unit."""
    left = 0 if outcome.decision.reason is Reason.USED_UP else outcome.remaining
    running = p.unit is Unit.MINUTE and outcome.decision.reason is Reason.COVERED
    # While minutes run, nobody here knows how many of those left are already gone.
    if left is None or running or p.unit is Unit.UNLIMITED:
        return
    left = max(0, left)
    match p.unit:
        case Unit.USE:
            yield "uses", str(left)
        case Unit.MINUTE:
            yield "minutes", str(left)
        case Unit.CREDIT:
            yield "credits", f"{left // 100}.{left % 100:02}"
    if p.amount >= max(1, left):
        yield "amount", str(p.amount)


def _cut(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS_MAX else f"{name[: NAME_CHARACTERS_MAX - 1]}…"
