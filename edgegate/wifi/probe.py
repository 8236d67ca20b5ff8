"""`edgegate wifi test`: asks this computer's own server as an access point does, step by step.

Every step says what was tried, what came of it and, where that is wrong, what to do about it.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from msgspec import Struct

from edgegate.credentials import passwords
from edgegate.wifi.asking import ClosedError, ForgedError, Line, SilenceError
from edgegate.wifi.attributes import (
    AcctStatusType,
    Attribute,
    Code,
    MicrosoftAttribute,
    Vendor,
)
from edgegate.wifi.eap.fragments import FragmentError
from edgegate.wifi.hiding import HiddenValueError, hide_password, reveal_salted
from edgegate.wifi.nas import Nas
from edgegate.wifi.packet import Attributes, Packet, number, split
from edgegate.wifi.peer import Peer, PeerError, Trust
from edgegate.wifi.profiles.handout import Login

TURNS_MAX = 64
"""No conversation of EAP takes more requests than that."""

STATION = "02-00-5E-00-53-01"
"""A made-up device's address: locally administered, behind IANA's prefix (RFC 7042 §2.1.1)."""

NAS_IDENTIFIER = b"edgegate wifi test"
_FRAMED_MTU = 1400
_WIRELESS = 19
"""NAS-Port-Type Wireless - IEEE 802.11: RFC 2865 §5.41."""


class Finding(Struct, frozen=True, kw_only=True):
    """What came of one step."""

    tried: str
    good: bool
    came: str
    advice: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be tried."""

    nas: Nas
    """With the address to ask from as its network."""
    host: str
    auth_port: int
    acct_port: int
    methods: tuple[str, ...]
    trust: Trust | None
    """None: nobody knows whom devices are to trust."""
    login: Login | None = None
    """None: a made-up one, which has to be refused."""
    mac: str = ""
    accounting: bool = False
    at: datetime


Refused = Callable[[], Mapping[str, int]]
"""Why the daemon answered nothing, and how often, as it counts itself; empty: it does not say."""


class _WrongError(Exception):
    """A step that went wrong: what came, and what to do."""

    def __init__(self, came: str, advice: str) -> None:
        super().__init__(came)
        self.advice = advice


class Probe:
    """One run."""

    def __init__(self, plan: Plan, refused: Refused = dict) -> None:
        self._plan = plan
        self._refused = refused
        self._login = plan.login or Login(passwords.new_name(), passwords.new_password())
        self._class = b""
        self._before: dict[str, int] = {}

    def run(self) -> Iterator[Finding]:
        """Try one after the other; where nobody answers at all, the rest is left out."""
        plan = self._plan
        status = self._step(
            f"Status-Server to {plan.host}, port {plan.auth_port}", self._status, plan.auth_port
        )
        yield status
        yield self._step(
            f"Status-Server to {plan.host}, port {plan.acct_port}", self._status, plan.acct_port
        )
        if not status.good:
            return
        if "pap" in plan.methods:
            yield self._step(f"PAP as {self._login.name}", self._pap)
        if "eap-ttls" in plan.methods:
            yield self._step(f"EAP-TTLS/PAP as {self._login.name}", self._ttls)
        if plan.mac:
            yield self._step(f"the device {plan.mac}", self._mac)
        if plan.accounting:
            yield self._step("accounting, start and stop", self._accounting)

    def _step(self, tried: str, step: Callable[..., str], *arguments: object) -> Finding:
        self._before = dict(self._refused())
        try:
            return Finding(tried=tried, good=True, came=step(*arguments))
        except (_WrongError, PeerError) as error:
            return Finding(tried=tried, good=False, came=str(error), advice=error.advice)

    def _status(self, port: int) -> str:
        packet, _ = self._ask(port, Code.STATUS_SERVER, ())
        return f"answered: {Code(packet.code).name.replace('_', '-').title()}"

    def _pap(self) -> str:
        authenticator = os.urandom(16)
        secret, password = self._plan.nas.secret, self._login.password.encode()
        try:
            hidden = hide_password(password, authenticator, secret)
        except HiddenValueError as error:
            raise _WrongError(str(error), "RADIUS carries no longer password by PAP.") from error
        attributes = (
            (int(Attribute.USER_NAME), self._login.name.encode()),
            (int(Attribute.USER_PASSWORD), hidden),
            *self._common(),
        )
        packet, _ = self._ask(self._plan.auth_port, Code.ACCESS_REQUEST, attributes, authenticator)
        return self._judged(packet)

    def _mac(self) -> str:
        authenticator = os.urandom(16)
        mac = self._plan.mac
        hidden = hide_password(mac.encode(), authenticator, self._plan.nas.secret)
        attributes = (
            (int(Attribute.USER_NAME), mac.encode()),
            (int(Attribute.USER_PASSWORD), hidden),
            *self._common(mac),
        )
        packet, _ = self._ask(self._plan.auth_port, Code.ACCESS_REQUEST, attributes, authenticator)
        if packet.code == Code.ACCESS_ACCEPT:
            return self._accepted(packet)
        raise _WrongError(
            f"refused: {_sentence(packet)}",
            'Is the device known ("edgegate cloud wifi-device"), and "mac" among [wifi] methods?',
        )

    def _ttls(self) -> str:
        if self._plan.trust is None:
            raise _WrongError(
                "nobody knows whom devices trust", "Name the authority with --ca FILE."
            )
        peer = Peer(self._plan.trust, self._login, self._plan.at)
        said, state = peer.first(), b""
        for _ in range(TURNS_MAX):
            packet, authenticator = self._eap(said, state)
            eap = packet.concatenated(Attribute.EAP_MESSAGE)
            if packet.code != Code.ACCESS_CHALLENGE:
                return self._eap_judged(peer, packet, authenticator, eap)
            state = packet.first(Attribute.STATE) or b""
            try:
                said = peer.answer(eap or b"")
            except FragmentError as error:
                raise _WrongError(f"the server sent {error}", _LOG) from error
        raise _WrongError("the conversation has no end", _LOG)

    def _eap(self, said: bytes, state: bytes) -> tuple[Packet, bytes]:
        attributes = (
            (int(Attribute.USER_NAME), b"anonymous"),
            (int(Attribute.FRAMED_MTU), number(_FRAMED_MTU)),
            *split(Attribute.EAP_MESSAGE, said),
            *(((int(Attribute.STATE), state),) if state else ()),
            *self._common(),
        )
        return self._ask(self._plan.auth_port, Code.ACCESS_REQUEST, attributes)

    def _eap_judged(
        self, peer: Peer, packet: Packet, authenticator: bytes, eap: bytes | None
    ) -> str:
        if eap is None:
            raise _WrongError(
                "refused before EAP began",
                "The server has no certificate to show: see edgegate wifi certificate and status.",
            )
        if peer.certificate is None:
            raise _WrongError("EAP failed before TLS was up", 'Is "eap-ttls" among [wifi] methods?')
        if packet.code == Code.ACCESS_ACCEPT and not self._has_keys(peer, packet, authenticator):
            raise _WrongError("accepted, but with other keys than the device has", _FORGED)
        ends = peer.certificate.not_valid_after_utc
        shown = f"{peer.version}, certificate good until {ends:%Y-%m-%d}"
        return f"{self._judged(packet)}; {shown}"

    def _has_keys(self, peer: Peer, packet: Packet, authenticator: bytes) -> bool:
        """Whether the access point was told what the device derived (RFC 2548 §2.4)."""
        kinds = (MicrosoftAttribute.MPPE_RECV_KEY, MicrosoftAttribute.MPPE_SEND_KEY)
        try:
            keys = b"".join(
                reveal_salted(
                    packet.vendor(Vendor.MICROSOFT, kind) or b"",
                    authenticator,
                    self._plan.nas.secret,
                )
                for kind in kinds
            )
        except HiddenValueError:
            return False
        return secrets.compare_digest(keys, peer.msk())

    def _accounting(self) -> str:
        session = f"test-{secrets.token_hex(4)}".encode()
        for status, seconds in ((AcctStatusType.START, 0), (AcctStatusType.STOP, 1)):
            attributes = (
                (int(Attribute.ACCT_STATUS_TYPE), number(status)),
                (int(Attribute.ACCT_SESSION_ID), session),
                (int(Attribute.ACCT_SESSION_TIME), number(seconds)),
                *(((int(Attribute.CLASS), self._class),) if self._class else ()),
                *self._common(),
            )
            self._ask(self._plan.acct_port, Code.ACCOUNTING_REQUEST, attributes)
        whose = "" if self._class else "; the session was nobody's, as no login was accepted"
        return f"start and stop were taken{whose}"

    def _judged(self, packet: Packet) -> str:
        """What a decision comes to: a made-up login has to be refused."""
        if packet.code == Code.ACCESS_ACCEPT:
            if self._plan.login is None:
                raise _WrongError(
                    "a made-up login was let in", "Look who else answers at this port."
                )
            return self._accepted(packet)
        told = _sentence(packet)
        if self._plan.login is None:
            return f'refused, as a made-up login has to be: "{told}"'
        raise _WrongError(
            f'refused: "{told}"',
            "The sentence is what the member's device is told; edgegate explain --customer ID says"
            " which pass fails, and why. Name or password: have the password renewed.",
        )

    def _accepted(self, packet: Packet) -> str:
        self._class = packet.first(Attribute.CLASS) or b""
        who = packet.text(Attribute.USER_NAME) or "somebody"
        left_s = packet.number(Attribute.SESSION_TIMEOUT) or 0
        vlan = packet.text(Attribute.TUNNEL_PRIVATE_GROUP_ID)
        return f"let in as {who} for {left_s // 60} minutes{f', VLAN {vlan}' if vlan else ''}"

    def _common(self, station: str = STATION) -> Attributes:
        return (
            (int(Attribute.NAS_IDENTIFIER), NAS_IDENTIFIER),
            (int(Attribute.NAS_PORT_TYPE), number(_WIRELESS)),
            (int(Attribute.CALLING_STATION_ID), station.encode()),
        )

    def _ask(
        self, port: int, code: Code, attributes: Attributes, authenticator: bytes | None = None
    ) -> tuple[Packet, bytes]:
        try:
            line = Line(self._plan.nas, self._plan.host, port)
        except OSError as error:
            told = error.strerror or str(error)
            raise _WrongError(f"nothing can be sent there: {told}", _CLOSED) from error
        try:
            return line.ask(code, attributes, authenticator)
        except ClosedError as error:
            raise _WrongError(f"nobody listens: {error}", _CLOSED) from error
        except ForgedError as error:
            raise _WrongError(
                f"an answer that the secret did not make: {error}", _FORGED
            ) from error
        except SilenceError as error:
            now = self._refused().items()
            raise _silence([w for w, n in now if n > self._before.get(w, 0)]) from error
        finally:
            line.close()


_CLOSED = (
    "Is the daemon running (systemctl status edgegate), and did it get the port (edgegate status)?"
    " Another RADIUS server may have it: ss -lunp."
)
_LOG = "See the daemon's log: journalctl -u edgegate."
_SECRETS_DIFFER = (
    "Its file was changed since the daemon was started: systemctl restart edgegate. On the access"
    " point type the secret anew: no space or line end belongs to it."
)
_STRANGER = (
    "The configuration was changed since the daemon was started: systemctl restart edgegate."
)
_NOTHING = (
    "A firewall may drop it (nft list ruleset), the secret may differ, or the daemon does not know"
    " this access point yet: systemctl restart edgegate."
)
_FORGED = (
    "Another RADIUS server may answer here (ss -lunp), or the secret was changed since the daemon"
    " was started: systemctl restart edgegate."
)


def _silence(refused: list[str]) -> _WrongError:
    """What nothing means, by what the daemon says that it refused meanwhile."""
    counted = "; ".join(refused)
    if any("authenticator" in why for why in refused):
        return _WrongError(f"no answer: the secrets differ ({counted})", _SECRETS_DIFFER)
    if any(why.startswith("strangers") for why in refused):
        return _WrongError(f"no answer: the daemon does not know who asks ({counted})", _STRANGER)
    if refused:
        return _WrongError(f"no answer: {counted}", _LOG)
    return _WrongError("no answer", _NOTHING)


def _sentence(packet: Packet) -> str:
    return packet.text(Attribute.REPLY_MESSAGE) or "without a word"
