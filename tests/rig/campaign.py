"""A campaign against what the exchange promises: sites live through faults, and then are audited.

A run is one site with one to three appliances that lives some hundred steps of taps, exits and
changes while everything between fails by a seeded chance. Once, between two steps of all, the
cloud is restored from a backup that was made some steps before. Then all faults stop, everything
drains, and what the appliances wrote is compared with what the cloud has: every entry once, every
balance the same, every record the same. Several sites share a cloud and a broker, which fail for
all.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from edgegate.passes.model import (
    Customer,
    CustomerStatus,
    Door,
    Kind,
    Location,
    Offer,
    Pass,
    PassState,
    Per,
    Record,
    Team,
    Unit,
)
from edgegate_sync.cancelling import ended
from edgegate_sync.cloud.database import open_database
from rig.account import account
from rig.audit import Audit, Done, Report, drained
from rig.gremlin import Gremlin, shake_broker, stranger
from rig.postgres import Postgres
from rig.processes import Box, BoxGoneError
from rig.proxy import Fault
from rig.restoring import Saved
from rig.sites import NotDoneError, Rig, Site, code_of, rig

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
PUSHES = 4
"""So many changes come one after the other where some of them get lost."""

LIVE_S_MAX = 300
STEP_S_MAX = 4
CALM_S_MAX = 120
DRAIN_S_MAX = 150
AUDIT_S_MAX = 240
END_S_MAX = 60
"""How long each part of a campaign may take, with room for a machine that is busy."""

CUSTOMERS = [f"c{number}" for number in range(6)]
PASSES = [f"p{number}" for number in range(9)]


class Life:
    """One site's life."""

    def __init__(self, rig: Rig, site: Site, seed: str, steps: int, ills: float) -> None:
        self.rig = rig
        self.site = site
        self.chance = Random(seed)
        self.steps = steps
        self.ills = ills
        self.at = START
        self.done = Done()
        self.restoration: Restoration | None = None
        self._ills: list[tuple[int, Callable[[], None]]] = []

    async def run(self) -> None:
        """Begin, live, and end all faults of this site's own."""
        await self._begin()
        for number in range(self.steps):
            self.done.steps = number
            self._recover(number)
            if self.restoration is not None:
                await self.restoration.before_step(number)
            if self.chance.random() < self.ills:
                await self._ill(number)
            await self._step()
        self._recover(self.steps + 1_000)

    async def _begin(self) -> None:
        admin = self.site.admin
        for one in await asyncio.to_thread(self._world):
            await admin.put(type(one).__name__.lower(), one)
        for name in CUSTOMERS:
            await admin.put("credential", code_of(name))
        for box in self.site.boxes:
            await box.start(self.at)

    def _world(self) -> list[Record]:
        draw = self.chance
        hall = Location(
            id="hall",
            timezone=draw.choice(["UTC", "Europe/Berlin", "America/New_York"]),
            payg=draw.choice([(), (Kind.CONTACTS, Kind.MEMBERS)]),
        )
        people = [Customer(id=name, team=draw.choice([None, "team"])) for name in CUSTOMERS]
        doors = [Door(id=f"door-{box.name}", location="hall") for box in self.site.boxes]
        offer = Offer(id="day", price=900, currency="EUR", sold_to=(Kind.CONTACTS,))
        return [hall, Team(id="team"), offer, *people, *doors, *map(self._pass, PASSES)]

    def _pass(self, name: str) -> Pass:
        draw = self.chance
        unit, per = [
            (Unit.USE, Per.VISIT),
            (Unit.USE, Per.DAY),
            (Unit.MINUTE, Per.DAY),
        ][int(name[1:]) % 3]
        soon = self.at + timedelta(hours=draw.randint(1, 400))
        return Pass(
            id=name,
            holder=draw.choice([*CUSTOMERS, "team"]),
            unit=unit,
            per=per,
            amount=draw.randint(1, 6) * (60 if unit is Unit.MINUTE else 1),
            expires_at=draw.choice([None, None, soon]),
            state=draw.choice([PassState.ACTIVE] * 9 + [PassState.CANCELLED]),
        )

    # Steps.

    async def _step(self) -> None:
        draw = self.chance
        self.at += timedelta(seconds=draw.choice([7, 60, 600, 3600, 20_000]))
        box = draw.choice(self.site.boxes)
        what = draw.random()
        customer = draw.choice(CUSTOMERS)
        try:
            await box.start(self.at)
            if what < 0.5:
                self.done.taps += 1
                found = await box.ask("tap", code=customer, at=self.at)
                self.done.opened += bool(found["opened"])
            elif what < 0.7:
                found = await box.ask("exit", code=customer, at=self.at)
            elif what < 0.8:
                found = await box.ask("tick", at=self.at)
            else:
                await self._change(customer)
                return
            self.done.told.append((box.name, found["epoch"], found["sequence"], found["hash"]))
        except BoxGoneError:
            self.done.faults["killed while asked"] += 1

    async def _change(self, customer: str) -> None:
        """Staff do something in the cloud, which may be away for a while."""
        draw, admin = self.chance, self.site.admin
        name = draw.choice(PASSES)
        match draw.randrange(6):
            case 0 | 1:
                await admin.put("pass", self._pass(name))
            case 2:
                await self._adjust(name, draw.choice([-2, -1, 1, 2, 5]))
            case 3:
                path = f"/records/pass/{name}"
                with suppress(NotDoneError):
                    await admin.ask("DELETE", path)
            case 4:
                paused = draw.choice([*CustomerStatus])
                await admin.put("customer", Customer(id=customer, status=paused))
            case 5:
                await admin.put("customer", Customer(id=customer, team=draw.choice(["team", None])))

    async def _adjust(self, name: str, amount: int) -> None:
        body = {"amount": amount, "memo": "so", "id": f"a{self.done.steps}"}
        try:
            await self.site.admin.ask("POST", f"/passes/{name}/adjustments", body)
        except NotDoneError as refused:
            # There is no such pass now.
            if refused.status not in (404, 409):
                raise
            return
        self.done.adjusted[name] += amount

    # Faults.

    def _recover(self, number: int) -> None:
        due = [ill for ill in self._ills if ill[0] <= number]
        self._ills = [ill for ill in self._ills if ill[0] > number]
        for _, heal in due:
            heal()

    async def _ill(self, number: int) -> None:
        draw = self.chance
        box = draw.choice(self.site.boxes)
        ills: list[Callable[[Box], Awaitable[Callable[[], None] | None]]] = [
            *[self._network] * 6,
            self._stranger,
            *[self._meddle] * 2,
            self._cloud,
            self._killed,
            *[self._killed_in_apply] * 2,
            self._killed_in_snapshot,
            self._snapshot,
        ]
        chosen = draw.choice(ills)
        try:
            heal = await chosen(box)
        except BoxGoneError:
            return
        if heal is not None:
            self._ills.append((number + draw.randint(2, 30), heal))

    async def _network(self, box: Box) -> Callable[[], None]:
        draw = self.chance
        way = draw.choice([self.site.https, self.site.https, self.site.mqtt])[box.name]
        fault = draw.choice([f for f in Fault if f is not Fault.NONE])
        self.done.faults[f"network {fault.value}"] += 1
        way.begin(fault, delay_s=draw.choice([0.01, 0.3]), bytes_max=draw.randint(0, 12_000))
        if draw.random() < 0.5:
            way.cut()
        return way.heal

    async def _stranger(self, box: Box) -> Callable[[], None] | None:
        """Somebody else answers, with a certificate of an authority of their own."""
        way = self.site.https[box.name]
        cloud = self.rig.workers[0]
        if way not in cloud.proxies:
            return None
        self.done.faults["wrong certificate"] += 1
        cloud.proxies.remove(way)
        way.target = ("127.0.0.1", self.rig.stranger_port)
        way.cut()

        def heal() -> None:
            cloud.follow(way)
            way.cut()

        return heal

    async def _meddle(self, box: Box) -> None:
        self.done.faults["repeated, late, lost answers, lost pushes"] += 1
        await box.start(self.at)
        share = self.chance.choice([0.0, 0.5, 0.9])
        await box.ask("meddle", share=share, seed=self.chance.randrange(1_000))
        for number in range(PUSHES):
            # Nothing writes these again, and so covers up for one that was lost.
            await self.site.admin.put("team", Team(id=f"m{self.done.steps}-{number}"))

    async def _cloud(self, _box: Box) -> None:
        draw = self.chance
        words = draw.choice(
            ["die", "die after", "fail 3", "fail after 2", "break 2", "stop 3", "kill"]
        )
        self.done.faults[f"cloud {words}"] += 1
        for worker in self.rig.workers:
            if words == "kill":
                worker.kill()
            else:
                worker.say(words)

    async def _killed(self, box: Box) -> None:
        self.done.faults["device killed"] += 1
        box.kill()
        await box.start(self.at)

    async def _killed_in_apply(self, box: Box) -> None:
        """Just when something new arrives."""
        self.done.faults["device killed as a change came"] += 1
        await box.start(self.at)
        # Nothing writes this one again, and so covers up for it.
        await self.site.admin.put("team", Team(id=f"t{self.done.steps}"))
        await asyncio.sleep(self.chance.uniform(0, 0.08))
        box.kill()

    async def _snapshot(self, box: Box) -> None:
        self.done.faults["snapshot"] += 1
        await box.start(self.at)
        await box.ask("snapshot")

    async def _killed_in_snapshot(self, box: Box) -> None:
        await self._snapshot(box)
        for _ in range(20):
            if (await box.ask("look"))["snapshot"]:
                self.done.faults["device killed in mid snapshot"] += 1
                await asyncio.sleep(self.chance.uniform(0, 0.6))
                break
            await asyncio.sleep(0.02)
        box.kill()


class Restoration:
    """Backs the cloud up before some step of all lives, and restores it before a later one."""

    def __init__(self, saved: Saved, lives: Sequence[Life], chance: Random, steps: int) -> None:
        self._saved = saved
        self._lives = lives
        self._made = chance.randrange(steps // 2)
        self._restored = chance.randrange(self._made + 1, steps)
        self._together = asyncio.Barrier(len(lives))
        self._adjusted: list[Counter[str]] = []

    async def before_step(self, number: int) -> None:
        """Wait for the others where it is time, and let one of them do it."""
        if number not in (self._made, self._restored):
            return
        if await self._together.wait() == 0:
            await (self._make() if number == self._made else self._restore())
        await self._together.wait()

    async def _make(self) -> None:
        await self._saved.make()
        self._adjusted = [Counter(life.done.adjusted) for life in self._lives]

    async def _restore(self) -> None:
        await self._saved.restore()
        # What staff did since they have to do again; what happened at doors they have not.
        for life, adjusted in zip(self._lives, self._adjusted, strict=True):
            life.done.adjusted = adjusted
        self._lives[0].done.faults["cloud restored"] += 1


async def campaign(
    url: str,
    directory: Path,
    place: Path,
    seeds: Sequence[int],
    *,
    steps: int = 120,
    ills: float = 0.09,
    mutant: str = "",
    server: Postgres | None = None,
) -> Report:
    """Let a site of each seed live with the others, and audit them all.

    In a step something goes wrong with the chance `ills`. `server` has the database if it is
    PostgreSQL's.

    Raises:
        AssertionError: something was lost, doubled, or differs; the message names the seed.
    """
    chance = Random(f"campaign {seeds[0]}")
    sites = {
        f"s{seed}": ["east", "north", "west"][: 1 + Random(f"devices {seed}").randrange(3)]
        for seed in seeds
    }
    report = Report()
    async with (
        stranger(directory / "stranger") as (port, lies),
        rig(url, directory / "rig", sites, place, seeds[0], mutant=mutant) as made,
    ):
        made.stranger_port = port
        lives = [Life(made, site, f"life {site.name}", steps, ills) for site in made.sites]
        saved = Saved(made.settings, directory, made.workers, server)
        restoration = Restoration(saved, lives, Random(f"restoration {seeds[0]}"), steps)
        for life in lives:
            life.restoration = restoration
        gremlin = Gremlin(made, Random(f"gremlin {seeds[0]}"))
        async with (
            phase("live", made, report, LIVE_S_MAX + steps * STEP_S_MAX),
            background(gremlin.run(), shake_broker(made, chance, report.faults)),
        ):
            await asyncio.gather(*(life.run() for life in lives))
        async with phase("become calm", made, report, CALM_S_MAX):
            await calm(made)
        database = await open_database(url)
        try:
            async with phase("drain", made, report, DRAIN_S_MAX):
                await asyncio.gather(*(drained(life.site, database) for life in lives))
            async with phase("be audited", made, report, AUDIT_S_MAX):
                for life in lives:
                    await Audit(life.site, life.done, database).run(report)
        finally:
            await database.close()
        assert lies == [], "a stranger was believed"
        report.faults["messages repeated"] += gremlin.repeated
        for life in lives:
            report.faults += life.done.faults
            report.opened += life.done.opened
    return report


@asynccontextmanager
async def phase(what: str, made: Rig, report: Report, within_s: float) -> AsyncIterator[None]:
    """Bound one part of a campaign, and note how long it took.

    Raises:
        AssertionError: it did not end; the message says what everything waits for.
    """
    begun_s = time.monotonic()
    try:
        async with asyncio.timeout(within_s) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(f"they do not {what}:\n{await account(made)}") from None
    report.took_s[what] = round(time.monotonic() - begun_s, 1)


@asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these meanwhile; what one of them raises is raised at the end.

    Raises:
        EndlessError: one of them does not end.
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            await ended(task, END_S_MAX)


async def calm(made: Rig) -> None:
    """Let nothing be wrong any more."""
    for site in made.sites:
        for way in (*site.https.values(), *site.mqtt.values()):
            way.heal()
    for worker in made.workers:
        worker.say("calm")
        await worker.ready()
    for site in made.sites:
        for box in site.boxes:
            await box.start(START + timedelta(days=400))
            await box.ask("meddle", share=0.0, seed=0)
            # A batch that came late again lets a ledger look shorter, until something new comes.
            await box.ask("tap", code="nobody")
