"""What every test gets: a guard against code that blocks the event loop, and what is left out."""

import os
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

# Before any module of tests imports one of them: fixtures are taken from there as a plugin.
pytest.register_assert_rewrite("rig", "fakes")

OURS = ["edgegate", "edgegate_drivers", "edgegate_sync"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long campaigns in full")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the campaigns to `make soak`: they take hours, and say so by not being collected.

    So do tests of network namespaces, where nobody can make any.
    """
    left = [] if config.getoption("--soak") else [i for i in items if i.get_closest_marker("soak")]
    if not _makes_namespaces():
        left += [i for i in items if i.get_closest_marker("namespaces") and i not in left]
    items[:] = [item for item in items if item not in left]
    if left:
        config.hook.pytest_deselected(items=left)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _makes_namespaces():
        terminalreporter.write_sep("!", "NOT TESTED: a real access point", red=True)
        terminalreporter.write_line(
            "Tests marked `namespaces` join hostapd over a cable between network namespaces, which"
            " only root can make: run `sudo make test`. Where CI is set they run, and fail without."
        )


def _makes_namespaces() -> bool:
    """Whether to try: root can, and a build that nobody watches must not pass without."""
    return os.geteuid() == 0 or bool(os.environ.get("CI"))


@pytest.fixture(autouse=True)
def unblocked_loop() -> Iterator[BlockBuster]:
    """Fail a test whose code calls something blocking on the event loop."""
    with blockbuster_ctx(scanned_modules=OURS) as guard:
        yield guard
