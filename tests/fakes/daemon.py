"""The real daemon as a process of its own, for tests that kill it, starve it or watch it."""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

READY_S_MAX = 60.0


class Daemon:
    """`edgegate run` on a configuration; what it logs is kept for the failure's message."""

    def __init__(self, config: Path, **environment: str) -> None:
        self.log: deque[str] = deque(maxlen=400)
        self._ready = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgegate", "run", "-c", str(config)],
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        self.wait_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def wait_ready(self) -> None:
        """Wait until taps are answered."""
        if not self._ready.wait(READY_S_MAX):
            raise AssertionError("the daemon is not ready:\n" + "\n".join(self.log))

    def kill(self) -> None:
        """Send it SIGKILL, if it still lives."""
        self.process.kill()
        self._end()

    def terminate(self) -> int:
        """SIGTERM, and what it exits with."""
        self.process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        code = self.process.wait(30)
        self._reader.join(10)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code

    def _read(self) -> None:
        if self.process.stderr is None:
            return
        for line in self.process.stderr:
            self.log.append(line.rstrip())
            if line.startswith("ready "):
                self._ready.set()
