"""Answers HTTP by the table of operations: who asks, what they send, and which problem ends it."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from edgegate_sync.cloud import devices, problems, tokens
from edgegate_sync.cloud.feed import SiteUnknownError
from edgegate_sync.cloud.problems import ProblemError
from edgegate_sync.wire.errors import (
    PROBLEM_TYPE,
    FieldFault,
    MalformedError,
    Problem,
    ProblemType,
    encode,
)
from edgegate_sync.wire.operations import JSON_TYPE, Operation, Parameter, Place, Scope

if TYPE_CHECKING:
    from edgegate_sync.cloud.cloud import Cloud

BODY_S_MAX = 60
"""How long a body may take to arrive."""

DETAIL_MAX = 500

BEGUN = web.RequestKey("begun", web.StreamResponse)
"""The streamed answer of a request, once its first byte may be out."""

NAME = web.RequestKey("operation", str)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, checked: who asks is allowed to, and everything is of its type."""

    cloud: "Cloud"
    request: web.Request
    operation: Operation
    values: Mapping[str, Any]
    """The parameters by name."""
    raw: bytes = b""
    """The body as it came."""
    body: Any = None
    """The body as its type; its bytes where it has none."""
    identity: devices.Identity | None = None
    token: tokens.Token | None = None
    scratch: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> devices.Identity:
        """The device that asks; only of operations that are for devices."""
        if self.identity is None:
            raise TypeError(f"{self.operation.name} is not for devices")
        return self.identity

    @property
    def site(self) -> str:
        """The site that the path names."""
        return str(self.values["site"])


Handler = Callable[[Asked], Awaitable[web.StreamResponse]]


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A struct as the body of an answer."""
    return web.Response(
        body=encode(value), status=status, content_type=JSON_TYPE, headers=headers or {}
    )


def nothing() -> web.Response:
    """An answer that says no more than that it is done."""
    return web.Response(status=204)


async def begin(request: web.Request, response: web.StreamResponse) -> None:
    """Begin a streamed answer; whatever goes wrong from here on cuts the connection."""
    request[BEGUN] = response
    await response.prepare(request)


class Server:
    """The routes of one cloud."""

    def __init__(
        self, cloud: "Cloud", operations: Iterable[Operation], handlers: Mapping[str, Handler]
    ) -> None:
        self._cloud = cloud
        self.application = web.Application(
            middlewares=[self._guard], handler_args={"keepalive_timeout": 75.0}
        )
        self.application.router.add_get("/healthz", self._healthz)
        self.application.router.add_get("/readyz", self._readyz)
        known = dict(handlers)
        for operation in operations:
            handler = known.pop(operation.name)
            self.application.router.add_route(
                operation.method, operation.path, self._endpoint(operation, handler)
            )
        if known:
            raise LookupError(f"these handlers are of no operation: {', '.join(known)}")

    def _endpoint(
        self, operation: Operation, handler: Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def endpoint(request: web.Request) -> web.StreamResponse:
            request[NAME] = operation.name
            asked = await self._admit(request, operation)
            return await handler(asked)

        return endpoint

    async def _admit(self, request: web.Request, operation: Operation) -> Asked:
        """Check who asks before anything else is read."""
        identity = token = None
        if operation.scope is Scope.CLAIM:
            _limit(self._cloud.limits.enrol.take(_address(request)))
        elif operation.scope is Scope.DEVICE:
            identity = await self._identity(request)
        else:
            token = await self._token(request, operation.scope)
        values = _parameters(request, operation)
        raw, body = b"", None
        if operation.body is not None:
            raw = await _body(request, operation)
            try:
                # On a thread: it may be large, and a time zone's name is looked up in files.
                body = await asyncio.to_thread(operation.read_body, raw)
            except MalformedError as error:
                raise problems.of_malformed(error) from error
        return Asked(self._cloud, request, operation, values, raw, body, identity, token)

    async def _identity(self, request: web.Request) -> devices.Identity:
        address = _address(request)
        transport = request.transport
        secure = None if transport is None else transport.get_extra_info("ssl_object")
        der = None if secure is None else secure.getpeercert(binary_form=True)
        if transport is None or der is None:
            _limit(self._cloud.limits.unknown.take(address))
            raise problems.unauthenticated("This needs the device's client certificate.")
        async with self._cloud.database.reading() as connection:
            shown = await devices.identity_of(connection, der)
        if shown is None:
            _limit(self._cloud.limits.unknown.take(address))
            raise problems.unauthenticated("The client certificate is not one of this cloud's.")
        identity = shown.identity
        _limit(self._cloud.limits.device.take(f"{identity.site}/{identity.device}"))
        if not shown.good:
            raise problems.forbidden(
                "The certificate was revoked: enrol with a new claim code.", ProblemType.REVOKED
            )
        self._cloud.connections.add(identity.serial, transport)
        await devices.note_seen(self._cloud.database, shown)
        return identity

    async def _token(self, request: web.Request, scope: Scope) -> tokens.Token:
        address = _address(request)
        # Whoever was wrong too often waits, and is not looked up meanwhile.
        _limit(self._cloud.limits.unknown.wait_s(address))
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        token = None
        if kind.lower() == "bearer" and secret.startswith(tokens.PREFIX):
            token = await tokens.known(self._cloud.database, secret.strip())
        if token is None:
            self._cloud.limits.unknown.take(address)
            raise problems.unauthenticated(
                "This needs a valid API token: Authorization: Bearer egt_…"
            )
        _limit(self._cloud.limits.admin.take(token.id))
        if scope.value not in token.scopes:
            raise problems.forbidden(f'The token lacks the scope "{scope}".')
        return token

    @web.middleware
    async def _guard(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """The one boundary: whatever happens becomes an answer, is counted and logged."""
        began_s = time.monotonic()
        response = await self._outcome(request, handler)
        begun = request.get(BEGUN)
        if begun is not None and begun is not response:
            # An answer that broke off must not look complete, and has no place for a problem.
            if request.transport is not None:
                request.transport.abort()
            response = begun
        self._note(request, response, time.monotonic() - began_s)
        return response

    async def _outcome(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            return _told(_problem_of(error))

    def _note(self, request: web.Request, response: web.StreamResponse, took_s: float) -> None:
        name = request.get(NAME, "other")
        self._cloud.counters.count("http_requests", f"{name} {response.status}")
        self._cloud.counters.observe("http_request_seconds", name, took_s)
        fields = {
            "operation": name,
            "method": request.method,
            # Without the query: it is the caller's, and may hold what no log should.
            "path": request.path[:DETAIL_MAX],
            "status": response.status,
            "ms": round(took_s * 1000),
            "bytes": response.body_length,
            "address": _address(request),
        }
        log.info("request", extra={"fields": fields})

    async def _healthz(self, _request: web.Request) -> web.Response:
        """Whether the process runs."""
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        """Whether it can do its work: the database answers and is of the right revision."""
        async with asyncio.timeout(BODY_S_MAX):
            await self._cloud.check()
        return web.Response(text="ready\n")


def _parameters(request: web.Request, operation: Operation) -> dict[str, Any]:
    values: dict[str, Any] = {}
    faults: list[FieldFault] = []
    for parameter in operation.parameters:
        match parameter.place:
            case Place.PATH:
                text = request.match_info.get(parameter.name)
            case Place.QUERY:
                text = request.query.get(parameter.name)
            case _:
                text = request.headers.get(parameter.name)
        try:
            values[parameter.name] = _read(parameter, text)
        except MalformedError as error:
            faults.extend(problems.of_malformed(error).problem.faults)
    if faults:
        raise problems.invalid(faults, 400)
    return values


def _read(parameter: Parameter, text: str | None) -> Any:
    if text is not None and "\0" in text:
        # PostgreSQL has no such character.
        raise MalformedError(parameter.place, "has the character U+0000", parameter.name)
    return parameter.read(text)


async def _body(request: web.Request, operation: Operation) -> bytes:
    """A request's body, never more of it than its operation takes."""
    declared = operation.body
    if declared is None:
        return b""
    if request.content_type != declared.media_type:
        got = request.headers.get("Content-Type", "")
        raise problems.media_type(declared.media_type, got[:100])
    if (request.content_length or 0) > declared.bytes_max:
        raise problems.too_large(declared.bytes_max)
    parts = bytearray()
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for part in request.content.iter_any():
                parts += part
                if len(parts) > declared.bytes_max:
                    break
    except TimeoutError:
        problem = Problem(title="The body did not arrive", status=408)
        raise ProblemError(problem, {"Connection": "close"}) from None
    except (aiohttp.ClientPayloadError, aiohttp.http.HttpProcessingError) as error:
        raise ProblemError(Problem(title="The body is broken", status=400)) from error
    if len(parts) > declared.bytes_max:
        raise problems.too_large(declared.bytes_max)
    return bytes(parts)


def _problem_of(error: Exception) -> ProblemError:
    """What is told of an error; of an unexpected one only the number under which it is logged."""
    match error:
        case ProblemError():
            return error
        case web.HTTPException():
            return _of_http(error)
        case SiteUnknownError():
            return problems.not_found(f'site "{error}"')
        case IntegrityError():
            # Two requests made the same thing at the same moment.
            return problems.conflict("Somebody else did the same just now; look again.")
        case DBAPIError() | PoolTimeoutError() | ConnectionError() | TimeoutError():
            log.warning("no database", extra={"fields": {"error": str(error)[:DETAIL_MAX]}})
            return problems.busy("The database does not answer")
    number = secrets.token_hex(6)
    log.error("internal error", exc_info=error, extra={"fields": {"number": number}})
    detail = "This is a mistake of the cloud's; its log has it under this number."
    return ProblemError(Problem(title="Internal error", status=500, detail=detail, instance=number))


def _told(error: ProblemError) -> web.Response:
    return web.Response(
        body=encode(error.problem),
        status=error.problem.status,
        content_type=PROBLEM_TYPE,
        headers=error.headers,
    )


def _of_http(error: web.HTTPException) -> ProblemError:
    """What aiohttp itself refuses: unknown paths and methods."""
    kept = {name: value for name, value in error.headers.items() if name in ("Allow", "Location")}
    return ProblemError(Problem(title=error.reason, status=max(400, error.status)), kept)


def _limit(wait_s: float) -> None:
    if wait_s > 0:
        raise problems.rate(wait_s)


def _address(request: web.Request) -> str:
    """Whose connection it is; the port apart, so that a new connection is no new client."""
    return request.remote or "local"
