"""The whole line with a real reader's bytes, a real store and a door made of software."""

import asyncio
import resource
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from edgegate import checkin
from edgegate.app import App
from edgegate.config import load_config
from edgegate.line import Passage
from edgegate.passes.decide import decide
from edgegate.passes.facts import Facts, Request
from edgegate.passes.model import Customer, Pass
from edgegate.passes.payment import Decision
from edgegate.passes.reasons import Reason
from edgegate.store import ledger
from edgegate.store.connections import connect_read_only
from edgegate.store.ledger import EntryType
from edgegate_emulators.board import Board
from edgegate_emulators.cards import MifareClassic
from edgegate_emulators.pn532 import Pn532
from fakes.appliance import WAIT_S, running, tapper
from fakes.daemon import Daemon
from fakes.sites import Site


def entries(site: Site, kind: EntryType) -> list[dict[str, Any]]:
    with closing(connect_read_only(site.state / "ledger.db")) as connection:
        return [
            msgspec.json.decode(entry.data)
            for entry in ledger.entries(connection)
            if entry.type == kind and entry.data is not None
        ]


def reason(passage: Passage) -> Reason | None:
    return passage.outcome.decision.reason if passage.outcome is not None else None


def test_a_card_on_a_real_readers_wire_opens_the_door_after_it_is_recorded(tmp_path: Path) -> None:
    site = Site(tmp_path)
    uid = bytes.fromhex("04A1B2C3D4E5F6")
    site.put(Customer(id="ana"), Pass(id="ten", holder="ana", amount=10), site.card_of("ana", uid))
    config = site.write_config()
    with config.open("a") as file:
        file.write(
            '[[reader]]\nname = "card"\ndoor = "front"\ndriver = "nfc"\n'
            f'port = "{tmp_path}/pn532"\n'
        )
    recorded: list[int] = []
    with Board(site.board) as board, Pn532(tmp_path / "pn532") as reader:
        board.on_change(
            "front-strike",
            lambda _at_ns, level: recorded.append(
                len(entries(site, EntryType.ACCESS_GRANTED)) if level else -1
            ),
        )
        with Daemon(config) as daemon:
            reader.present(MifareClassic(uid))
            board.wait_level("front-strike", True, WAIT_S)
            assert recorded == [1], "the ledger holds the entry before the level changes"
            board.wait_level("front-strike", False, WAIT_S)
            assert daemon.terminate() == 0
    assert [entry["reason"] for entry in entries(site, EntryType.ACCESS_GRANTED)] == ["pass"]


class Ready(NamedTuple):
    """A site, its appliance, what comes down its line, and its members' codes."""

    site: Site
    app: App
    passages: "asyncio.Queue[Passage]"
    codes: list[str]


@pytest.fixture
def ready(tmp_path: Path) -> Ready:
    site = Site(tmp_path)
    codes = site.add_team("team", 2, 5)
    passages: asyncio.Queue[Passage] = asyncio.Queue()
    app = App(load_config(site.write_config()), passages.put_nowait)
    return Ready(site, app, passages, codes)


async def test_a_fault_in_the_rules_refuses_one_and_lets_the_next_in(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisonous, good = ready.codes

    def failing(facts: Facts, request: Request) -> Decision:
        if facts.customer.id == poisonous:
            raise ZeroDivisionError("a rule divided by nothing")
        return decide(facts, request)

    monkeypatch.setattr(checkin, "decide", failing)
    with Board(ready.site.board) as board:
        async with running(ready.app):
            tap = tapper(board, ready.passages)
            first = await tap(poisonous)
            assert (reason(first), first.opened) == (Reason.INTERNAL_ERROR, False)
            second = await tap(good)
            assert (reason(second), second.opened) == (Reason.PASS, True)
    (denied,) = await asyncio.to_thread(entries, ready.site, EntryType.ACCESS_DENIED)
    assert denied["reason"] == "internal_error"
    assert "a rule divided by nothing" in str(denied["fault"])
    assert "failing" in str(denied["fault"]), "the trace is recorded"


def test_with_the_disk_full_entries_are_refused_and_exits_and_fire_act(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (code,) = site.add_team("team", 1, 5)
    config = site.write_config()
    socket = f'socket = "{site.board}"'
    with config.open("a") as file:
        file.write(
            f'[[reader]]\nname = "out"\ndoor = "front"\ndirection = "exit"\n'
            f'driver = "virtual"\n{socket}\nchannel = "out-reader"\n'
            f'[fire]\nsensor = {{ driver = "virtual", {socket}, channel = "fire" }}\n'
        )
    with Board(site.board) as board, Daemon(config) as daemon:
        for channel in ("front-reader", "out-reader", "fire", "front-exit_button"):
            board.wait_connected(channel, WAIT_S)
        strike = partial(board.wait_level, "front-strike", timeout_s=WAIT_S)
        full_disk(daemon.process.pid, full=True)

        board.scan("front-reader", "qr_static", code.encode().hex())
        board.wait_signals("front-reader", 1, WAIT_S)
        assert [signal for _, signal in board.signals("front-reader")] == ["refused"]
        assert board.history("front-strike") == [], "nothing opens unrecorded"

        board.scan("out-reader", "qr_static", code.encode().hex())
        strike(level=True)
        strike(level=False)
        board.set_sensor("front-exit_button", True)
        strike(level=True)
        board.set_sensor("front-exit_button", False)
        strike(level=False)
        board.set_sensor("fire", True)
        strike(level=True)
        board.set_sensor("fire", False)
        strike(level=False)

        full_disk(daemon.process.pid, full=False)
        board.scan("front-reader", "qr_static", code.encode().hex())
        strike(level=True)
        assert daemon.terminate() == 0
    assert [entry["reason"] for entry in entries(site, EntryType.ACCESS_GRANTED)] == ["pass"]
    exits = [entry.get("cause", "who") for entry in entries(site, EntryType.DOOR_EXIT)]
    assert sorted(exits) == ["exit_button", "exit_reader", "who"], "recorded afterwards"
    assert len(entries(site, EntryType.DOOR_FIRE)) == 2


def full_disk(pid: int, *, full: bool) -> None:
    """Let no file of a process grow any more, as a full disk does, or let them grow again."""
    limit = 1 if full else resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
