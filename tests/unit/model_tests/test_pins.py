"""The checks of pins, layout and bytes are shown failing, each on a problem of its aspect."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from model_tests import test_cache_layout, test_conversion, test_pins
from prep.stages.pipeline import Stages
from prep.verify.problem import Aspect, Problem
from tests.support.real_loads import spec_of

TASK = "embedding"


@pytest.mark.parametrize(
    ("judge", "aspect"),
    [
        (test_pins.test_source_is_what_the_lock_says, "bytes"),
        (test_pins.test_name_leads_to_the_pin, "ref"),
        (test_cache_layout.test_links_stay_inside_the_home, "links"),
        (test_cache_layout.test_everybody_can_read, "modes"),
        (test_cache_layout.test_no_loader_takes_an_unlocked_file, "unlocked"),
        (test_pins.test_nothing_converted_asks_to_run_code, "unsafe"),
        (test_pins.test_receipt_names_the_pin, "receipt"),
        (test_conversion.test_converted_bytes_are_the_receipts, "bytes"),
        (test_cache_layout.test_converted_links_stay_inside_the_home, "links"),
        (test_cache_layout.test_everybody_can_read_the_converted, "modes"),
        (test_cache_layout.test_no_loader_takes_an_unlisted_converted_file, "unlocked"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_aspect_has_its_judge(
    stages: Stages, judge: Callable[[Any], None], aspect: Aspect
) -> None:
    """It passes on what is right, and fails on a problem of its own aspect with name and remedy."""
    spec = spec_of(stages, TASK)
    takes_source = "fetched" in judge.__annotations__
    right: Any = stages.fetched(spec) if takes_source else stages.converted(spec, "int8")
    judge(right)
    problem = Problem(aspect=aspect, kind="wrong", path="some/file", detail="got and wanted")
    wrong = replace(right, state=replace(right.state, problems=(problem,)))
    with pytest.raises(pytest.fail.Exception) as caught:
        judge(wrong)
    head, line, remedy = str(caught.value).splitlines()
    assert head.startswith(spec.name)
    assert head.endswith("(1 problem):")
    assert line == f"  {problem}"
    assert remedy
