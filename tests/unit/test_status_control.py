"""The daemon's socket: who may ask, what, how much, and what a page of the answer looks like."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edgegate import control
from edgegate.clock import SystemClock
from edgegate.control import (
    CALLERS_MAX,
    NAME,
    QUESTION_BYTES_MAX,
    Control,
    ControlError,
    NotRunningError,
    ask_status,
    ask_sync,
)
from edgegate.ports import DriverStatus
from edgegate.status import Progress, StatusReporter, Whose, from_files
from edgegate.store import sync_state
from edgegate.store.errors import StoreUnavailableError
from edgegate.store.sync_state import Place
from edgegate.supervisor import StatusBoard
from edgegate_sync.wire.state import DeviceState
from rig.brokers import running, until
from rig.devices import AT, SITE, Device


class Exchange:
    """An exchange that needs three looks to come to its end."""

    def __init__(self, whose: Whose) -> None:
        self.pulls = 7
        self.asked = 0
        self.looks = 0
        self.whose = whose
        self.is_there = True

    async def collect(self) -> DeviceState | None:
        if not self.is_there:
            return None
        self.looks += 1
        if self.asked and self.looks == 3:
            self.pulls += 1
        found = await asyncio.to_thread(from_files, self.whose, AT)
        return found.state

    def sync_now(self) -> None:
        self.asked += 1
        self.looks = 0


class Daemon:
    """A device with a store, and the socket before it."""

    def __init__(self, device: Device, *, has_cloud: bool = True) -> None:
        self.device = device
        self.whose = Whose(site=SITE, device=device.name, state_dir=device.state_dir)
        self.board = StatusBoard()
        self.exchange = Exchange(self.whose)
        exchange = self.exchange if has_cloud else None
        reporter = StatusReporter(self.whose, SystemClock(), self.board, lambda: exchange)
        self.control = Control(device.state_dir, reporter)
        self.path = device.state_dir / NAME

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with running(self.control.run()):
            await until(self._is_there, "the socket")
            yield

    async def _is_there(self) -> bool:
        try:
            (await asyncio.to_thread(control._connect, self.device.state_dir)).close()
        except NotRunningError:
            return False
        return True


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Device]:
    async with Device(tmp_path / ("long-" * 20), "front") as found:
        yield found


@pytest.fixture
def daemon(device: Device) -> Daemon:
    return Daemon(device)


async def test_it_tells_how_it_is_doing(daemon: Daemon) -> None:
    daemon.board.note("reader r", DriverStatus.OFFLINE, "unplugged")
    daemon.exchange.is_there = False
    await daemon.device.report(3)
    async with daemon.listening():
        status = await asyncio.to_thread(ask_status, daemon.device.state_dir)
    assert status.running
    assert (status.site, status.device) == (SITE, "front")
    assert (status.state.ledger.backlog, status.state.ledger.oldest_unsent_at) == (3, AT)
    assert [(d.name, d.status, d.detail) for d in status.state.drivers] == [
        ("reader r", "offline", "unplugged")
    ]
    assert status.state.clock in ("trusted", "holdover", "untrusted")
    assert set(status.since) == {"reader r"}
    assert status.state.disk is not None


async def test_a_sync_is_followed_to_its_end(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PROGRESS_S", 0.01)
    daemon.exchange.looks = 0
    async with daemon.listening():
        told = await asyncio.to_thread(lambda: list(ask_sync(daemon.device.state_dir)))
    assert daemon.exchange.asked == 1
    assert [progress.done for progress in told] == [False, False, True]
    assert told[-1] == Progress(head=0, backlog=0, pulled=True, done=True)


async def test_a_sync_waits_for_the_last_entry(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PROGRESS_S", 0.01)
    await daemon.device.report(2)
    state_dir = daemon.device.state_dir
    async with daemon.listening():
        following = asyncio.create_task(asyncio.to_thread(lambda: list(ask_sync(state_dir))))
        await until(lambda: daemon.exchange.looks > 5, "a few looks")
        assert not following.done()
        entries = await daemon.device.entries()
        place = Place(entries[-1].epoch, entries[-1].sequence)
        await daemon.device.thread.run(lambda s: sync_state.set_uploaded(s.ledger, place))
        told = await following
    assert (told[0].backlog, told[0].done) == (2, False)
    assert (told[-1].backlog, told[-1].done) == (0, True)


async def test_without_a_cloud_there_is_nothing_to_sync(device: Device) -> None:
    daemon = Daemon(device, has_cloud=False)
    async with daemon.listening():
        with pytest.raises(ControlError, match=r"no \[cloud\]"):
            await asyncio.to_thread(lambda: list(ask_sync(device.state_dir)))


async def test_the_socket_is_its_owners_alone(daemon: Daemon) -> None:
    async with daemon.listening():
        assert stat.S_IMODE(daemon.path.stat().st_mode) == 0o600
    with pytest.raises(NotRunningError):
        await asyncio.to_thread(ask_status, daemon.device.state_dir)


async def test_whoever_is_neither_root_nor_its_user_is_turned_away(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says who it is; here it is somebody else than the process takes itself for."""
    strangers = control._CREDENTIALS.pack(os.getpid(), 65_534, 65_534)

    class Stranger:
        def getsockopt(self, *_: object) -> bytes:
            return strangers

    stranger: Any = Stranger()
    assert not control._is_allowed(stranger)
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert control._is_allowed(left)
    async with daemon.listening():
        monkeypatch.setattr(control, "_is_allowed", lambda _caller: False)
        with pytest.raises(ControlError, match="does not answer"):
            await asyncio.to_thread(ask_status, daemon.device.state_dir)
        assert daemon.control.refused


@pytest.mark.parametrize(
    "question",
    [
        b"\n",
        b"{}\n",
        b'{"do": "unlock"}\n',
        b'{"do": "status", "door": "front"}\n',
        b"\xff\xfe\n",
        b"x" * (QUESTION_BYTES_MAX * 4),
        b'{"do": ',
    ],
)
async def test_what_is_no_question_is_told_and_ends_nothing(
    daemon: Daemon, question: bytes
) -> None:
    def ask() -> bytes:
        with control._connect(daemon.device.state_dir) as caller:
            caller.sendall(question)
            caller.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while piece := caller.recv(65_536):
                    answer += piece
            except ConnectionResetError:
                pass
            return answer

    async with daemon.listening():
        answer = await asyncio.to_thread(ask)
        assert not answer or "no question" in json.loads(answer)["error"]
        assert (await asyncio.to_thread(ask_status, daemon.device.state_dir)).running


async def test_callers_who_say_nothing_do_not_pile_up(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "QUESTION_S_MAX", 0.5)
    state_dir = daemon.device.state_dir
    async with daemon.listening():
        silent = [
            await asyncio.to_thread(control._connect, state_dir) for _ in range(CALLERS_MAX + 4)
        ]
        await until(lambda: daemon.control.refused >= 4, "refusals")
        await until(lambda: daemon.control._callers == 0, "an end to their patience")
        assert (await asyncio.to_thread(ask_status, state_dir)).running
        for caller in silent:
            caller.close()


async def test_a_socket_that_a_killed_daemon_left_is_replaced(daemon: Daemon) -> None:
    left = await asyncio.to_thread(control._listen, daemon.device.state_dir)
    left.close()
    assert daemon.path.exists()
    with pytest.raises(NotRunningError):
        await asyncio.to_thread(ask_status, daemon.device.state_dir)
    async with daemon.listening():
        assert (await asyncio.to_thread(ask_status, daemon.device.state_dir)).running


async def test_a_second_daemon_does_not_take_the_socket_of_the_first(daemon: Daemon) -> None:
    async with daemon.listening():
        second = Daemon(daemon.device)
        await second.control.run()
        assert (await asyncio.to_thread(ask_status, daemon.device.state_dir)).running


async def test_where_no_daemon_runs_the_files_tell(device: Device) -> None:
    await device.report(2)
    with pytest.raises(NotRunningError):
        await asyncio.to_thread(ask_status, device.state_dir)
    whose = Whose(site=SITE, device="front", state_dir=device.state_dir, cloud="https://c")
    at = AT + timedelta(hours=1)
    await device.thread.run(
        lambda s: sync_state.quarantine(s.ledger, Place(1, 2), "refused", "too long")
    )
    status = await asyncio.to_thread(from_files, whose, at)
    assert not status.running
    assert status.state.ledger.backlog == 2
    assert status.state.quarantined_count == 1
    assert status.state.quarantined[0].error == "refused: too long"


def test_where_there_are_no_files_it_says_so(tmp_path: Path) -> None:
    whose = Whose(site=SITE, device="front", state_dir=tmp_path / "none")
    with pytest.raises(StoreUnavailableError, match="cannot be read"):
        from_files(whose, AT)
    with pytest.raises(NotRunningError):
        ask_status(tmp_path / "none")
