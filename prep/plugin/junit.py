"""pytest's junit file, whole or not at all.

pytest opens the file that is there for writing, which empties it, and writes: on a disk that is
full, that ends the run with a traceback in place of everything that it had to say, and leaves a
torn file. So pytest writes it into memory, and it is written as our own files are.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# The one private name that is needed: there is no other way to the plugin's object.
from _pytest.junitxml import xml_key

from prep.home.layout import write_text
from prep.machine.build import build
from prep.machine.disk import FULL


class Junit:
    """The file that ``--junitxml`` asks for, if it does."""

    def __init__(self, config: pytest.Config) -> None:
        self._log = config.stash.get(xml_key, None)
        self._text: str | None = None
        if self._log is not None:
            for name, value in build().record().items():
                if value is not None:
                    self._log.add_global_property(f"model-prep.{name}", value)

    @contextlib.contextmanager
    def in_memory(self) -> Iterator[None]:
        """Inside, what pytest writes goes into memory."""
        if self._log is None:
            yield
            return
        place = self._log.logfile
        with os.fdopen(os.memfd_create("junit"), encoding="utf-8", newline="") as memory:
            self._log.logfile = f"/proc/self/fd/{memory.fileno()}"
            try:
                yield
            finally:
                self._log.logfile = place  # pytest names it at the end
            self._text = memory.read()

    def write(self) -> None:
        """Write beside and rename, or else in place, as pytest would. Raises `OSError`."""
        if self._log is None or not self._text:
            return
        place = Path(self._log.logfile)
        if place.is_file() or not place.exists():  # else a pipe or a device
            try:
                write_text(place.resolve(), self._text)
                return
            except OSError as error:
                if error.errno in FULL:
                    raise
                # A file that is mounted alone, or one in a folder that is closed to us.
        place.write_text(self._text, encoding="utf-8", newline="")
