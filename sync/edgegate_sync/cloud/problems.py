"""The errors that a request can end in, each as the problem that its sender is told."""

import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from edgegate_sync.wire.errors import (
    FAULTS_MAX,
    FieldFault,
    MalformedError,
    Problem,
    ProblemType,
    fault_of,
)
from edgegate_sync.wire.errors import TooLargeError as TooLargeText


class ProblemError(Exception):
    """Ends a request with a problem; nothing of the request was done."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem
        self.headers = dict(headers or {})


def unauthenticated(detail: str) -> ProblemError:
    """401: who asks did not prove who they are."""
    problem = Problem(title="Who asks is unknown", status=HTTPStatus.UNAUTHORIZED, detail=detail)
    return ProblemError(problem, {"WWW-Authenticate": "Bearer"})


def forbidden(detail: str, kind: str = "about:blank") -> ProblemError:
    """403: who asks is known, and may not."""
    return ProblemError(
        Problem(type=kind, title="Not allowed", status=HTTPStatus.FORBIDDEN, detail=detail)
    )


def not_found(what: str) -> ProblemError:
    """404: `what` is not there, as in 'a site "north"'."""
    detail = f"There is no {what}."
    return ProblemError(Problem(title="Not found", status=HTTPStatus.NOT_FOUND, detail=detail))


def conflict(detail: str) -> ProblemError:
    """409: something else stands in the way."""
    return ProblemError(
        Problem(title="In the way of another", status=HTTPStatus.CONFLICT, detail=detail)
    )


def compacted(detail: str) -> ProblemError:
    """410: the feed's history is gone."""
    return ProblemError(
        Problem(
            type=ProblemType.COMPACTED,
            title="History is gone",
            status=HTTPStatus.GONE,
            detail=f"{detail}: take a snapshot with after=0.",
        )
    )


def media_type(expected: str, got: str) -> ProblemError:
    """415: the body is of another type."""
    return ProblemError(
        Problem(
            title="Of another type",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            detail=f'The body must be {expected}; Content-Type says "{got}".',
        )
    )


def too_large(bytes_max: int) -> ProblemError:
    """413: the body is too large."""
    return ProblemError(
        Problem(
            title="Too large",
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            detail=f"The body may have {bytes_max} bytes; send it in parts.",
        )
    )


def invalid(faults: Iterable[FieldFault], status: int = 422) -> ProblemError:
    """422, or 400 for parameters: the request is not what it should be, in these ways."""
    listed = tuple(faults)
    more = f" The first {FAULTS_MAX} of {len(listed)}." if len(listed) > FAULTS_MAX else ""
    return ProblemError(
        Problem(
            type=ProblemType.INVALID,
            title="Not valid",
            status=status,
            detail=f"Nothing was changed; see faults.{more}",
            faults=listed[:FAULTS_MAX],
        )
    )


def of_malformed(error: MalformedError, *, parameter: bool = False) -> ProblemError:
    """What the wire's readers complain of."""
    if isinstance(error, TooLargeText):
        return ProblemError(
            Problem(
                title="Too large", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail=str(error)
            )
        )
    return invalid([fault_of(error)], 400 if parameter else 422)


def rate(wait_s: float) -> ProblemError:
    """429: too often."""
    return _later(ProblemType.RATE, HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", wait_s)


def busy(detail: str, wait_s: float = 5) -> ProblemError:
    """503: not now."""
    return _later(ProblemType.BUSY, HTTPStatus.SERVICE_UNAVAILABLE, detail, wait_s)


def _later(kind: str, status: HTTPStatus, title: str, wait_s: float) -> ProblemError:
    seconds = max(1, math.ceil(wait_s))
    problem = Problem(type=kind, title=title, status=status, detail=f"Come again in {seconds} s.")
    return ProblemError(problem, {"Retry-After": str(seconds)})
