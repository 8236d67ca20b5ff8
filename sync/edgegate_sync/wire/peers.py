"""What the devices of a site tell each other of their ledgers (M-01), beside the entries."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from edgegate_sync.wire.errors import read
from edgegate_sync.wire.events import BATCH_ENTRIES_MAX, Epoch, Sequence, Sha256

HEAD_EVERY_S = 10
"""How often a device publishes where its ledger stands, so that a lost entry shows."""

PEER_BYTES_MAX = 4_096

REQUEST_EXPIRY_S = 30
"""How long a request and its answer may lie with the broker: whoever misses them asks anew."""


class PeerHead(Struct, frozen=True, kw_only=True):
    """Where a device's ledger stands."""

    epoch: Epoch
    sequence: Sequence
    hash: Sha256


class PeerRequest(Struct, frozen=True, kw_only=True):
    """Asks for the entries that follow one; the answer is a batch on the response topic.

    An empty batch says that the owner has none there.
    """

    epoch: Epoch
    after: Sequence
    """The last sequence of that epoch that whoever asks has; 0: none."""
    count: Annotated[int, Meta(ge=1, le=BATCH_ENTRIES_MAX)] = BATCH_ENTRIES_MAX


_head = msgspec.json.Decoder(PeerHead)
_request = msgspec.json.Decoder(PeerRequest)


def decode_head(payload: bytes) -> PeerHead:
    """The payload of a head's topic, or a `MalformedError`."""
    return read(_head, payload, "peer head", PEER_BYTES_MAX)


def decode_request(payload: bytes) -> PeerRequest:
    """The payload of a request's topic, or a `MalformedError`."""
    return read(_request, payload, "peer request", PEER_BYTES_MAX)
