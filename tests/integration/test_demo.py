"""The demo as people run it: a tour into a pipe, the live screen in a terminal, and both broken."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import pytest

from edgegate.demo import run_demo, servers, tour
from edgegate.demo.site import EMIL
from edgegate.passes.reasons import Reason

WAIT_S = 100.0
TAP_AGAIN_S = 3.0
DEMO = (sys.executable, "-X", "dev", "-m", "edgegate", "demo")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where the demo puts what it needs; a short name, for the sake of its socket."""
    path = Path(tempfile.mkdtemp(prefix="eg-"))
    yield path
    shutil.rmtree(path)


def environment(directory: Path) -> dict[str, str]:
    # A size that is inherited would be believed before the terminal's own.
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    return {**inherited, "TMPDIR": str(directory), "TERM": "xterm-256color"}


@contextmanager
def touring(directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """A tour whose output is a pipe, and its input nothing."""
    process = subprocess.Popen(
        DEMO,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(directory),
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_the_tour_goes_as_it_should_and_leaves_nothing_behind(directory: Path) -> None:
    with touring(directory) as process:
        out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, err) == (0, ""), out
    assert out.startswith("edgegate demo: ")
    assert "✓ Ana taps her card; 2 of her 10 day passes are left.\n" in out
    assert (
        "    “Welcome, Ana. Covered until midnight, 1 of 10 left.” Recorded, then unlocked: " in out
    )
    assert "    Emil with a pass for mornings: “Your pass works again tomorrow at 8:00.”\n" in out
    assert "; the chain of hashes holds from the first to the last.\n" in out
    assert (
        "✓ Mia has no pass; staff sell her a day in the cloud, and her card opens the door.\n"
        in out
    )
    assert re.search(r" ms after the cloud's answer the door knew it, by (MQTT|long poll)\.\n", out)
    assert "    “Welcome, Mia. Covered until midnight, 0 of 1 left.”\n" in out
    assert re.search(r"\n    \d+ entries are there; 8 balances are the same in both:\n", out)
    assert "    Dana has 11 minutes left, Ana 1 day.\n" in out
    assert "\nAll 16 steps went as they should, in " in out
    assert "\x1b" not in out, "no colours into a pipe"
    assert max(map(len, out.splitlines())) <= 100
    assert list(directory.iterdir()) == []
    assert children(directory) == []


def test_a_tour_without_a_broker_polls(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    monkeypatch.setattr(servers, "_PLUGIN", "no_such_plugin.so")
    assert run_demo(tour=True) == 0
    assert (
        " ms after the cloud's answer the door knew it, by long poll.\n" in capsys.readouterr().out
    )
    assert children(directory) == []


def test_a_demo_that_is_killed_takes_its_cloud_and_broker_along(directory: Path) -> None:
    with touring(directory) as process:
        assert process.stdout is not None
        while "Enrolled" not in process.stdout.readline():
            assert process.poll() is None
        assert {"edgegate.demo.cloudprocess", "mosquitto.conf"} == {
            word
            for word in ("edgegate.demo.cloudprocess", "mosquitto.conf")
            if any(word in line for line in children(directory))
        }
        process.kill()
    deadline_s = time.monotonic() + WAIT_S
    while (left := children(directory)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert left == []


def test_a_step_that_goes_wrong_is_told_with_what_was_expected_and_the_end_of_the_log(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    monkeypatch.setattr(
        tour, "REFUSALS", MappingProxyType({EMIL: ("a pass for mornings", Reason.EXPIRED)})
    )
    threads = threading.active_count()
    assert run_demo(tour=True) == 1
    out = capsys.readouterr().out
    assert "✗ Others are refused, each told why or when:\n    the answer to Emil\n" in out
    assert "    expected: expired\n    came:     outside_hours\n" in out
    assert "reason=outside_hours customer=emil" in out, "the end of the log"
    (kept,) = directory.iterdir()
    assert f"are kept in {kept}." in out
    assert {"edgegate.log", "config.toml", "state"} <= {path.name for path in kept.iterdir()}
    assert threading.active_count() == threads


def test_ctrl_c_ends_the_tour_cleanly(directory: Path) -> None:
    with touring(directory) as process:
        assert process.stdout is not None
        while "Ana" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, err) == (130, "")
    assert out.endswith("Stopped.\n")
    assert list(directory.iterdir()) == []


def test_a_reader_of_the_output_who_leaves_ends_the_tour_quietly(directory: Path) -> None:
    with touring(directory) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(WAIT_S) == 1
    assert err == ""
    assert list(directory.iterdir()) == []


def children(directory: Path) -> list[str]:
    """The command lines of all processes that name the directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_text(errors="replace").replace("\0", " "))
    return [line for line in found if str(directory) in line]


class Terminal:
    """A terminal with the live screen in it; `seen` is all that was ever drawn."""

    def __init__(self, directory: Path) -> None:
        self.seen = ""
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (40, 120))
        self.settings = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            # It gets a session of its own, with this terminal, as a shell's commands have.
            ("setsid", "--ctty", *DEMO),
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment(directory),
        )

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def shows(self, text: str) -> None:
        """Wait until a text has been drawn after what was waited for before."""
        self._read_until(lambda: text in self.seen, text)
        self.seen = self.seen.partition(text)[2]

    def taps(self, key: str, text: str) -> None:
        """Tap until that is answered: a card has to be away for a moment before it counts again."""
        pressed_s = float("-inf")

        def is_answered() -> bool:
            nonlocal pressed_s
            if text not in self.seen and time.monotonic() - pressed_s > TAP_AGAIN_S:
                self.press(key)
                pressed_s = time.monotonic()
            return text in self.seen

        self._read_until(is_answered, text)
        self.seen = self.seen.partition(text)[2]

    def ends(self) -> int:
        self._read_until(lambda: self.process.poll() is not None, "the end")
        return self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def _read_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"{what} did not come; last: {self.seen[-6000:]}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65_536).decode(errors="replace")


@pytest.fixture
def terminal(directory: Path) -> Iterator[Terminal]:
    made = Terminal(directory)
    yield made
    made.close()


def test_staff_sell_pause_and_stop_the_cloud_on_the_live_screen(
    terminal: Terminal, directory: Path
) -> None:
    terminal.shows("records came from the cloud")
    terminal.press("m")
    terminal.shows("“You have no pass for today. The desk has one.”")
    terminal.press("2")
    terminal.shows("Mia has no pass to top up; 1 sells one.")
    terminal.press("1")
    terminal.shows("Staff sold Mia a day pass: the door knew ")
    terminal.taps("m", "“Welcome, Mia. Covered until midnight, 0 of 1 left.”")
    terminal.press("4")
    terminal.shows("The cloud is stopped")
    terminal.shows("stopped\x1b")
    terminal.taps("b", "“Welcome, Ben. Covered until midnight, 0 of 20 left.”")
    terminal.press("2")
    terminal.shows("The cloud does not run")
    terminal.press("4")
    terminal.shows("The cloud starts again")
    terminal.shows("by MQTT\x1b")
    # What Ben used without the cloud has to be counted there first: else 6 are left for a moment.
    terminal.shows("; 0 waiting")
    terminal.press("2")
    terminal.shows("Staff added 5 to Ben's pass, 5 left: the door knew ")
    terminal.press("3")
    terminal.shows("Staff paused Ben's membership: the door knew ")
    terminal.press("q")
    assert terminal.ends() == 0
    assert list(directory.iterdir()) == []
    assert children(directory) == []


def test_keys_tap_cards_and_move_the_door_on_the_live_screen(
    terminal: Terminal, directory: Path
) -> None:
    terminal.shows("records came from the cloud")
    assert termios.tcgetattr(terminal.slave) != terminal.settings
    terminal.press("a")
    terminal.shows("UNLOCKED")
    terminal.shows("“Welcome, Ana. Covered until midnight, 1 of 10 left.”")
    terminal.shows("staff: “In. Day pass used, 1 of 10 left.”")
    terminal.shows("chain holds")
    terminal.shows("Wire to relay: median ")
    terminal.press("e")
    terminal.shows("“Your pass works again tomorrow at 8:00.”")
    terminal.press("d")
    terminal.shows("11:5")
    terminal.press("t")
    terminal.shows("FIRE, open")
    terminal.press("tu")
    terminal.shows("reader front-card: offline")
    terminal.press("uzw\x1bOQa")
    terminal.shows("all answer")
    terminal.shows("“This door is for members. The desk can help.”")
    terminal.press("q")
    assert terminal.ends() == 0
    terminal.shows("\x1b[?1049l")
    assert termios.tcgetattr(terminal.slave) == terminal.settings
    assert list(directory.iterdir()) == []


def test_a_door_shoved_and_held_open_is_an_alarm_and_ctrl_c_gives_the_terminal_back(
    terminal: Terminal, directory: Path
) -> None:
    terminal.shows("no tap yet")
    terminal.press("o")
    terminal.shows("The door is locked and does not move")
    terminal.press("#")
    terminal.shows('Nothing happens at "#"; the keys are on the left, q quits.')
    terminal.press("s")
    terminal.shows("ALARM: forced open")
    terminal.press("p")
    terminal.shows("door.forced cleared")
    terminal.press("x")
    terminal.shows("UNLOCKED")
    terminal.press("p")
    terminal.shows("ALARM: held open")
    termios.tcsetwinsize(terminal.slave, (24, 80))
    terminal.shows("ALARM: held open")
    terminal.press("\x03")
    assert terminal.ends() == 0
    terminal.shows("\x1b[?1049l")
    assert termios.tcgetattr(terminal.slave) == terminal.settings
    assert list(directory.iterdir()) == []


def test_a_terminal_that_is_closed_ends_the_demo_and_leaves_nothing_behind(
    terminal: Terminal, directory: Path
) -> None:
    terminal.shows("no tap yet")
    master, terminal.master = terminal.master, os.open(os.devnull, os.O_RDONLY)
    os.close(master)
    assert terminal.process.wait(WAIT_S) != -signal.SIGHUP
    assert list(directory.iterdir()) == []
