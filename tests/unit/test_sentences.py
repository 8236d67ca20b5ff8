"""What member and staff read: what is so, what is left, when it works."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from edgegate.checkin import Outcome
from edgegate.passes.model import Audience, Customer, Pass, PassState, Unit
from edgegate.passes.reasons import Reason
from edgegate.sentences import member, staff
from edgegate.sentences.english import ENGLISH
from edgegate.sentences.walltime import WallClock
from fakes.outcomes import FRIDAY, MINUTES, TEN_ID, berlin, granted, refused


@pytest.mark.parametrize(
    ("outcome", "member_reads", "staff_read"),
    [
        (
            granted(ends_at=berlin(20, 20), remaining=4),
            "Welcome, Jonas. Covered until 20:00, 4 of 10 left.",
            "In. Day pass used, 4 of 10 left.",
        ),
        (
            granted(ends_at=berlin(21, 0), remaining=4, customer=Customer(id="cus-42")),
            "Welcome. Covered until midnight, 4 of 10 left.",
            "In. Day pass used, 4 of 10 left.",
        ),
        (
            granted(amount=0, ends_at=berlin(21, 3), remaining=4),
            "Welcome, Jonas. Covered until 3:00, 4 of 10 left.",
            "In on Day pass, nothing used.",
        ),
        (
            granted(pass_=MINUTES, remaining=80),
            "Welcome, Jonas. 80 of 90 minutes left.",
            "In on Hour pack, 80 of 90 minutes left.",
        ),
        (
            granted(Reason.COVERED, ends_at=berlin(21, 9), remaining=4),
            "Welcome back, Jonas. Covered until tomorrow at 9:00, 4 of 10 left.",
            "In again, nothing used.",
        ),
        (
            granted(Reason.COVERED, pass_=MINUTES, remaining=80),
            "Welcome back, Jonas.",
            "In again, nothing used.",
        ),
        (
            granted(Reason.COVERED, pass_=MINUTES, remaining=80, ends_at=berlin(20, 20)),
            "Welcome back, Jonas. Covered until 20:00.",
            "In again, nothing used.",
        ),
        (granted(Reason.UNLIMITED), "Welcome, Jonas.", "In, no limit."),
        (granted(Reason.STAFF), "Hello, Jonas.", "Staff, not counted."),
        (
            granted(
                Reason.CREDIT,
                pass_=Pass(id="pas-1", holder="c", unit=Unit.CREDIT),
                remaining=2250,
            ),
            "Welcome, Jonas. 22.50 credits left.",
            "In. Credits used, 22.50 credits left.",
        ),
    ],
)
def test_a_grant_says_what_is_left(outcome: Outcome, member_reads: str, staff_read: str) -> None:
    assert (member(outcome), staff(outcome)) == (member_reads, staff_read)


@pytest.mark.parametrize(
    ("reason", "retry_at", "member_reads", "staff_read"),
    [
        (Reason.OUTSIDE_HOURS, berlin(20, 19), "Your pass starts at 19:00.", "Works in 3 h 53."),
        (
            Reason.OUTSIDE_HOURS,
            berlin(21, 9),
            "Your pass works again tomorrow at 9:00.",
            "Works in 17 h 53.",
        ),
        (
            Reason.OUTSIDE_HOURS,
            berlin(23, 9),
            "Your pass works again on Monday 23 November at 9:00.",
            "Works from 23 Nov at 9:00.",
        ),
        (
            Reason.OUTSIDE_HOURS,
            None,
            "Your pass doesn\u2019t work at this hour. The desk can help.",
            "Outside its hours; with time alone it never works.",
        ),
        (
            Reason.NOT_STARTED,
            berlin(1, 0, month=12),
            "Your pass starts on Tuesday 1 December.",
            "Starts 1 Dec.",
        ),
        (Reason.NOT_STARTED, berlin(20, 18), "Your pass starts at 18:00.", "Starts at 18:00."),
        (Reason.NOT_BOOKED, berlin(20, 18), "Your booking starts at 18:00.", "Opens 18:00."),
        (Reason.NOT_BOOKED, None, "This room isn\u2019t booked for you.", "No booking."),
    ],
)
def test_a_refusal_says_when_it_works(
    reason: Reason, retry_at: datetime | None, member_reads: str, staff_read: str
) -> None:
    outcome = refused(reason, retry_at=retry_at)
    assert (member(outcome), staff(outcome)) == (member_reads, staff_read)


@pytest.mark.parametrize(
    ("reason", "terms", "member_reads", "staff_read"),
    [
        (
            Reason.EXPIRED,
            {"expires_at": berlin(1, 0)},
            "Your pass ended on Saturday 31 October.",
            "Ended 31 Oct, 3 of 10 left.",
        ),
        (
            Reason.EXPIRED,
            {"expires_at": berlin(20, 12)},
            "Your pass ended at 12:00.",
            "Ended 20 Nov, 3 of 10 left.",
        ),
        (
            Reason.EXPIRED,
            {"expires_at": datetime(2025, 6, 1, tzinfo=UTC)},
            "Your pass ended on Sunday 1 June 2025.",
            "Ended 1 Jun 2025, 3 of 10 left.",
        ),
        (
            Reason.OTHER_DATE,
            {"on_date": date(2026, 11, 27)},
            "Your pass is for Friday 27 November.",
            "For 27 Nov only.",
        ),
        (
            Reason.NOT_APPROVED,
            {"state": PassState.AWAITING_APPROVAL},
            "Your pass waits for a yes from the desk.",
            "Day pass waits for approval.",
        ),
        (
            Reason.NOT_APPROVED,
            {"state": PassState.REJECTED},
            "Please see the desk about your pass.",
            "Day pass was turned down.",
        ),
        (
            Reason.OTHER_AUDIENCE,
            {"audience": Audience.CONTACTS},
            "This pass is for visitors. The desk can help.",
            "Member; pass is for contacts.",
        ),
        (
            Reason.USED_UP,
            {},
            "Your pass is used up. The desk has another.",
            "0 of 10 left.",
        ),
        (
            Reason.USED_UP,
            {"unit": Unit.MINUTE, "amount": 600},
            "Your minutes are used up. The desk has more.",
            "0 of 600 minutes left.",
        ),
    ],
)
def test_a_refusal_says_what_is_so_with_its_pass(
    reason: Reason, terms: dict[str, Any], member_reads: str, staff_read: str
) -> None:
    p = Pass(**{"id": TEN_ID, "holder": "cus-42", "name": "Day pass", "amount": 10, **terms})
    outcome = refused(reason, pass_=p, remaining=3)
    assert (member(outcome), staff(outcome)) == (member_reads, staff_read)


def test_a_door_for_members_speaks_of_the_door_and_not_of_a_pass() -> None:
    outcome = refused(Reason.OTHER_AUDIENCE, pass_=None)
    assert member(outcome) == "This door is for members. The desk can help."
    assert staff(outcome) == "Contact; door is for members."


def test_an_overdrawn_pass_has_nothing_left_and_a_topped_up_one_names_no_amount() -> None:
    assert member(granted(remaining=-2)) == "Welcome, Jonas. 0 of 10 left."
    assert member(granted(remaining=12)) == "Welcome, Jonas. 12 left."


def test_times_are_those_of_the_wall_across_a_change_of_the_clocks() -> None:
    evening = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)  # 21:00; the clocks go forward at 2:00
    outcome = refused(
        Reason.OUTSIDE_HOURS, at=evening, retry_at=datetime(2026, 3, 29, 7, 0, tzinfo=UTC)
    )
    assert member(outcome) == "Your pass works again tomorrow at 9:00."
    assert staff(outcome) == "Works in 11 h 00."


def test_a_long_name_is_cut_and_a_name_of_blanks_is_none() -> None:
    assert member(granted(Reason.UNLIMITED, customer=Customer(id="c", name="x" * 400))) == (
        f"Welcome, {'x' * 39}…."
    )
    assert member(granted(Reason.UNLIMITED, customer=Customer(id="c", name=" \t"))) == "Welcome."


def test_braces_in_a_name_stay_as_they_are() -> None:
    outcome = granted(Reason.UNLIMITED, customer=Customer(id="c", name="{left} Weber"))
    assert member(outcome) == "Welcome, {left}."


def test_the_end_of_time_can_be_said() -> None:
    clock = WallClock(zone="Pacific/Auckland", now=FRIDAY, language=ENGLISH)
    assert clock.moment(datetime.max.replace(tzinfo=UTC)).endswith("December 9999 at 13:00")
    assert clock.last_day(datetime.min.replace(tzinfo=UTC)).year == 1
