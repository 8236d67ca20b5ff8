"""A device that proves itself once more right after it came in: answered, and not recorded again.

A phone that fails behind the Accept, or an access point that has it ask at every step, does so ten
times a second for days: a ledger that took each of them would be full. What comes in by the same
proof to the same visit, and may stay for as long, changes nothing; what changes anything is
decided and recorded as ever, and so is one Accept a minute.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from edgegate.passes.decide import credential_fault, decide
from edgegate.passes.facts import Request, day_of
from edgegate.passes.model import Channel, Credential, Customer, Location
from edgegate.passes.reasons import Reason
from edgegate.passes.state import Session
from edgegate.store import wifi_grants
from edgegate.store.books import Books
from edgegate.store.wifi_rows import Grant

AGAIN = timedelta(minutes=1)
"""How long after an Accept was recorded the device's next ones are not."""

_CHANGES_NOTHING = (Reason.COVERED, Reason.STAFF)


class Coming(Struct, frozen=True, kw_only=True):
    """A device that has proven itself, where, and by what."""

    place: str
    station: str
    location: Location
    credential: Credential
    proof: str
    certificate: str


class Rejoined(Struct, frozen=True):
    """By which Accept it is there."""

    grant: Grant
    customer: Customer
    reason: Reason


def rejoined(books: Books, coming: Coming, at: datetime) -> Rejoined | None:
    """The Accept of just now that says all that another one would; None: decide and record."""
    grant = wifi_grants.last_of_device(books.ledger, coming.place, coming.station)
    if grant is None or not at - AGAIN < grant.at <= at or not _is_of(grant, coming, at):
        return None
    customer = books.customer(grant.customer)
    if customer is None:
        return None
    facts = books.facts(customer, coming.location, at)
    decision = decide(facts, Request(at=at, location=coming.location, channel=Channel.WIFI))
    is_as_before = (
        decision.opens
        and decision.payment is None
        and decision.reason in _CHANGES_NOTHING
        and _is_on(facts.session, grant)
    )
    return Rejoined(grant, customer, decision.reason) if is_as_before else None


def _is_on(session: Session | None, grant: Grant) -> bool:
    """Whether the visit is the Accept's, and knows already that its customer is on the Wi-Fi."""
    if session is None:
        return grant.visit is None
    return session.id == grant.visit and session.wifi and session.channel is Channel.WIFI


def _is_of(grant: Grant, coming: Coming, at: datetime) -> bool:
    """Whether an Accept was for this proof, which still counts, here and on this business day."""
    means = (grant.customer, grant.credential, grant.proof, grant.certificate, grant.location)
    credential = coming.credential
    return (
        means
        == (
            credential.customer,
            credential.id,
            coming.proof,
            coming.certificate,
            coming.location.id,
        )
        and credential_fault(credential, at) is None
        and day_of(coming.location, grant.at).name == day_of(coming.location, at).name
    )
