"""kill -9 in the midst of a snapshot: afterwards the cache is the old one or the new one, whole."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from edgegate.passes.model import Customer, Location
from edgegate.store import cache
from edgegate.store.files import Store
from edgegate_sync.appliance.builder import build_beside
from edgegate_sync.appliance.snapshot import Task
from fakes.feed_server import line_of, trailer
from fakes.sites import put_records

CUSTOMERS = 1500

SUBJECT = """
import asyncio, sys
from pathlib import Path
from fakes.feeding import fed
from edgegate_sync.appliance.builder import build_beside
from edgegate_sync.appliance.snapshot import build as build_now

async def here(task):
    return await asyncio.to_thread(build_now, task)

class Answer:
    is_gzip = False
    async def chunks(self):
        data = Path(sys.argv[2]).read_bytes()
        for start in range(0, len(data), 20_000):
            yield data[start:start + 20_000]
            await asyncio.sleep(0)

class Client:
    def feed(self, after, wait_s=0):
        return self
    async def __aenter__(self):
        return Answer()
    async def __aexit__(self, *_):
        pass

async def main():
    build = build_beside if sys.argv[3] == "beside" else here
    async with fed(Path(sys.argv[1]), build=build) as it:
        print("ready", flush=True)
        while True:
            it.feed.wants_snapshot = True
            await it.feed.pull(Client())
            print("swapped", flush=True)

asyncio.run(main())
"""


def prepare(directory: Path) -> tuple[Path, Path]:
    """A state directory with the old cache, and the feed of the new one."""
    state, feed = directory / "state", directory / "feed"
    with closing(Store.open(state)) as store:
        put_records(store, [Location(id="hq")])
        put_records(store, [Customer(id=f"c{n}", name="old") for n in range(CUSTOMERS)])
    records = [Location(id="hq"), *(Customer(id=f"c{n}", name="new") for n in range(CUSTOMERS))]
    lines = [line_of(seq, record) for seq, record in enumerate(records, start=1)]
    feed.write_bytes(b"\n".join([*lines, trailer(len(lines))]))
    return state, feed


def wait_for(file: Path) -> None:
    """Wait until it is there."""
    while not file.exists():
        time.sleep(0.01)


def examine(state: Path) -> str:
    """Start again: what the cache is now, "old" or "new"."""
    with closing(Store.open(state)) as store:
        assert store.check_cache() is None
        assert list(store.reports) == []
        customers = list(cache.every(store.cache, cache.CUSTOMER))
        assert len(customers) == CUSTOMERS
        (name,) = {customer.name for customer in customers}
        assert cache.head(store.cache) == (CUSTOMERS + 1 if name == "new" else 0)
        assert not (state / "cache.next.db").exists()
    return name


@pytest.mark.parametrize("where", ["here", "beside"])
def test_killed_in_the_midst_of_snapshots(where: str, tmp_path: Path) -> None:
    """Twenty kills; a failure prints the seed to run again with."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    seen = []
    state, feed = prepare(tmp_path)
    for _ in range(16 if where == "here" else 4):
        command = [sys.executable, "-c", SUBJECT, str(state), str(feed), where]
        environment = {"PYTHONPATH": ":".join(sys.path)}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.0, 0.25))
            process.send_signal(signal.SIGKILL)
            # Its errors come to their end when the builder, which shares them, has ended too.
            process.communicate()
        seen.append(examine(state))
    assert sorted(seen, reverse=True) == seen, "a new cache went back to an old one"


@pytest.mark.parametrize("step", ["remove_companions", "link", "rename", "flush", "open"])
def test_cut_off_at_each_step_of_the_swap(step: str, tmp_path: Path) -> None:
    """The process ends just after that step, and the next start finds a whole cache."""
    state, feed = prepare(tmp_path)
    cut = """
import os, sys
from pathlib import Path
from edgegate.store import cache_file, directory
target, name = {
    "remove_companions": (directory, "remove_companions"), "link": (os, "link"),
    "rename": (Path, "rename"), "flush": (directory, "flush"), "open": (cache_file, "_open_usable"),
}[sys.argv[4]]
def cutting(*args, _real=getattr(target, name), **others):
    result = _real(*args, **others)
    if Path("armed").exists():
        os._exit(9)
    return result
from edgegate_sync.appliance import feed
class Arming(feed.Feed):
    async def _swap(self):
        Path("armed").touch()
        setattr(target, name, cutting)
        await super()._swap()
import fakes.feeding
fakes.feeding.Feed = Arming
"""
    command = [sys.executable, "-c", cut + SUBJECT, str(state), str(feed), "here", step]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, env=environment, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (9, b"ready\n")
    assert examine(state) == ("old" if step in ("remove_companions", "link") else "new")


@pytest.mark.parametrize("begun", [False, True])
def test_an_abandoned_process_ends(begun: bool, tmp_path: Path) -> None:
    """The builder ends at once when whoever started it is gone, even while it waits."""
    spool = tmp_path / "spool"
    os.mkfifo(spool)
    task = Task(
        state=str(tmp_path),
        spool=str(spool),
        is_gzip=False,
        bytes_max=10**9,
        disk_free_bytes_min=0,
    )
    argument = msgspec.json.encode(task).decode()
    command = [sys.executable, "-P", "-m", "edgegate_sync.appliance.snapshot", argument]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        if begun:
            wait_for(tmp_path / "cache.next.db")
        process.stdin.close()
        assert process.wait(60) == int(begun)
    assert (tmp_path / "cache.next.db").exists() == begun


async def test_whoever_is_cancelled_takes_the_builder_along(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    await asyncio.to_thread(os.mkfifo, spool)
    task = Task(
        state=str(tmp_path),
        spool=str(spool),
        is_gzip=False,
        bytes_max=10**9,
        disk_free_bytes_min=0,
    )
    building = asyncio.create_task(build_beside(task))
    await asyncio.to_thread(wait_for, tmp_path / "cache.next.db")
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
