"""Asks the cloud over HTTPS: typed answers and errors, and a limit on every wait and size."""

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple, Self, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from edgegate import __version__
from edgegate_sync.appliance.errors import (
    AnswerInvalidError,
    GoneError,
    RefusedError,
    TruncatedError,
    UnreachableError,
)
from edgegate_sync.wire import enrolment, events
from edgegate_sync.wire.changes import FEED_TYPE
from edgegate_sync.wire.enrolment import (
    CloudAuthority,
    Enrolled,
    EnrolRequest,
    Renewed,
    RenewRequest,
)
from edgegate_sync.wire.errors import PROBLEM_TYPE, MalformedError, Problem, encode
from edgegate_sync.wire.events import ANSWER_BYTES_MAX, BATCH_TYPE, LedgerAnswer

T = TypeVar("T")

PROBLEM_BYTES_MAX = 65_536
"""More of an error's text than this is not read."""

CHUNK_BYTES_MAX = 65_536
"""So much of a long answer stands in memory at once."""

RETRY_AFTER_S_MAX = 3600.0
"""No cloud can ask for a longer pause than this."""


class CloudTime(NamedTuple):
    """What the cloud's clock said in the header of its newest answer, whole seconds."""

    at: datetime
    received_s: float
    """`time.monotonic()` when the header was there."""
    round_trip_s: float
    """Since the request was sent: so much older the cloud's word may be."""


class Timing(Struct, frozen=True, kw_only=True):
    """How long anything may take, in seconds."""

    connect_s: float = 10.0
    silence_s: float = 30.0
    """Between two pieces of an answer, and before its first one; a long poll waits longer."""
    total_s: float = 60.0
    """For an answer that is no stream."""
    stream_s: float = 3600.0
    """For one that is."""


class FeedAnswer:
    """An answer of the feed that is still coming in."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.is_gzip = response.headers.get("Content-Encoding", "identity").lower() == "gzip"

    async def chunks(self) -> AsyncIterator[bytes]:
        """What comes, as it was sent: packed if `is_gzip`.

        Raises:
            TruncatedError: it broke off, or nothing came for too long.
        """
        try:
            async for chunk in self._response.content.iter_chunked(CHUNK_BYTES_MAX):
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TruncatedError(f"the feed broke off: {_why(error)}") from error


class CloudClient:
    """The device's connection to its cloud; use it as a context manager."""

    def __init__(
        self, url: str, tls: ssl.SSLContext | None = None, timing: Timing | None = None
    ) -> None:
        """Prepare.

        Args:
            url: where the cloud is, like "https://cloud.example:8443".
            tls: the device's certificate and whom it trusts; None for `http:` in tests.
            timing: see `Timing`.
        """
        self._url = url.rstrip("/")
        self._tls = tls
        self._timing = timing or Timing()
        self._session: aiohttp.ClientSession | None = None
        self.time: CloudTime | None = None
        """What the newest answer said of the time, whatever else it said."""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            ssl=self._tls if self._tls is not None else True, limit=8, ttl_dns_cache=60
        )
        # What is packed is unpacked off the event loop, and within a limit.
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"edgegate/{__version__}", "Accept-Encoding": "identity"},
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def feed(self, after: int, wait_s: int = 0) -> AsyncIterator[FeedAnswer]:
        """Ask for the changes after a number; 0 is a snapshot.

        With `wait_s` the cloud answers when there is something, or when so much time has passed.

        Raises:
            GoneError: the history after that number is not all there any more.
            CloudError: see the other ones.
        """
        query = {"after": str(after)} | ({"wait": str(wait_s)} if wait_s else {})
        silence_s = self._timing.silence_s + wait_s
        timeout = aiohttp.ClientTimeout(
            total=self._timing.stream_s, sock_connect=self._timing.connect_s, sock_read=silence_s
        )
        headers = {"Accept": FEED_TYPE, "Accept-Encoding": "gzip"}
        begun_s = time.monotonic()
        try:
            response = await self._open().request(
                "GET",
                f"{self._url}/v1/feed",
                params=query,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(_why(error)) from error
        try:
            self._note_time(response, begun_s)
            if response.status != 200:
                await _refuse(response)
            _check_encoding(response)
            yield FeedAnswer(response)
        finally:
            # What was not read to its end cannot be used for another request.
            response.close()

    async def post_ledger(self, batch: bytes) -> LedgerAnswer:
        """Send a batch of entries.

        Raises:
            CloudError: it is not known whether they were counted; sending them again is harmless.
        """
        body = await self._call("POST", "/v1/ledger", batch, BATCH_TYPE, ANSWER_BYTES_MAX)
        return _read(events.decode_answer, body)

    async def ask_ledger(self) -> LedgerAnswer:
        """Up to where the cloud has this device's ledger, nothing being sent.

        Raises:
            CloudError: see the other ones.
        """
        return _read(
            events.decode_answer, await self._call("GET", "/v1/ledger", None, "", ANSWER_BYTES_MAX)
        )

    async def put_state(self, state: bytes) -> None:
        """Say how the device is doing, where there is no broker to tell it to.

        Raises:
            CloudError: see the other ones.
        """
        await self._call("PUT", "/v1/state", state, "application/json", PROBLEM_BYTES_MAX)

    async def authority(self) -> CloudAuthority:
        """Who certifies the cloud's servers, by its own word.

        Raises:
            CloudError: see the other ones.
        """
        limit = enrolment.ENROLMENT_BYTES_MAX
        answer = await self._call("GET", "/v1/authority", None, "", limit)
        return _read(enrolment.decode_authority, answer)

    async def enroll(self, request: EnrolRequest) -> Enrolled:
        """Become a device of a site.

        Raises:
            CloudError: see the other ones.
        """
        body = encode(request)
        limit = enrolment.ENROLMENT_BYTES_MAX
        answer = await self._call("POST", "/v1/enroll", body, "application/json", limit)
        return _read(enrolment.decode_enrolled, answer)

    async def renew(self, request: RenewRequest) -> Renewed:
        """Get the certificate that follows the one of this connection.

        Raises:
            CloudError: see the other ones.
        """
        body = encode(request)
        limit = enrolment.ENROLMENT_BYTES_MAX
        answer = await self._call("POST", "/v1/renew", body, "application/json", limit)
        return _read(enrolment.decode_renewed, answer)

    async def _call(
        self, method: str, path: str, body: bytes | None, media_type: str, bytes_max: int
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(
            total=self._timing.total_s,
            sock_connect=self._timing.connect_s,
            sock_read=self._timing.silence_s,
        )
        begun_s = time.monotonic()
        try:
            async with self._open().request(
                method,
                f"{self._url}{path}",
                data=body,
                headers={"Content-Type": media_type} if body is not None else None,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                self._note_time(response, begun_s)
                if not 200 <= response.status < 300:
                    await _refuse(response)
                return await _read_up_to(response, bytes_max)
        except aiohttp.ClientPayloadError as error:
            raise TruncatedError(f"the answer broke off: {_why(error)}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(_why(error)) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise UnreachableError("the connection to the cloud is closed")
        return self._session

    def _note_time(self, response: aiohttp.ClientResponse, begun_s: float) -> None:
        try:
            at = parsedate_to_datetime(response.headers.get("Date", ""))
        except ValueError:
            return
        now_s = time.monotonic()
        # A date without a zone is none (RFC 9110, section 5.6.7: it is GMT, and says so).
        if at.tzinfo is not None:
            self.time = CloudTime(at, now_s, now_s - begun_s)


def _check_encoding(response: aiohttp.ClientResponse) -> None:
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise AnswerInvalidError(
            f'the feed is packed as "{encoding[:40]}", which was not asked for'
        )


async def _refuse(response: aiohttp.ClientResponse) -> None:
    """Raise what an answer with an error says, as far as it says it in the protocol's way."""
    problem = Problem(title=(response.reason or "refused")[:200], status=max(400, response.status))
    if response.content_type == PROBLEM_TYPE:
        try:
            body = await _read_up_to(response, PROBLEM_BYTES_MAX)
            problem = msgspec.json.decode(body, type=Problem)
        except (aiohttp.ClientError, TimeoutError, OSError, AnswerInvalidError, ValueError):
            # The status says enough.
            pass
    kind = GoneError if response.status == 410 else RefusedError
    raise kind(response.status, problem, _retry_after_s(response))


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """The seconds of `Retry-After`; a date in it is passed over."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), RETRY_AFTER_S_MAX) if text.isascii() and text.isdigit() else None


async def _read_up_to(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES_MAX):
        body += chunk
        if len(body) > bytes_max:
            raise AnswerInvalidError(f"the answer has more than {bytes_max} bytes")
    return bytes(body)


def _read(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except MalformedError as error:
        raise AnswerInvalidError(str(error)) from error


def _why(error: BaseException) -> str:
    """The error in words; a time-out of asyncio has none."""
    return str(error) or type(error).__name__
