"""Whoever types something wrong is told what is wrong, where, and what to do; never by a trace."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgegate.cli import main

ADVICE = "Name yours here or in EDGEGATE_CONFIG, or make one after config.example.toml."


def said(*arguments: str, environment: dict[str, str] | None = None) -> str:
    done = CliRunner().invoke(main, arguments, env=environment)
    assert done.exit_code in {1, 2}
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.output


@pytest.mark.parametrize(
    "command",
    [
        *("check-config", "run -c", "door lock-all -c", "status -c", "sync now -c"),
        *("ledger tail -c", "ledger verify -c", "ledger export -c"),
        *("explain --customer ana -c", "backup {top}/out -c", "restore {top}/a-file -c"),
        "enroll --cloud https://cloud.example --claim abcdefgh -c",
        "replay --ledger {top}/a-file --with {top}/a-file -c",
    ],
)
def test_a_configuration_that_is_not_there_or_wrong_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "a-file").touch()
    words = command.format(top=tmp_path).split()
    missing = said(*words, str(tmp_path / "none.toml"))
    assert f"{tmp_path}/none.toml: cannot be read: No such file" in missing
    assert ADVICE in missing
    (tmp_path / "wrong.toml").write_text("[device]\nidd = 1\n")
    wrong = said(*words, str(tmp_path / "wrong.toml"))
    assert 'wrong.toml:2: device.idd: is not a known key; did you mean "id"?' in wrong
    assert ADVICE not in wrong


@pytest.mark.parametrize("command", ["backup {top}/out", "restore {top}/a-file", "ledger tail"])
def test_the_environment_names_the_configuration_to_every_command(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "a-file").touch()
    named = {"EDGEGATE_CONFIG": str(tmp_path / "mine.toml")}
    assert "mine.toml: cannot" in said(*command.format(top=tmp_path).split(), environment=named)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("ledger tail --state-dir {top}", "there is no ledger.db in {top}: the appliance has not"),
        ("explain --customer a --at noon --state-dir {top}", "'noon' is no date and time"),
        ("backup {top}/out --state-dir {top}", "the passphrase comes from --passphrase-file"),
        ("replay {top}", "there is no scenario file (*.toml) in what was named"),
        ("cloud trust --database nope://x", "is sqlite:///path or postgresql+asyncpg://user@host"),
        ("cloud trust --database nope://x --key-file k", '"nope" is no database for this cloud'),
        ("cloud trust --database sqlite:////proc/none/x", "/proc/none: No such file or directory."),
        (
            "cloud trust --database postgresql+asyncpg://a@/b?host={top} --key-file {top}/k",
            "Is the database running where --database says?",
        ),
        (
            "cloud migrate --database sqlite:///{top}/text",
            "The database refuses: file is not a database. Is it the one",
        ),
        ("cloud serve --log-level loud", "'loud' is not one of 'debug', 'info'"),
        ("cloud serve --tls-cert {top}/none.pem", "File '{top}/none.pem' does not exist"),
        ("cloud serve --database sqlite:///{top}/c.db --listen a:b", "'a:b' is not HOST:PORT"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, command: str, answer: str) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    told = said(*command.format(top=tmp_path).split())
    assert answer.format(top=tmp_path) in told
    assert "Errno" not in told
