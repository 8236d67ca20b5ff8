"""Wi-Fi requests down the whole line of the real daemon: store, debits, commits; taps beside."""

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench import wifi_marks, wifi_world
from bench.radius_load import Load, Pap
from bench.radius_subjects import SECRET, Member, cpu_s, members
from bench.report import quantile
from bench.slow_disk import SlowDisk
from bench.strikes import Strikes
from bench.subjects import Daemon, Floor, make_directory, write_key
from bench.tap import BLOCK, Side
from bench.wifi_certificates import Certificates
from bench.wifi_crowd import Crowd
from bench.world import LOCATION, Taps
from rig.freeradius import free_udp_port

IN_FLIGHT = 200
ROUNDS = 3
CROWD_MEMBERS = 500
SETTLE_S = 3.0

NATURAL = "natural disk"
SLOW = "+20 ms"


@dataclass(frozen=True, slots=True)
class LinePlan:
    """How much is measured."""

    members: int
    requests: int
    taps: int


@dataclass(slots=True)
class Flood:
    """What so many requests in flight at once showed on one disk."""

    cpu_ms: list[float] = field(default_factory=list)
    seen_s: list[float] = field(default_factory=list)
    groups_s: list[float] = field(default_factory=list)
    """How long each transaction took, jobs and commit."""
    commits_s: list[float] = field(default_factory=list)
    """What of that was the commit."""
    sizes: list[int] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    alone_s: list[float] = field(default_factory=list)
    """How long a request took with no other in flight."""

    @property
    def p99_ms(self) -> float:
        """What 99 of 100 requests did not exceed."""
        return quantile(self.seen_s, 0.99) * 1000

    @property
    def group_ms(self) -> float:
        """The middle of the transactions: all the jobs that one commit carries, and the commit."""
        return statistics.median(self.groups_s) * 1000


class WifiDaemon(Daemon):
    """`edgegate run` with a door and one access point, whose transactions are noted."""

    module = "bench.wifi_marks"

    def __init__(
        self, name: str, directory: Path, strikes: Strikes, certificates: Certificates
    ) -> None:
        super().__init__(name, directory, strikes)
        self.port = free_udp_port()
        self.marks = directory / "marks.json"
        self._certificates = certificates

    @property
    def pid(self) -> int:
        """Its process."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    def _write_config(self) -> Path:
        file = super()._write_config()
        secret = self.directory / "nas.secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        papers = self._certificates
        certificate = f'{{ chain = "{papers.server_chain}", key = "{papers.server_key}" }}'
        with file.open("a") as config:
            config.write(
                f'[wifi]\nlisten = "127.0.0.1"\nauth_port = {self.port}\n'
                f"acct_port = {free_udp_port()}\n"
                f"certificate = {certificate}\n"
                f'client_ca = "{papers.authority}"\nserver_name = "{papers.server_name}"\n'
                f'[[wifi.nas]]\nid = "bench"\naddress = "127.0.0.1"\nlocation = "{LOCATION}"\n'
                f'secret = {{ file = "{secret}" }}\n'
            )
        return file


class LineBench:
    """One world, the daemon that is asked, and the floor that is tapped beside it."""

    def __init__(
        self, plan: LinePlan, directory: Path, certificates: Certificates, stack: ExitStack
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._certificates = certificates
        self._disk = SlowDisk(directory)
        self._strikes = Strikes(directory / "strikes")
        stack.callback(self._strikes.close)
        key = make_directory(directory / "world")
        self._people = members(plan.members)
        wifi_world.build(directory / "world" / "state", key, self._people)
        self.floods = {NATURAL: Flood(), SLOW: Flood()}
        self._flooded = {
            disk: stack.enter_context(
                WifiDaemon(name, self._home(name, key), self._strikes, certificates)
            )
            for disk, name in ((NATURAL, "natural"), (SLOW, "slow"))
        }
        self._tapped = stack.enter_context(
            WifiDaemon("daemon", self._home("daemon", key), self._strikes, certificates)
        )
        floor = stack.enter_context(Floor("floor", self._home("floor", key), self._strikes))
        self.daemon = Side(self._tapped, Taps(plan.members))
        self.floor = Side(floor, Taps(plan.members))
        self.joined = 0.0
        """Handshakes a second, while doors were tapped."""

    def run(self) -> None:
        """Measure everything."""
        self._flood(NATURAL, {})
        self._flood(SLOW, self._disk.environment(20))
        self._tap_in_a_crowd()

    def _flood(self, disk: str, environment: dict[str, str]) -> None:
        flood, daemon = self.floods[disk], self._flooded[disk]
        unseen = iter(self._people)
        code = next(code for code, opens in Taps(self._plan.members) if opens)
        daemon.start(code, {**environment, wifi_marks.FILE_VARIABLE: str(daemon.marks)})
        with _load(daemon) as load:
            load.run(_logins(unseen, self._plan.requests // 4), IN_FLIGHT)
            flood.alone_s = load.run(_logins(unseen, IN_FLIGHT // 4), 1).seen_s
            begun_s = time.monotonic()
            for _ in range(ROUNDS):
                before_s = cpu_s(daemon.pid)
                result = load.run(_logins(unseen, self._plan.requests), IN_FLIGHT)
                flood.cpu_ms.append((cpu_s(daemon.pid) - before_s) / result.done * 1000)
                flood.rate.append(result.done / result.took_s)
                flood.seen_s += result.seen_s
            ended_s = time.monotonic()
        daemon.stop()
        for at_s, took_s, commit_s, size in json.loads(daemon.marks.read_text()):
            if begun_s < at_s < ended_s:
                flood.groups_s.append(took_s)
                flood.commits_s.append(commit_s)
                flood.sizes.append(size)

    def _tap_in_a_crowd(self) -> None:
        """Taps at the daemon and the floor by turns, while so many stations join at the daemon."""
        self.daemon.start({wifi_marks.FILE_VARIABLE: str(self._tapped.marks)})
        self.floor.start({})
        with self._crowd(self._tapped.port):
            for done in range(0, self._plan.taps, BLOCK):
                for side in (self.daemon, self.floor):
                    side.run_block(NATURAL, min(BLOCK, self._plan.taps - done), 0)
        self.daemon.stop()
        self.floor.stop()

    @contextmanager
    def _crowd(self, port: int) -> Iterator[None]:
        file = self._directory / "crowd.json"
        people = [(member.name, member.password) for member in self._people[-CROWD_MEMBERS:]]
        authority = str(self._certificates.authority)
        crowd = Crowd(port, SECRET, authority, IN_FLIGHT, people)
        file.write_bytes(msgspec.json.encode(crowd))
        with (self._directory / "crowd.log").open("w+") as log:
            begun_s = time.monotonic()
            command = [sys.executable, "-m", "bench.wifi_crowd", str(file)]
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                time.sleep(SETTLE_S)
                yield
                ended = process.poll() is not None
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            said = log.read()
            if ended:
                raise RuntimeError(f"the crowd went home:\n{said[-4000:]}")
            self.joined = int(said.split()[-1]) / (time.monotonic() - begun_s)

    def _home(self, name: str, key: bytes) -> Path:
        directory = self._directory / name
        directory.mkdir()
        write_key(directory, key)
        shutil.copytree(self._directory / "world" / "state", directory / "state")
        return directory


@contextmanager
def _load(daemon: WifiDaemon) -> Iterator[Load]:
    load = Load(daemon.port, SECRET.encode())
    try:
        yield load
    finally:
        load.close()


def _logins(people: Iterator[Member], count: int) -> Iterator[Pap]:
    """So many members, each for the first time, so that each is debited."""
    for member in (next(people) for _ in range(count)):
        yield Pap(member.name, member.password, SECRET.encode())
