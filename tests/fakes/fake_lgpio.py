"""lgpio's lines in memory: the functions that gpiozero's pins call, with a history of levels."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

PI_3B_REVISION = 0xA02082
OUTPUT_MODE = 1 << 1


class FakeLgpio:
    """One chip whose lines the wiring pulls to `wired`; `history` is every level of a line."""

    def __init__(self, line: int, *, wired: bool) -> None:
        self.line = line
        self.wired = wired
        self.lost = False
        self.driven: bool | None = None
        self.history: list[bool] = []
        self.changed = threading.Condition()

    def install(self, monkeypatch: pytest.MonkeyPatch, work_directory: Path) -> None:
        """Replace lgpio's functions; its import needs a directory for a pipe."""
        monkeypatch.setenv("LG_WD", str(work_directory))
        before = Path.cwd()
        import lgpio  # noqa: PLC0415 - after LG_WD is set

        os.chdir(before)
        self.error = lgpio.error
        for name in (
            "gpiochip_open",
            "gpiochip_close",
            "gpio_claim_input",
            "gpio_claim_output",
            "gpio_read",
            "gpio_write",
            "gpio_get_mode",
        ):
            monkeypatch.setattr(lgpio, name, getattr(self, name))
        monkeypatch.setattr("gpiozero.pins.local.get_pi_revision", lambda: PI_3B_REVISION)

    @property
    def level(self) -> bool:
        return self.wired if self.driven is None else self.driven

    def gpiochip_open(self, gpiochip: int) -> int:
        return gpiochip

    def gpiochip_close(self, handle: int) -> int:
        return handle * 0

    def gpio_claim_input(self, handle: int, gpio: int, lFlags: int = 0) -> int:  # noqa: N803 - lgpio's own name
        assert lFlags >= 0
        return self._set(handle, gpio, None)

    def gpio_claim_output(
        self,
        handle: int,
        gpio: int,
        level: int = 0,
        lFlags: int = 0,  # noqa: N803 - lgpio's own name
    ) -> int:
        assert lFlags == 0
        return self._set(handle, gpio, bool(level))

    def gpio_write(self, handle: int, gpio: int, level: int) -> int:
        return self._set(handle, gpio, bool(level))

    def gpio_read(self, handle: int, gpio: int) -> int:
        self._check(handle, gpio)
        return int(self.level)

    def gpio_get_mode(self, handle: int, gpio: int) -> int:
        self._check(handle, gpio)
        return 0 if self.driven is None else OUTPUT_MODE

    def _check(self, handle: int, gpio: int) -> None:
        assert handle == 0
        assert gpio == self.line
        if self.lost:
            error: Any = self.error
            raise error("bad handle")

    def _set(self, handle: int, gpio: int, driven: bool | None) -> int:
        self._check(handle, gpio)
        with self.changed:
            self.driven = driven
            if not self.history or self.history[-1] != self.level:
                self.history.append(self.level)
            self.changed.notify_all()
        return 0
