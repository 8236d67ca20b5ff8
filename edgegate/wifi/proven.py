"""Whether what devices came in by still counts: a blocked login, a removed device, a revoked paper.

That ends no visit (S-11) but the device's session: what was lost or sold is off the air, and its
owner stays checked in and may come in by something else.
"""

from collections.abc import Callable
from datetime import datetime

from edgegate.passes.decide import credential_fault
from edgegate.passes.model import Credential
from edgegate.store import cache, wifi_grants
from edgegate.store.books import Books
from edgegate.store.wifi_rows import Grant
from edgegate.wifi.verifiers import digest_of


def note_lost(
    books: Books, now: datetime, is_revoked: Callable[[str], bool], after: str = ""
) -> str:
    """Note of devices on the Wi-Fi whether what they came in by counts no more, some in each round.

    They go by the Class of their Accept, from behind `after` on; where the next round begins is
    returned, empty for the beginning. It follows from how things stand, so that a block that was
    taken back in time sends nobody off.
    """
    credentials: dict[str, Credential | None] = {}
    grants = wifi_grants.in_force(books.ledger, now, after)
    for grant in grants:
        if books.location(grant.location) is None:
            # A cache that is made again says nothing yet, and of nobody.
            continue
        if grant.credential not in credentials:
            found = books.record_of(cache.CREDENTIAL, grant.credential)
            credentials[grant.credential] = found
        counts = _counts(grant, credentials[grant.credential], now) and not (
            grant.certificate and is_revoked(grant.certificate)
        )
        if counts == bool(grant.revoked):
            wifi_grants.mark_revoked(books.ledger, grant.class_, not counts)
    return grants[-1].class_ if len(grants) == wifi_grants.PROOFS_MAX else ""


def _counts(grant: Grant, credential: Credential | None, now: datetime) -> bool:
    if credential is None or credential.customer != grant.customer:
        return False
    if credential_fault(credential, now) is not None:
        return False
    return not grant.proof or grant.proof == digest_of(credential.verifier)
