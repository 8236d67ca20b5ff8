"""How a device is doing: retained on its topic, or put over HTTP where there is no broker."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edgegate.passes.model import Instant
from edgegate_sync.wire.changes import Head
from edgegate_sync.wire.errors import read
from edgegate_sync.wire.events import Epoch, Sequence

STATE_BYTES_MAX = 131_072

QUARANTINED_MAX = 100
"""How many quarantined records are named; `quarantined_count` has them all."""

STATE_EVERY_S = 60
"""How often a state is published where nothing changes."""

Word = Annotated[str, Meta(max_length=64)]
Sentence = Annotated[str, Meta(max_length=500)]
Natural = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class LedgerState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the ledger and its upload stand."""

    epoch: Epoch
    sequence: Sequence
    cursor_epoch: Epoch = 0
    cursor_sequence: Sequence = 0
    backlog: Natural = 0
    """Entries that the cloud has not counted."""
    oldest_unsent_at: Instant | None = None


class DriverState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One configured device: `name` as logs name it, `status` a `DriverStatus`."""

    name: Annotated[str, Meta(max_length=200)]
    status: Word
    detail: Sentence = ""


class DiskState(Struct, frozen=True, kw_only=True):
    """The file system that holds the databases."""

    total_bytes: Natural
    free_bytes: Natural


class Quarantined(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record that the device could not use."""

    seq: Annotated[int, Meta(ge=0)]
    kind: Word
    id: Annotated[str, Meta(max_length=128)]
    field: Annotated[str, Meta(max_length=200)] = ""
    error: Sentence
    restricted: tuple[Word, ...] = ()
    """The fields that were taken from it all the same, because they restrict."""


class DeviceState(Struct, frozen=True, kw_only=True):
    """How a device is doing at `at`; what it cannot measure is absent."""

    at: Instant
    version: Word
    boot: Word
    """The boot nonce that commands must name: random, made at each start of the process."""
    uptime_s: Natural
    head: Head
    """Up to which change of the feed it has applied."""
    ledger: LedgerState
    clock: Word
    """A `ClockTrust`."""
    online: Literal[True] = True
    snapshot: bool = False
    """Whether a snapshot is being built."""
    drivers: Annotated[tuple[DriverState, ...], Meta(max_length=512)] = ()
    disk: DiskState | None = None
    temperature_c: float | None = None
    certificate_expires_at: Instant | None = None
    quarantined_count: Natural = 0
    quarantined: Annotated[tuple[Quarantined, ...], Meta(max_length=QUARANTINED_MAX)] = ()
    unknown: Annotated[dict[str, Natural], Meta(max_length=256)] = {}
    """Kinds and fields of a later version that were kept out, and how many of each:
    `{"loyalty_card": 12, "pass.colour": 3}`."""


class LastWill(Struct, frozen=True, kw_only=True):
    """What the broker publishes when it loses the device."""

    online: Literal[False] = False


class _Online(Struct, frozen=True):
    online: bool = True


_state = msgspec.json.Decoder(DeviceState)
_will = msgspec.json.Decoder(_Online)


def decode_state(payload: bytes) -> DeviceState | LastWill:
    """The payload of a state's topic.

    Raises:
        MalformedError: if it is neither.
    """
    if not read(_will, payload, "state", STATE_BYTES_MAX).online:
        return LastWill()
    return read(_state, payload, "state", STATE_BYTES_MAX)
