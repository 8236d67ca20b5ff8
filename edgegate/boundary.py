"""The boundary of one piece of work: a fault inside it costs that piece alone, and is told."""

import logging
from types import TracebackType


class Contained:
    """Logs whatever its block raises, with its trace, and lets work go on behind the block.

    For the boundaries that ARCHITECTURE.md names, where one reader, caller or round must not
    restart every door. Operating errors, which are to be expected, are handled inside; what ends
    the work, as cancelling does, goes through.
    """

    def __init__(self, log: logging.Logger, what: str, *details: object) -> None:
        """Prepare.

        Args:
            log: the log of the part whose work it is.
            what: what could not be done, with the places of `details` in the form of `logging`.
            details: what stands there.
        """
        self._log = log
        self._told = (what, *details)

    def __enter__(self) -> None:
        """Begin the work."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Whether it was a fault, which is told."""
        if not isinstance(error, Exception):
            return False
        self._log.error(*self._told, exc_info=error)
        return True
