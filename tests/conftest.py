"""What every test gets: a guard against code that blocks the event loop, and the soak switch."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

# Before any module of tests imports one of them: fixtures are taken from there as a plugin.
pytest.register_assert_rewrite("rig", "fakes")

OURS = ["edgegate", "edgegate_drivers", "edgegate_sync"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long campaigns in full")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the campaigns to `make soak`: they take hours, and say so by not being collected."""
    if not config.getoption("--soak"):
        campaigns = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if item not in campaigns]
        config.hook.pytest_deselected(items=campaigns)


@pytest.fixture(autouse=True)
def unblocked_loop() -> Iterator[BlockBuster]:
    """Fail a test whose code calls something blocking on the event loop."""
    with blockbuster_ctx(scanned_modules=OURS) as guard:
        yield guard
