"""The slow disk: compiles `slow_commit.c` and says which environment makes a process feel it."""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("slow_commit.c")


class NoCompilerError(Exception):
    """There is no C compiler, so that slow commits cannot be measured."""


class SlowDisk:
    """A shared library in a directory of the benchmark's own."""

    def __init__(self, directory: Path) -> None:
        """Compile it.

        Raises:
            NoCompilerError: if there is no `cc`.
            subprocess.CalledProcessError: if it does not compile.
        """
        compiler = shutil.which("cc")
        if compiler is None:
            raise NoCompilerError("bench: no C compiler (cc): install gcc and libc6-dev")
        self._library = directory / "slow_commit.so"
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE)]
        subprocess.run([*command, "-ldl"], check=True)

    def environment(self, delay_ms: float) -> dict[str, str]:
        """What a process is started with for its flushes to take so much longer; 0: nothing."""
        if delay_ms == 0:
            return {}
        return {"LD_PRELOAD": str(self._library), "SLOW_COMMIT_MS": str(delay_ms)}
