"""What the checks share: messages with what was found, what was expected and what to do."""

import math
from collections.abc import Iterable, Mapping, Sequence

import pytest

from prep.catalogue.goldens import Goldens
from prep.errors import listing
from prep.stages.loaded import Loaded
from prep.tasks.golden_kinds import text_of


def none_of(problems: Iterable[object], head: str, remedy: str) -> None:
    """Fail with the whole list where there is any problem; the message stands without traceback."""
    found = [str(problem) for problem in problems]
    if found:
        pytest.fail(f"{listing(head, found)}\n{remedy}", pytrace=False)


def norm(vector: Sequence[float]) -> float:
    """The Euclidean length."""
    return math.hypot(*vector)


def unit(vector: Sequence[float]) -> list[float]:
    """The vector at length 1; a zero vector stays as it is."""
    length = norm(vector)
    return [number / length for number in vector] if length else list(vector)


def goldens_of(loaded: Loaded) -> Goldens:
    """The recorded answers; the `goldens` marker keeps models without any away."""
    assert loaded.goldens is not None
    return loaded.goldens


def wrong_or_other_language(loaded: Loaded) -> str:
    """What to do where the questions of the entry's language are answered as if at random."""
    wrong = "The tokenizer or the weights are not what they should be"
    if loaded.spec.questions:
        return f"{wrong}, or the model is not for the texts of {loaded.spec.questions}."
    return (
        f"{wrong}; if the model is not for texts with language = {loaded.spec.language!r}, say "
        "another language in its entry, or name questions of its own: "
        "docs/adding-a-model.md#questions."
    )


def tokens_are(loaded: Loaded, remedy: str) -> None:
    """Fail where a golden text becomes other tokens: ids or pieces, with special ones or not."""
    problems = []
    for golden in goldens_of(loaded).of("tokens"):
        text = text_of(golden)
        specials = golden.get("specials", True)
        for key, got in (
            ("expected", loaded.ids(text, specials=specials)),
            ("pieces", loaded.pieces(text, specials=specials)),
        ):
            wanted = golden.get(key)
            if wanted is not None and got != wanted:
                problems.append(f"{golden['id']}: {got}, published {wanted}")
    none_of(problems, f"{loaded.name} tokenizes differently", remedy)


def facts_are(loaded: Loaded, got: Mapping[str, object], remedy: str) -> None:
    """Fail where what was loaded is not what the goldens say of it."""
    wanted = goldens_of(loaded).facts
    none_of(
        (
            f"{key} is {value}, published {wanted[key]}"
            for key, value in got.items()
            if key in wanted and wanted[key] != value
        ),
        f"{loaded.name} built another pipeline",
        remedy,
    )
