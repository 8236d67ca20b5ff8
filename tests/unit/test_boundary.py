"""What a boundary contains, and what it lets through."""

import asyncio
import logging

import pytest

from edgegate.boundary import Contained

log = logging.getLogger("test_boundary")


def test_a_fault_is_told_with_its_trace_and_work_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    went_on = False
    with Contained(log, "%s could not be read", "the card"):
        raise ValueError("poison")
    went_on = True
    (record,) = caplog.records
    assert went_on
    assert record.getMessage() == "the card could not be read"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


@pytest.mark.parametrize("end", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_an_end_is_no_fault_and_goes_through(end: type[BaseException]) -> None:
    with pytest.raises(end), Contained(log, "it could not be ended"):
        raise end


def test_nothing_is_told_of_what_went_well(caplog: pytest.LogCaptureFixture) -> None:
    with Contained(log, "it failed"):
        pass
    assert caplog.records == []
