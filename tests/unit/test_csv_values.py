"""What the texts of exported files are taken for."""

from zoneinfo import ZoneInfo

import pytest

from edgegate.credentials.lookup import lookup
from edgegate.passes.model import CredentialKind
from edgegate_sync.cloud import mappings
from edgegate_sync.cloud.csv_import_files import (
    CsvFile,
    FileFaultyError,
    Header,
    ImportFault,
    Row,
    recognise,
    rows,
)
from edgegate_sync.cloud.csv_import_values import (
    ValueFaultyError,
    World,
    card_number,
    slug,
    value_of,
)
from edgegate_sync.cloud.mappings import Source
from edgegate_sync.wire.kinds import KINDS

KEY = b"k" * 32
WORLD = World(zone=ZoneInfo("Europe/Berlin"), dates=("%d/%m/%Y %H:%M", "%d/%m/%Y"), site_key=KEY)


def read(text: str, world: World = WORLD, **source: object) -> object:
    return value_of(Source(**source), text, world)  # type: ignore[arg-type]  # fields as the caller says


def lines(text: str | bytes, **more: object) -> tuple[list[Row], list[ImportFault]]:
    data = text.encode() if isinstance(text, str) else text
    faults: list[ImportFault] = []
    file = CsvFile(name="f", open=lambda: data.splitlines(keepends=True), **more)  # type: ignore[arg-type]  # fields as the caller says
    found = [one for one in rows(file, faults) if isinstance(one, Row)]
    return found, faults


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("31/03/2026 18:00", False, "2026-03-31T16:00:00Z"),
        ("31/01/2026", False, "2026-01-30T23:00:00Z"),
        # Valid until the 31st: the whole day, which is of summer time by its end.
        ("31/03/2026", True, "2026-03-31T22:00:00Z"),
        ("2026-03-31T18:00:00+00:00", True, "2026-03-31T18:00:00Z"),
        ("2026-03-31", False, "2026-03-30T22:00:00Z"),
    ],
)
def test_instants_are_wall_times_of_the_space(text: str, end: bool, expected: str) -> None:
    assert read(text, read="instant", end_of_day=end) == expected


@pytest.mark.parametrize("text", ["31.3.26", "02/31/2026", "0026-01-01", "soon"])
def test_what_is_no_date_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueFaultyError) as caught:
        read(text, read="instant")
    assert caught.value.advice


def test_numbers_follow_the_products_way_to_write_them() -> None:
    german = World(zone=ZoneInfo("UTC"), decimal_comma=True)
    assert read("1,234", read="number") == 1234
    assert read("2.5", read="number", scale=60) == 150
    assert read("2,5", german, read="number", scale=60) == 150
    assert read("1.234,5", german, read="credits") == 123450
    assert read("0.125", read="credits") == 13
    for text in ("1,5", "2.5", "-1", "many", "1e99", "NaN"):
        with pytest.raises(ValueFaultyError):
            read(text, read="number")


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("04:a1:b2:c3:d4:e5:80", "hex", "04a1b2c3d4e580"),
        ("80E5D4C3B2A104", "hex_reversed", "04a1b2c3d4e580"),
        ("2712847316", "decimal", "a1b2c3d4"),
        ("3569595041", "decimal_reversed", "a1b2c3d4"),
        ("00000001", "hex", "00000001"),
    ],
)
def test_card_numbers_are_bytes(text: str, form: str, expected: str) -> None:
    assert card_number(text, form).hex() == expected  # type: ignore[arg-type]  # form is one of the table


@pytest.mark.parametrize("text", ["4a1b2c3d4e580", "secret", "04a1b2", "1.2E+09", "9" * 40])
def test_what_is_no_card_number_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueFaultyError) as caught:
        card_number(text, "hex")
    assert text not in str(caught.value)


def test_a_card_becomes_what_the_devices_look_up() -> None:
    number = bytes.fromhex("04A1B2C3D4E580")
    expected = lookup(KEY, CredentialKind.NFC_UID, number)
    assert read("04 A1 B2 C3 D4 E5 80", read="card") == expected
    with pytest.raises(ValueFaultyError, match="afresh"):
        read("08A1B2C3", read="card")
    with pytest.raises(ValueFaultyError, match="site's key"):
        read("04A1B2C3D4E580", World(zone=ZoneInfo("UTC")), read="card")


def test_people_are_not_named_by_their_addresses() -> None:
    hashed = read(" Ana@Example.com ", read="hashed", prefix="m-")
    assert hashed == read("ana@example.com", read="hashed", prefix="m-")
    assert "ana" not in str(hashed)


def test_names_that_differ_have_ids_that_differ() -> None:
    assert slug("Flex 10") == "flex-10"
    assert slug("flex 10") == "flex-10"
    assert len({slug("Müller"), slug("Muller"), slug("Mueller!"), slug("咖啡"), slug("茶")}) == 5


def test_a_word_of_the_product_that_nobody_knows_is_a_fault() -> None:
    words: dict[str, object] = {"Yes": "active", "No": "disabled"}
    assert read("YES", values=words) == "active"
    with pytest.raises(ValueFaultyError) as caught:
        read("perhaps", values=words)
    assert "Yes, No" in caught.value.advice


@pytest.mark.parametrize(
    "text",
    [
        "Name,E-Mail\nAna,a@x\n",
        "\ufeffName;E-Mail\r\nAna;a@x\r\n",
        "sep=;\nName;E-Mail\nAna;a@x",
        '\n"Name"\t"E-Mail"\n"Ana"\ta@x\n\n',
    ],
)
def test_delimiters_and_marks_follow_plain_rules(text: str) -> None:
    found, faults = lines(text)
    assert not faults
    assert [row.values for row in found] == [{"name": "Ana", "email": "a@x"}]


def test_lines_are_those_of_the_file() -> None:
    text = 'a,b\n"one\ntwo",2\n\n3,4,5\n6,7\n8,"9'
    found, faults = lines(text)
    assert [row.line for row in found] == [2, 6]
    assert [fault.line for fault in faults] == [5, 7]


def test_an_encoding_that_is_another_one_is_named_by_line() -> None:
    data = "name\nJosé\nAna\nZoë\n".encode("cp1252")
    found, faults = lines(data)
    assert [fault.line for fault in faults] == [2, 4]
    assert "cp1252" in faults[0].advice
    assert len(found) == 3
    found, faults = lines(data, encoding="cp1252")
    assert (found[0].values["name"], faults) == ("José", [])


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_file_is_a_fault(text: str) -> None:
    with pytest.raises(FileFaultyError):
        lines(text)


def header(text: str) -> Header:
    return Header(
        columns={name.strip().casefold().replace(" ", ""): name for name in text.split(",")}
    )


@pytest.mark.parametrize(
    ("product", "columns", "expected"),
    [
        ("nexudus", "FullName,Email,Active,Plan", "customers"),
        ("nexudus", "Coworker Email,Pass Name,Remaining Uses", "passes"),
        ("deskie", "Name,Email,Status,Company", "members"),
        ("deskie", "Email,Pass,Uses remaining,Expires", "passes"),
        ("cobot", "Name,Email,Plan Name,Start Date", "members"),
        ("spacebring", "First name,Last name,Email,Phone number,Company ID,Plan ID", "members"),
        ("spacebring", "Email,Day passes,Expires", "passes"),
        ("andcards", "Email,Credits", "credits"),
        ("edgegate", "reservation id,customer,from,until", "reservations"),
    ],
)
def test_files_are_known_by_their_columns(product: str, columns: str, expected: str) -> None:
    file = CsvFile(name="f", open=list)
    assert recognise(file, header(columns), mappings.load(product))[0] == expected


def test_a_file_of_nobody_is_told_what_it_lacks() -> None:
    file = CsvFile(name="f", open=list)
    with pytest.raises(FileFaultyError) as caught:
        recognise(file, header("Email,Colour"), mappings.load("cobot"))
    assert "lacks" in caught.value.fault.advice


@pytest.mark.parametrize("product", mappings.names())
def test_every_mapping_speaks_of_fields_that_there_are(product: str) -> None:
    for file in mappings.load(product).files.values():
        for record in file.records:
            fields = set(KINDS[record.kind].type.__struct_encode_fields__)
            said = set(record.fields) | set(record.fixed)
            for field in record.fields:
                for source in record.sources(field):
                    said |= set(source.sets) | set(source.made_of)
            assert said <= fields, (product, record.kind, said - fields)
            assert set(record.when) | set(record.required) <= said
