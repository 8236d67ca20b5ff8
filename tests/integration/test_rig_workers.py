"""The rig's workers of the cloud come back whenever they were killed, or say why they do not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rig.clouds import until
from rig.sites import Rig, rig


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Rig]:
    url = f"sqlite:///{tmp_path}/cloud.db"
    async with rig(url, tmp_path / "rig", {}, tmp_path, mqtt=False) as made:
        yield made


async def test_a_worker_that_is_killed_as_it_starts_is_started_again(made: Rig) -> None:
    (worker,) = made.workers
    first = worker._process
    worker.kill()
    await until(lambda: worker._process is not first)
    worker.kill()
    await worker.ready()
    assert worker.starts == 2


async def test_who_waits_for_a_worker_that_cannot_start_is_told_so(made: Rig) -> None:
    (worker,) = made.workers
    await asyncio.to_thread(made.settings.key_file.unlink)
    worker.kill()
    await until(lambda: worker._failure is not None)
    with pytest.raises(AssertionError, match="the cloud does not start"):
        await worker.ready()
