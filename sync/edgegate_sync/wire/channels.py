"""One table of the MQTT topics and of what they carry, and the AsyncAPI description made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from edgegate_sync.wire import changes, commands, events, peers, state, topics
from edgegate_sync.wire.openapi import API_VERSION
from edgegate_sync.wire.schemas import Schemas


class Party(StrEnum):
    """Who publishes and who subscribes."""

    CLOUD = "cloud"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One topic. All are MQTT 5 and carry UTF-8 JSON."""

    name: str
    address: str
    """A template of `topics`."""
    says: str
    publisher: Party
    subscriber: Party
    payloads: tuple[Any, ...]
    """The types that a message may be of."""
    bytes_max: int
    qos: int = 1
    is_array: bool = False
    """Whether a message is an array of them."""
    retained: bool = False
    expiry_s: int | None = None
    """The message expiry interval that it is published with."""
    reply: str | None = None
    """The channel of the answers, which the message names as response topic."""


_to_device = partial(Channel, publisher=Party.CLOUD, subscriber=Party.DEVICE)
_to_cloud = partial(Channel, publisher=Party.DEVICE, subscriber=Party.CLOUD)
_to_peers = partial(Channel, publisher=Party.DEVICE, subscriber=Party.DEVICE)

CHANNELS = (
    _to_device(
        name="feed",
        address=topics.FEED,
        says="Changes of the site's records. A hint: the pull over HTTP is the truth.",
        payloads=(changes.FeedMessage,),
        bytes_max=changes.MESSAGE_BYTES_MAX,
    ),
    _to_peers(
        name="ledger",
        address=topics.LEDGER,
        says="New entries of a device's ledger, for the other devices of the site (M-01).",
        payloads=(events.Event,),
        bytes_max=events.BATCH_BYTES_MAX,
        is_array=True,
    ),
    _to_peers(
        name="ledger_head",
        address=topics.LEDGER_HEAD,
        says="Where a device's ledger stands, every 10 seconds, so that a lost entry shows.",
        payloads=(peers.PeerHead,),
        bytes_max=peers.PEER_BYTES_MAX,
        qos=0,
        expiry_s=peers.HEAD_EVERY_S,
    ),
    _to_peers(
        name="ledger_request",
        address=topics.LEDGER_REQUEST,
        says="Asks the device whose ledger it is for entries that were missed.",
        payloads=(peers.PeerRequest,),
        bytes_max=peers.PEER_BYTES_MAX,
        expiry_s=peers.REQUEST_EXPIRY_S,
        reply="ledger_answer",
    ),
    _to_peers(
        name="ledger_answer",
        address=topics.LEDGER_ANSWER,
        says="The entries that this device asked another one for; none: there are none.",
        payloads=(events.Event,),
        bytes_max=events.BATCH_BYTES_MAX,
        is_array=True,
        expiry_s=peers.REQUEST_EXPIRY_S,
    ),
    _to_device(
        name="command",
        address=topics.COMMAND,
        says="Tells the device to do something. A retained one is refused.",
        payloads=(commands.SignedCommand,),
        bytes_max=commands.COMMAND_BYTES_MAX,
        expiry_s=commands.LIFETIME_S,
        reply="reply",
    ),
    _to_cloud(
        name="reply",
        address=topics.REPLY,
        says="What came of a command; correlation data is the command's.",
        payloads=(commands.Reply,),
        bytes_max=commands.REPLY_BYTES_MAX,
    ),
    _to_cloud(
        name="state",
        address=topics.STATE,
        says="How the device is doing, on change and each minute; the last will says it is gone.",
        payloads=(state.DeviceState, state.LastWill),
        bytes_max=state.STATE_BYTES_MAX,
        retained=True,
    ),
)
"""Every topic."""

_PARAMETERS = {
    "site": {"description": "The site's name: 1 to 64 letters, digits, dots, dashes, underscores."},
    "device": {"description": "The name of the device whose topic it is, made likewise."},
}


def describe_channels() -> dict[str, Any]:
    """The AsyncAPI 3.0 description as plain data, as a device and its cloud both see it."""
    schemas = Schemas((*(kind for c in CHANNELS for kind in c.payloads), commands.Command))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "edgegate cloud: MQTT topics",
            "version": API_VERSION,
            "description": (
                "MQTT 5 over TLS (8883) or WebSocket (443), with the certificate of the device. "
                "docs/protocol.md says how the messages belong together. A message that is longer "
                "than its `x-maxBytes`, or does not decode, is counted and dropped."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": dict(pair for channel in CHANNELS for pair in _operations(channel)),
        "components": {
            "messages": {channel.name: _message(channel, schemas) for channel in CHANNELS},
            "schemas": schemas.components,
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "address": channel.address,
        "description": channel.says,
        "parameters": {name: _PARAMETERS[name] for name in _names(channel)},
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
    }


def _names(channel: Channel) -> list[str]:
    return [name for name in _PARAMETERS if f"{{{name}}}" in channel.address]


def _operations(channel: Channel) -> list[tuple[str, dict[str, Any]]]:
    """Who sends and who receives; between devices one does either."""
    described: dict[str, Any] = {
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "messages": [{"$ref": f"#/channels/{channel.name}/messages/{channel.name}"}],
        "bindings": {"mqtt": _binding(channel)},
    }
    if channel.reply is not None:
        described["reply"] = {
            "address": {"location": "$message.header#/responseTopic"},
            "channel": {"$ref": f"#/channels/{channel.reply}"},
        }
    return [
        (f"{channel.publisher}_sends_{channel.name}", {"action": "send", **described}),
        (f"{channel.subscriber}_receives_{channel.name}", {"action": "receive", **described}),
    ]


def _binding(channel: Channel) -> Mapping[str, Any]:
    binding = {"qos": channel.qos, "retain": channel.retained, "bindingVersion": "0.2.0"}
    if channel.expiry_s is not None:
        binding["messageExpiryInterval"] = channel.expiry_s
    return binding


def _message(channel: Channel, schemas: Schemas) -> dict[str, Any]:
    found = [schemas.of(kind) for kind in channel.payloads]
    payload = found[0] if len(found) == 1 else {"anyOf": found}
    if channel.is_array:
        payload = {"type": "array", "maxItems": events.BATCH_ENTRIES_MAX, "items": payload}
    described = {"summary": channel.says, "payload": payload, "x-maxBytes": channel.bytes_max}
    if channel.reply is not None:
        described["headers"] = {
            "type": "object",
            "properties": {"responseTopic": {"type": "string"}},
            "description": "MQTT 5 properties: response topic and correlation data.",
        }
    return described
