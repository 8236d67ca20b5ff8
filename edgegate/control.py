"""The daemon's own door for its administrator: a socket that tells its status and syncs on demand.

It lies in the state directory, for its owner alone, and whoever connects must be that user or root
besides. A question is a line of JSON, an answer one or more of them.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from edgegate.boundary import Contained
from edgegate.ports import OperatingError
from edgegate.status import STATUS_BYTES_MAX, Progress, Status, StatusReporter

log = logging.getLogger(__name__)

A = TypeVar("A", Status, Progress)

NAME = "control.sock"
QUESTION_BYTES_MAX = 1024
QUESTION_S_MAX = 5.0
ANSWER_S_MAX = 10.0
"""How long one line of an answer may take to go out or come in."""

CALLERS_MAX = 8
"""So many are answered at once; one more is told to come again."""

SYNC_S_MAX = 120.0
PROGRESS_S = 0.5
_CREDENTIALS = struct.Struct("3i")
"""`struct ucred`: process, user, group (unix(7), SO_PEERCRED)."""


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """What can be asked."""

    do: Literal["status", "sync"]


class Trouble(Struct, frozen=True):
    """What the daemon answers where it cannot."""

    error: str


class ControlError(Exception):
    """The daemon cannot be asked, or cannot answer; the message says why."""


class NotRunningError(ControlError):
    """No daemon works in that state directory."""


class Control:
    """The daemon's side."""

    def __init__(self, state_dir: Path, reporter: StatusReporter) -> None:
        """Prepare; the socket is there while `run` is."""
        self._state_dir = state_dir
        self._reporter = reporter
        self._callers = 0
        self.refused = 0
        """How many were turned away since the start."""

    async def run(self) -> None:
        """Answer, for ever. That there can be no socket stops nothing else: it is logged.

        The socket's file stays: without a daemon it leads nowhere, and the next one replaces it.
        """
        opening = asyncio.ensure_future(asyncio.to_thread(_listen, self._state_dir))
        try:
            await asyncio.wait((opening,))
            listening = opening.result()
        except OSError as error:
            log.warning("`edgegate status` cannot ask the daemon: %s", error)
            return
        except asyncio.CancelledError:
            # The thread goes on, and what it opened must not stay.
            opening.add_done_callback(_close)
            raise
        try:
            server = await asyncio.start_unix_server(
                self._answer, sock=listening, limit=QUESTION_BYTES_MAX
            )
            async with server:
                await server.serve_forever()
        finally:
            listening.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._callers >= CALLERS_MAX or not _is_allowed(writer.get_extra_info("socket")):
            self.refused += 1
            writer.close()
            return
        self._callers += 1
        try:
            # OSError and TimeoutError: whoever asked has gone.
            with (
                Contained(log, "a question could not be answered"),
                suppress(OSError, TimeoutError),
            ):
                await self._converse(reader, writer)
        finally:
            self._callers -= 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(QUESTION_S_MAX):
                question = msgspec.json.decode(await reader.readuntil(b"\n"), type=Question)
            await (self._status if question.do == "status" else self._sync)(writer)
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            await _say(writer, Trouble(f"that is no question: {error}"))
        except OperatingError as error:
            await _say(writer, Trouble(str(error)))

    async def _status(self, writer: asyncio.StreamWriter) -> None:
        await _say(writer, await self._reporter.status())

    async def _sync(self, writer: asyncio.StreamWriter) -> None:
        pulls = self._reporter.begin_sync()
        if pulls is None:
            await _say(writer, Trouble("there is no [cloud] in the configuration"))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(SYNC_S_MAX):
                progress = await self._reporter.progress(pulls)
                while not progress.done:
                    await _say(writer, progress)
                    await asyncio.sleep(PROGRESS_S)
                    progress = await self._reporter.progress(pulls)
                await _say(writer, progress)


def _close(opened: "asyncio.Future[socket.socket]") -> None:
    if opened.exception() is None:
        opened.result().close()


async def _say(writer: asyncio.StreamWriter, what: Struct) -> None:
    writer.write(msgspec.json.encode(what) + b"\n")
    async with asyncio.timeout(ANSWER_S_MAX):
        await writer.drain()


def _is_allowed(caller: socket.socket) -> bool:
    """Whether at the other end is root or the daemon's own user."""
    size = _CREDENTIALS.size
    _, user, _ = _CREDENTIALS.unpack(caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return user in (0, os.geteuid())


def _listen(state_dir: Path) -> socket.socket:
    """A socket in place of one that a killed daemon left."""
    with suppress(NotRunningError):
        _connect(state_dir).close()
        raise OSError("another process answers there")
    with ExitStack() as undone:
        listening = undone.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        # Linux gives the file this mode from the start (unix_bind in net/unix/af_unix.c).
        os.fchmod(listening.fileno(), 0o600)
        (state_dir / NAME).unlink(missing_ok=True)
        with _short(state_dir) as path:
            listening.bind(path)
        listening.listen(CALLERS_MAX)
        undone.pop_all()
    return listening


def _connect(state_dir: Path) -> socket.socket:
    caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    caller.settimeout(ANSWER_S_MAX)
    try:
        with _short(state_dir) as path:
            caller.connect(path)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        caller.close()
        raise NotRunningError(f"no daemon runs with {state_dir}") from error
    except OSError as error:
        caller.close()
        raise ControlError(f"the daemon cannot be asked: {error}") from error
    return caller


@contextmanager
def _short(state_dir: Path) -> Iterator[str]:
    """The socket's path in few characters: one may have 107 (unix(7))."""
    directory = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{NAME}"
    finally:
        os.close(directory)


def ask_status(state_dir: Path) -> Status:
    """Ask the daemon how it is doing; for the command line.

    Raises:
        NotRunningError: there is none.
        ControlError: it does not answer.
    """
    for line in _ask(state_dir, Question("status")):
        return _read(line, Status)
    raise ControlError("the daemon does not answer: are you its user, or root?")


def ask_sync(state_dir: Path) -> Iterator[Progress]:
    """Ask the daemon to pull and upload now, and follow it.

    Raises:
        NotRunningError: there is none.
        ControlError: it does not answer.
    """
    for line in _ask(state_dir, Question("sync")):
        yield _read(line, Progress)


def _ask(state_dir: Path, question: Question) -> Iterator[bytes]:
    caller = _connect(state_dir)
    with caller, caller.makefile("rb") as lines:
        try:
            caller.sendall(msgspec.json.encode(question) + b"\n")
            while line := lines.readline(STATUS_BYTES_MAX):
                yield line
        except OSError as error:
            raise ControlError(f"the daemon does not answer: {error}") from error


def _read(line: bytes, kind: type[A]) -> A:
    try:
        answer = msgspec.json.decode(line)
        if isinstance(answer, dict) and "error" in answer:
            raise ControlError(str(answer["error"]))
        return msgspec.convert(answer, kind)
    except ValueError as error:
        raise ControlError(f"the daemon is of another version: {error}") from error
