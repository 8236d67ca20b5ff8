"""What commands of the cloud do at an appliance whose doors are made of software."""

import asyncio
import logging
import queue
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegate import logs
from edgegate.acts import LOGS_BYTES_MAX, AppActs
from edgegate.app import App
from edgegate.config import Config, load_config
from edgegate.line import Passage
from edgegate.passes.model import Customer, Pass, Unit
from edgegate.passes.reasons import Reason
from edgegate_emulators.board import Board
from edgegate_sync.appliance.commands import ActRefusedError, UnsupportedError
from fakes.appliance import WAIT_S, running, tapper
from fakes.sites import Site


def acts_of(app: App, site: Site) -> AppActs:
    return AppActs(app, app.config.doors, site.state, None)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path, ("front", "back"))
    site.put(Customer(id="ana"), Pass(id="p", holder="ana", unit=Unit.UNLIMITED))
    site.put(site.code_of("ana", "ANA"))
    return site


@pytest.fixture
def config(site: Site) -> Config:
    return load_config(site.write_config())


@pytest.fixture
def board(site: Site) -> Iterator[Board]:
    with Board(site.board) as board:
        yield board


def reason_of(passage: Passage) -> Reason | None:
    return passage.outcome.decision.reason if passage.outcome is not None else None


async def test_an_unlock_releases_once_and_a_lockdown_refuses_it(
    site: Site, config: Config, board: Board
) -> None:
    app = await asyncio.to_thread(App, config)
    async with running(app):
        acts = acts_of(app, site)
        await asyncio.to_thread(board.wait_connected, "front-strike", WAIT_S)
        await acts.unlock("front", None)
        await asyncio.to_thread(board.wait_changes, "front-strike", 2, WAIT_S)
        assert [level for _, level in board.history("front-strike")] == [True, False]
        await acts.lockdown(("front",))
        with pytest.raises(ActRefusedError, match="lockdown"):
            await acts.unlock("front", 1.0)
        with pytest.raises(ActRefusedError, match="no door"):
            await acts.unlock("side", 1.0)
        assert len(board.history("front-strike")) == 2


async def test_a_lockdown_of_one_door_outlives_a_restart_and_ends_by_release(
    site: Site, config: Config, board: Board
) -> None:
    passages: asyncio.Queue[Passage] = asyncio.Queue()
    tap = tapper(board, passages)
    app = await asyncio.to_thread(App, config, passages.put_nowait)
    async with running(app):
        await acts_of(app, site).lockdown(("front",))
        assert reason_of(await tap("ANA")) is Reason.LOCKDOWN
    app = await asyncio.to_thread(App, config, passages.put_nowait)
    async with running(app):
        assert app.doors["front"].status().lockdown
        assert reason_of(await tap("ANA")) is Reason.LOCKDOWN
        assert reason_of(await tap("ANA", "back")) is Reason.UNLIMITED
        await acts_of(app, site).release(("front",))
        assert not app.doors["front"].status().lockdown
        assert (await tap("ANA")).opened


async def test_to_release_one_door_of_all_leaves_the_others_locked_down(
    site: Site, config: Config, board: Board
) -> None:
    passages: asyncio.Queue[Passage] = asyncio.Queue()
    tap = tapper(board, passages)
    app = await asyncio.to_thread(App, config, passages.put_nowait)
    async with running(app):
        acts = acts_of(app, site)
        await acts.lockdown(())
        assert reason_of(await tap("ANA", "back")) is Reason.LOCKDOWN
        await acts.release(("back",))
        assert (await tap("ANA", "back")).opened
        assert reason_of(await tap("ANA")) is Reason.LOCKDOWN
        await acts.release(())
        assert (await tap("ANA")).opened


async def test_a_device_shows_where_it_is_and_tests_itself(
    site: Site, config: Config, board: Board
) -> None:
    app = await asyncio.to_thread(App, config)
    async with running(app):
        acts = acts_of(app, site)
        await asyncio.to_thread(board.wait_connected, "front-reader", WAIT_S)
        await asyncio.to_thread(board.wait_connected, "back-reader", WAIT_S)
        assert "front" in await acts.identify()
        await asyncio.to_thread(board.wait_signals, "back-reader", 5, WAIT_S)
        assert "store answers" in await acts.self_test()
        for act in (acts.reload, acts.reboot, acts.update):
            with pytest.raises(UnsupportedError):
                await act()


async def test_the_newest_log_lines_that_fit_are_told(
    site: Site, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await asyncio.to_thread(App, config)
    acts = acts_of(app, site)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with pytest.raises(UnsupportedError, match="journalctl"):
        await acts.logs()
    handler = logs.DroppingHandler(queue.Queue(1))
    handler.setFormatter(logs.LineFormatter(for_journal=True))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    for number in range(1000):
        logging.getLogger("door").warning("line %d %s", number, "\u00e4" * 300)
    told = (await acts.logs()).splitlines()
    assert handler.dropped == 999
    assert len("\n".join(told).encode()) <= LOGS_BYTES_MAX
    numbers = [int(line.split()[2]) for line in told]
    assert numbers == list(range(numbers[0], 1000))
    assert numbers[0] > 1000 - logs.LINES_KEPT
    assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ line ", told[0])
