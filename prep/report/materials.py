"""The bill of materials beside the summary, in CycloneDX's JSON: models, conversions and tools.

Each model is a component with its commit, its licence and the checksum of each file, and each
conversion one that was made from it by tools of their own.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from prep.catalogue.lock import Lock, LockedFile, LockedModel
from prep.files.reader import Unreadable
from prep.home.layout import Home
from prep.home.receipt import Receipt, read_receipt
from prep.report.run_report import ModelReport, RunReport

SPECIFICATION = "1.6"
# The hub's names of licences, by those of SPDX.
SPDX = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    **{f"cc-by{kind}-4.0": f"CC-BY{kind.upper()}-4.0" for kind in ("", "-sa", "-nc", "-nc-sa")},
}
MODEL = "machine-learning-model"
Component = dict[str, Any]


def render(run: RunReport, lock: Lock, home: Home) -> str:
    """The file's text. A model that the lock does not name at its commit is another catalogue's."""
    components: list[Component] = []
    needs: dict[str, list[str]] = {}
    tools: dict[str, Component] = {}
    for name, report in run.models.items():
        locked = lock.get(name)
        if locked is None or locked.commit != report.commit:
            continue
        components.append(_model(locked, report))
        needs[_ref(locked)] = []
        for receipt in _receipts(home, locked, report.precisions):
            made_by = {tool["bom-ref"]: tool for tool in _tools(receipt.recipe.tools)}
            conversion = _conversion(locked, receipt)
            components.append(conversion)
            tools |= made_by
            needs[conversion["bom-ref"]] = [_ref(locked), *sorted(made_by)]
    body = {
        "components": [*components, *(tools[ref] for ref in sorted(tools))],
        "dependencies": [{"ref": ref, "dependsOn": on} for ref, on in needs.items()],
    }
    return json.dumps({**_head(run, body), **body}, indent=1, ensure_ascii=False) + "\n"


def _head(run: RunReport, body: Mapping[str, Any]) -> dict[str, Any]:
    """Its number is that of its content: the same bill has the same."""
    text = json.dumps([run.at, body], sort_keys=True)
    maker = {"type": "application", "name": "model-prep", "version": run.model_prep.version}
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}",
        "version": 1,
        "metadata": {"timestamp": run.at, "tools": {"components": [maker]}},
    }


def _model(locked: LockedModel, report: ModelReport) -> Component:
    """The published files, and the verdict."""
    return {
        **_named(locked),
        "bom-ref": _ref(locked),
        "version": locked.commit,
        "licenses": _licenses(locked.license),
        "purl": _purl(locked),
        "components": _files(locked.files),
        "properties": [
            {"name": "model-prep:name", "value": locked.name},
            {"name": "model-prep:task", "value": report.task},
            {"name": "model-prep:status", "value": report.status},
        ],
    }


def _conversion(locked: LockedModel, receipt: Receipt) -> Component:
    """The files of one precision, which were made from the model's."""
    named = _named(locked)
    ancestor = {**named, "version": locked.commit, "purl": _purl(locked)}
    return {
        **named,
        "name": f"{named['name']}-openvino-{receipt.recipe.precision}",
        "bom-ref": f"{_ref(locked)}:{receipt.recipe.precision}",
        "version": receipt.recipe.digest,
        "licenses": _licenses(locked.license),
        "components": _files(receipt.files),
        "pedigree": {"ancestors": [ancestor]},
    }


def _named(locked: LockedModel) -> Component:
    group, _, name = locked.repo.partition("/")
    return {"type": MODEL, "group": group, "name": name}


def _ref(locked: LockedModel) -> str:
    return f"model:{locked.name}"


def _purl(locked: LockedModel) -> str:
    return f"pkg:huggingface/{locked.repo}@{locked.commit}"


def _licenses(name: str) -> list[dict[str, Any]]:
    known = {"id": SPDX[name]} if name in SPDX else {"name": name}
    return [{"license": known}] if name else []


def _files(files: Iterable[LockedFile]) -> list[Component]:
    return [
        {
            "type": "file",
            "name": file.path,
            "hashes": [{"alg": "SHA-256", "content": file.sha256}],
        }
        for file in files
    ]


def _tools(versions: Mapping[str, str]) -> Iterator[Component]:
    for name, version in versions.items():
        purl = f"pkg:pypi/{name}@{quote(version, safe='.')}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        }


def _receipts(home: Home, locked: LockedModel, precisions: Iterable[str]) -> Iterator[Receipt]:
    """Those that are there and are of that commit; what is wrong with others, tests say."""
    for precision in precisions:
        try:
            receipt = read_receipt(home.stable(locked.repo, precision))
        except (OSError, Unreadable):
            continue
        if receipt.recipe.commit == locked.commit and receipt.recipe.precision == precision:
            yield receipt
