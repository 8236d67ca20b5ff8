"""Every sentence that there can be is plain, complete and kind."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import product
from typing import Any

import pytest

from edgegate.checkin import Outcome
from edgegate.passes.model import Audience, Customer, Pass, PassState, Unit
from edgegate.passes.reasons import Reason
from edgegate.sentences import member, staff
from edgegate.sentences.english import ENGLISH
from edgegate.sentences.language import Language, field_names, fit
from edgegate.sentences.say import LANGUAGES
from fakes.outcomes import FRIDAY, GRANTS, JONAS, MINUTES, TEN, TEN_ID, granted, refused

BARE = re.compile(r"\b(error|invalid|unauthori[sz]ed|denied)\b|!", re.IGNORECASE)
ACCUSING = re.compile(
    r"\b(debt|owe|unpaid|payment|invoice|hold|block|ban|disabled|lock|turned down|rejected|abuse)",
    re.IGNORECASE,
)
IDS = re.compile(r"(cus|loc|pas|dor|con|ses)-\d")


def every_outcome() -> Iterator[Outcome]:
    """Each reason with all, some and none of what a sentence could speak of."""
    passes = [
        None,
        Pass(id=TEN_ID, holder="cus-42"),
        TEN,
        MINUTES,
        Pass(id=TEN_ID, holder="t", name="Rest", state=PassState.REJECTED, unit=Unit.CREDIT),
        *(Pass(id=TEN_ID, holder="t", name="Free", audience=a) for a in Audience),
        Pass(
            id=TEN_ID,
            holder="cus-42",
            unit=Unit.UNLIMITED,
            on_date=date(2026, 11, 21),
            contract="con-5",
            expires_at=FRIDAY,
            valid_from=FRIDAY,
        ),
    ]
    people = [None, Customer(id="cus-42"), JONAS]
    retries = [None, FRIDAY + timedelta(minutes=1), FRIDAY + timedelta(days=1, hours=1)]
    retries.append(FRIDAY + timedelta(days=400))
    for reason, p, who, retry_at in product(Reason, passes, people, retries):
        if who is not JONAS and p is not None:
            continue  # what is said of the pass does not depend on who has it
        make = granted if reason in GRANTS else refused
        outcome: dict[str, Any] = {"pass_": p, "customer": who, "remaining": None}
        if retry_at is None:
            outcome["location"] = None
        elif reason in GRANTS:
            outcome |= {"ends_at": retry_at, "remaining": 4}
        else:
            outcome["retry_at"] = retry_at
        yield make(reason, **outcome)


def test_there_is_a_sentence_for_every_reason_and_for_nothing_else() -> None:
    for language in LANGUAGES.values():
        for sentences in (language.member, language.staff):
            assert set(Reason) <= set(sentences)
            assert {key.partition(".")[0] for key in sentences} == {r.value for r in Reason}


def test_nobody_ever_reads_an_id_or_a_harsh_word() -> None:
    seen = set()
    for outcome in every_outcome():
        for text in (member(outcome), staff(outcome)):
            assert not BARE.search(text), text
            assert not IDS.search(text), text
            assert text[-1] == ".", text
            assert "  " not in text, text
            assert "{" not in text, text
            assert text[0].isupper() or text[0].isdigit(), text
            seen.add(text)
    assert len(seen) > 100


def test_a_member_reads_of_no_debt_block_or_discipline_and_no_last_name() -> None:
    for outcome in every_outcome():
        text = member(outcome)
        assert not ACCUSING.search(text), text
        assert "Weber" not in text


def test_the_last_choice_of_every_sentence_needs_nothing() -> None:
    greetings = {"welcome", "back", "hello"}
    for language in LANGUAGES.values():
        for key, templates in {**language.member, **language.staff}.items():
            last = templates if isinstance(templates, str) else templates[-1]
            assert set(field_names(last)) <= greetings, key


def test_every_field_that_a_catalogue_names_can_be_filled() -> None:
    known = {
        *("first", "until", "today", "tomorrow", "later", "later_short", "wait", "starts"),
        *("starts_short", "pass_name", "on_date", "on_date_short", "ended", "ended_short"),
        *("ended_today", "uses", "minutes", "credits", "amount"),
    }
    for language in LANGUAGES.values():
        texts = [*language.phrases.values(), *language.member.values(), *language.staff.values()]
        for templates in texts:
            for template in (templates,) if isinstance(templates, str) else templates:
                assert set(field_names(template)) <= known | set(language.phrases), template


def test_a_language_is_found_by_the_first_part_of_its_tag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    german = {**ENGLISH.member, "unlimited": "Willkommen."}
    words = {name: getattr(ENGLISH, name) for name in ENGLISH.__struct_fields__}
    monkeypatch.setitem(LANGUAGES, "de", Language(**{**words, "member": german}))
    outcome = granted(Reason.UNLIMITED, customer=Customer(id="c", name="A", language="de-AT"))
    assert member(outcome) == "Willkommen."
    assert staff(outcome) == "In, no limit."
    french = granted(Reason.UNLIMITED, customer=Customer(id="c", name="A", language="fr"))
    assert member(french) == "Welcome, A."


def test_a_template_is_taken_only_if_all_its_fields_are_known() -> None:
    assert fit(("{a} {b}", "{a}"), {"a": "1"}) == "1"
    assert fit("{b}", {"a": "1"}) is None
    assert fit("isn't", {}) == "isn\u2019t"
