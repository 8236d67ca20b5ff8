"""`edgegate replay --ledger`: who would have been treated differently under other records."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from edgegate.faults import FaultsError
from edgegate.whatif import prepare
from edgegate.whatif.document import parts
from edgegate.whatif.page import lines
from edgegate.whatif.records import Known


def what_if(
    exports: Sequence[Path],
    changes: Path,
    known: Callable[[], Known],
    *,
    as_json: bool,
    list_not_reproduced: bool,
) -> int:
    """Answer one question and print it as it is worked out; 0: done, 2: a file is wrong.

    `known` reads the site's records.
    """
    try:
        study = prepare(exports, changes, known())
    except FaultsError as error:
        click.echo(str(error), err=True)
        return 2
    text = parts(study) if as_json else lines(study, list_not_reproduced=list_not_reproduced)
    for part in text:
        click.echo(part)
    return 0
