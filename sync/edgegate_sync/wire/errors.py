"""How both sides say what is wrong with what the other one sent."""

import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T")

PROBLEM_TYPE = "application/problem+json"
"""The media type of every HTTP error (RFC 9457)."""

FAULTS_MAX = 1000
"""How many faults one problem lists; `detail` then says that there are more."""

_PLACE = re.compile(r"^(?P<problem>.*) - at `(?P<path>[^`]*)`$", re.DOTALL)


class WireError(Exception):
    """What came over the wire is not what the protocol says; nothing of it was used."""


class MalformedError(WireError):
    """A text does not decode; `field` is the path to what is wrong, like `hours[...].from`."""

    def __init__(self, what: str, problem: str, field: str = "") -> None:
        self.what = what
        self.problem = problem
        self.field = field
        place = f"{what}: {field}" if field else what
        super().__init__(f"{place}: {problem}")


class TooLargeError(MalformedError):
    """A text is longer than its limit, and was not looked at."""

    def __init__(self, what: str, size_bytes: int, bytes_max: int) -> None:
        super().__init__(what, f"has {size_bytes} bytes, {bytes_max} at most")


class FieldFault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong with a request."""

    problem: str
    """What is wrong, in a sentence."""
    field: str = ""
    """The path to the value in the body, or the parameter's name."""
    line: int | None = None
    """The line, in a body that has lines."""
    advice: str = ""
    """What to do about it."""


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every HTTP error: RFC 9457, with `faults` as an extension.

    `type` is `about:blank` unless a program should tell the error from others of its status; then
    it is one of `ProblemType`.
    """

    title: str
    """What happened, the same words for the same type."""
    status: Annotated[int, Meta(ge=400, le=599)]
    type: str = "about:blank"
    detail: str = ""
    """What happened this time, where, and what to do."""
    instance: str = ""
    """The number under which the server's log has it."""
    faults: tuple[FieldFault, ...] = ()


class ProblemType:
    """The types that a program may act upon: names, not addresses (RFC 9457 allows any URI)."""

    COMPACTED = "urn:edgegate:compacted"
    """410 of the feed: take a snapshot."""
    REVOKED = "urn:edgegate:revoked"
    """403: the certificate was revoked; enrol anew."""
    CLAIM_UNKNOWN = "urn:edgegate:claim-unknown"
    """403: the claim code is unknown, used or expired."""
    INVALID = "urn:edgegate:invalid"
    """400 or 422: `faults` says what is wrong with the request."""
    RATE = "urn:edgegate:rate"
    """429: wait for as long as `Retry-After` says."""
    BUSY = "urn:edgegate:busy"
    """503: the server has no room now; wait for as long as `Retry-After` says."""


def read(
    decoder: "msgspec.json.Decoder[T]", text: bytes | msgspec.Raw, what: str, bytes_max: int
) -> T:
    """Decode `text`; `what` names it in the error.

    Raises:
        TooLargeError: if it is longer than `bytes_max`.
        MalformedError: if it is no JSON, is nested too deeply, or is not of the decoder's type.
    """
    size_bytes = len(text if isinstance(text, bytes) else memoryview(text))
    if size_bytes > bytes_max:
        raise TooLargeError(what, size_bytes, bytes_max)
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError, OverflowError) as error:
        raise malformed(what, error) from error


def malformed(what: str, error: Exception) -> MalformedError:
    """What msgspec complains of, with the path to it taken out of its message."""
    if isinstance(error, RecursionError):
        return MalformedError(what, "is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return MalformedError(what, "is not UTF-8")
    found = _PLACE.match(str(error))
    if found is None:
        return MalformedError(what, str(error))
    return MalformedError(what, found["problem"], found["path"].removeprefix("$").lstrip("."))


def fault_of(error: MalformedError, advice: str = "") -> FieldFault:
    """The same, as a problem lists it."""
    return FieldFault(problem=error.problem, field=error.field, advice=advice)


def encode(value: Any) -> bytes:
    """Any struct of the wire as JSON."""
    return _encoder.encode(value)


_encoder = msgspec.json.Encoder()
