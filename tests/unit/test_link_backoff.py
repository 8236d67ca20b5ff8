import pytest

from edgegate_sync.appliance.backoff import Backoff


def test_the_cap_of_the_wait_doubles_to_its_end_and_begins_anew_after_a_success() -> None:
    backoff = Backoff(first_s=0.5, max_s=4.0, chance=lambda: 1.0)
    assert [backoff.delay_s() for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    backoff.reset()
    assert backoff.delay_s() == 0.5


def test_the_wait_is_anywhere_below_its_cap() -> None:
    backoff = Backoff(first_s=1.0, max_s=64.0, chance=iter((0.0, 0.25, 0.5)).__next__)
    assert [backoff.delay_s() for _ in range(3)] == [0.0, 0.5, 2.0]


@pytest.mark.parametrize("failures", [40, 5000])
def test_years_of_failures_change_nothing(failures: int) -> None:
    backoff = Backoff(first_s=0.5, max_s=60.0, chance=lambda: 1.0)
    for _ in range(failures):
        backoff.delay_s()
    assert backoff.delay_s() == 60.0
