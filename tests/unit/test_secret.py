import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgegate.faults import Fault, Where
from edgegate.secret import MASK, SECRET_BYTES_MAX, Secret, SecretSource, SiteKey

KEY = b"5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99"


def read(data: object, kind: type[Secret] = Secret) -> tuple[Secret | None, list[str]]:
    faults: list[Fault] = []
    secret = kind.read(data, Where("f", {("site", "key"): 3}).at("site", "key"), faults)
    assert (secret is None) == bool(faults)
    return secret, [str(fault) for fault in faults]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(content: bytes, mode: int = 0o600) -> str:
        path = tmp_path / "secret"
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (KEY, KEY),
        (KEY + b"\n", KEY),
        (KEY + b"\r\n", KEY),
        (KEY + b" \n", KEY + b" "),
        (b"\x80" * 31 + b"\n", b"\x80" * 31 + b"\n"),
        (b"\x00" * 31 + b"\n", b"\x00" * 31 + b"\n"),
        (b"two\nlines\n", b"two\nlines\n"),
    ],
)
def test_a_secret_is_the_files_bytes_without_an_editors_line_end(
    write: Callable[..., str], content: bytes, value: bytes
) -> None:
    secret, _ = read({"file": write(content)})
    assert secret is not None
    assert secret.reveal() == value


def test_a_secret_prints_as_asterisks_and_leaves_in_no_other_way(
    write: Callable[..., str],
) -> None:
    secret, _ = read({"file": write(KEY)})

    class Holder(msgspec.Struct, frozen=True):
        key: Secret

    assert secret is not None
    assert {str(secret), repr(secret), f"{secret}", f"{secret!r:>8}"} == {MASK}
    assert KEY.decode() not in repr(Holder(secret))
    for leave in (pickle.dumps, copy.copy, copy.deepcopy, msgspec.json.encode, msgspec.to_builtins):
        with pytest.raises(TypeError):
            leave(secret)


def test_secrets_are_equal_by_value() -> None:
    source = SecretSource(file="/a")
    assert Secret(b"a", source) == Secret(b"a", source)
    assert Secret(b"a", source) != Secret(b"b", source)
    assert Secret(b"a", source) != b"a"
    assert len({Secret(b"a", source), Secret(b"a", source)}) == 1


@pytest.mark.parametrize("inline", [KEY.decode(), "", 7, ["x"], None])
def test_a_secret_in_the_configuration_itself_is_refused_and_not_repeated(inline: object) -> None:
    _, faults = read(inline)
    assert faults[0].startswith(
        "f:3: site.key: must not stand in the configuration itself; write {"
    )
    assert KEY.decode() not in faults[0]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({}, "site.key: must name either a file or a credential"),
        ({"file": "/a", "credential": "b"}, "site.key: must name either a file or a credential"),
        ({"fil": "/a"}, 'site.key.fil: is not a known key; did you mean "file"?'),
        ({"file": "site.key"}, "site.key.file: must be the file's absolute path (got"),
        ({"file": 7}, "site.key.file: must be the file's absolute path (got 7)"),
        ({"credential": "../x"}, "site.key.credential: must be a credential's name (got"),
        ({"credential": ".."}, "site.key.credential: must be a credential's name (got"),
        ({"file": "/nowhere/at/all"}, "site.key.file: cannot be read: /nowhere/at/all: No such"),
        ({"file": "/a\0b"}, "site.key.file: must not contain the character U+0000"),
        ({"file": "/"}, "site.key.file: cannot be read: /: Is a directory"),
    ],
)
def test_a_wrong_source_is_a_fault(data: object, fault: str) -> None:
    _, faults = read(data)
    assert any(fault in line for line in faults), faults


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644])
def test_a_file_that_is_open_to_others_is_refused(write: Callable[..., str], mode: int) -> None:
    path = write(KEY, mode)
    _, faults = read({"file": path})
    problem = f"must be closed to everybody but its owner: {path} has mode {mode:04o}"
    assert faults == [f"f:3: site.key.file: {problem}; chmod 600 {path}"]


def test_a_pipe_in_the_files_place_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    _, faults = read({"file": str(tmp_path / "pipe")})
    assert "must be a regular file" in faults[0]


def test_secrets_have_a_least_and_a_greatest_length(write: Callable[..., str]) -> None:
    assert "at least 1 bytes" in read({"file": write(b"\n")})[1][0]
    assert "is larger than" in read({"file": write(b"x" * (SECRET_BYTES_MAX + 1))})[1][0]
    assert read({"file": write(b"x" * SECRET_BYTES_MAX)})[1] == []
    assert read({"file": write(b"x" * 32 + b"\n")}, SiteKey)[1] == []
    path = write(b"x" * 31 + b"\n")
    _, faults = read({"file": path}, SiteKey)
    problem = "must be at least 32 bytes long (got 31)"
    assert faults == [f"f:3: site.key: {problem}; make one with: openssl rand -hex 32 > {path}"]


def test_a_credential_is_read_from_systemds_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site-key").write_bytes(KEY + b"\n")
    (tmp_path / "site-key").chmod(0o444)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    _, faults = read({"credential": "site-key"}, SiteKey)
    assert "CREDENTIALS_DIRECTORY is not set; systemd sets it for a unit with" in faults[0]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    secret, _ = read({"credential": "site-key"}, SiteKey)
    assert isinstance(secret, SiteKey)
    assert secret.reveal() == KEY
    _, faults = read({"credential": "other"}, SiteKey)
    assert "cannot be read" in faults[0]
