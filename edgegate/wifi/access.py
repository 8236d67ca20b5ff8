"""Who may use the Wi-Fi: identify, verify and decide, down the same line as a tap.

All of it is one job of the database thread, but for passwords that people chose: those are checked
in a thread between a job that finds the verifier and one that decides.
"""

import logging
import os
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct

from edgegate.bookkeeper import Afterwards, Bookkeeper
from edgegate.checkin import Outcome, enter_with
from edgegate.credentials.lookup import lookup
from edgegate.deadlines import FAULT_CHARACTERS_MAX, settle, view
from edgegate.passes.facts import Request, day_of
from edgegate.passes.happenings import Denied
from edgegate.passes.model import Channel, Credential, CredentialKind, Customer, Location
from edgegate.passes.payment import refuse
from edgegate.passes.reasons import Reason
from edgegate.passes.visits import deadline
from edgegate.ports import Clock, OperatingError
from edgegate.sentences import member
from edgegate.store import cache, wifi, wifi_grants, wifi_rows
from edgegate.store.books import Books
from edgegate.store.projection import microseconds
from edgegate.store.thread import Urgency
from edgegate.wifi import verifiers
from edgegate.wifi.proofs import CertificateProof, ChapProof, LoginProof, MacProof, Proof
from edgegate.wifi.refusals import Refusals
from edgegate.wifi.rejoin import Coming, rejoined
from edgegate.wificonfig import VlanSection

CLASS_BYTES = 12
TIME_BYTES = 6
"""What a Class begins with are milliseconds since 1970; after them no two are the same by chance.

Names that come in no order would each change another page of their table, and write it to disk.
"""

_WRONG = (Reason.UNKNOWN_CREDENTIAL, Reason.CREDENTIAL_FORGED)

log = logging.getLogger(__name__)


class Rules(Struct, frozen=True, kw_only=True):
    """What of the configuration a decision follows."""

    devices_max: int = 5
    learn_macs_days: int = 0
    vlans: VlanSection = VlanSection()


class Asking(Struct, frozen=True, kw_only=True):
    """Which access point asks, and for which device."""

    nas: str
    place: str
    """Which of a network of access points."""
    location: str
    address: str = ""
    """Where Disconnect-Requests go."""
    names: bytes = b""
    """What may name the device to the access point (`edgegate.wifi.vendors.kept`)."""
    station: str = ""
    """The keyed hash of the device's address."""
    at_portal: bool = False
    """Whether somebody signed in on a page, so that the device itself may be remembered."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What an access point is told."""

    reason: Reason
    sentence: str = ""
    """For whoever is refused; nothing else is said to a device that comes in."""
    accepted: bool = False
    customer: str = ""
    class_: str = ""
    session_timeout_s: int = 0
    vlan: int | None = None
    again: bool = False
    """Whether it is the answer of just now, which is not recorded again."""


class _Slow(Struct, frozen=True):
    """Nothing is decided yet: this verifier has to be checked first."""

    verifier: str
    device: str
    """The one that asks, where it came in by this login before."""


class _Question(Struct, frozen=True):
    """What is asked, with the number under which whoever asks is known."""

    proof: Proof
    number: str
    asking: Asking
    at: datetime
    checked: tuple[str, bool] | None = None
    """A slow verifier that was checked, and whether the password fits it."""


class Access:
    """Answers for all access points."""

    def __init__(
        self,
        keeper: Bookkeeper,
        afterwards: Afterwards,
        clock: Clock,
        site_key: bytes,
        rules: Rules,
    ) -> None:
        self._keeper = keeper
        self._afterwards = afterwards
        self._clock = clock
        self._site_key = site_key
        self._rules = rules
        self._slowly = verifiers.Slowly()
        self.refusals = Refusals()
        self.guessed: Counter[str] = Counter()
        """By access point, how many passwords nobody looked at after too many wrong ones."""

    def station(self, mac: str) -> str:
        """Under what a device's address is recorded; empty for none."""
        return lookup(self._site_key, CredentialKind.MAC, mac.encode()) if mac else ""

    async def decide(self, proof: Proof, asking: Asking) -> Verdict:
        """Decide about one request; the boundary of faults inside it.

        Raises:
            CrowdedError: too many passwords wait to be checked; say nothing.
        """
        at = self._clock.now()
        question = _Question(proof, self._number(proof), asking, at)
        looked = False
        try:
            found = await self._ask(question)
            if isinstance(found, _Slow) and isinstance(proof, LoginProof):
                fits, looked = await self._look(found, proof, asking)
                checked = (found.verifier, fits)
                found = await self._ask(
                    _Question(proof, question.number, asking, self._clock.now(), checked)
                )
        except verifiers.CrowdedError:
            raise
        except OperatingError as error:
            log.error("refused at %s: %s", asking.nas, error)  # noqa: TRY400 - no trace needed
            return _refused(Reason.STORAGE_FAILED, at)
        except Exception as error:
            # One poisonous member must not take the Wi-Fi from all: the one boundary of a request.
            log.exception("refused at %s after a fault in the rules", asking.nas)
            trace = "".join(traceback.format_exception(error))[-FAULT_CHARACTERS_MAX:]
            self._afterwards.note(partial(_failed, question, trace, self.refusals))
            return _refused(Reason.INTERNAL_ERROR, at)
        if isinstance(found, _Slow):
            raise verifiers.CrowdedError("the password was changed at this moment")
        if found.reason in _WRONG and isinstance(proof, LoginProof) and not looked:
            await self._slowly.pretend()
        return found

    async def _look(self, slow: _Slow, proof: LoginProof, asking: Asking) -> tuple[bool, bool]:
        """Whether a password that somebody chose fits, and whether it was looked at."""
        try:
            return await self._slowly.fits(slow.verifier, proof.password, slow.device), True
        except verifiers.HastyError:
            # It is refused, and not passed over: access points give up a server that is silent.
            self.guessed[asking.nas] += 1
            return False, False

    async def _ask(self, question: _Question) -> Verdict | _Slow:
        job = partial(_decided, question, self._rules, self._known, self.refusals)
        return await self._keeper.do(job, Urgency.WIFI)

    def _number(self, proof: Proof) -> str:
        if isinstance(proof, MacProof):
            return self.station(proof.mac)
        return lookup(self._site_key, CredentialKind.WIFI_LOGIN, proof.name.encode())

    def _known(self, credential: Credential, question: _Question) -> bool | None:
        """Whether the proof is this credential's; None: only a slow check can tell."""
        proof = question.proof
        if isinstance(proof, MacProof | CertificateProof):
            return True
        verifier = credential.verifier
        if not verifiers.is_slow(verifier):
            return verifiers.fits(verifier, proof, self._site_key, question.number)
        if isinstance(proof, ChapProof) or len(proof.password) > verifiers.PASSWORD_BYTES_MAX:
            return False
        if question.checked is not None and question.checked[0] == verifier:
            return question.checked[1]
        return self._slowly.known(verifier, proof.password)


Known = Callable[[Credential, _Question], bool | None]


def _decided(
    question: _Question, rules: Rules, known: Known, refusals: Refusals, books: Books
) -> Verdict | _Slow:
    """Identify, verify, decide and record, as one job."""
    settle(books, question.at)
    refusing = refusals.take(books, question.asking.nas, question.at)
    location = books.location(question.asking.location)
    credential = _credential(question, books)
    if credential is None or location is None:
        # The cache knows nothing of this place, so no pass can be checked here.
        unplaced = credential is not None
        reason = Reason.LEASE_EXPIRED if unplaced else Reason.UNKNOWN_CREDENTIAL
        return _turned_away(question, location, reason, None, refusing)
    fits = known(credential, question)
    if fits is None:
        station = question.asking.station
        came = wifi_rows.was_accepted(books.ledger, credential.customer, station)
        return _Slow(credential.verifier, station if came else "")
    if not fits:
        reason = Reason.CREDENTIAL_FORGED
        return _turned_away(question, location, reason, credential, refusing)
    verdict = _again(question, rules, location, credential, books)
    if verdict is not None:
        return verdict
    request = Request(at=question.at, location=location, channel=Channel.WIFI)
    outcome = enter_with(books, request, credential, refusing)
    customer = outcome.customer
    if not outcome.decision.opens or customer is None:
        return Verdict(reason=outcome.decision.reason, sentence=member(outcome))
    return _accepted(question, rules, outcome, customer, credential, books)


def _credential(question: _Question, books: Books) -> Credential | None:
    """Whose proof it is; a device may have been learnt from somebody's login on it."""
    credential = books.credential(question.number)
    if credential is not None or not isinstance(question.proof, MacProof):
        return credential
    learnt = wifi_rows.learnt(books.ledger, question.number, question.at)
    if learnt is None:
        return None
    customer, credential_id, proof = learnt
    credential = books.record_of(cache.CREDENTIAL, credential_id)
    if credential is None or credential.customer != customer:
        return None
    return credential if verifiers.digest_of(credential.verifier) == proof else None


def _turned_away(
    question: _Question,
    location: Location | None,
    reason: Reason,
    credential: Credential | None,
    refusing: Callable[[Denied], None],
) -> Verdict:
    """Refuse before any pass is looked at; of whoever nobody can name a keyed hash is recorded."""
    denied = Denied(
        location="" if location is None else location.id,
        channel=Channel.WIFI,
        reason=reason,
        customer=None if credential is None else credential.customer,
        credential=None if credential is None else credential.id,
        lookup=question.number if credential is None else None,
    )
    refusing(denied)
    return _refused(reason, question.at)


def _again(
    question: _Question, rules: Rules, location: Location, credential: Credential, books: Books
) -> Verdict | None:
    """What a device is told that changes nothing by proving itself again; None: decide."""
    at, asking = question.at, question.asking
    proof, certificate = _means(question, credential)
    coming = Coming(
        place=asking.place,
        station=asking.station,
        location=location,
        credential=credential,
        proof=proof,
        certificate=certificate,
    )
    found = rejoined(books, coming, at)
    if found is None:
        return None
    grant, customer = found.grant, found.customer
    if right_of(books, customer.id, location.id, at) != (grant.visit, grant.until):
        return None
    wifi_grants.note_again(books.ledger, grant.class_, at, asking.names, asking.address)
    return Verdict(
        reason=found.reason,
        accepted=True,
        customer=customer.id,
        class_=grant.class_,
        session_timeout_s=_timeout_s(grant.until, at),
        vlan=_vlan(books, customer, rules.vlans, at),
        again=True,
    )


def _means(question: _Question, credential: Credential) -> tuple[str, str]:
    """By what somebody came in: what is remembered of a verifier, or a certificate's number."""
    if isinstance(question.proof, CertificateProof):
        return "", question.proof.serial
    return verifiers.digest_of(credential.verifier), ""


def _timeout_s(until: datetime, at: datetime) -> int:
    return max(1, (until - at) // timedelta(seconds=1))


def _accepted(
    question: _Question,
    rules: Rules,
    outcome: Outcome,
    customer: Customer,
    credential: Credential,
    books: Books,
) -> Verdict:
    at, asking = question.at, question.asking
    # To gather the facts again would take as long as the entry did.
    set_now = books.deadline_of(customer.id, asking.location) if outcome.is_scheduled else None
    visit, until = set_now or right_of(books, customer.id, asking.location, at)
    proof, certificate = _means(question, credential)
    accepted = wifi.Accepted(
        class_=_class(at),
        customer=customer.id,
        location=asking.location,
        nas=asking.nas,
        place=asking.place,
        station=asking.station,
        visit=visit,
        credential=credential.id,
        proof=proof,
        certificate=certificate,
        until=until,
        learnt_until=_learnt_until(question, rules),
    )
    wifi.accept(books, accepted, at, asking.names, asking.address)
    send_off_oldest(books, customer.id, asking.station, rules.devices_max)
    return Verdict(
        reason=outcome.decision.reason,
        accepted=True,
        customer=customer.id,
        class_=accepted.class_,
        session_timeout_s=_timeout_s(until, at),
        vlan=_vlan(books, customer, rules.vlans, at),
    )


def _class(at: datetime) -> str:
    """What an Accept is known by: by its time first, so that those of one hour lie together."""
    at_ms = microseconds(at) // 1000 % (1 << 8 * TIME_BYTES)
    return (at_ms.to_bytes(TIME_BYTES) + os.urandom(CLASS_BYTES - TIME_BYTES)).hex()


def right_of(
    books: Books, customer_id: str, location_id: str, at: datetime
) -> tuple[str | None, datetime]:
    """The visit by which somebody who was just admitted is on the Wi-Fi, and its end (S-13).

    Whoever has none, as staff, is asked again at the next cutoff.
    """
    session = books.session_of(customer_id, location_id)
    if session is None:
        location = books.location(location_id) or Location(id=location_id)
        return None, day_of(location, at).ends
    facts, request = view(books, session, at)
    until = deadline(session, facts, request)
    books.set_deadline(session.id, until)
    return session.id, until


def send_off_oldest(
    books: Books,
    customer_id: str,
    station: str,
    devices_max: int,
    but: wifi_rows.Key | None = None,
) -> None:
    """Make room for a device, or the session `but`: of those beyond the limit the oldest lose."""
    devices = wifi_rows.devices_of(books.ledger, customer_id)
    own = [d for d in devices if (station and d[0].station == station) or d[0].key == but]
    others = [d for d in devices if d not in own]
    for device in others[: max(0, len(others) + 1 - devices_max)]:
        for row in device:
            wifi_rows.mark_surplus(books.ledger, row.key)


def _learnt_until(question: _Question, rules: Rules) -> datetime | None:
    signed_in = isinstance(question.proof, LoginProof | ChapProof) and question.asking.at_portal
    if not signed_in or not question.asking.station or not rules.learn_macs_days:
        return None
    return question.at + timedelta(days=rules.learn_macs_days)


def _vlan(books: Books, customer: Customer, vlans: VlanSection, at: datetime) -> int | None:
    """Into which network somebody goes: a team before a plan, in the configuration's order."""
    if customer.team is not None and customer.team in vlans.teams:
        return vlans.teams[customer.team]
    if vlans.plans:
        held = books.held_by(customer, cache.CONTRACT)
        plans = {
            c.plan
            for c in held
            if (c.starts_at is None or c.starts_at <= at) and (c.ends_at is None or at < c.ends_at)
        }
        for plan, vlan in vlans.plans.items():
            if plan in plans:
                return vlan
    return vlans.default


def _refused(reason: Reason, at: datetime) -> Verdict:
    outcome = Outcome(at=at, decision=refuse(reason), channel=Channel.WIFI)
    return Verdict(reason=reason, sentence=member(outcome))


def _failed(question: _Question, trace: str, refusals: Refusals, books: Books) -> None:
    denied = Denied(
        location=question.asking.location,
        channel=Channel.WIFI,
        reason=Reason.INTERNAL_ERROR,
        lookup=question.number,
        fault=trace,
    )
    refusals.take(books, question.asking.nas, question.at)(denied)
