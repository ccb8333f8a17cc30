"""The closing table as Markdown, for the summary of a GitHub job."""

from prep.report.run_report import RunReport

MARKS = {"ready": "✅", "repaired": "🔧", "failed": "❌", "transient": "🔁", "unchecked": "➖"}


def render(run: RunReport) -> str:
    """A heading, a row for each model, and below it what is wrong or should be looked at."""
    lines = [
        f"### model-prep {run.model_prep}: exit {run.exit}",
        "",
        "| model | verdict | commit | precision: agreement | cause |",
        "|---|---|---|---|---|",
    ]
    for name, model in run.models.items():
        agreement = ", ".join(
            f"{precision}: {made.agreement}" for precision, made in model.precisions.items()
        )
        cause = model.causes[0].line if model.causes else ""
        commit = (model.commit or "")[:12]
        cells = (name, f"{MARKS[model.status]} {model.status}", f"`{commit}`", agreement, cause)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    notes = [
        f"- {name}: {_cell(note)}"
        for name, model in run.models.items()
        for note in (*model.warnings, *(f"since the last ready run: {d}" for d in model.differs))
    ]
    return "\n".join([*lines, "", *notes, ""])


def _cell(text: str) -> str:
    """Text that ends no cell and begins no markup."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return " ".join(escaped.split())
