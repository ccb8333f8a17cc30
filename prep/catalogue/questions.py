"""The questions of a task: those beside the catalogue, where it has its own, else the committed."""

from pathlib import Path

from prep.errors import InvalidFile
from prep.files.fields import shown
from prep.files.reader import Unreadable, read_toml
from prep.tasks.question_sets import Questions
from prep.tasks.task import Task

VERSION = 1
REMEDY = "Correct the places named, or begin anew: docs/adding-a-model.md#questions says with what."


def read_questions(folder: Path, task: Task) -> Questions:
    """Those of ``folder/TASK.toml``, the committed where it is missing. Raises `InvalidFile`."""
    path = folder / f"{task.name}.toml"
    try:
        data = read_toml(path)
    except FileNotFoundError:
        return task.questions()
    except (OSError, Unreadable) as error:
        raise InvalidFile(f"questions/{path.name}", [f"cannot be read: {error}"], REMEDY) from None
    version = data.pop("questions-version", None)
    problems = [] if version == VERSION else [f"in 'questions-version': must be {VERSION}"]
    keys = task.question_set.keys()
    problems += [f"in '{key}': is not a key that is known" for key in data if key not in keys]
    for key, (is_valid, expected) in keys.items():
        if key not in data:
            problems.append(f"in '{key}': is missing")
        elif not is_valid(data[key]):
            problems.append(f"in '{key}': must be {expected}, got {shown(data[key])}")
    if problems:
        raise InvalidFile(f"questions/{path.name}", problems, REMEDY)
    return task.question_set.parse(data)
