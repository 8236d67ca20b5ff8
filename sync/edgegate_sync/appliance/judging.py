"""Which visits a change from the cloud concerns (S-11), a few at a time.

A tap waits for the job that runs. To look at a thousand visits in one would keep it waiting for
most of a second; between small ones it comes next.
"""

from collections.abc import Iterable, Iterator

from edgegate.passes.state import Session
from edgegate.store import cache
from edgegate.store.books import Books
from edgegate_sync.appliance.concerned import Concerned

VISITS_MAX = 8
"""So many visits are looked at in one job; those that share a pass are not parted, however many."""


def bites(books: Books, concerned: Concerned) -> list[tuple[str, ...]]:
    """The visits to look at, job by job and by customer.

    Whoever shares a pass with one that is concerned is looked at beside it: what the one is debited
    when its segment ends may end the others', and no decision is to come before that (S-04).
    """
    found: list[tuple[str, ...]] = []
    bite: list[str] = []
    for group in sharing(books.sessions()):
        if not any(_concerns(concerned, session, books) for session in group):
            continue
        if bite and len(bite) + len(group) > VISITS_MAX:
            found.append(tuple(bite))
            bite = []
        bite += [session.id for session in group]
    return [*found, tuple(bite)] if bite else found


def sharing(sessions: Iterable[Session]) -> Iterator[list[Session]]:
    """Sessions in groups: two that draw on one pass, be it by way of others, lie in one group."""
    of_pass: dict[str, list[tuple[int, Session]]] = {}
    groups: dict[int, list[tuple[int, Session]]] = {}
    for number, session in enumerate(sessions):
        passes = session.segment.passes if session.segment is not None else ()
        joined = {id(of_pass[p]): of_pass[p] for p in passes if p in of_pass}
        group, *others = joined.values() or ([],)
        for other in others:
            del groups[id(other)]
            group += other
            moved = {p for _, s in other if s.segment is not None for p in s.segment.passes}
            of_pass.update(dict.fromkeys(moved, group))
        group.append((number, session))
        groups[id(group)] = group
        of_pass.update(dict.fromkeys(passes, group))
    for group in sorted(groups.values(), key=lambda g: min(n for n, _ in g)):
        yield [session for _, session in sorted(group, key=lambda member: member[0])]


def _team_of(session: Session, books: Books) -> str | None:
    customer = books.customer(session.customer)
    return customer.team if customer is not None else None


def _concerns(concerned: Concerned, session: Session, books: Books) -> bool:
    """Whether a visit may end by a change, or end at another instant."""
    if concerned.everybody or session.customer in concerned.holders:
        return True
    segment = session.segment
    passes = segment.passes if segment is not None else ()
    if not concerned.passes.isdisjoint(passes):
        return True
    if concerned.holders and _team_of(session, books) in concerned.holders:
        return True
    return bool(concerned.contracts) and any(
        p is not None and p.contract in concerned.contracts
        for p in (books.record_of(cache.PASS, pass_id) for pass_id in passes)
    )
