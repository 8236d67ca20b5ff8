"""The two that are measured, each a process of its own: the daemon, and the floor below it."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.strikes import Strikes
from bench.world import door_id
from edgegate_emulators.scanner import SerialScanner

RELEASE_S = 0.03
"""How long a grant releases a strike: within it all that follows a tap is done, even on a slow
disk, so that each tap meets an idle appliance."""

ANSWER_S_MAX = 5.0
START_S_MAX = 30.0
STOP_S_MAX = 30.0
SETTLE_S_MAX = 60.0
QUIET_S = 0.3
QUIET_CPU_S = 0.05
"""A subject that uses less processor time than this in `QUIET_S` is idle."""
RETRY_S = 0.02
"""How often a starting subject is tapped until it answers."""

FLOOR = Path(__file__).with_name("floor.py")
DEVICE = "pi"


class Subject(ABC):
    """A process that reads codes from pseudo-terminals and drives strikes."""

    def __init__(self, name: str, directory: Path, strikes: Strikes, doors: int = 1) -> None:
        self.name = name
        self.directory = directory
        self.key_file = directory / "site.key"
        self.state = directory / "state"
        self._strikes = strikes
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.scanners = {
            self.strike(n): SerialScanner(directory / f"scanner-{n}") for n in range(doors)
        }

    def strike(self, door: int) -> str:
        """What the strike of a door is called among all strikes."""
        return f"{self.name}-{door_id(door)}"

    @abstractmethod
    def command(self) -> list[str]:
        """How it is started."""

    def start(self, code: str, environment: dict[str, str]) -> float:
        """Start it and tap the first door until that opens; the seconds that it took."""
        self._strikes.forget()
        begun_s = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), env={**os.environ, **environment}, stderr=log, stdout=log
            )
        while time.monotonic() < begun_s + START_S_MAX:
            self.scanners[self.strike(0)].scan(code)
            try:
                at_ns = self._strikes.wait(self.strike(0), released=True, timeout_s=RETRY_S)
            except TimeoutError:
                if self._process.poll() is not None:
                    break
            else:
                self.settle()
                return at_ns / 1e9 - begun_s
        raise RuntimeError(f"{self.name} opened no door:\n{self._log.read_text()[-4000:]}")

    def settle(self) -> None:
        """Let what was begun come to its end, and forget the strikes' commands about it.

        A daemon that has just started reads its whole cache beside the work, for seconds.
        """
        before_s, ends_s = -1.0, time.monotonic() + SETTLE_S_MAX
        while self._cpu_s() - before_s > QUIET_CPU_S and time.monotonic() < ends_s:
            before_s = self._cpu_s()
            time.sleep(QUIET_S)
        self._strikes.forget()

    def _cpu_s(self) -> float:
        """The processor time that it has used (utime and stime of proc_pid_stat(5))."""
        if self._process is None:
            return 0.0
        status = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        fields = status.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tap(self, code: str, *, opens: bool) -> float | None:
        """Show a code at the first door; the seconds from the last byte to the strike, if any.

        Returns when the strike has locked again.
        """
        shown_ns = self.scanners[self.strike(0)].scan(code, end="\r")
        if not opens:
            self.wait_idle()
            return None
        try:
            at_ns = self._strikes.wait(self.strike(0), released=True, timeout_s=ANSWER_S_MAX)
            self._strikes.wait(self.strike(0), released=False, timeout_s=ANSWER_S_MAX)
        except TimeoutError as error:
            tail = self._log.read_text()[-2000:]
            raise RuntimeError(f"{self.name} did not answer {code}:\n{tail}") from error
        return (at_ns - shown_ns) / 1e9

    def wait_idle(self) -> None:
        """Wait as long as a strike is released; a refusal is recorded by then."""
        time.sleep(RELEASE_S * 2)

    def peak_mib(self) -> float:
        """The most memory that it ever had (VmHWM of proc_pid_status(5))."""
        if self._process is None:
            return 0.0
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else 0.0

    def stop(self) -> None:
        """End it as systemd would; idempotent.

        Raises:
            RuntimeError: if it had to be killed.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            tail = self._log.read_text()[-2000:]
            raise RuntimeError(f"{self.name} did not end in {STOP_S_MAX} s:\n{tail}") from error

    def close(self) -> None:
        """End it and unplug its scanners."""
        self.stop()
        for scanner in self.scanners.values():
            scanner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Floor(Subject):
    """The bare script of `floor.py`, at one door."""

    def command(self) -> list[str]:
        """Only paths and names: it has no configuration."""
        scanner = self.scanners[self.strike(0)].path
        places = (self.state, self.key_file, scanner, self._strikes.path)
        return [sys.executable, str(FLOOR), *map(str, places), self.strike(0), str(RELEASE_S)]


class Daemon(Subject):
    """`edgegate run` with a serial scanner and a virtual strike at each door."""

    module = "edgegate"

    def command(self) -> list[str]:
        """As the service starts it."""
        return [sys.executable, "-m", self.module, "run", "-c", str(self._write_config())]

    def _write_config(self) -> Path:
        parts = [
            f'[device]\nid = "{DEVICE}"\nstate_dir = "{self.state}"\nclock = "believed"',
            f'[site]\nid = "bench"\nkey = {{ file = "{self.key_file}" }}',
        ]
        for number, (strike, scanner) in enumerate(self.scanners.items()):
            door = door_id(number)
            parts.append(
                f'[[door]]\nid = "{door}"\nrelease_s = {RELEASE_S}\n'
                f'strike = {{ driver = "virtual", socket = "{self._strikes.path}",'
                f' channel = "{strike}" }}\n'
                f'[[reader]]\nname = "{door}"\ndoor = "{door}"\ndriver = "scanner_serial"\n'
                f'port = "{scanner.path}"'
            )
        file = self.directory / "config.toml"
        file.write_text("\n".join(parts) + "\n")
        return file


def make_directory(directory: Path) -> bytes:
    """Make a subject's directory with a site key in it, and return the key."""
    directory.mkdir()
    key = secrets.token_bytes(32)
    write_key(directory, key)
    return key


def write_key(directory: Path, key: bytes) -> None:
    """Write the site's key where a subject reads it."""
    file = directory / "site.key"
    file.write_bytes(key)
    file.chmod(0o600)
