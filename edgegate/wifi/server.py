"""From RADIUS requests to answers: what was proven, what was decided, what is told.

RFC 2865, 2866, 2869, 3579 and 3580 say which attribute means what.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection
from datetime import timedelta
from ipaddress import ip_address

import msgspec

from edgegate.ports import Clock, OperatingError
from edgegate.wifi.access import Access, Asking, Verdict
from edgegate.wifi.accounting import Accounting
from edgegate.wifi.attributes import AcctStatusType, Attribute, Code
from edgegate.wifi.eap.server import EapServer
from edgegate.wifi.eap.steps import Accepted, Challenge, Failed, Ignored, Proven, Step
from edgegate.wifi.hiding import HiddenValueError, mppe_keys, reveal_password
from edgegate.wifi.mac import asked_by_mac, asked_by_mac_chap, canonical
from edgegate.wifi.nas import Nas, Signing
from edgegate.wifi.packet import VALUE_BYTES_MAX, Attributes, Packet, Reply, number, split
from edgegate.wifi.proofs import ChapProof, LoginProof, MacProof, Proof
from edgegate.wifi.sessions import Report, Status
from edgegate.wifi.turns import Turns
from edgegate.wifi.vendors import kept, vlan_for
from edgegate.wifi.verifiers import CrowdedError

IDENTIFIER_CHARACTERS_MAX = 64
DELAY_S_MAX = 3600
"""A packet that says it waited for longer (Acct-Delay-Time) is not believed about that."""

SESSION_S_MAX = 366 * 86_400
"""No session is longer: what says so counted below zero."""

OCTETS_MAX = 2**63 - 1
"""More than the database holds was counted by no radio."""

TIMEOUT_S_MAX = 2**31 - 1
NAMES_BYTES_MAX = 2048

_STATUSES: dict[int, Status] = {
    AcctStatusType.START: Status.START,
    AcctStatusType.STOP: Status.STOP,
    AcctStatusType.INTERIM_UPDATE: Status.INTERIM,
    AcctStatusType.ACCOUNTING_ON: Status.ON,
    AcctStatusType.ACCOUNTING_OFF: Status.OFF,
}
_OWN_CLASS = re.compile(rb"[0-9a-f]{24}")
_REJECTED = Reply(Code.ACCESS_REJECT)
_TAKEN = Reply(Code.ACCOUNTING_RESPONSE)


class Server:
    """The handlers of both ports."""

    def __init__(
        self,
        access: Access,
        accounting: Accounting,
        clock: Clock,
        *,
        methods: Collection[str],
        interim_s: int,
        turns: Turns,
        on_verdict: Callable[[Verdict], object] = lambda _: None,
    ) -> None:
        self._access = access
        self._accounting = accounting
        self._clock = clock
        self._methods = frozenset(methods)
        self._interim_s = interim_s
        self._turns = turns
        self._on_verdict = on_verdict
        self.eap: EapServer | None = None
        """None while there is no certificate to show, or no EAP method is wanted."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """By access point, how often a request came to nothing, and why."""

    async def authenticate(self, packet: Packet, nas: Nas) -> Reply | None:
        """Answer an Access-Request."""
        asking = self._asking(packet, nas)
        eap = packet.concatenated(Attribute.EAP_MESSAGE)
        if eap is not None:
            return await self._by_eap(eap, packet, nas, asking)
        proof = self._proof(packet, nas)
        if isinstance(proof, MacProof) and _is_anybodys(packet, nas):
            self.counts[nas.id, "a device's address, unsigned"] += 1
            return _REJECTED
        if proof is None:
            self.counts[nas.id, "nothing proven"] += 1
            return _REJECTED
        asking = msgspec.structs.replace(asking, at_portal=not isinstance(proof, MacProof))
        verdict = await self._verdict(proof, asking, nas)
        if verdict is None:
            return None
        return self._accept(verdict, nas) if verdict.accepted else _reject(verdict)

    async def account(self, packet: Packet, nas: Nas) -> Reply | None:
        """Answer an Accounting-Request, once what it says is safe."""
        status = _STATUSES.get(packet.number(Attribute.ACCT_STATUS_TYPE) or 0)
        session = _legible(packet.first(Attribute.ACCT_SESSION_ID) or b"")
        if status is None or (not session and status not in (Status.ON, Status.OFF)):
            # Asking again would not help: it is answered, and is nothing.
            self.counts[nas.id, "accounting of no kind"] += 1
            return _TAKEN
        try:
            await self._accounting.take(self._report(status, session, packet, nas))
        except OperatingError:
            self.counts[nas.id, "accounting not recorded"] += 1
            return None
        return _TAKEN

    async def _by_eap(self, eap: bytes, packet: Packet, nas: Nas, asking: Asking) -> Reply | None:
        if self.eap is None:
            self.counts[nas.id, "no EAP here"] += 1
            return _REJECTED
        state = packet.first(Attribute.STATE)
        mtu = packet.number(Attribute.FRAMED_MTU)
        step: Step = self.eap.step(eap, state, mtu=mtu, source=nas.host)
        refusal: Verdict | None = None
        if isinstance(step, Proven):
            verdict = await self._verdict(step.proof, asking, nas)
            if verdict is not None and verdict.accepted:
                step = step.conversation.accept(verdict)
            else:
                refusal = verdict
                step = step.conversation.refuse("not now" if verdict is None else verdict.reason)
        match step:
            case Challenge(eap, state):
                attributes = (*split(Attribute.EAP_MESSAGE, eap), (int(Attribute.STATE), state))
                return Reply(Code.ACCESS_CHALLENGE, attributes)
            case Accepted(eap, msk, _, Verdict() as admitted):
                keys = mppe_keys(msk, packet.authenticator, nas.secret)
                return self._accept(admitted, nas, (*split(Attribute.EAP_MESSAGE, eap), *keys))
            case Failed(eap, why):
                self.counts[nas.id, why] += 1
                told = refusal if nas.sentence_beside_eap else None
                return _reject(told, split(Attribute.EAP_MESSAGE, eap))
            case Ignored(why):
                self.counts[nas.id, why] += 1
        return None

    async def _verdict(self, proof: Proof, asking: Asking, nas: Nas) -> Verdict | None:
        try:
            verdict = await self._access.decide(proof, asking)
        except CrowdedError as error:
            self.counts[nas.id, str(error)] += 1
            return None
        self._on_verdict(verdict)
        # One commit answers many at once, and what follows has its turn like all else.
        await self._turns.take()
        return verdict

    def _asking(self, packet: Packet, nas: Nas) -> Asking:
        mac = canonical(packet.text(Attribute.CALLING_STATION_ID) or "") or ""
        return Asking(
            nas=nas.id,
            place=_place(packet, nas),
            location=nas.location,
            address=nas.host,
            names=_names(packet),
            station=self._access.station(mac),
        )

    def _proof(self, packet: Packet, nas: Nas) -> Proof | None:
        """What a request without EAP proves, by a method that is wanted here."""
        name = packet.text(Attribute.USER_NAME) or ""
        calling = packet.text(Attribute.CALLING_STATION_ID)
        chap = packet.first(Attribute.CHAP_PASSWORD)
        if chap is not None:
            challenge = packet.first(Attribute.CHAP_CHALLENGE) or packet.authenticator
            mac = asked_by_mac_chap(name, chap, challenge, calling)
            if mac is not None and "mac" in self._methods:
                return MacProof(mac)
            return ChapProof(name, chap, challenge) if "chap" in self._methods else None
        hidden = packet.first(Attribute.USER_PASSWORD)
        try:
            password = hidden and reveal_password(hidden, packet.authenticator, nas.secret)
        except HiddenValueError:
            return None
        mac = asked_by_mac(name, password, calling)
        if mac is not None and "mac" in self._methods:
            return MacProof(mac)
        if password is None or "pap" not in self._methods:
            return None
        return LoginProof(name, password)

    def _accept(self, verdict: Verdict, nas: Nas, more: Attributes = ()) -> Reply:
        attributes: list[tuple[int, bytes]] = list(more)
        name = verdict.customer.encode()
        if len(name) <= VALUE_BYTES_MAX:
            attributes.append((Attribute.USER_NAME, name))
        timeout_s = min(verdict.session_timeout_s, TIMEOUT_S_MAX)
        # No Termination-Action: with it hostapd let access outlive the pass (WIFI.md).
        attributes += (
            (Attribute.CLASS, verdict.class_.encode()),
            (Attribute.SESSION_TIMEOUT, number(timeout_s)),
            (Attribute.ACCT_INTERIM_INTERVAL, number(self._interim_s)),
        )
        if verdict.vlan is not None:
            attributes += vlan_for(nas.vendor, verdict.vlan)
        return Reply(Code.ACCESS_ACCEPT, tuple(attributes))

    def _report(self, status: Status, session: str, packet: Packet, nas: Nas) -> Report:
        now = self._clock.now()
        delay_s = min(packet.number(Attribute.ACCT_DELAY_TIME) or 0, DELAY_S_MAX)
        mac = canonical(packet.text(Attribute.CALLING_STATION_ID) or "") or ""
        return Report(
            status=status,
            nas=nas.id,
            place=_place(packet, nas),
            location=nas.location,
            at=now - timedelta(seconds=delay_s),
            told_at=now,
            number=session,
            class_=_class(packet),
            station=self._access.station(mac),
            names=_names(packet),
            address=nas.host,
            seconds=_seconds(packet),
            received=_octets(packet, Attribute.ACCT_INPUT_OCTETS, Attribute.ACCT_INPUT_GIGAWORDS),
            sent=_octets(packet, Attribute.ACCT_OUTPUT_OCTETS, Attribute.ACCT_OUTPUT_GIGAWORDS),
            cause=packet.number(Attribute.ACCT_TERMINATE_CAUSE),
        )


def _is_anybodys(packet: Packet, nas: Nas) -> bool:
    """Whether a request for a device could be made without the secret, by whoever has its address.

    A hidden password, though it be empty, is legible only if the secret hid it.
    """
    is_proven = packet.signed_at or packet.first(Attribute.USER_PASSWORD) is not None
    return not is_proven and nas.signing is not Signing.NO


def _reject(verdict: Verdict | None, more: Attributes = ()) -> Reply:
    if verdict is None:
        return Reply(Code.ACCESS_REJECT, more)
    sentence = verdict.sentence.encode()[:VALUE_BYTES_MAX].decode(errors="ignore").encode()
    return Reply(Code.ACCESS_REJECT, (*more, (int(Attribute.REPLY_MESSAGE), sentence)))


def _place(packet: Packet, nas: Nas) -> str:
    """Which access point of a network, behind a controller or a proxy: its sessions end together.

    RFC 2865 §4.1 has each request say NAS-Identifier or an address; who says neither, the radio.
    """
    named = packet.first(Attribute.NAS_IDENTIFIER)
    name = _own_address(packet, nas) if named is None else _legible(named)
    return f"{nas.id}/{nas.host}/{name[:IDENTIFIER_CHARACTERS_MAX]}"


def _own_address(packet: Packet, nas: Nas) -> str:
    """What an access point calls itself that has no name; empty where that says nothing new."""
    for kind, octets in ((Attribute.NAS_IP_ADDRESS, 4), (Attribute.NAS_IPV6_ADDRESS, 16)):
        address = packet.first(kind)
        if address is not None and len(address) == octets:
            own = str(ip_address(address))
            return "" if own == nas.host else own
    return _legible(packet.first(Attribute.CALLED_STATION_ID) or b"")


def _names(packet: Packet) -> bytes:
    names = msgspec.msgpack.encode(kept(packet.attributes))
    return names if len(names) <= NAMES_BYTES_MAX else b""


def _class(packet: Packet) -> str | None:
    """The Class that was given with the Accept; proxies add ones of their own."""
    every = packet.every(Attribute.CLASS)
    own = [value for value in every if _OWN_CLASS.fullmatch(value)]
    return _legible((own or every)[0]) if every else None


def _legible(name: bytes) -> str:
    """A name as it was sent, or in hex: people meet it in the ledger, in logs and on terminals."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return name.hex()
    return text if text.isprintable() else name.hex()


def _seconds(packet: Packet) -> int:
    seconds = packet.number(Attribute.ACCT_SESSION_TIME) or 0
    return seconds if seconds <= SESSION_S_MAX else 0


def _octets(packet: Packet, low: Attribute, high: Attribute) -> int:
    octets = (packet.number(high) or 0) << 32 | (packet.number(low) or 0)
    return octets if octets <= OCTETS_MAX else 0
