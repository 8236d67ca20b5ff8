"""A kernel's GPIO chips in memory, with the part of gpiod's interface that the driver uses.

`FakeKernel.install` puts `Chip` and `is_gpiochip_device` in place of the real ones; settings,
values, events and infos are gpiod's own. Lines keep a history of their physical levels, inputs are
debounced as the kernel does it (a level counts when it lasted), and edges arrive by a descriptor.
"""

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import gpiod
import pytest
from gpiod.line import Bias, Clock, Direction, Drive, Edge, Value

EVENT_TYPES = {True: gpiod.EdgeEvent.Type.RISING_EDGE, False: gpiod.EdgeEvent.Type.FALLING_EDGE}


@dataclass
class FakeLine:
    """One line: what is wired to it, who holds it, and every physical level it has had."""

    wired: bool = False
    holder: str | None = None
    settings: gpiod.LineSettings = field(default_factory=gpiod.LineSettings)
    driven: bool | None = None
    debounced: bool = False
    history: list[tuple[int, bool]] = field(default_factory=list)
    """Changes of the physical level and what it was at first; True is high."""
    write_errors: int = 0
    """How many of the next writes fail with EIO."""
    mute: bool = False
    """Whether its edges get lost."""
    sequence: int = 0

    @property
    def high(self) -> bool:
        """The physical level now."""
        return self.wired if self.driven is None else self.driven

    def log_level(self) -> None:
        if not self.history or self.history[-1][1] != self.high:
            self.history.append((time.monotonic_ns(), self.high))


@dataclass
class FakeChipState:
    name: str
    label: str
    lines: dict[int, FakeLine]
    gone: bool = False


class FakeKernel:
    """The chips of one machine."""

    def __init__(self, devices: Path) -> None:
        self.devices = devices
        self.chips: dict[str, FakeChipState] = {}
        self.changed = threading.Condition(threading.RLock())
        self.requests: list[FakeRequest] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let `gpiod` find these chips instead of the machine's."""
        kernel = self

        class BoundChip(FakeChip):
            def __init__(self, path: str) -> None:
                super().__init__(path, kernel)

        monkeypatch.setattr(gpiod, "Chip", BoundChip)
        monkeypatch.setattr(gpiod, "is_gpiochip_device", self.chips.__contains__)

    def add_chip(self, number: int, label: str, lines: int = 32) -> str:
        """Add /dev/gpiochip<number>; its path is returned."""
        path = self.devices / f"gpiochip{number}"
        path.touch()
        self.chips[str(path)] = FakeChipState(
            path.name, label, {offset: FakeLine() for offset in range(lines)}
        )
        return str(path)

    def wire(self, path: str, offset: int, *levels: bool) -> None:
        """Let the outside put levels on a line, one right after the other: it bounces."""
        with self.changed:
            line = self.chips[path].lines[offset]
            for level in levels:
                line.wired = level
                line.log_level()
                self._sense(path, offset)
            self.changed.notify_all()

    def unplug(self, path: str) -> None:
        """Take a chip away under its holders."""
        with self.changed:
            self.chips[path].gone = True
            for request in self.requests:
                if request.path == path:
                    os.eventfd_write(request.descriptor, 1)

    def wait_high(self, path: str, offset: int, high: bool, timeout_s: float = 30) -> None:
        """Wait for a physical level."""
        with self.changed:
            line = self.chips[path].lines[offset]
            if not self.changed.wait_for(lambda: line.high == high, timeout_s):
                raise TimeoutError(f"line {offset} did not become {high}")

    def wait_changes(self, path: str, offset: int, count: int, timeout_s: float = 30) -> None:
        """Wait until the physical level has changed `count` times since the line was logged."""
        with self.changed:
            line = self.chips[path].lines[offset]
            if not self.changed.wait_for(lambda: len(line.history) > count, timeout_s):
                raise TimeoutError(f"line {offset} changed {len(line.history) - 1} times")

    def _sense(self, path: str, offset: int) -> None:
        line = self.chips[path].lines[offset]
        period_s = line.settings.debounce_period.total_seconds()
        if line.settings.edge_detection is not Edge.BOTH:
            line.debounced = line.wired
        elif period_s == 0:
            self._settle(path, offset)
        else:
            line.sequence += 1
            timer = threading.Timer(period_s, self._settle_if, (path, offset, line.sequence))
            timer.daemon = True
            timer.start()

    def _settle_if(self, path: str, offset: int, sequence: int) -> None:
        with self.changed:
            if self.chips[path].lines[offset].sequence == sequence:
                self._settle(path, offset)

    def _settle(self, path: str, offset: int) -> None:
        line = self.chips[path].lines[offset]
        if line.wired == line.debounced:
            return
        line.debounced = line.wired
        logical = line.debounced != line.settings.active_low
        for request in self.requests:
            if request.path == path and request.offset == offset and not line.mute:
                request.put_event(logical)


class FakeChip:
    """An open chip; the methods of `gpiod.Chip` that the driver calls."""

    def __init__(self, path: str, kernel: FakeKernel) -> None:
        if path not in kernel.chips or kernel.chips[path].gone:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        self.path = path
        self.kernel = kernel

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        pass

    def get_info(self) -> gpiod.ChipInfo:
        chip = self.kernel.chips[self.path]
        return gpiod.ChipInfo(chip.name, chip.label, len(chip.lines))

    def get_line_info(self, line: int | str) -> gpiod.LineInfo:
        offset = int(line)
        state = self.kernel.chips[self.path].lines[offset]
        return gpiod.LineInfo(
            offset,
            "",
            state.holder is not None,
            state.holder or "",
            state.settings.direction.value,
            state.settings.active_low,
            Bias.UNKNOWN.value,
            Drive.PUSH_PULL.value,
            state.settings.edge_detection.value,
            Clock.MONOTONIC.value,
            bool(state.settings.debounce_period),
            0,
        )

    def request_lines(
        self,
        config: dict[Iterable[int | str] | int | str, gpiod.LineSettings | None],
        consumer: str | None = None,
        event_buffer_size: int | None = None,
        output_values: dict[int | str, Value] | None = None,
    ) -> "FakeRequest":
        assert event_buffer_size is None
        assert output_values is None
        ((offset, settings),) = config.items()
        assert isinstance(offset, int)
        assert settings is not None
        with self.kernel.changed:
            line = self.kernel.chips[self.path].lines[offset]
            if line.holder is not None:
                raise OSError(errno.EBUSY, "Device or resource busy")
            line.holder = consumer or "?"
            line.settings = settings
            line.debounced = line.wired
            if settings.direction is Direction.OUTPUT:
                line.driven = bool(settings.output_value) != settings.active_low
            line.log_level()
            return FakeRequest(self.kernel, self.path, offset)


class FakeRequest:
    """A held line; the methods of `gpiod.LineRequest` that the driver calls."""

    def __init__(self, kernel: FakeKernel, path: str, offset: int) -> None:
        self.kernel = kernel
        self.path = path
        self.offset = offset
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.events: deque[gpiod.EdgeEvent] = deque(maxlen=16)
        self.released = False
        kernel.requests.append(self)

    @property
    def fd(self) -> int:
        self._check_released()
        return self.descriptor

    def get_value(self, line: int | str) -> Value:
        state = self._line(line)
        high = state.high if state.driven is not None else state.debounced
        return Value.ACTIVE if high != state.settings.active_low else Value.INACTIVE

    def set_value(self, line: int | str, value: Value) -> None:
        state = self._line(line)
        if state.driven is None:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        with self.kernel.changed:
            if state.write_errors:
                state.write_errors -= 1
                raise OSError(errno.EIO, "Input/output error")
            state.driven = bool(value) != state.settings.active_low
            state.log_level()
            self.kernel.changed.notify_all()

    def read_edge_events(self, max_events: int | None = None) -> list[gpiod.EdgeEvent]:
        assert max_events is None
        self._line(self.offset)
        with self.kernel.changed:
            os.eventfd_read(self.descriptor)
            events = list(self.events)
            self.events.clear()
            return events

    def release(self) -> None:
        if self.released:
            return
        with self.kernel.changed:
            self.released = True
            self.kernel.requests.remove(self)
            os.close(self.descriptor)
            line = self.kernel.chips[self.path].lines[self.offset]
            line.holder = line.driven = None
            line.settings = gpiod.LineSettings()
            line.log_level()

    def put_event(self, active: bool) -> None:
        self.events.append(
            gpiod.EdgeEvent(EVENT_TYPES[active].value, time.monotonic_ns(), self.offset, 0, 0)
        )
        os.eventfd_write(self.descriptor, 1)

    def _line(self, line: int | str) -> FakeLine:
        self._check_released()
        assert line == self.offset
        chip = self.kernel.chips[self.path]
        if chip.gone:
            raise OSError(errno.ENODEV, "No such device")
        return chip.lines[self.offset]

    def _check_released(self) -> None:
        if self.released:
            raise gpiod.RequestReleasedError
