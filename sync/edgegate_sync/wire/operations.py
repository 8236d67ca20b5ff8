"""One table of what can be asked of the cloud over HTTP.

The server registers its routes and decodes bodies by it, and the published description is made of
it (`openapi.describe`), so that neither can say what the other does not.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from http import HTTPMethod
from typing import Any, TypedDict, Unpack

import msgspec

from edgegate_sync.wire import changes, enrolment, events, state
from edgegate_sync.wire.errors import PROBLEM_TYPE, MalformedError, Problem, read

JSON_TYPE = "application/json"

JSON_BYTES_MAX = 1_048_576
"""The largest body of a request, where its operation does not say otherwise."""

_PATH_NAMES = re.compile(r"\{([a-z_]+)\}")


class Scope(StrEnum):
    """Who may ask: everybody with a claim code, a device, or a token with that scope."""

    CLAIM = "claim"
    """No authentication but what the body holds."""
    DEVICE = "device"
    """The client certificate says which device; its common name is `<site>/<device>`."""
    READ = "read"
    WRITE = "write"
    DEVICES = "devices"
    ADMIN = "admin"
    METRICS = "metrics"


class Place(StrEnum):
    """Where a parameter stands."""

    PATH = "path"
    QUERY = "query"
    HEADER = "header"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `type` is what msgspec makes of its text, limits included."""

    name: str
    type: Any
    says: str
    default: Any = msgspec.NODEFAULT
    place: Place = Place.QUERY

    @property
    def is_required(self) -> bool:
        """Whether a request without it is refused."""
        return self.default is msgspec.NODEFAULT

    def read(self, text: str | None) -> Any:
        """The parameter's value; None as `text` is its absence.

        Raises:
            MalformedError: if it is missing or not of its type.
        """
        if text is None:
            if self.is_required:
                raise MalformedError(self.place, "is missing", self.name)
            return self.default
        try:
            return msgspec.convert(text, self.type, strict=False)
        except (ValueError, OverflowError) as error:
            raise MalformedError(self.place, str(error), self.name) from error


@dataclass(frozen=True, slots=True)
class Body:
    """What a request or an answer carries; where it is not one JSON value, `type` is None."""

    type: Any = None
    media_type: str = JSON_TYPE
    bytes_max: int = JSON_BYTES_MAX
    lines: tuple[Any, ...] = ()
    """Where it is many values: the types of a line of x-ndjson, or of an element of a batch."""
    says: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that is no error."""

    says: str
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name, what a header says."""


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked. Every error is a `Problem`; `problems` says when each comes."""

    name: str
    """Its operationId, unique in all tables: snake_case, a verb first."""
    method: HTTPMethod
    path: str
    """With `{names}` as aiohttp and OpenAPI write them; each is declared among `parameters`."""
    tag: str
    says: str
    """One sentence."""
    scope: Scope
    answers: Mapping[int, Answer]
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    problems: Mapping[int, str] = field(default_factory=dict)
    """By status, when it comes; those that any request may meet are added, see `all_problems`."""
    more: str = ""
    """Whatever else a caller should know, in Markdown."""

    def __post_init__(self) -> None:
        named = set(_PATH_NAMES.findall(self.path))
        declared = {p.name for p in self.parameters if p.place is Place.PATH}
        if named != declared:
            raise ValueError(f"{self.name}: path has {named}, parameters have {declared}")

    @cached_property
    def decoder(self) -> "msgspec.json.Decoder[Any]":
        """Decodes a JSON body as its type."""
        return msgspec.json.Decoder(Any if self.body is None else self.body.type)

    def read_body(self, text: bytes) -> Any:
        """A request's body as its type; as it is where it has none.

        Raises:
            TooLargeError: if it is too long (413).
            MalformedError: if it does not decode (422).
        """
        body = self.body
        if body is None or body.type is None:
            return text
        return read(self.decoder, text, "body", body.bytes_max)

    @property
    def all_problems(self) -> dict[int, str]:
        """When which error comes, by status, in order."""
        found = dict(OVERLOAD)
        if self.scope is not Scope.CLAIM:
            found |= {
                401: _UNAUTHENTICATED[self.scope is Scope.DEVICE],
                403: _FORBIDDEN[self.scope],
            }
        if self.parameters:
            found[400] = "A parameter is missing or wrong; `faults` names it."
        if self.body is not None:
            found |= {
                413: f"The body has more than {self.body.bytes_max} bytes.",
                415: f"The body is not {self.body.media_type}.",
                422: "The body is not what it should be; `faults` names each field.",
            }
        return dict(sorted((found | dict(self.problems)).items()))


OVERLOAD = {
    429: "Too many requests; `Retry-After` says when to come again.",
    503: "The server has no room or no database now; `Retry-After` says when to come again.",
}
"""Errors that any request may meet, by status."""
_UNAUTHENTICATED = ("There is no valid token.", "There is no valid client certificate.")
_FORBIDDEN = {
    Scope.DEVICE: "The certificate was revoked, or is another site's.",
    **{s: f"The token lacks the scope `{s}`." for s in (Scope.READ, Scope.WRITE)},
    **{s: f"The token lacks the scope `{s}`." for s in (Scope.DEVICES, Scope.ADMIN)},
    Scope.METRICS: "The token lacks the scope `metrics`.",
}
ERROR = Body(type=Problem, media_type=PROBLEM_TYPE)


def check(operations: Iterable[Operation]) -> None:
    """Complain of two operations with one name, or with one method and path.

    Raises:
        ValueError: naming both.
    """
    seen: dict[Any, str] = {}
    for operation in operations:
        for key in (operation.name, (operation.method, operation.path)):
            if key in seen:
                raise ValueError(f"{operation.name} and {seen[key]} are both {key}")
            seen[key] = operation.name


def statuses(operation: Operation) -> Iterator[int]:
    """Every status that an operation may answer with."""
    yield from operation.answers
    yield from operation.all_problems


def told(says: str, kind: Any, status: int = 200) -> dict[int, Answer]:
    """The one answer of an operation that tells a JSON value of that type."""
    return {status: Answer(says, Body(type=kind))}


def done(says: str) -> dict[int, Answer]:
    """The one answer of an operation that tells nothing."""
    return {204: Answer(says)}


class Details(TypedDict, total=False):
    """What only some operations say; see `Operation`."""

    scope: Scope
    body: Body
    problems: Mapping[int, str]
    more: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an API, which says once what its operations have in common."""

    tag: str
    scope: Scope
    """Who may ask, where an operation does not say otherwise."""
    base: str = ""
    """What their paths begin with."""
    known: tuple[Parameter, ...] = ()
    """What their paths may name."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Errors that all of them may meet; what an operation says of one itself takes its place."""

    def operation(
        self,
        name: str,
        asked: str,
        says: str,
        answers: Mapping[int, Answer],
        *parameters: Parameter,
        **details: Unpack[Details],
    ) -> Operation:
        """One operation: `asked` is its method and the rest of its path, as in `GET /feed`.

        `parameters` are those that do not stand in the path.
        """
        method, _, rest = asked.partition(" ")
        path = self.base + rest
        named = _PATH_NAMES.findall(path)
        return Operation(
            name=name,
            method=HTTPMethod(method),
            path=path,
            tag=self.tag,
            says=says,
            scope=details.get("scope", self.scope),
            answers=answers,
            parameters=(*(p for p in self.known if p.name in named), *parameters),
            body=details.get("body"),
            problems={**self.problems, **details.get("problems", {})},
            more=details.get("more", ""),
        )


_IDENTITY = Part("identity", Scope.CLAIM, base="/v1")

GET_AUTHORITY = _IDENTITY.operation(
    "get_authority",
    "GET /authority",
    "Read the certificate of the authority that certifies the cloud's servers.",
    told("The certificate.", enrolment.CloudAuthority),
    more=(
        "A device that trusts nobody yet asks this of a server that it does not know, compares the"
        " fingerprint with the one that was typed behind the claim code, and enrols over a"
        " connection that this authority vouches for."
    ),
)

ENROLL = _IDENTITY.operation(
    "enroll",
    "POST /enroll",
    "Turn a claim code and a certificate request into an identity.",
    told("The device is enrolled.", enrolment.Enrolled, 201),
    body=Body(type=enrolment.EnrolRequest, bytes_max=enrolment.ENROLMENT_BYTES_MAX),
    problems={
        403: "The claim code is unknown, used or expired (`urn:edgegate:claim-unknown`).",
        409: "The name is another device's.",
    },
)

RENEW = _IDENTITY.operation(
    "renew",
    "POST /renew",
    "Replace the certificate with which this is asked.",
    told("A new certificate.", enrolment.Renewed),
    scope=Scope.DEVICE,
    body=Body(type=enrolment.RenewRequest, bytes_max=enrolment.ENROLMENT_BYTES_MAX),
)

PULL_FEED = Part("feed", Scope.DEVICE, base="/v1").operation(
    "pull_feed",
    "GET /feed",
    "Read what changed after a number, or with 0 the newest state of every record.",
    {
        200: Answer(
            "Changes in ascending order, and last the trailer; without it nothing counts.",
            Body(media_type=changes.FEED_TYPE, lines=(changes.Change, changes.Trailer)),
        )
    },
    Parameter("after", changes.Head, "The device's head; 0 asks for a snapshot."),
    Parameter(
        "wait",
        changes.WaitSeconds,
        "Hold the answer back for so many seconds at most while there is nothing new.",
        default=0,
    ),
    problems={410: "History before `after` is gone (`urn:edgegate:compacted`): take a snapshot."},
    more="May be compressed as `Accept-Encoding` allows: gzip or zstd.",
)

_LEDGER = Part("ledger", Scope.DEVICE, base="/v1")

SEND_LEDGER = _LEDGER.operation(
    "send_ledger",
    "POST /ledger",
    "Hand over entries of the device's ledger, in order.",
    told("Up to where they count.", events.LedgerAnswer),
    body=Body(
        media_type=events.BATCH_TYPE,
        bytes_max=events.BATCH_BYTES_MAX,
        says="A JSON array of at most 500 CloudEvents 1.0.",
        lines=(events.Event,),
    ),
    problems={422: "The body is no array of events; a broken event among others is no error."},
    more="Sending twice changes nothing. A gap and a broken chain are stored and flagged.",
)

ASK_LEDGER = _LEDGER.operation(
    "ask_ledger",
    "GET /ledger",
    "Read up to where the device's ledger counts.",
    told("Where it stands.", events.LedgerAnswer),
)

PUT_STATE = Part("state", Scope.DEVICE, base="/v1").operation(
    "put_state",
    "PUT /state",
    "Say how the device is doing, where there is no broker to publish it on.",
    done("It is kept until the next one."),
    body=Body(type=state.DeviceState, bytes_max=state.STATE_BYTES_MAX),
)

DEVICE_OPERATIONS = (GET_AUTHORITY, ENROLL, RENEW, PULL_FEED, SEND_LEDGER, ASK_LEDGER, PUT_STATE)
"""The device API."""
