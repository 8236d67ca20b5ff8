"""Import, backup and demo data from the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgegate.cloudcli import cloud
from edgegate.cloudcli_data import MAPPINGS, backup, restore
from edgegate.store.files import Store
from edgegate_sync.cloud import mappings

MEMBERS = "ID,Name,Plan,Start Date\n1,Ana,Flex,2026-01-01\n2,,Flex,soon\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    key = tmp_path / "site.key"
    key.write_text("0123456789abcdef" * 4 + "\n")
    (tmp_path / "words").write_text("correct horse battery\n")
    return tmp_path


def run(directory: Path, *arguments: str) -> Result:
    where = ["--database", f"sqlite:///{directory}/cloud.db"]
    return CliRunner().invoke(cloud, [arguments[0], *where, *arguments[1:]])


def test_the_command_line_knows_every_mapping() -> None:
    assert mappings.names() == MAPPINGS


def test_a_space_is_made_imported_into_and_backed_up(directory: Path) -> None:
    made = run(directory, "demo-data", "--site-key", str(directory / "site.key"))
    assert made.exit_code == 0, made.output
    assert "records were written" in made.output
    again = run(directory, "demo-data", "--site-key", str(directory / "site.key"))
    assert "; 0 records" in again.output
    (directory / "members.csv").write_text(MEMBERS)
    options = ("--site", "demo", "--mapping", "cobot", "--location", "mill")
    faulty = run(directory, "import", str(directory / "members.csv"), *options, "--dry-run")
    assert faulty.exit_code == 1
    assert "members.csv:3, Start Date" in faulty.output
    assert "nothing was written" in faulty.output
    good = MEMBERS.replace("2,,Flex,soon", "2,Bo,Flex,2026-02-01")
    (directory / "members.csv").write_text(good)
    done = run(directory, "import", f"members={directory}/members.csv", *options)
    assert (done.exit_code, "customer: 2 new" in done.output) == (0, True), done.output
    missing = run(directory, "import", "nowhere.csv", *options)
    assert (missing.exit_code, "no file" in missing.output) == (2, True)
    words = ("--passphrase-file", str(directory / "words"))
    kept = run(directory, "backup", str(directory / "out"), *words)
    assert kept.exit_code == 0, kept.output
    refused = run(directory, "restore", str(directory / "out"), *words)
    assert (refused.exit_code, "--replace" in refused.output) == (2, True)
    back = run(directory, "restore", str(directory / "out"), *words, "--replace")
    assert (back.exit_code, "2 authorities" in back.output) == (0, True), back.output


def test_an_appliance_is_backed_up_and_restored(directory: Path) -> None:
    state = directory / "state"
    Store.open(state).close()
    words = ["--passphrase-file", str(directory / "words"), "--state-dir"]
    out = str(directory / "box")
    kept = CliRunner().invoke(backup, [out, *words, str(state)])
    assert kept.exit_code == 0, kept.output
    done = CliRunner().invoke(restore, [out, *words, str(directory / "new")])
    assert (done.exit_code, "goes on in epoch" in done.output) == (0, True), done.output
    (directory / "words").write_text("something else entirely")
    wrong = CliRunner().invoke(restore, [out, *words, str(directory / "other")])
    assert (wrong.exit_code, "passphrase" in wrong.output) == (2, True)


def test_a_site_key_can_be_deposited_later(directory: Path) -> None:
    assert run(directory, "demo-data").exit_code == 0
    kept = run(directory, "site-key", "--site", "demo", str(directory / "site.key"))
    assert (kept.exit_code, "fingerprint" in kept.output) == (0, True), kept.output
    nowhere = run(directory, "site-key", "--site", "none", str(directory / "site.key"))
    assert (nowhere.exit_code, "no site" in nowhere.output) == (2, True)
