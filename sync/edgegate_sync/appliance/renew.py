"""Renews the device's certificate when two thirds of its life are over, and notes when it is lost.

The present one stays good meanwhile; the new one takes its place on disk as a whole, and then the
connections are made anew. A device whose certificate was revoked asks once an hour whether it still
is: it may have been enrolled anew.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from edgegate.ports import Clock, ClockTrust, DriverStatus, OperatingError
from edgegate_sync.appliance.backoff import Backoff
from edgegate_sync.appliance.errors import AnswerInvalidError, CloudError, RefusedError
from edgegate_sync.appliance.identity import (
    Identity,
    is_expired,
    renewal_due,
    request_pem,
)
from edgegate_sync.wire.enrolment import Renewed, RenewRequest
from edgegate_sync.wire.errors import MalformedError, ProblemType

log = logging.getLogger(__name__)

LOOK_S_MAX = 3600.0
"""How often it is looked whether it is time: clocks are set."""

RETRY_FIRST_S = 60.0
REVOKED_PAUSE_S = 3600.0
"""How long a revoked device leaves the cloud alone."""

WARN_BEFORE = timedelta(days=30)
"""How long before its end a certificate that could not be renewed is a fault."""


class CertificateRevokedError(CloudError):
    """The cloud has locked this device out."""


class Renewing(Protocol):
    """The part of a `CloudClient` that this needs."""

    async def renew(self, request: RenewRequest) -> Renewed:
        """Get the certificate that follows."""


def is_revoked(error: BaseException) -> bool:
    """Whether an error says that this device is locked out."""
    return isinstance(error, RefusedError) and error.problem.type == ProblemType.REVOKED


def raise_if_revoked(error: BaseException) -> None:
    """Turn an error that says that this device is locked out into one that ends the exchange.

    Raises:
        CertificateRevokedError: if it says so.
    """
    if is_revoked(error):
        raise CertificateRevokedError(
            "the cloud has locked this device out: enrol it anew if that was a mistake"
        ) from error


class Renewal:
    """Looks after one device's certificate; `run` does all of it."""

    def __init__(
        self,
        identity: Identity,
        client: Renewing,
        clock: Clock,
        *,
        note: Callable[[str, DriverStatus, str], object],
        on_renewed: Callable[[], object],
    ) -> None:
        """Prepare.

        Args:
            identity: whose certificate it is.
            client: the connection with that certificate.
            clock: what its life is judged by; one that is not trusted judges nothing.
            note: told how the certificate is doing, as device "certificate".
            on_renewed: called when there is a new one: connect anew with it.
        """
        self._identity = identity
        self._client = client
        self._clock = clock
        self._note = note
        self._on_renewed = on_renewed
        self._backoff = Backoff(RETRY_FIRST_S, LOOK_S_MAX)

    async def run(self) -> None:
        """Renew it when that is due, for ever.

        Raises:
            CertificateRevokedError: the cloud has locked this device out.
        """
        while True:
            wait_s = await self.look()
            await asyncio.sleep(wait_s)

    async def look(self) -> float:
        """Renew it if that is due; how long to wait before the next look.

        Raises:
            CertificateRevokedError: the cloud has locked this device out.
        """
        if self._clock.trust() is ClockTrust.UNTRUSTED:
            # By a clock that is years ahead it would be due again at once.
            return LOOK_S_MAX
        now = self._clock.now()
        left_s = (renewal_due(self._identity) - now).total_seconds()
        if left_s > 0:
            self._backoff.reset()
            self._note("certificate", DriverStatus.ENABLED, "")
            return min(left_s, LOOK_S_MAX)
        rest_s = self._rest_s()
        if rest_s > 0:
            return rest_s
        try:
            await self._renew()
        except OperatingError as error:
            raise_if_revoked(error)
            self._note_failure(error)
            return max(self._backoff.delay_s(), getattr(error, "retry_after_s", None) or 0.0)
        log.info("the certificate is renewed until %s", self._identity.life[1].date())
        self._note("certificate", DriverStatus.ENABLED, "")
        self._on_renewed()
        return LOOK_S_MAX

    def _rest_s(self) -> float:
        """How long a certificate that is new in this process is left alone.

        By a clock far ahead of the cloud's it would be due again at once, and the cloud takes only
        the last few: the one in use would be among those it revokes.
        """
        at_s = self._identity.renewed_s
        return 0.0 if at_s is None else at_s + LOOK_S_MAX - time.monotonic()

    async def _renew(self) -> None:
        identity = self._identity
        try:
            key = await asyncio.to_thread(identity.next_key)
            renewed = await self._client.renew(RenewRequest(csr=request_pem(key)))
            await asyncio.to_thread(identity.renew, renewed, key)
            identity.renewed_s = time.monotonic()
        except (ValueError, MalformedError) as error:
            raise AnswerInvalidError(f"the new certificate cannot be used: {error}") from error
        except OSError as error:
            raise CloudError(f"the new certificate cannot be written: {error}") from error

    def _note_failure(self, error: OperatingError) -> None:
        ends = self._identity.life[1]
        now = self._clock.now()
        if is_expired(self._identity, now):
            detail = f"it ended on {ends:%Y-%m-%d}: enrol the device anew"
            self._note("certificate", DriverStatus.OFFLINE, detail)
        elif ends - now < WARN_BEFORE:
            detail = f"it ends on {ends:%Y-%m-%d} and cannot be renewed: {error}"
            self._note("certificate", DriverStatus.SELF_CHECK_FAILED, detail)
        log.warning("the certificate cannot be renewed: %s", error)
