"""An embedding model answers as its publisher says, and as any embedding must.

Shapes alone see nothing: an empty tokenizer, made-up pooling and wrong weights all give vectors of
the right size and of length 1.
"""

import math
from pathlib import Path
from typing import Any

import pytest

from model_tests.checks import (
    facts_are,
    goldens_of,
    none_of,
    norm,
    tokens_are,
    unit,
    wrong_or_other_language,
)
from prep.files.reader import Unreadable, read_json
from prep.stages.loaded import Loaded
from prep.tasks.embedding import EmbeddingQuestions
from prep.tasks.golden_kinds import text_of
from prep.tasks.measure import cosine, largest_gap

pytestmark = [pytest.mark.answers, pytest.mark.interrogation, pytest.mark.task("embedding")]

WRONG = "Vectors of this model do not fit an index that was built with the published ones."


@pytest.mark.goldens
def test_tokens_are_the_published(loaded: Loaded) -> None:
    """Token ids, whole: a wrong or empty tokenizer is seen here first."""
    tokens_are(loaded, WRONG)


@pytest.mark.goldens
def test_vectors_are_the_published(loaded: Loaded) -> None:
    """Component by component, or by cosine where only that was promised."""
    problems = []
    goldens = goldens_of(loaded)
    for golden in goldens.of("vectors"):
        if _cut_elsewhere(loaded, golden, goldens.facts.get("max-length")):
            continue
        got, wanted = _comparable(loaded, golden)
        limit = loaded.bound(golden["tolerance"]) if "tolerance" in golden else math.inf
        if not (far := largest_gap(got, wanted)) <= limit:
            problems.append(f"{golden['id']}: {far:.2e} off, allowed {limit} ({golden['source']})")
        least = loaded.bound(golden["least-cosine"], 1.0) if "least-cosine" in golden else -math.inf
        if not (near := cosine(got, wanted)) >= least:
            problems.append(f"{golden['id']}: cosine {near:.6f}, at least {least}")
    none_of(problems, f"{loaded.name} gives other vectors", WRONG)


@pytest.mark.goldens
def test_similarities_are_the_published(loaded: Loaded) -> None:
    """The cosine of a query with each of its documents."""
    problems = []
    for golden in goldens_of(loaded).of("similarities"):
        query = vector_of(loaded, golden["query"])
        got = [cosine(query, vector_of(loaded, text)) for text in golden["documents"]]
        limit = loaded.bound(golden["tolerance"])
        if not (far := largest_gap(got, golden["expected"])) <= limit:
            shown = [round(number, 4) for number in got]
            problems.append(
                f"{golden['id']}: {shown}, published {golden['expected']}: {far:.2e} off, "
                f"allowed {limit}"
            )
    none_of(problems, f"{loaded.name} gives other similarities", WRONG)


@pytest.mark.goldens
def test_pipeline_is_the_published(loaded: Loaded) -> None:
    """Modules, pooling, length limit, dimension and vocabulary, as the goldens say."""
    facts = loaded.facts
    got = {
        "dimension": len(next(iter(facts["vectors"].values()))),
        "vocabulary": facts["vocabulary"],
    }
    if "modules" in facts:
        got |= {"modules": facts["modules"], "max-length": facts["max_length"]}
        got |= {"pooling": ", ".join(facts["pooling"])}
    facts_are(loaded, got, WRONG)


@pytest.mark.consumers("sentence-transformers", "sentence-transformers-openvino")
def test_pipeline_is_the_repositorys(loaded: Loaded) -> None:
    """What sentence-transformers built is what the files say; it makes up what it does not find."""
    folder = Path(loaded.path)
    got = loaded.facts["modules"]
    problems = []
    if not (folder / "modules.json").is_file():
        problems.append(f"modules are {got}, made up: there is no modules.json")
    elif (wanted := modules_of(folder / "modules.json")) != got:
        problems.append(f"modules are {got}, modules.json says {wanted}")
    limits = folder / "sentence_bert_config.json"
    limit = limit_of(limits) if limits.is_file() else None
    if limit is not None and limit != loaded.facts["max_length"]:
        problems.append(f"longest text is {loaded.facts['max_length']} tokens, the file: {limit}")
    none_of(problems, f"{loaded.name} built another pipeline", WRONG)


def vector_of(loaded: Loaded, text: str) -> list[float]:
    """The vector of a text that was asked."""
    vector: list[float] = loaded.facts["vectors"][text]
    return vector


def modules_of(path: Path) -> object:
    """The classes' names that modules.json gives, or why it gives none."""
    try:
        return [module["type"].rpartition(".")[2] for module in read_json(path)]
    except (OSError, Unreadable, LookupError, TypeError, AttributeError) as error:
        return f"nothing that can be read ({type(error).__name__}: {error})"


def limit_of(path: Path) -> object:
    """The longest text in tokens, None where the file leaves it to the tokenizer; or why not."""
    try:
        return read_json(path).get("max_seq_length")
    except (OSError, Unreadable, AttributeError) as error:
        return f"nothing that can be read ({type(error).__name__}: {error})"


def test_every_answer_is_a_vector(loaded: Loaded) -> None:
    """Finite, not zero, and of length 1 where the pipeline normalises; odd texts included."""
    problems = []
    # Original weights of 16 bits are normalised in 16 bits, of which bfloat16 keeps 8 in a number.
    limit = 1e-2 if loaded.facts.get("dtype") in ("float16", "bfloat16") else 1e-3
    for text, vector in loaded.facts["vectors"].items():
        shown = repr(text[:30])
        if not all(map(math.isfinite, vector)):
            problems.append(f"{shown}: holds NaN or infinity")
        elif norm(vector) == 0:
            if loaded.ids(text):  # the mean of no tokens is zero
                problems.append(f"{shown}: is zero")
        elif loaded.facts["normalized"] and abs(norm(vector) - 1) > limit:
            problems.append(f"{shown}: has length {norm(vector):.4f}, not 1")
    none_of(problems, f"{loaded.name} gives no usable vectors", WRONG)


def test_answers_are_the_same_again_and_in_a_batch(loaded: Loaded) -> None:
    """The same text gives the same vector: twice, and among others of other lengths."""
    scale = max(map(norm, loaded.facts["vectors"].values()))
    limit = loaded.bound(loaded.asked(EmbeddingQuestions).batch) * scale
    problems = [
        f"{how}: {loaded.facts[how]:.2e} off, allowed {limit:.2e}"
        for how in ("again", "batch")
        if not loaded.facts[how] <= limit
    ]
    none_of(problems, f"{loaded.name} is not reproducible", WRONG)


def test_related_stands_above_unrelated(loaded: Loaded) -> None:
    """Needs no golden: whatever the model, a paraphrase is nearer than another subject."""
    questions = loaded.asked(EmbeddingQuestions)
    none_of(
        questions.ordering(loaded.facts["vectors"]).problems(questions.margin),
        f"{loaded.name} does not tell related from unrelated texts",
        wrong_or_other_language(loaded),
    )


def _cut_elsewhere(loaded: Loaded, golden: dict[str, Any], limit: int | None) -> bool:
    """Whether the text is longer than the pipeline takes, and this consumer cuts it elsewhere.

    A service that pools by itself sets its own limit; the published vector is the pipeline's.
    """
    ids = loaded.ids(text_of(golden))
    return limit is not None and loaded.facts["max_length"] != limit and len(ids) > limit


def _comparable(loaded: Loaded, golden: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Both vectors in one form: unit length, unless neither is; as far as was published."""
    wanted: list[float] = golden["expected"]
    got = vector_of(loaded, text_of(golden))
    if golden["normalized"]:
        return unit(got)[: len(wanted)], wanted
    if not loaded.facts["normalized"]:
        return got[: len(wanted)], wanted
    assert len(wanted) == len(got), f"{golden['id']}: a raw golden must be whole"
    return got, unit(wanted)
