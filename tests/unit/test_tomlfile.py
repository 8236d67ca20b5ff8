import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegate.faults import FaultsError, KeyPath
from edgegate.tomlfile import FILE_BYTES_MAX, load, loads

EXAMPLE = '''\
# a comment with [brackets] and key = 1
title = "a"

[site]   # trailing
id = "x" # id = "y"
"quoted.key" = 1
'literal key' = 2
"t\\u0061b" = 3
inner.deep.most = 4
inner."deep".other = 5

text = """
[reader]
not_a_key = 1 \\""" still
""""
literal = \'\'\'
[[door]]
\'\'\'
when = 1979-05-27 07:32:00Z
list = [
    1, # one ]
    "two, ]",
    [3,
     4],
]
after_list = true

[[reader]]
name = "one"
strike = { driver = "gpio", line.at = 17, hours = [{ from = "10:00" }] }
[reader.settings]
port = 1
[[reader]]
name = "two"
[[reader.card]]
id = 1
[[reader.card]]
id = 2
[reader.settings.more]
x = 1
'''


def test_each_kind_of_key_is_found_on_its_line() -> None:
    document = loads(EXAMPLE, "x.toml")
    expected: dict[KeyPath, int] = {
        ("title",): 2,
        ("site",): 4,
        ("site", "id"): 5,
        ("site", "quoted.key"): 6,
        ("site", "literal key"): 7,
        ("site", "tab"): 8,
        ("site", "inner"): 9,
        ("site", "inner", "deep", "most"): 9,
        ("site", "inner", "deep", "other"): 10,
        ("site", "text"): 12,
        ("site", "literal"): 16,
        ("site", "when"): 19,
        ("site", "list"): 20,
        ("site", "list", 0): 21,
        ("site", "list", 1): 22,
        ("site", "list", 2): 23,
        ("site", "list", 2, 1): 24,
        ("site", "after_list"): 26,
        ("reader",): 28,
        ("reader", 0): 28,
        ("reader", 0, "strike", "driver"): 30,
        ("reader", 0, "strike", "line", "at"): 30,
        ("reader", 0, "strike", "hours", 0, "from"): 30,
        ("reader", 0, "settings"): 31,
        ("reader", 0, "settings", "port"): 32,
        ("reader", 1): 33,
        ("reader", 1, "name"): 34,
        ("reader", 1, "card", 0, "id"): 36,
        ("reader", 1, "card", 1): 37,
        ("reader", 1, "card", 1, "id"): 38,
        ("reader", 1, "settings", "more", "x"): 40,
    }
    assert {path: document.lines.get(path) for path in expected} == expected
    assert document.data == tomllib.loads(EXAMPLE)


def test_a_missing_key_has_the_line_of_the_table_it_is_missing_in() -> None:
    where = loads(EXAMPLE, "x.toml").where
    assert where.at("reader", 1, "port").line == 33
    assert where.at("site", "inner", "deep", "absent", 7).line == 9
    assert where.at("absent").line is None


def test_windows_line_ends_count_once() -> None:
    document = loads("a = 1\r\n\r\n[b]\r\nc = '''\r\n'''\r\nd = 1\r\n", "x.toml")
    assert document.lines["b", "d"] == 6


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = = 2\n", 2),
        ("a = 1\na = 2\n", 2),
        ("[a]\nx = 1\n\n[a]\n", 4),
        ("a = 1\nb = [1,\n2\n", 3),
        ("a = 2026-13-01\n", 1),
        ("a = 'no end", 1),
    ],
)
def test_a_syntax_error_names_its_line(text: str, line: int) -> None:
    with pytest.raises(FaultsError) as caught:
        loads(text, "x.toml")
    (fault,) = caught.value.faults
    assert fault.line == line
    assert str(fault).startswith(f"x.toml:{line}: is not valid TOML: ")
    assert "(at " not in str(fault)


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 5000 + "]" * 5000])
def test_what_python_refuses_to_parse_is_a_fault(text: str) -> None:
    with pytest.raises(FaultsError):
        loads(text, "x.toml")


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    large = tmp_path / "large.toml"
    large.write_text("#" * (FILE_BYTES_MAX + 1))
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"a = 1\nb = '\xe9'\n")
    cases = {
        tmp_path / "none.toml": "cannot be read: No such file",
        tmp_path: "cannot be read: Is a directory",
        Path("nul\0.toml"): "cannot be read: embedded null byte",
        large: "is larger than",
        latin: "is not UTF-8 text",
    }
    for path, problem in cases.items():
        with pytest.raises(FaultsError, match=problem):
            load(path)
    with pytest.raises(FaultsError) as caught:
        load(latin)
    assert caught.value.faults[0].line == 2


KEYS = st.sampled_from(["a", "b-1", '"q.x"', "'l #'", '"\\u0061\\""', "3", '"["', "é".join('""')])
TRAPS = st.sampled_from(
    [
        "1",
        "1.5e3",
        "true",
        "1979-05-27 07:32:00",
        "07:32:00.5",
        '"a # = ] } \\" b"',
        "'C:\\'",
        '""""one" \\\n  [x]\ny = 1"""""',
        "''''\n[[x]]\nz = 1'''''",
        "[\n]",
        "[1, # ]\n 2,\n]",
        "[[], [{ k = 1 }],\n\n{ k = ']' }]",
        "{}",
        "{ x.y = [1,\n2], z = '}' }",
    ]
)


def _plain(key: str) -> str:
    return next(iter(tomllib.loads(f"{key} = 0")))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[KeyPath, int]]:
    """TOML text, written line by line, with the lines that its keys were written on."""
    text = ""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    names = draw(st.lists(KEYS, min_size=1, max_size=4, unique_by=_plain))
    for name in names:
        entries = draw(st.integers(0, 2)) if text else 0
        for index in range(max(entries, 1)):
            header = f"[[ {name} ]]" if entries else f"[{name}]"
            text += draw(st.sampled_from(["", "\n", "# [no]\n", " \t# x = 1\n"]))
            table = (_plain(name), index) if entries else (_plain(name),)
            lines[table] = text.count("\n") + 1
            text += header + draw(st.sampled_from(["\n", " # ]\n"]))
            for key in draw(st.lists(KEYS, max_size=3, unique_by=_plain)):
                dotted = draw(st.booleans())
                path = (*table, _plain(key), "sub") if dotted else (*table, _plain(key))
                lines[path] = text.count("\n") + 1
                text += f"{key}{' . sub' if dotted else ''} = {draw(TRAPS)}\n"
    return text, lines


@given(documents())
def test_every_key_of_any_document_is_on_the_line_it_was_written_on(
    case: tuple[str, dict[KeyPath, int]],
) -> None:
    text, expected = case
    found = loads(text, "x.toml").lines
    assert {path: found.get(path) for path in expected} == expected


def _paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs if isinstance(value, dict | list) else ():
        yield from _paths(inner, (*path, key))


@given(st.text(alphabet="ab.=[]{}\"'#,\n\\1 -T:é", max_size=60))
def test_any_text_is_a_document_with_all_its_lines_or_a_fault(text: str) -> None:
    try:
        document = loads(text, "x.toml")
    except FaultsError as error:
        lines = [fault.line or 1 for fault in error.faults]
    else:
        lines = [document.lines[path] for path in _paths(document.data) if path]
    assert all(1 <= line <= text.count("\n") + 1 for line in lines)
