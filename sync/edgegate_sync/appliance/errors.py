"""What can go wrong between the device and its cloud; every one of these is an operating error."""

from edgegate.ports import OperatingError
from edgegate_sync.wire.errors import Problem


class CloudError(OperatingError):
    """The cloud did not do what was asked of it; nothing changed here."""


class UnreachableError(CloudError):
    """No answer: no network, no server, another server than ours, or a wait that was too long."""


class TruncatedError(CloudError):
    """The answer ended before its end, or its encoding is damaged: nothing of it counts."""


class AnswerInvalidError(CloudError):
    """The answer is not what the protocol says."""


class RefusedError(CloudError):
    """The cloud answered with an error."""

    def __init__(self, status: int, problem: Problem, retry_after_s: float | None = None) -> None:
        self.status = status
        self.problem = problem
        self.retry_after_s = retry_after_s
        """How long it asks to be left alone."""
        detail = f": {problem.detail}" if problem.detail else ""
        super().__init__(f"{status} {problem.title}{detail}")


class GoneError(RefusedError):
    """410: the history before that number is compacted; a snapshot is due."""


class SpoolFullError(OperatingError):
    """The answer is longer than allowed, or the disk has no room for it; nothing of it counts."""


class SnapshotFailedError(OperatingError):
    """The snapshot could not be built or take the cache's place; the cache is as it was."""
