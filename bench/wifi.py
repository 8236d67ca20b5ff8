"""What Wi-Fi costs: edgegate beside Debian's FreeRADIUS, in one run, under one load generator.

Both servers look a name up by one query of an SQLite file and compare a password with what stands
there; the processor time of each server's process is divided by what it answered. They take turns.
Then the real daemon decides, debits and commits, and its door is tapped while 200 stations join.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import (
    eap_peer,
    rig_path,  # noqa: F401 - so that `rig` is found
    wifi_certificates,
)
from bench.radius_load import Conversation, Load, Pap
from bench.radius_subjects import SECRET, EdgegateServer, FreeRadiusServer, Member, Server, members
from bench.report import Bar, Figure, print_json, print_rows, print_table
from bench.slow_disk import NoCompilerError
from bench.wifi_certificates import Certificates
from bench.wifi_line import IN_FLIGHT, NATURAL, SLOW, LineBench, LinePlan
from rig.freeradius import NoFreeRadiusError

ROUNDS = 3
PAP_IN_FLIGHT = 64
HANDSHAKES_IN_FLIGHT = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    members: int
    requests: int
    handshakes: int
    line: LinePlan


FULL = Plan(
    members=10_000,
    requests=20_000,
    handshakes=1000,
    line=LinePlan(members=30_000, requests=8000, taps=400),
)
QUICK = Plan(
    members=2_000,
    requests=5000,
    handshakes=200,
    line=LinePlan(members=4_000, requests=900, taps=40),
)


@dataclass(slots=True)
class Stage:
    """One kind of conversation, and what it cost each server."""

    name: str
    in_flight: int
    count: int
    converse: Callable[[Member], Conversation]
    cpu_us: dict[str, list[float]] = field(default_factory=dict)
    rate: dict[str, list[float]] = field(default_factory=dict)

    def median_us(self, server: str) -> float:
        """The middle of the rounds: microseconds of processor time for one conversation."""
        return statistics.median(self.cpu_us[server])


class SideBySide:
    """Both servers with the same members and certificates."""

    def __init__(
        self, plan: Plan, directory: Path, people: list[Member], certificates: Certificates
    ) -> None:
        self._people = people
        self._servers: list[Server] = []
        secret = SECRET.encode()
        for kind in (FreeRadiusServer, EdgegateServer):
            self._servers.append(kind(directory / kind.__name__, people, certificates))
        tunnel = eap_peer.context(certificates.authority)
        mutual = eap_peer.context(certificates.authority, own=certificates.station)
        first = people[0].name

        def pap(member: Member) -> Conversation:
            return Pap(member.name, member.password, secret)

        def ttls(member: Member) -> Conversation:
            return eap_peer.Peer(tunnel, secret, "anonymous", (member.name, member.password))

        def eaptls(_: Member) -> Conversation:
            return eap_peer.Peer(mutual, secret, first)

        self.pap = Stage("PAP", PAP_IN_FLIGHT, plan.requests, pap)
        self.ttls = Stage("EAP-TTLS/PAP", HANDSHAKES_IN_FLIGHT, plan.handshakes, ttls)
        self.eaptls = Stage("EAP-TLS", HANDSHAKES_IN_FLIGHT, plan.handshakes, eaptls)
        self.stages = (self.pap, self.ttls, self.eaptls)

    def run(self) -> None:
        """Let them take turns, after a turn of each that is not counted."""
        with ExitStack() as stack:
            loads: list[tuple[Server, Load]] = []
            for server in self._servers:
                stack.callback(server.stop)
                server.start()
                load = Load(server.port, SECRET.encode())
                stack.callback(load.close)
                loads.append((server, load))
            for stage in self.stages:
                self._take_turns(stage, loads)

    def _take_turns(self, stage: Stage, loads: list[tuple[Server, Load]]) -> None:
        for server, load in loads:
            self._turn(stage, server, load, stage.count // 4)
        stage.cpu_us.clear()
        stage.rate.clear()
        for _ in range(ROUNDS):
            for server, load in loads:
                self._turn(stage, server, load, stage.count)

    def _turn(self, stage: Stage, server: Server, load: Load, count: int) -> None:
        before_s = server.cpu_s()
        result = load.run(self._conversations(stage, count), stage.in_flight)
        used_s = server.cpu_s() - before_s
        stage.cpu_us.setdefault(server.name, []).append(used_s / result.done * 1e6)
        stage.rate.setdefault(server.name, []).append(result.done / result.took_s)

    def _conversations(self, stage: Stage, count: int) -> Iterator[Conversation]:
        for number in range(count):
            yield stage.converse(self._people[number % len(self._people)])


def figures_of(both: SideBySide, line: LineBench) -> list[Figure]:
    """The figures and their bars."""
    bars = (
        ("pap_cpu_vs_freeradius_sql", both.pap, 0.8),
        ("ttls_cpu_vs_freeradius", both.ttls, 1.1),
        ("eaptls_cpu_vs_freeradius", both.eaptls, 1.0),
    )
    return [_beside(name, stage, bar) for name, stage, bar in bars] + _line_figures(line)


def _line_figures(line: LineBench) -> list[Figure]:
    natural, slow = line.floods[NATURAL], line.floods[SLOW]
    daemon, floor = line.daemon.measured, line.floor.measured
    return [
        Figure(
            "line_cpu_ms",
            statistics.median(natural.cpu_ms),
            "ms",
            f"{statistics.median(natural.rate):.0f} requests/s, {IN_FLIGHT} in flight",
            Bar("<=", 0.5),
        ),
        Figure(
            "line_p99_in_commits",
            slow.p99_ms / slow.group_ms,
            "",
            f"{slow.group_ms:.0f} ms, a commit of {statistics.median(slow.sizes):.0f} decisions,"
            f" {SLOW}, to {slow.p99_ms:.0f} ms",
            Bar("<=", 2),
        ),
        Figure(
            "crowd_tap_over_floor_ms",
            daemon.median_ms(NATURAL) - floor.median_ms(NATURAL),
            "ms",
            f"{floor.median_ms(NATURAL):.2f} ms, the floor's median beside the same crowd",
            Bar("<=", 1.5),
        ),
        Figure(
            "crowd_tap_p99_over_floor_ms",
            daemon.p99_ms(NATURAL) - floor.p99_ms(NATURAL),
            "ms",
            f"{floor.p99_ms(NATURAL):.2f} ms, the floor's 99th percentile beside the same crowd",
            Bar("<=", 4),
        ),
    ]


def _beside(name: str, stage: Stage, bar: float) -> Figure:
    ours, theirs = (stage.median_us(server) for server in ("edgegate", "FreeRADIUS"))
    against = f"{theirs:.0f} µs of CPU, FreeRADIUS's, to {ours:.0f} µs ({stage.name})"
    return Figure(name, ours / theirs, "", against, Bar("<=", bar))


def print_details(both: SideBySide, line: LineBench) -> None:
    """Print what the figures are made of."""
    rows: list[tuple[str, ...]] = [
        (
            stage.name,
            server,
            f"{stage.median_us(server):.0f}",
            " ".join(f"{seen:.0f}" for seen in stage.cpu_us[server]),
            f"{statistics.median(stage.rate[server]):.0f}",
        )
        for stage in both.stages
        for server in stage.cpu_us
    ]
    head = ("stage", "server", "CPU µs", "by round", "answered/s")
    print_rows("processor time for one conversation", head, rows)
    floods = [
        (
            disk,
            f"{statistics.median(flood.alone_s) * 1000:.1f}",
            f"{statistics.median(flood.seen_s) * 1000:.1f}",
            f"{flood.p99_ms:.1f}",
            f"{flood.group_ms:.1f}",
            f"{statistics.median(flood.commits_s) * 1000:.1f}",
            f"{statistics.median(flood.sizes):.0f}",
        )
        for disk, flood in line.floods.items()
    ]
    columns = ("disk", "alone ms", "median ms", "p99 ms", "group ms", "its commit ms", "decisions")
    print_rows(f"PAP down the line, {IN_FLIGHT} in flight", columns, floods)
    taps = [
        (side.subject.name, f"{m.median_ms(NATURAL):.2f}", f"{m.p99_ms(NATURAL):.2f}")
        for side, m in ((side, side.measured) for side in (line.daemon, line.floor))
    ]
    title = f"taps beside {IN_FLIGHT} handshakes in flight, {line.joined:.0f} a second"
    print_rows(title, ("of", "median ms", "p99 ms"), taps)


def main() -> int:
    """Measure, print, and say by the status whether it could be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer requests and handshakes")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    # Not /tmp, which may lie in memory, where a commit costs nothing.
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as directory,
        ExitStack() as stack,
    ):
        top = Path(directory)
        people = members(plan.members)
        certificates = wifi_certificates.make(top / "certificates", people[0].name)
        try:
            line = LineBench(plan.line, top, certificates, stack)
            both = SideBySide(plan, top, people, certificates)
        except (NoFreeRadiusError, NoCompilerError) as error:
            print(error, file=sys.stderr)
            return 1
        both.run()
        line.run()
    figures = figures_of(both, line)
    if arguments.json:
        print_json("wifi", figures)
    else:
        print_details(both, line)
        print_table("wifi", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
