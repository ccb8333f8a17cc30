"""The page's colours and small drawings, as numbers that the template draws."""

from collections.abc import Sequence
from typing import Any

from prep.report.run_report import Stretch

Color = tuple[int, int, int]

# Every colour of the page by its CSS variable, in light and in dark. A test computes what they
# contrast (WCAG 2.2, AA): inks on surfaces, and each status on its own tint.
_COLORS = {
    "page": ("#f4f6f9", "#0f1218"),
    "card": ("#ffffff", "#181d25"),
    "sunken": ("#eceff4", "#222933"),
    "ink": ("#1a1f28", "#e8ecf2"),
    "muted": ("#525b69", "#a6b0be"),
    "link": ("#174ea6", "#93bcff"),
    "line": ("#d3d9e2", "#374150"),
    "ready": ("#0a6630", "#82e2a6"),
    "ready-tint": ("#dcf4e4", "#11331e"),
    "repaired": ("#0a5a6e", "#83d9ec"),
    "repaired-tint": ("#d7f0f6", "#0e323d"),
    "failed": ("#a0131c", "#ff9ea4"),
    "failed-tint": ("#fde4e5", "#451519"),
    "transient": ("#744700", "#ffd07a"),
    "transient-tint": ("#fcefd0", "#3d2b06"),
    "unchecked": ("#474f5d", "#bcc5d2"),
    "unchecked-tint": ("#e4e8ee", "#2b323d"),
    "importing": ("#697484", "#8b96a6"),
    "fetched": ("#1d6bcb", "#6fa8ff"),
    "converted": ("#8448c2", "#c39cf0"),
    "loaded": ("#0e7f50", "#4cc790"),
    "interpreter": ("#9a5b00", "#e0a14a"),
}
PALETTE = {
    scheme: {name: pair[place] for name, pair in _COLORS.items()}
    for place, scheme in enumerate(("light", "dark"))
}

# Heat: from least to most. Its cells carry the darker or the lighter of INK_ON_HEAT.
HEAT: Sequence[Color] = ((246, 248, 252), (142, 188, 235), (38, 99, 180), (8, 38, 92))
INK_ON_HEAT = ("#000000", "#ffffff")


def contrast(ink: str, ground: str) -> float:
    """The contrast of two colours, from 1 to 21, as WCAG 2.2 defines it."""
    darker, lighter = sorted((_luminance(ink), _luminance(ground)))
    return (lighter + 0.05) / (darker + 0.05)


def heat(value: float, least: float, most: float) -> tuple[str, str]:
    """The colour of a cell, and the ink that can be read on it."""
    share = (value - least) / (most - least) if most > least else 1.0
    place = min(max(share, 0.0), 1.0) * (len(HEAT) - 1)
    lower = min(int(place), len(HEAT) - 2)
    mixed = [
        round(a + (b - a) * (place - lower))
        for a, b in zip(HEAT[lower], HEAT[lower + 1], strict=True)
    ]
    ground = "#" + "".join(f"{channel:02x}" for channel in mixed)
    return ground, max(INK_ON_HEAT, key=lambda ink: contrast(ink, ground))


def sparkline(values: Sequence[float | None], width: float, height: float) -> list[list[str]]:
    """Points of a line through the values, left to right; a gap where there is none."""
    known = [value for value in values if value is not None]
    least, spread = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    step = width / max(1, len(values) - 1)
    lines: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            lines.append([])
            continue
        up = (value - least) / spread if spread else 0.5
        lines[-1].append(f"{place * step:.1f},{height - up * height:.1f}")
    return [line for line in lines if line]


def bars(stretches: Sequence[Stretch], offset: float, whole: float) -> list[dict[str, Any]]:
    """A model's stretches as shares of the whole, in percent."""
    return [
        {
            "stage": stretch.stage,
            "which": stretch.which,
            "seconds": stretch.seconds,
            "left": round(100 * (offset + stretch.at) / whole, 3),
            "width": round(max(0.15, 100 * stretch.seconds / whole), 3),
        }
        for stretch in stretches
    ]


def _luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
