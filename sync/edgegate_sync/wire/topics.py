"""The names of the MQTT topics, all below `edgegate/1/{site}/`."""

import re
from dataclasses import dataclass

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What sites and devices may be called, so that a name can stand in a topic and a certificate."""

COMMON_NAME_MAX = 64
"""How long `<site>/<device>` may be: the common name of a certificate (RFC 5280, Appendix A)."""


ROOT = "edgegate/1/{site}"
FEED = f"{ROOT}/feed"
LEDGER = f"{ROOT}/ledger/{{device}}"
LEDGER_HEAD = f"{LEDGER}/head"
LEDGER_REQUEST = f"{LEDGER}/request"
LEDGER_ANSWER = f"{ROOT}/devices/{{device}}/ledger"
COMMAND = f"{ROOT}/devices/{{device}}/command"
REPLY = f"{ROOT}/devices/{{device}}/reply"
STATE = f"{ROOT}/devices/{{device}}/state"


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one site; a method takes a device's name, or `+` to subscribe to all.

    Raises:
        ValueError: if a name is not one.
    """

    site: str

    def __post_init__(self) -> None:
        _check(self.site)

    @property
    def root(self) -> str:
        """What all topics of the site begin with."""
        return ROOT.format(site=self.site)

    @property
    def feed(self) -> str:
        """`changes.FeedMessage`: cloud to devices, QoS 1, not retained."""
        return FEED.format(site=self.site)

    def ledger(self, device: str) -> str:
        """A batch of `events`: device to devices, QoS 1, not retained."""
        return self._of(LEDGER, device)

    def ledger_head(self, device: str) -> str:
        """`peers.PeerHead`: device to devices, every 10 seconds, QoS 0, not retained."""
        return self._of(LEDGER_HEAD, device)

    def ledger_request(self, device: str) -> str:
        """`peers.PeerRequest`: the owner of the ledger listens, and answers where it is told."""
        return self._of(LEDGER_REQUEST, device)

    def ledger_answer(self, device: str) -> str:
        """A batch of `events` for the device that asked, which gives this as response topic."""
        return self._of(LEDGER_ANSWER, device)

    def command(self, device: str) -> str:
        """`commands.SignedCommand`: cloud to device, QoS 1, never retained, expires in 10 s."""
        return self._of(COMMAND, device)

    def reply(self, device: str) -> str:
        """`commands.Reply`: device to cloud, QoS 1; what a command gives as response topic."""
        return self._of(REPLY, device)

    def state(self, device: str) -> str:
        """`state.DeviceState` or `state.LastWill`: device to cloud, QoS 1, retained."""
        return self._of(STATE, device)

    def _of(self, template: str, device: str) -> str:
        return template.format(site=self.site, device=_check(device, "+"))

    def device_of(self, topic: str) -> str | None:
        """Which device a topic of this site is of; None for the feed and for strange ones."""
        prefix = self.root + "/"
        if not topic.startswith(prefix):
            return None
        parts = topic.removeprefix(prefix).split("/")
        if len(parts) < 2 or parts[0] not in ("ledger", "devices") or not is_name(parts[1]):
            return None
        return parts[1]


def is_name(text: str) -> bool:
    """Whether something may be called so."""
    return NAME.fullmatch(text) is not None


def common_name(site: str, device: str) -> str:
    """The common name of a device's certificate, which is also its MQTT user name.

    Raises:
        ValueError: if a name is not one, or both together are longer than `COMMON_NAME_MAX`.
    """
    name = f"{_check(site)}/{_check(device)}"
    if len(name) > COMMON_NAME_MAX:
        raise ValueError(f'"{name}" has {len(name)} characters, {COMMON_NAME_MAX} at most')
    return name


def of_common_name(name: str) -> tuple[str, str] | None:
    """Site and device of a certificate's common name, or None if it is none of ours."""
    site, slash, device = name.partition("/")
    return (site, device) if slash and is_name(site) and is_name(device) else None


def _check(name: str, wildcard: str | None = None) -> str:
    if name != wildcard and not is_name(name):
        raise ValueError(f'"{name}" is no name: 1 to 64 letters, digits, dots, dashes, underscores')
    return name
