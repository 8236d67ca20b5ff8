"""Keeps the broker's list of clients the same as the cloud's list of devices.

It speaks to mosquitto's dynamic security plugin (mosquitto 2, "mosquitto_dynamic_security" manual
page: commands as JSON on $CONTROL/dynamic-security/v1). Each device has a role of its own. The two
lists are compared, so that what was missed while the broker was away is made up for.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from sqlalchemy import select

from edgegate_sync.cloud.database import Database, fetch
from edgegate_sync.cloud.tables import device
from edgegate_sync.wire.topics import Topics, common_name

COMMANDS_MAX = 50
"""Commands in one message to the broker."""

REQUEST = "$CONTROL/dynamic-security/v1"
RESPONSE = "$CONTROL/dynamic-security/v1/response"

SEND = ("publishClientSend",)
HEAR = ("publishClientReceive", "subscribePattern", "unsubscribePattern")

Command = dict[str, Any]
Call = Callable[[bytes], Awaitable[bytes]]
"""Publishes a request and returns the broker's response."""


class DynsecError(RuntimeError):
    """The broker refused what it was told, or has no dynamic security."""


def rights(site: str, name: str) -> list[Command]:
    """What a device may do with which topics: what the protocol has it do, no more."""
    topics = Topics(site)
    send = (
        topics.state(name),
        topics.reply(name),
        topics.ledger(name),
        topics.ledger_head(name),
        topics.ledger_request("+"),
        topics.ledger_answer("+"),
    )
    hear = (
        topics.feed,
        topics.command(name),
        topics.ledger("+"),
        topics.ledger_head("+"),
        topics.ledger_request(name),
        topics.ledger_answer(name),
    )
    return [
        {"acltype": kind, "topic": topic, "priority": 0, "allow": True}
        for kinds, of_kind in ((SEND, send), (HEAR, hear))
        for topic in of_kind
        for kind in kinds
    ]


async def reconcile(database: Database, call: Call) -> int:
    """Tell the broker of every device that it should let in or lock out; how many commands.

    Raises:
        DynsecError: if the broker refuses.
    """
    async with database.reading() as connection:
        columns = (device.c.site, device.c.id, device.c.revoked_at)
        found = await fetch(connection, select(*columns))
        wanted = {
            common_name(row.site, row.id): (row.site, row.id, row.revoked_at is None)
            for row in found
        }
    present = await _present(call)
    commands = [
        command
        for username, (site, name, good) in wanted.items()
        for command in _commands(username, site, name, good, present.get(username))
    ]
    for start in range(0, len(commands), COMMANDS_MAX):
        await _ask(call, commands[start : start + COMMANDS_MAX])
    return len(commands)


def _commands(
    username: str, site: str, name: str, good: bool, locked: bool | None
) -> Iterator[Command]:
    """What makes the broker's client as it should be; `locked` is None where there is none."""
    role = {"rolename": username}
    if good and locked is None:
        acls = rights(site, name)
        yield {"command": "createRole", **role}
        # It may be left from before, with other rights.
        yield {"command": "modifyRole", **role, "acls": acls}
        yield {"command": "createClient", "username": username, "roles": [role | {"priority": 0}]}
    elif good and locked:
        yield {"command": "enableClient", "username": username}
        yield {"command": "addClientRole", "username": username, **role, "priority": 0}
    elif not good and locked is False:
        # Disabling cuts the connection. A broker that takes the user's name from the certificate
        # would let it connect again: without its role it may do nothing there.
        yield {"command": "removeClientRole", "username": username, **role}
        yield {"command": "disableClient", "username": username}


async def _present(call: Call) -> dict[str, bool]:
    """The broker's clients, and whether each is locked out."""
    command = {"command": "listClients", "verbose": True, "count": -1, "offset": 0}
    (response,) = await _ask(call, [command])
    clients = response.get("data", {}).get("clients", [])
    return {client["username"]: bool(client.get("disabled")) for client in clients}


async def _ask(call: Call, commands: list[Command]) -> list[Command]:
    mark = secrets.token_hex(8)
    marked = [command | {"correlationData": mark} for command in commands]
    try:
        responses = json.loads(await call(json.dumps({"commands": marked}).encode()))["responses"]
        errors = [
            f"{response['command']}: {response['error']}"
            for response in responses
            if "error" in response and "already" not in response["error"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DynsecError("the broker's answer cannot be read") from error
    if errors:
        raise DynsecError("; ".join(errors[:5]))
    return list(responses)
