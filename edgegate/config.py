"""The configuration: one TOML file, checked whole before anything opens, all faults at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from edgegate.device import Device, DeviceTables
from edgegate.faults import Fault, FaultsError, Where, did_you_mean
from edgegate.passes.model import Direction, Id
from edgegate.ports import Reader, Sensor, Strike
from edgegate.secret import SiteKey
from edgegate.strict import Options, read_best, read_struct
from edgegate.tomlfile import Document, load
from edgegate.wificonfig import READERS as WIFI_READERS
from edgegate.wificonfig import WifiSection
from edgegate.wificonfig import check as check_wifi
from edgegate.wording import shown

Name = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
        description="1 to 64 letters, digits, dots, dashes or underscores",
    ),
]
"""A name that may stand in a topic, a file's name and a log line."""

Seconds = Annotated[float, Meta(gt=0, le=3600)]
Limit = Annotated[int, Meta(ge=1, le=1_000_000)]


class DeviceSection(Struct, frozen=True, kw_only=True):
    """`[device]`: this appliance."""

    id: Name
    state_dir: Annotated[str, Meta(pattern=r"\A/", description="an absolute path")] = (
        "/var/lib/edgegate"
    )
    language: Annotated[
        str, Meta(pattern=r"\A[a-z]{2}(-[A-Z]{2})?\Z", description='a language, like "en"')
    ] = "en"
    clock: Literal["checked", "believed"] = "checked"
    """`believed` where something that the kernel does not know of keeps the clock in step, as the
    host of a virtual machine does."""


class SiteSection(Struct, frozen=True, kw_only=True):
    """`[site]`: what all appliances of a site share."""

    id: Name
    key: SiteKey


class StoreSection(Struct, frozen=True, kw_only=True):
    """`[store]`: the limits of the database thread."""

    jobs_max: Limit = 1024
    """Requests that may wait; one more is refused with `storage_failed`."""
    group_max: Limit = 64
    """Requests that one commit may carry."""
    pending_exits_max: Limit = 4096
    """Exits that may wait to be recorded; then the oldest is dropped, and counted."""


class BrokerSection(Struct, frozen=True, kw_only=True):
    """`[cloud.broker]`: the site's own MQTT broker, in place of the one that the cloud names."""

    host: Annotated[
        str, Meta(pattern=r"\A[A-Za-z0-9._:-]{1,253}\Z", description="a host's name or address")
    ]
    port: Annotated[int, Meta(ge=1, le=65_535)] = 8883
    transport: Literal["tcp", "websockets"] = "tcp"
    path: Annotated[str, Meta(pattern=r"\A/[!-~]{0,199}\Z", description='a path, like "/mqtt"')] = (
        "/mqtt"
    )
    """Where WebSocket is spoken; over tcp there is none."""


class CloudSection(Struct, frozen=True, kw_only=True):
    """`[cloud]`: where members and passes come from, and where the records go."""

    url: Annotated[
        str,
        Meta(
            pattern=r"\Ahttps://[A-Za-z0-9._:\[\]-]{1,260}/?\Z",
            description='an address without a path, like "https://cloud.example:8443"',
        ),
    ]
    pull_s: Annotated[int, Meta(ge=5, le=3600)] = 60
    """How often it is asked for changes although the broker would tell of them."""
    wait_s: Annotated[int, Meta(ge=1, le=60)] = 30
    """How long it may keep a question open where there is no broker."""
    broker: BrokerSection | None = None


class LogSection(Struct, frozen=True, kw_only=True):
    """`[log]`: what is written to the journal."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class MetricsSection(Struct, frozen=True, kw_only=True):
    """`[metrics]`: what Prometheus is told, by way of node_exporter's textfile collector."""

    file: Annotated[str, Meta(pattern=r"\A/.*\.prom\Z", description="an absolute path to a .prom")]


class DoorConfig(Struct, frozen=True, kw_only=True):
    """`[[door]]`: a door's wiring; what it asks for is the cloud's record of the same id."""

    id: Id
    release_s: Seconds = 5.0
    """How long a grant releases the strike."""
    exit_s: Seconds = 5.0
    """How long the exit button releases the strike."""
    held_open_s: Annotated[float, Meta(ge=0, le=86_400)] = 30.0
    """How long the leaf may stand open after that before it is an alarm; 0: no such alarm."""
    forced_alarm: bool = True
    """Whether it is an alarm that the leaf opens without a release."""
    relock_on_close: bool = True
    """Whether a leaf that closes ends the release."""
    strike: Device[Strike]
    contact: Device[Sensor] | None = None
    exit_button: Device[Sensor] | None = None


class ReaderKeys(Struct, frozen=True, kw_only=True):
    """The keys of `[[reader]]` that are not its driver's."""

    name: Name
    door: Id
    direction: Direction = Direction.ENTRY
    """Which way this reader lets people through: one on the inside is an exit reader."""


class ReaderConfig(ReaderKeys, frozen=True, kw_only=True):
    """`[[reader]]`: what reads cards or codes, and the door that it opens."""

    device: Device[Reader]


class FireConfig(Struct, frozen=True, kw_only=True):
    """`[fire]`: the input of the fire alarm, and the doors that it releases."""

    sensor: Device[Sensor]
    releases: Literal["all"] | Annotated[tuple[Id, ...], Meta(min_length=1, max_length=64)] = "all"


class Config(Struct, frozen=True, kw_only=True):
    """The whole file; its devices are found and checked, and not opened."""

    device: DeviceSection
    site: SiteSection
    store: StoreSection = StoreSection()
    cloud: CloudSection | None = None
    log: LogSection = LogSection()
    metrics: MetricsSection | None = None
    doors: Annotated[tuple[DoorConfig, ...], Meta(max_length=64)] = field(name="door", default=())
    readers: Annotated[tuple[ReaderConfig, ...], Meta(max_length=128)] = field(
        name="reader", default=()
    )
    fire: FireConfig | None = None
    wifi: WifiSection | None = None

    def devices(self) -> Iterator[tuple[str, Device[Any]]]:
        """Every device, named as status and logs name it."""
        for reader in self.readers:
            yield f"reader {reader.name}", reader.device
        for door in self.doors:
            yield f"door {door.id} strike", door.strike
            if door.contact is not None:
                yield f"door {door.id} contact", door.contact
            if door.exit_button is not None:
                yield f"door {door.id} exit_button", door.exit_button
        if self.fire is not None:
            yield "fire sensor", self.fire.sensor


class SiteName(Struct, frozen=True, kw_only=True):
    """What of `[site]` is no secret."""

    id: Name


class Basics(Struct, frozen=True, kw_only=True):
    """What a command beside the daemon needs of the file: no device, and no secret."""

    device: DeviceSection
    site: SiteName
    cloud: CloudSection | None = None
    wifi: dict[str, object] | None = None
    """As it is written: only that it is there matters."""


class ConfigError(FaultsError):
    """The configuration cannot be used."""


def load_config(path: str | Path) -> Config:
    """Read and check the configuration; no device is opened and no device library imported.

    Raises:
        ConfigError: with all that is wrong with the file, each fault with line and suggestion.
    """
    document = _document(path)
    faults: list[Fault] = []
    tables = DeviceTables()
    readers = {
        **tables.readers,
        ReaderConfig: lambda data, where, found: _read_reader(tables, data, where, found),
        SiteKey: SiteKey.read,
        **WIFI_READERS,
    }
    config = read_best(Config, document.data, document.where, faults, Options(readers=readers))
    _check_presence(document, faults)
    _check_names(document, faults)
    _check_strike_limits(config, document, faults)
    check_wifi(config.wifi if config is not None else None, document, faults)
    tables.check_claims(faults)
    if config is None or faults:
        raise ConfigError(faults)
    return config


def load_basics(path: str | Path) -> Basics:
    """Read what does without devices and secrets; nothing else of the file is checked.

    Whoever asks how the appliance is doing may be unable to read its secrets: those of systemd are
    for the unit alone.

    Raises:
        ConfigError: with all that is wrong with these parts.
    """
    document = _document(path)
    data = {key: document.data[key] for key in Basics.__struct_fields__ if key in document.data}
    site = data.get("site")
    if isinstance(site, dict):
        data["site"] = {key: site[key] for key in SiteName.__struct_fields__ if key in site}
    faults: list[Fault] = []
    basics = read_struct(Basics, data, document.where, faults)
    if basics is None:
        raise ConfigError(faults)
    return basics


def _document(path: str | Path) -> Document:
    try:
        return load(path)
    except FaultsError as error:
        raise ConfigError(error.faults) from error


def _read_reader(
    tables: DeviceTables, data: object, where: Where, faults: list[Fault]
) -> ReaderConfig | None:
    """Share out the keys of a `[[reader]]`: some are the reader's own, the others its driver's."""
    if not isinstance(data, dict):
        faults.append(where.fault("must be a table"))
        return None
    own = ReaderKeys.__struct_fields__
    keys = read_struct(ReaderKeys, {key: data[key] for key in own if key in data}, where, faults)
    rest = {key: value for key, value in data.items() if key not in own}
    missing = tuple(key for key in own if key not in data)
    device = tables.read_reader(rest, where, faults, missing)
    if keys is None or device is None:
        return None
    return ReaderConfig(name=keys.name, door=keys.door, direction=keys.direction, device=device)


def _check_presence(document: Document, faults: list[Fault]) -> None:
    """An appliance with nothing to do is a mistake, most likely of the file's name."""
    hints = {
        "door": "begin one with [[door]] and give it an id and a strike",
        "reader": "begin one with [[reader]] and give it a name, a driver and a door",
    }
    if "wifi" in document.data:
        # One that only answers access points is none.
        return
    for table, hint in hints.items():
        if document.data.get(table, []) == []:
            faults.append(document.where.at(table).fault(f"there is no {table}", hint))


def _check_names(document: Document, faults: list[Fault]) -> None:
    """Check names against each other; it reads plain text, so as to work beside other faults."""
    doors = _texts(document, "door", "id")
    _check_unique(doors, faults)
    _check_unique(_texts(document, "reader", "name"), faults)
    ids = dict.fromkeys(text for text, _ in doors)
    references = _texts(document, "reader", "door")
    fire = document.data.get("fire")
    releases = fire.get("releases") if isinstance(fire, dict) else None
    if isinstance(releases, list):
        where = document.where.at("fire", "releases")
        released = [(text, where.at(i)) for i, text in enumerate(releases) if isinstance(text, str)]
        _check_unique(released, faults)
        references += released
    for text, where in references:
        # Where no door can be read at all, that is the fault to mend.
        if ids and text not in ids:
            hint = did_you_mean(text, ids) or f"there are: {', '.join(ids)}"
            faults.append(where.fault(f"there is no door {shown(text)}", hint))


def _texts(document: Document, table: str, key: str) -> list[tuple[str, Where]]:
    """The texts under one key of an array of tables, with their places."""
    entries = document.data.get(table)
    if not isinstance(entries, list):
        return []
    return [
        (entry[key], document.where.at(table, index, key))
        for index, entry in enumerate(entries)
        if isinstance(entry, dict) and isinstance(entry.get(key), str)
    ]


def _check_unique(texts: list[tuple[str, Where]], faults: list[Fault]) -> None:
    first: dict[str, Where] = {}
    for text, where in texts:
        before = first.setdefault(text, where)
        if before is not where:
            problem = (
                f"must differ from {before.field} (line {before.line}): both are {shown(text)}"
            )
            faults.append(where.fault(problem))


def _check_strike_limits(config: Config | None, document: Document, faults: list[Fault]) -> None:
    """A strike that locks by itself earlier would cut a release short in silence."""
    places = dict(_texts(document, "door", "id"))
    for door in config.doors if config else ():
        limit = getattr(door.strike.settings, "release_s_max", None)
        for key in ("release_s", "exit_s"):
            if limit is not None and getattr(door, key) > limit:
                problem = f"must be at most {limit}, the release_s_max of the door's strike"
                where = document.where.at(*places[door.id].path[:2], key)
                faults.append(where.fault(problem))
