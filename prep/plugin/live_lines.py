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
    table = Table.grid(padding=(0, 1), pad_edge=False, expand=True)
    table.add_column(no_wrap=True, width=1)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(8, width // 3))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    if width >= ROOM_FOR_BAR:
        table.add_column(no_wrap=True, width=BAR)
    if width >= ROOM_FOR_FIGURES:
        table.add_column(no_wrap=True, overflow="ellipsis", justify="right")
    for activity in shown:
        figures = activity.figures(now)
        cells = [
            SPINNER.render(now),
            Text(activity.model, style="bold cyan"),
            Text(activity.text or ("judging the answers" if activity.unit == "loads" else "")),
        ]
        if width >= ROOM_FOR_BAR:
            share = activity.share
            bar = ProgressBar(total=1.0, completed=min(1.0, share or 0.0), width=BAR)
            cells.append("" if share is None else bar)
        elif width >= ROOM_FOR_FIGURES:
            figures = figures[:1]
        if width >= ROOM_FOR_FIGURES:
            cells.append(Text("  ".join(figures), style="dim"))
        table.add_row(*cells)
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        height=len(shown) + 1,
        force_terminal=True,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    console.print(table, end="")
    lines = file.getvalue().splitlines()
    if more := len(doing) - len(shown):
        lines.append(f"  … and {more} more"[:width])
    return lines
