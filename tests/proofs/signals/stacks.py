"""A plugin: SIGUSR1 makes a process of the run write where its threads stand."""

import faulthandler
import os
import signal

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """The output as it is now, with pytest's capture not begun."""
    faulthandler.register(signal.SIGUSR1, file=os.dup(2), all_threads=True)
