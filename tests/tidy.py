"""The rules that the tree keeps, as a checker of any tree of sources: see `test_tidy.py`."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOTS = ("", "drivers", "sync", "emulators")
"""Folders that hold packages; hatchling strips them."""

PACKAGES = ("edgegate", "edgegate_drivers", "edgegate_sync", "edgegate_emulators")
BANNED = ("drivers", "sync", "emulators", "tests")
"""Names that only an editable install would find."""

FUNCTION_LINES_MAX = 50
FILE_LINES_MAX = 450

PURE_BANNED = frozenset(
    {
        *("asyncio", "io", "logging", "os", "pathlib", "random", "secrets", "socket"),
        *("sqlite3", "subprocess", "sys", "threading", "time"),
    }
)
"""What `edgegate.passes` may not even import: it has no clock, no I/O and no chance in it."""

PURE_CALLS_BANNED = frozenset({"now", "utcnow", "today", "open", "print", "input"})

ROOMS: dict[str, tuple[str, ...]] = {
    "passes": ("edgegate.passes",),
    "ports": ("edgegate.ports",),
    "boundary": ("edgegate.boundary",),
    "config": (
        "edgegate.config",
        "edgegate.configdump",
        "edgegate.device",
        "edgegate.faults",
        "edgegate.plugins",
        "edgegate.secret",
        "edgegate.strict",
        "edgegate.tomlfile",
        "edgegate.wificonfig",
        "edgegate.wording",
    ),
    "store": ("edgegate.store",),
    "doors": ("edgegate.doors",),
    "credentials": ("edgegate.credentials",),
    "wifi": ("edgegate.wifi",),
    "service": tuple(f"edgegate.{name}" for name in ("clock", "logs", "supervisor", "timesources")),
    "line": tuple(
        f"edgegate.{name}"
        for name in ("moving", "deadlines", "checkin", "bookkeeper", "line", "sentences", "explain")
    ),
    "replay": tuple(f"edgegate.{name}" for name in ("scenario", "replay", "simulated", "whatif")),
    "drivers": ("edgegate_drivers",),
    "records": ("edgegate.records",),
    "wire": ("edgegate_sync.wire",),
    "waiting": ("edgegate_sync.cancelling", "edgegate_sync.mqtt"),
    "uplink": ("edgegate_sync.appliance",),
    "cloud": ("edgegate_sync.cloud",),
    "sync": ("edgegate_sync",),
    "emulators": ("edgegate_emulators",),
    "app": tuple(
        f"edgegate.{name}"
        for name in (
            "acts",
            "app",
            "control",
            "exchange",
            "lockall",
            "metrics",
            "radius",
            "status",
            "timewatch",
        )
    ),
    "demo": ("edgegate.demo",),
    "cli": tuple(
        f"edgegate.{name}"
        for name in (
            *("cli", "clioptions", "cloudcli", "cloudcli_data", "synccli", "__main__"),
            *("replaytext", "whatiftext", "ledgertext", "statustext"),
            *("cloudcli_wifi", "wificli", "wificli_members", "wifitext"),
        )
    ),
    "package": ("edgegate",),
}
"""The rooms of the house, and the modules (with all below them) that lie in each."""

LINE = frozenset(
    {"boundary", "passes", "ports", "records", "store", "doors", "credentials", "line"}
)
APP = LINE | {"wifi", "package", "config", "service", "app", "wire", "uplink"}
ALLOWED: dict[str, frozenset[str]] = {
    "package": frozenset(),
    "passes": frozenset({"passes"}),
    "boundary": frozenset(),
    "ports": frozenset({"passes"}),
    "config": frozenset({"passes", "ports", "config"}),
    "records": frozenset({"passes"}),
    "store": frozenset({"passes", "ports", "records", "store"}),
    "doors": frozenset({"ports", "doors"}),
    "credentials": frozenset({"passes", "credentials"}),
    "service": frozenset({"ports", "service"}),
    "line": LINE,
    "wifi": LINE | {"config", "wifi"},
    "replay": LINE | {"config", "replay"},
    "drivers": frozenset({"passes", "ports", "drivers"}),
    "wire": frozenset({"passes", "records", "store", "wire"}),
    "waiting": frozenset({"waiting"}),
    "uplink": LINE | {"config", "package", "service", "wire", "waiting", "uplink"},
    "cloud": frozenset(
        {"passes", "records", "store", "credentials", "wire", "waiting", "package", "cloud"}
    ),
    "sync": frozenset(),
    "emulators": frozenset({"emulators"}),
    "app": APP,
    "demo": APP | {"emulators", "cloud", "demo"},
    "cli": APP | {"replay", "demo", "cloud", "cli"},
}
"""From which rooms a room may import."""


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def room(self) -> str:
        """The room it lies in: that of its longest matching prefix."""
        return room_of(self.name)


def room_of(name: str) -> str:
    """The room of a module's name."""
    best = ""
    found = ""
    for room, prefixes in ROOMS.items():
        for prefix in prefixes:
            if (name == prefix or name.startswith(f"{prefix}.")) and len(prefix) > len(best):
                best, found = prefix, room
    if not found or (found == "package" and name != "edgegate"):
        raise LookupError(f"{name} lies in no room: give it one in tests/tidy.py")
    return found


def modules(top: Path) -> list[Module]:
    """Every module of the packages below `top`."""
    return list(_modules(top))


def _modules(top: Path) -> Iterator[Module]:
    for root in ROOTS:
        for package in PACKAGES:
            for path in sorted((top / root / package).rglob("*.py")):
                name = path.relative_to(top / root).with_suffix("").as_posix().replace("/", ".")
                yield module_of(name, path, path.read_text(encoding="utf-8"))


def module_of(name: str, path: Path, text: str) -> Module:
    """A module of that dotted name with that text."""
    return Module(name.removesuffix(".__init__"), path, ast.parse(text), text.count("\n"))


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """The absolute names that a module imports, wherever in it, with their lines."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                yield node.lineno, f"relative import of {base}"
                continue
            yield node.lineno, base
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def complaints(top: Path) -> list[str]:
    """Everything that breaks a rule in the tree below `top`."""
    found = modules(top)
    if not found:
        return ["no sources were found"]
    names = {module.name for module in found}
    return [complaint for module in found for complaint in complaints_of(module, names)]


def complaints_of(module: Module, names: Iterable[str]) -> list[str]:
    """Everything that breaks a rule in one module of a tree whose modules have these names."""
    rules = (_direction, _bans, _purity, _sizes, _driver, _docs)
    return [complaint for rule in rules for complaint in rule(module, names)]


def _direction(module: Module, names: Iterable[str]) -> Iterator[str]:
    for line, name in imports(module):
        if name in names:
            room = room_of(name)
            if room not in ALLOWED[module.room]:
                yield f"{module.path}:{line}: {module.room} must not import {room} ({name})"


def _bans(module: Module, _names: Iterable[str]) -> Iterator[str]:
    for line, name in imports(module):
        if name.startswith("relative import"):
            yield f"{module.path}:{line}: {name}: write the whole name"
        elif name.partition(".")[0] in BANNED:
            yield f"{module.path}:{line}: {name} exists in an editable install only"


def _purity(module: Module, _names: Iterable[str]) -> Iterator[str]:
    if module.room != "passes":
        return
    for line, name in imports(module):
        if name.partition(".")[0] in PURE_BANNED:
            yield f"{module.path}:{line}: the rules are pure: no {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in PURE_CALLS_BANNED:
                yield f"{module.path}:{node.lineno}: the rules are pure: no {called}()"
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield f"{module.path}:{node.lineno}: the rules are pure: nothing is awaited"


def _sizes(module: Module, _names: Iterable[str]) -> Iterator[str]:
    if module.lines > FILE_LINES_MAX:
        yield f"{module.path}: {module.lines} lines, {FILE_LINES_MAX} at most"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{module.path}:{node.lineno}: {node.name} has {length} lines"


def _driver(module: Module, _names: Iterable[str]) -> Iterator[str]:
    """A driver is one module with one typed constant, DRIVER."""
    name = module.name.rpartition(".")[2]
    if module.room != "drivers" or name.startswith("_") or name == "edgegate_drivers":
        return
    made = [
        node.value
        for node in module.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and any(
            isinstance(target, ast.Name) and target.id == "DRIVER"
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        )
    ]
    if len(made) != 1 or not isinstance(made[0], ast.Call):
        yield f"{module.path}: a driver has exactly one DRIVER = Driver(…)"
    elif getattr(made[0].func, "id", "") != "Driver" or not made[0].keywords:
        yield f"{module.path}: DRIVER must be a Driver with at least one part"


def _docs(module: Module, _names: Iterable[str]) -> Iterator[str]:
    if ast.get_docstring(module.tree) is None:
        yield f"{module.path}: a module opens with the sentence that says what it is for"
