"""A plugin for runs of the suite: ``--shuffle SEED`` takes the tests in any order.

Loaded after the suite's own, it is around that: its order is the last word, as that of a user's
plugin would be.
"""

import random
from collections.abc import Iterator

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, required=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Iterator[None]:
    yield
    random.Random(config.getoption("shuffle")).shuffle(items)
