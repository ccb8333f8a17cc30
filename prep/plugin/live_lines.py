"""The live lines below pytest's output, one for each process that works on a model."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from prep.process.progress import Doing

BAR, ROOM_FOR_BAR, ROOM_FOR_FIGURES = 18, 76, 34
SPINNER = Spinner("dots")


def render(doing: Sequence[Doing], now: float, *, width: int, rows: int, color: bool) -> list[str]:
    """Each as one line of at most `width` columns; at most a third of `rows`, then how many more.

    Without `color` there is no control code in it at all.
    """
    most = max(1, rows // 3)
    shown = doing if len(doing) <= most else doing[: most - 1]
    lines = _lines(shown, now, width, color)
    if more := len(doing) - len(shown):
        lines.append(f"  … and {more} more"[:width])
    return lines


def _lines(doing: Sequence[Doing], now: float, width: int, color: bool) -> list[str]:
    table = Table.grid(padding=(0, 1), pad_edge=False)
    table.add_column(no_wrap=True, width=1)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(8, width // 3))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    if width >= ROOM_FOR_BAR:
        table.add_column(no_wrap=True, width=BAR)
    if width >= ROOM_FOR_FIGURES:
        table.add_column(no_wrap=True, overflow="ellipsis", justify="right")
    table.expand = True
    for activity in doing:
        figures = activity.figures(now)
        few = figures if width >= ROOM_FOR_BAR else figures[:1]
        cells = [
            SPINNER.render(now),
            Text(activity.model, style="bold cyan"),
            Text(activity.text or ("judging the answers" if activity.unit == "loads" else "")),
        ]
        if width >= ROOM_FOR_BAR:
            cells.append(_bar(activity))
        if width >= ROOM_FOR_FIGURES:
            cells.append(Text("  ".join(few), style="dim"))
        table.add_row(*cells)
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        height=len(doing) + 1,
        force_terminal=True,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    console.print(table, end="")
    return file.getvalue().splitlines()


def _bar(activity: Doing) -> ProgressBar | Text:
    if activity.share is None:
        return Text("")
    return ProgressBar(total=1.0, completed=min(1.0, activity.share), width=BAR)
