from datetime import UTC, date, datetime, timedelta, timezone
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegate.faults import FAULTS_MAX, Fault, FaultsError, Where, did_you_mean, field_name
from edgegate.passes.model import Contract, CredentialKind, Hours, Location, Pass
from edgegate.passes.state import Coverage, Session
from edgegate.strict import Options, read_best, read_struct
from edgegate.tomlfile import loads
from edgegate.wording import shown


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    port: Annotated[int, msgspec.Meta(ge=1, le=9)]
    kind: CredentialKind = CredentialKind.PIN


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=8)]
    ratio: float = 1.0
    on: bool = False
    inner: Inner | None = None
    inners: Annotated[tuple[Inner, ...], msgspec.Meta(max_length=2)] = ()
    pair: tuple[int, str] = (0, "")
    words: dict[Annotated[str, msgspec.Meta(max_length=3)], int] = {}
    doors: Literal["all"] | tuple[str, ...] = "all"
    labels: frozenset[str] = frozenset()
    unset: bool | msgspec.UnsetType = msgspec.UNSET
    unsets: tuple[Inner, ...] | msgspec.UnsetType = msgspec.UNSET
    first: int = 0
    last: int = 10

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError("first must not be after last")


def faults_of(text: str, kind: type[msgspec.Struct] = Outer) -> list[str]:
    document = loads(text, "f")
    faults: list[Fault] = []
    value = read_struct(kind, document.data, document.where, faults)
    assert (value is None) == bool(faults)
    return [str(fault) for fault in faults]


def value_of(kind: type[Any], text: str) -> Any:
    document = loads(text, "f")
    faults: list[Fault] = []
    value = read_struct(kind, document.data, document.where, faults)
    assert faults == []
    return value


def test_a_fault_prints_as_a_compilers_does() -> None:
    fault = Fault("config.toml", 12, "reader[0].port", "must be x (got 1)", 'did you mean "y"?')
    assert str(fault) == 'config.toml:12: reader[0].port: must be x (got 1); did you mean "y"?'
    assert str(Fault("config.toml", None, "", "cannot be read")) == "config.toml: cannot be read"
    assert str(Fault("f", 1, "a", "has \n\x1b[31m in it")) == "f:1: a: has \\x0a\\x1b[31m in it"
    assert field_name(("a b", 0, "c-1", "d.e")) == '"a b"[0].c-1."d.e"'


def test_faults_are_sorted_by_line() -> None:
    error = FaultsError(
        [Fault("f", 9, "a", "x"), Fault("f", None, "b", "x"), Fault("f", 2, "", "")]
    )
    assert [fault.line for fault in error.faults] == [None, 2, 9]
    assert str(error).splitlines()[0] == "f: b: x"


def test_a_whole_struct_is_read() -> None:
    text = """
name = "n"
ratio = 2
inner = { port = 3, kind = "mac" }
inners = [{ port = 1 }, { port = 2 }]
pair = [1, "x"]
words = { a = 1 }
doors = ["front"]
labels = ["x"]
"""
    assert value_of(Outer, text) == Outer(
        name="n",
        ratio=2.0,
        inner=Inner(port=3, kind=CredentialKind.MAC),
        inners=(Inner(port=1), Inner(port=2)),
        pair=(1, "x"),
        words={"a": 1},
        doors=("front",),
        labels=frozenset({"x"}),
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('nam = "n"', 'f:1: nam: is not a known key; did you mean "name"?'),
        ('nam = "n"', "f: name: is missing"),
        ('name = ""', 'f:1: name: must be text of 1 to 8 characters (got "")'),
        ("ratio = '2.5'", 'f:1: ratio: must be a number (got "2.5"); did you mean 2.5, without'),
        ("ratio = nan", "f:1: ratio: must be a finite number (got nan)"),
        ("ratio = -inf", "f:1: ratio: must be a finite number (got -inf)"),
        ("on = 1", "f:1: on: must be true or false (got 1)"),
        ("on = 'true'", 'f:1: on: must be true or false (got "true"); did you mean true, without'),
        ("inner = 3", "f:1: inner: must be a table (got 3)"),
        ("[inner]\nport = 0", "f:2: inner.port: must be a whole number from 1 to 9 (got 0)"),
        ("[inner]\nport = 1.0", "f:2: inner.port: must be a whole number from 1 to 9 (got 1.0)"),
        ("[inner]\nport = true", "f:2: inner.port: must be a whole number from 1 to 9 (got true)"),
        (
            "[inner]\nport = 1\nkind = 'qr-static'",
            'f:3: inner.kind: must be one of "nfc_uid", "nfc_ntag424", "qr_static", "qr_signed"',
        ),
        (
            "[inner]\nx.y = 1",
            "f:2: inner.x: is not a known key; keys that may stand here: port, kind",
        ),
        ("[inners]", "f:1: inners: must be an array (got a table); did you mean [[inners]]?"),
        ("unset = 1", "f:1: unset: must be true or false (got 1)"),
        ("unsets = 1", "f:1: unsets: must be an array (got 1)"),
        ("unsets = [{}]", "f:1: unsets[0].port: is missing"),
        ("[[inners]]\n[[inners]]\n", "f:2: inners[1].port: is missing"),
        ("[[inners]]\n" * 3, "f:1: inners: must have at most 2 of them (got 3)"),
        ("inners = [\n{ port = 1 },\n7]", "f:3: inners[1]: must be a table (got 7)"),
        ("pair = [1]", "f:1: pair: must have 2 elements (got 1)"),
        ("pair = ['', 1]", 'f:1: pair[0]: must be a whole number (got "")'),
        ("[words]\na = true", "f:2: words.a: must be a whole number (got true)"),
        ("[words]\nlong = 1", 'f:2: words.long: must be text of at most 3 characters (got "long")'),
        ("words = []", "f:1: words: must be a table (got an array)"),
        ("doors = 'front'", 'f:1: doors: must be "all" or an array (got "front")'),
        ("doors = [1]", "f:1: doors[0]: must be text (got 1)"),
        ("doors = { a = 1 }", 'f:1: doors: must be "all" or an array (got a table)'),
        ("first = 11\nname = 'n'", "f: first must not be after last"),
        (f"first = {1 << 63}", "f:1: first: must fit into 64 bits (got 9223372036854775808)"),
        (
            "first = 0x" + "f" * 9000,
            "f:1: first: must fit into 64 bits (got a number of 36000 bits)",
        ),
        ("name = 'a\\u0000'".replace("'", '"'), "f:1: name: must not contain the character U+0000"),
        ("name = 2026-01-01", "f:1: name: must be text of 1 to 8 characters (got 2026-01-01)"),
    ],
)
def test_each_kind_of_fault_is_named_with_its_line(text: str, fault: str) -> None:
    assert any(line.startswith(fault) for line in faults_of(text)), faults_of(text)


def test_a_misspelled_word_of_a_list_brings_a_suggestion() -> None:
    (line,) = faults_of("name = 'n'\n[inner]\nport = 1\nkind = 'qr-static'")
    assert line.endswith('"wifi_login", "pin" (got "qr-static"); did you mean "qr_static"?')


def test_one_run_names_them_all() -> None:
    text = "nam = 1\nratio = ''\n[inner]\nport = 0\nkind = 1\n[[inners]]\n[words]\nlong = ''\n"
    fields = [fault.split(": ")[1] for fault in faults_of(text)]
    expected = ["nam", "name", "ratio", "inner.port", "inner.kind", "inners[0].port", "words.long"]
    assert sorted(fields) == sorted([*expected, "words.long"])


def test_the_integers_at_the_edge_of_64_bits_are_read() -> None:
    value = value_of(Outer, f"name = 'n'\nfirst = {-1 << 63}\nlast = {(1 << 63) - 1}")
    assert (value.first, value.last) == (-1 << 63, (1 << 63) - 1)


def test_a_default_in_a_wrong_values_place_brings_no_fault_of_its_own() -> None:
    assert faults_of("name = 'n'\nfirst = 20\nlast = '30'") == [
        'f:3: last: must be a whole number (got "30"); did you mean 30, without quotes?'
    ]


def test_the_best_is_made_of_faults() -> None:
    document = loads(
        "name = 'n'\nextra = 1\nratio = ''\ninners = [{ port = 2 }, { port = 0 }]", "f"
    )
    faults: list[Fault] = []
    value = read_best(Outer, document.data, document.where, faults)
    assert value == Outer(name="n", inners=(Inner(port=2),))
    assert [fault.line for fault in faults] == [2, 3, 4]
    assert read_best(Outer, {"name": 1}, document.where, faults) is None


def test_faults_end_at_their_limit() -> None:
    faults: list[Fault] = []
    data = {f"key{number}": 1 for number in range(10 * FAULTS_MAX)}
    assert read_struct(Outer, data, Where("f"), faults) is None
    assert len(faults) == FAULTS_MAX


def test_types_are_read_in_their_own_way_wherever_they_stand() -> None:
    class Own:
        pass

    class Holder(msgspec.Struct):
        one: Own
        maybe: Own | None = None
        limited: Annotated[Own, msgspec.Meta(title="x")] | None = None
        many: tuple[Own, ...] = ()

    own = Own()

    def read(data: object, where: Where, faults: list[Fault]) -> Own | None:
        if data == "good":
            return own
        faults.append(where.fault("is bad"))
        return None

    def holder(data: object) -> tuple[Holder | None, list[str]]:
        faults: list[Fault] = []
        options = Options(readers={Own: read})
        value = read_struct(Holder, data, Where("f"), faults, options)
        return value, [fault.field for fault in faults]

    good, faults = holder({"one": "good", "maybe": "good", "limited": "good", "many": ["good"]})
    assert good == Holder(own, own, own, (own,))
    assert faults == []
    nothing, faults = holder({"one": "x", "maybe": "x", "limited": "x", "many": ["good", "x"]})
    assert nothing is None
    assert faults == ["one", "maybe", "limited", "many[1]"]


def test_the_records_of_scenario_files_are_read() -> None:
    text = """
id = "morning"
holder = "rui"
unit = "minute"
amount = 90
expires_at = 2026-03-29T03:30:00+02:00
on_date = 2026-03-29
hours = [{ days = ["mon", "tue"], from = "10:00", to = "24:00" }]
locations = ["porto"]
"""
    value = value_of(Pass, text)
    assert value.expires_at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert value.expires_at.tzinfo is UTC
    assert value.on_date == date(2026, 3, 29)
    assert value.hours[0].from_ == "10:00"
    assert value.locations == ("porto",)


@pytest.mark.parametrize(
    ("kind", "text", "fault"),
    [
        (Contract, "starts_at = 2026-01-01T00:00:00", "starts_at: must be a date-time with offset"),
        (Contract, "starts_at = 2026-01-01", "starts_at: must be a date-time with offset"),
        (Contract, "starts_at = '2026-01-01T00:00:00Z'", "starts_at: must be a date-time with"),
        (Contract, "starts_at = 0001-01-01T00:00:00+14:00", "starts_at: must be a year from 1 to"),
        (Pass, "on_date = 2026-01-01T00:00:00Z", "on_date: must be a date, like 2026-03-29 (got"),
        (Pass, "amount = -1", "amount: must be a whole number from 0 to 1000000000 (got -1)"),
        (
            Pass,
            "[[hours]]\nfrom_ = '10:00'",
            'hours[0].from_: is not a known key; did you mean "from"',
        ),
        (Pass, "hours = [{ days = ['Mon'] }]", 'hours[0].days[0]: must be one of "mon", "tue"'),
        (Location, "holidays = ['2026-01-01']", "holidays[0]: must be a date"),
        (Location, "timezon = 'UTC'", 'timezon: is not a known key; did you mean "timezone"?'),
        (Session, "[segment]\nfrom = 1", "segment.from: must be a date-time with offset"),
        (Coverage, "session = 1", "session: must be text (got 1)"),
    ],
)
def test_faults_in_records(kind: type[msgspec.Struct], text: str, fault: str) -> None:
    assert any(f": {fault}" in line for line in faults_of(text, kind)), faults_of(text, kind)


def test_times_of_the_wire_come_as_text() -> None:
    faults: list[Fault] = []
    data = {"id": "c", "holder": "h", "starts_at": "2026-01-01T01:00:00+01:00"}
    options = Options(native_times=False)
    contract = read_struct(Contract, data, Where("feed"), faults, options)
    assert contract == Contract(id="c", holder="h", starts_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert read_struct(Contract, data, Where("feed"), faults) is None


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("prot", ["port", "name"], 'did you mean "port"?'),
        ("PORT", ["port"], 'did you mean "port"?'),
        ("colour", ["port", "name"], ""),
        ("x" * 100_000, ["port"], ""),
    ],
)
def test_spellings_are_suggested(word: str, known: list[str], hint: str) -> None:
    assert did_you_mean(word, known) == hint


def test_values_are_shown_as_toml_writes_them_and_cut() -> None:
    zone = timezone(timedelta(hours=1))
    assert shown('a"b') == '"a\\"b"'
    assert shown("x" * 100) == f'"{"x" * 64}…"'
    assert shown(True) == "true"
    assert shown(None) == "nothing"
    assert shown([1]) == "an array"
    assert shown(datetime(2026, 1, 1, tzinfo=zone)) == "2026-01-01T00:00:00+01:00"


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.times(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "holder", "hours", "from", "days", "x"]), inner)
    ),
    max_leaves=12,
)
FIELDS: dict[type[msgspec.Struct], list[str]] = {
    kind: [field.encode_name for field in msgspec.structs.fields(kind)]
    for kind in (Outer, Pass, Location, Session, Hours)
}


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(list(FIELDS)))
def test_any_data_are_a_value_or_faults(data: st.DataObject, kind: type[msgspec.Struct]) -> None:
    keys = st.sampled_from([*FIELDS[kind], "unknown"])
    plain = data.draw(PLAIN | st.dictionaries(keys, PLAIN))
    faults: list[Fault] = []
    value = read_struct(kind, plain, Where("f"), faults)
    assert isinstance(value, kind) == (not faults)
    assert all(len(str(fault).splitlines()) == 1 for fault in faults)
