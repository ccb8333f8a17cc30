"""The bill of materials: valid CycloneDX, and what lies in the home is in it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from prep.catalogue.lock import Lock
from prep.report.materials import render
from tests.support.reports import model_report, run_report
from tests.support.small_homes import COMMIT, CONVERTED, SOURCE, Tiny, sha256, tiny

PURL = f"pkg:huggingface/acme/tiny@{COMMIT}"


@pytest.fixture
def made(tmp_path: Path) -> Tiny:
    return tiny(tmp_path / "home")


def bill(made: Tiny, **changes: Any) -> str:
    locked = replace(made.locked, **changes)
    return render(run_report(tiny=model_report()), Lock(models=(locked,)), made.home)


def problem(text: str) -> object:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)


def digests(component: Mapping[str, Any]) -> dict[str, str]:
    return {
        file["name"]: found["content"]
        for file in component["components"]
        for found in file["hashes"]
    }


@pytest.mark.parametrize("license_", ["mit", "apache-2.0", "cc-by-nc-4.0", "my own", ""])
def test_the_bill_is_valid(made: Tiny, license_: str) -> None:
    assert problem(bill(made, license=license_)) is None
    broken = bill(made).replace('"machine-learning-model"', '"model"')
    assert problem(broken) is not None


def test_every_file_is_in_the_bill_with_its_checksum(made: Tiny) -> None:
    found = json.loads(bill(made))
    model, conversion, tool = found["components"]
    assert (model["purl"], model["version"]) == (PURL, COMMIT)
    assert model["licenses"] == [{"license": {"id": "MIT"}}]
    assert digests(model) == {path: sha256(content) for path, content in SOURCE.items()}
    assert conversion["name"] == "tiny-openvino-int8"
    assert conversion["version"] == made.recipe.digest
    assert (
        digests(conversion).items()
        >= {path: sha256(content) for path, content in CONVERTED.items()}.items()
    )
    assert [ancestor["purl"] for ancestor in conversion["pedigree"]["ancestors"]] == [PURL]
    assert tool["purl"] == "pkg:pypi/openvino@2026.4.1"
    assert found["dependencies"] == [
        {"ref": "model:tiny", "dependsOn": []},
        {"ref": "model:tiny:int8", "dependsOn": ["model:tiny", "pkg:pypi/openvino@2026.4.1"]},
    ]
    assert {"name": "model-prep:status", "value": "ready"} in model["properties"]


def test_the_same_bill_has_the_same_number(made: Tiny) -> None:
    assert bill(made) == bill(made)
    numbers = {json.loads(text)["serialNumber"] for text in (bill(made), bill(made, license="x"))}
    assert len(numbers) == 2


def test_models_of_other_catalogues_and_conversions_that_are_not_there_are_left_out(
    made: Tiny,
) -> None:
    assert json.loads(bill(made, commit="0" * 40))["components"] == []
    (made.folder / "receipt.json").unlink()
    assert [component["name"] for component in json.loads(bill(made))["components"]] == ["tiny"]
