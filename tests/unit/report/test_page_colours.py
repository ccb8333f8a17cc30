"""The page can be read in light and dark; its drawings show what they are given."""

import re
from itertools import product

import pytest

from prep.report import page_colours
from prep.report.page import MARKS, STAGES, TEMPLATE

SURFACES = ("page", "card", "sunken")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_its_ground(scheme: str) -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for what is drawn."""
    colors = page_colours.PALETTE[scheme]
    texts = [*product(("ink", "muted", "link"), SURFACES)]
    texts += [(status, f"{status}-tint") for status in MARKS]
    drawn = [*product((*STAGES, "failed"), SURFACES)]
    low = [
        (ink, ground, round(page_colours.contrast(colors[ink], colors[ground]), 2))
        for pairs, least in ((texts, 4.5), (drawn, 3.0))
        for ink, ground in pairs
        if page_colours.contrast(colors[ink], colors[ground]) < least
    ]
    assert low == []


def test_every_number_can_be_read_on_its_heat() -> None:
    cells = [page_colours.heat(number / 200, 0.0, 1.0) for number in range(-20, 240)]
    assert min(page_colours.contrast(*cell) for cell in cells) >= 4.5


def test_contrast_is_what_the_standard_says() -> None:
    assert page_colours.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert page_colours.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_the_page_has_no_color_that_is_not_in_the_palette() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    used = set(re.findall(r"var\(--([a-z-]+)\)", text))
    assert used <= page_colours.PALETTE["light"].keys()
    style = text.split("<style>")[1].split("</style>")[0]
    assert re.findall(r"#[0-9a-f]{3,8}\b|rgb|hsl", style) == []


def test_a_line_is_drawn_through_what_is_known() -> None:
    assert page_colours.sparkline([1.0, None, 3.0, 2.0], 30, 10) == [
        ["0.0,10.0"],
        ["20.0,0.0", "30.0,5.0"],
    ]
    assert page_colours.sparkline([5.0], 30, 10) == [["0.0,5.0"]]
