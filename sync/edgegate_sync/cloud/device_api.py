"""What devices ask: an identity, the feed, to be heard; `ledger_api` has the ledger's part."""

from aiohttp import web

from edgegate_sync.cloud import devices, problems
from edgegate_sync.cloud.authority import RequestFaultError
from edgegate_sync.cloud.devices import ClaimUnknownError, NameTakenError
from edgegate_sync.cloud.feed_api import pull_feed
from edgegate_sync.cloud.server import Asked, Handler, answer, nothing
from edgegate_sync.wire.enrolment import CloudAuthority
from edgegate_sync.wire.errors import FieldFault, ProblemType, encode


async def get_authority(asked: Asked) -> web.StreamResponse:
    """Name the authority of the cloud's own servers."""
    return answer(CloudAuthority(ca=(await asked.cloud.keys.cloud()).certificate_pem))


async def enroll(asked: Asked) -> web.StreamResponse:
    """Turn a claim code and a certificate request into an identity."""
    try:
        made = await asked.cloud.enrolment.enrol(asked.body)
    except RequestFaultError as error:
        raise problems.invalid([FieldFault(field="csr", problem=str(error))]) from error
    except ClaimUnknownError as error:
        asked.cloud.counters.count("claims_refused")
        raise problems.forbidden(str(error), ProblemType.CLAIM_UNKNOWN) from error
    except NameTakenError as error:
        raise problems.conflict(str(error)) from error
    asked.cloud.access_changed()
    return answer(made, 201)


async def renew(asked: Asked) -> web.StreamResponse:
    """Replace the certificate with which this is asked."""
    try:
        made = await asked.cloud.enrolment.renew(asked.device, asked.body.csr)
    except RequestFaultError as error:
        raise problems.invalid([FieldFault(field="csr", problem=str(error))]) from error
    return answer(made)


async def put_state(asked: Asked) -> web.StreamResponse:
    """Keep what a device says of itself."""
    identity = asked.device
    async with asked.cloud.database.writing() as writing:
        await devices.note_state(writing, identity.site, identity.device, encode(asked.body))
    return nothing()


HANDLERS: dict[str, Handler] = {
    "get_authority": get_authority,
    "enroll": enroll,
    "renew": renew,
    "pull_feed": pull_feed,
    "put_state": put_state,
}
"""By operation."""
