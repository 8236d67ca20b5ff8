"""Outcomes as the line gives them, for whoever makes sentences of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from edgegate.checkin import Outcome
from edgegate.passes.coverage import Spending, Take
from edgegate.passes.model import Customer, Location, Pass, Unit
from edgegate.passes.payment import Decision, Payment
from edgegate.passes.reasons import Reason
from edgegate.passes.state import Segment

GRANTS = tuple(Reason)[:12]
TEN_ID = "pas-13"
FRIDAY = datetime(2026, 11, 20, 14, 7, 20, tzinfo=UTC)  # 15:07 in Berlin
BERLIN = Location(id="loc-77", name="Mill Lane", timezone="Europe/Berlin")
JONAS = Customer(id="cus-42", name="Jonas Weber")
TEN = Pass(id=TEN_ID, holder="cus-42", name="Day pass", amount=10)
MINUTES = Pass(id="pas-14", holder="cus-42", name="Hour pack", unit=Unit.MINUTE, amount=90)


def berlin(day: int, hour: int, minute: int = 0, month: int = 11) -> datetime:
    """An instant by the clock on the wall, in winter."""
    return datetime(2026, month, day, hour, minute, tzinfo=UTC) - timedelta(hours=1)


def granted(reason: Reason = Reason.PASS, amount: int = 1, **outcome: Any) -> Outcome:
    segment = Segment(from_=FRIDAY, pass_=TEN_ID)
    spending = Spending(takes=(Take(TEN_ID, amount),))
    payment = Payment(spending=spending, segment=segment)
    decision = Decision(opens=True, reason=reason, pass_=TEN_ID, payment=payment)
    return Outcome(**{**here(), "decision": decision, "door": "dor-1", **outcome})


def refused(reason: Reason, retry_at: datetime | None = None, **outcome: Any) -> Outcome:
    decision = Decision(opens=False, reason=reason, stopped_pass=TEN_ID, retry_at=retry_at)
    return Outcome(**{**here(), "decision": decision, "door": "dor-1", **outcome})


def here() -> dict[str, Any]:
    return {"at": FRIDAY, "customer": JONAS, "location": BERLIN, "pass_": TEN}
