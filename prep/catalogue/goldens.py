"""A model's goldens: answers that somebody published or recorded, with source and tolerance.

Each task has kinds of its own; docs/adding-a-model.md#goldens lists their keys.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prep.errors import InvalidFile
from prep.files.fields import shown
from prep.files.reader import Unreadable, read_toml
from prep.tasks.golden_kinds import TOLERANCE, Answer, Kind
from prep.tasks.precisions import PRECISIONS
from prep.tasks.question_sets import LONGEST, Ask
from prep.tasks.registry import TASKS

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Goldens:
    """A model's recorded answers by kind, as its file gives them; tests read the entries."""

    repo: str
    task: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, tuple[Answer, ...]] = field(default_factory=dict)

    def of(self, kind: str) -> tuple[Answer, ...]:
        """All answers of that kind."""
        return self.answers.get(kind, ())

    def ask(self) -> Ask:
        """What must be asked for them to be compared."""
        asked: Ask = {"texts": []}
        for name, kind in TASKS[self.task].golden_kinds.items():
            for answer in self.of(name):
                for what, questions in kind.ask(answer).items():
                    asked.setdefault(what, []).extend(questions)
        return asked


def read_goldens(folder: Path, name: str, repo: str, task: str) -> Goldens | None:
    """A model's goldens, None where nobody recorded any. Raises `InvalidFile`."""
    path = folder / f"{name}.toml"
    if not os.path.lexists(path):  # a link that leads nowhere is a fault
        return None
    try:
        data = read_toml(path)
    except (OSError, Unreadable) as error:
        raise InvalidFile(path.name, [f"cannot be read: {error}"]) from None
    kinds, facts = TASKS[task].golden_kinds, TASKS[task].golden_facts
    unknown = sorted(set(data) - {*kinds, *facts, "goldens-version", "repo"})
    problems = [f"in '{key}': is not a key that is known for task {task!r}" for key in unknown]
    if not any(data.get(kind) for kind in kinds):
        problems.append(f"holds no answer at all: give {', '.join(kinds)}")
    if data.get("goldens-version") != VERSION:
        problems.append(f"in 'goldens-version': must be {VERSION}")
    if data.get("repo") != repo:
        problems.append(f"in 'repo': these goldens are of {data.get('repo')!r}, not of {repo!r}")
    problems += [
        f"in '{key}': must be {wanted}, got {shown(data[key])}"
        for key, (shape, wanted) in facts.items()
        if key in data and not shape(data[key])
    ]
    for of_kind, kind in kinds.items():
        answers = data.get(of_kind, [])
        if not isinstance(answers, list):
            problems.append(f"in '{of_kind}': must be an array of tables, got {shown(answers)}")
            continue
        for index, answer in enumerate(answers):
            found = _problems(answer, kind) if isinstance(answer, dict) else ["no table"]
            problems += [f"in '{of_kind}[{index}]': {problem}" for problem in found]
    if problems:
        raise InvalidFile(f"goldens/{path.name}", problems)
    return Goldens(
        repo=repo,
        task=task,
        facts={key: data[key] for key in facts if key in data},
        answers={kind: tuple(data.get(kind, [])) for kind in kinds},
    )


def _problems(answer: Answer, kind: Kind) -> list[str]:
    """What is wrong with one answer; one that nothing bounds would be compared with nothing."""
    known = kind.known
    problems = [f"lacks {key}" for key in kind.required if key not in answer]
    problems += [f"{key} is not known" for key in answer if key not in known]
    problems += [
        f"lacks {' or '.join(keys)}"
        for keys in (kind.any_of, kind.bounds)
        if keys and not any(key in answer for key in keys)
    ]
    problems += [
        f"lacks {other} for its {key}"
        for key, other in kind.needs.items()
        if key in answer and other not in answer
    ]
    for key in sorted(answer.keys() & known.keys()):
        shape, wanted = known[key]
        if not shape(answer[key]):
            problems.append(f"{key} must be {wanted}, got {shown(answer[key])}")
        elif known[key] is TOLERANCE:
            missing = [precision for precision in PRECISIONS if precision not in answer[key]]
            problems += [f"must bound {precision}" for precision in missing]
    if problems:
        return list(dict.fromkeys(problems))
    if len(answer.get("text", "")) * answer.get("repeat", 1) > LONGEST:
        return [f"its text would have more than {LONGEST} letters"]
    problem = kind.check(answer)
    return [problem] if problem else []
