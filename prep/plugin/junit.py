"""pytest's junit file, for dashboards: whole or not at all.

pytest opens the file that is there for writing, which empties it, and writes: on a disk that is
full, that ends the run with a traceback in place of everything that it had to say, and leaves a
torn file. So pytest writes it into memory, and it is written as our own files are.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

# The one private name that is needed: there is no other way to the plugin's object.
from _pytest.junitxml import xml_key

from prep.home.layout import write_text
from prep.machine.build import build
from prep.machine.disk import FULL
from prep.report import properties
from prep.report.run_report import ModelReport, first_line

NOT_REACHED = "not reached: "


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

    def write(self, models: Mapping[str, ModelReport]) -> None:
        """Write beside and rename, or else in place, as pytest would. Raises `OSError`."""
        if self._log is None or not self._text:
            return
        text = for_dashboards(self._text, models)
        place = Path(self._log.logfile)
        if place.is_file() or not place.exists():  # else a pipe or a device
            try:
                write_text(place.resolve(), text)
                return
            except OSError as error:
                if error.errno in FULL:
                    raise
                # A file that is mounted alone, or one in a folder that is closed to us.
        place.write_text(text, encoding="utf-8", newline="")


def for_dashboards(text: str, models: Mapping[str, ModelReport]) -> str:
    """Facts once, and each failure with its class and one short line, before the whole message."""
    root = ET.fromstring(text)
    subjects: set[tuple[str, ...]] = set()
    for case in root.iter("testcase"):
        node = case.find("properties")
        known = {} if node is None else {each.get("name"): each.get("value") for each in node}
        name = known.get("model")
        model = models.get(name) if name else None
        if node is None or name is None or model is None:
            continue
        precision = known.get("precision") or ""
        load = case.get("name", "").partition(f"[{name}:")[2].removesuffix("]")
        for subject, facts in {
            (name,): properties.of_model(model),
            (name, precision): properties.of_conversion(model, precision),
            (name, precision, load): properties.of_load(model, load),
        }.items():
            if subject not in subjects and (pairs := list(facts)):
                subjects.add(subject)
                for key, value in pairs:
                    ET.SubElement(node, "property", name=key, value=value)
        for failure in (*case.iter("failure"), *case.iter("error")):
            # pytest goes by the phase of the test, in which most of our stages are set-up.
            failure.tag = "error" if known.get("kind") == "transient" else "failure"
            whole = failure.text or ""
            line = first_line(whole)
            failure.set("message", line)
            failure.set("type", known.get("error") or "Failed")
            if line != whole.partition("\n")[0]:
                failure.text = f"{line}\n{whole}"
        for skipped in case.iter("skipped"):  # hundreds of them: nothing twice
            if (why := skipped.get("message", "")).startswith(NOT_REACHED):
                skipped.text = why
                node[:] = [
                    each for each in node if each.get("name") not in ("precision", "consumer")
                ]
    for suite in root.iter("testsuite"):
        for tag in ("failure", "error"):
            suite.set(f"{tag}s", str(sum(1 for _ in suite.iter(tag))))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, "unicode")
