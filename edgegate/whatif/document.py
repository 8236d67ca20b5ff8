"""The answer to a what-if as one JSON document, for programs."""

from collections.abc import Iterator
from typing import Any

import msgspec

from edgegate.whatif.compare import Told, differing
from edgegate.whatif.names import Names
from edgegate.whatif.study import Study


def parts(study: Study) -> Iterator[bytes]:
    """Run a study and write its document as it comes, each tap on a line of its own."""
    names = Names(study.base, study.changed)
    head = {
        "title": study.title,
        "first": study.first,
        "last": study.last,
        "files": study.files,
        "notes": study.notes,
    }
    yield msgspec.json.encode(head)[:-1] + b',"taps":['
    mark = b" "
    for told in study.run():
        yield mark + msgspec.json.encode(_tap(told, names))
        mark = b","
    yield b'],"summary":' + msgspec.json.encode(_summary(study, names)) + b"}"


def _tap(told: Told, names: Names) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(told),
        "local": names.local(told).isoformat(),
        "name": names.member(told.customer),
        "differs": told.differs,
        "reproduced": told.reproduced,
    }


def _summary(study: Study, names: Names) -> dict[str, Any]:
    summary = study.summary
    return {
        **{key: getattr(summary, key) for key in ("taps", "carried", "differently")},
        **{key: getattr(summary, key) for key in ("not_reproduced", "gone", "let_in_anew")},
        "changes": [
            {
                "was": was,
                "would_be": would_be,
                "taps": tally.taps,
                "customers": sorted(tally.customers),
            }
            for (was, would_be), tally in summary.most_first()
        ],
        "members": [
            {"customer": id_, "name": names.member(id_), "taps": taps}
            for id_, taps in summary.customers.most_common()
        ],
        "visits": {"was": summary.was.visits, "would_be": summary.would_be.visits},
        "spent": [
            {
                "pass": id_,
                "name": names.pass_(id_),
                "unit": names.unit(id_),
                "was": summary.was.passes[id_],
                "would_be": summary.would_be.passes[id_],
            }
            for id_ in differing(summary.was.passes, summary.would_be.passes)
        ],
        "charged": [
            {
                "offer": key[0],
                "currency": key[1],
                "was": summary.was.offers[key],
                "would_be": summary.would_be.offers[key],
            }
            for key in differing(summary.was.offers, summary.would_be.offers)
        ],
    }
