"""Goldens that would compare nothing are refused, with the place; the committed ones are read."""

from pathlib import Path
from typing import Any

import pytest

from prep.catalogue.entries import read_catalogue
from prep.catalogue.goldens import Goldens, read_goldens
from prep.errors import InvalidFile
from prep.tasks.golden_kinds import text_of
from prep.tasks.precisions import PRECISIONS
from prep.tasks.registry import TASKS
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE

HEAD = 'goldens-version = 1\nrepo = "org/name"\n'
ALL = "{ fp32 = 1, fp16 = 1, int8 = 1 }"
TWO = "{ fp32 = 1, fp16 = 1 }"
VECTOR = 'id = "a"\ntext = "b"\nnormalized = true\nexpected = [1.0]\nsource = "c"\n'
TOKENS = 'id = "a"\ntext = "b"\nsource = "c"\n'
LIKE = 'id = "a"\nquery = "b"\ndocuments = ["c", "d"]\nexpected = [1.0, 0.0]\nsource = "e"\n'
SCORES = f'{LIKE}activation = "none"\n'
ORDER = 'id = "a"\nquery = "b"\ndocuments = ["c", "d"]\nbest = 1\nsource = "e"\n'
TEXT = 'id = "a"\nprompt = "b"\nexpected = "c"\nnew-tokens = 8\nsource = "d"\n'
FOLDERS = {
    ROOT / "models.toml": ROOT / "model_tests" / "goldens",
    SAMPLE: SAMPLE.with_name("goldens"),
}
COMMITTED = [
    pytest.param(folder, spec, id=spec.name)
    for catalogue, folder in FOLDERS.items()
    for spec in read_catalogue(catalogue).models
]


def read(folder: Path, text: str, task: str) -> Goldens:
    (folder / "name.toml").write_text(text)
    found = read_goldens(folder, "name", "org/name", task)
    assert found is not None
    return found


def refusal(folder: Path, text: str, task: str) -> list[str]:
    with pytest.raises(InvalidFile) as caught:
        read(folder, text, task)
    return list(caught.value.problems)


@pytest.mark.parametrize("task", TASKS)
def test_none_are_none(tmp_path: Path, task: str) -> None:
    assert read_goldens(tmp_path, "name", "org/name", task) is None
    (tmp_path / "name.toml").symlink_to("..data/name.toml")  # as a ConfigMap that lost it
    with pytest.raises(InvalidFile, match=r"cannot be read: "):
        read_goldens(tmp_path, "name", "org/name", task)


@pytest.mark.parametrize(
    ("task", "text", "facts", "ask"),
    [
        (
            "embedding", f"dimension = 1\n[[vectors]]\n{VECTOR}tolerance = {ALL}\n",
            {"dimension": 1}, {"texts": ["b"]},
        ),
        (
            "embedding",
            f'modules = ["A"]\npooling = "mean"\n[[vectors]]\n{VECTOR}least-cosine = {ALL}\n',
            {"modules": ["A"], "pooling": "mean"}, {"texts": ["b"]},
        ),
        (
            "embedding",
            f"[[similarities]]\n{LIKE}tolerance = {ALL}\n[[tokens]]\n{TOKENS}expected = [1]\n", {},
            {"texts": ["b", "b", "c", "d"]},
        ),
        ("embedding", f"[[tokens]]\n{TOKENS}repeat = 3\nexpected = [1]\n", {}, {"texts": ["bbb"]}),
        (
            "reranker",
            f'labels = 1\nactivation = "Sigmoid"\n[[scores]]\n{SCORES}tolerance = {ALL}\n',
            {"labels": 1, "activation": "Sigmoid"},
            {"texts": [], "pairs": [["b", "c"], ["b", "d"]]},
        ),
        (
            "reranker", f"max-length = 8\n[[orders]]\n{ORDER}", {"max-length": 8},
            {"texts": [], "pairs": [["b", "c"], ["b", "d"]]},
        ),
        (
            "reranker", f'[[tokens]]\n{TOKENS}pieces = ["x"]\nspecials = false\n', {},
            {"texts": ["b"]},
        ),
        (
            "seq2seq", f"vocabulary = 9\n[[texts]]\n{TEXT}overlap = {ALL}\n", {"vocabulary": 9},
            {"texts": [], "prompts": [["b", 8]]},
        ),
        (
            "seq2seq",
            (
                f"[[texts]]\n{TEXT}overlap = {ALL}\nlogprobs = [-1.0]\ntolerance = {ALL}\n"
                f"[[tokens]]\n{TOKENS}expected = [1]\n"
            ),
            {}, {"texts": ["b"], "prompts": [["b", 8]]},
        ),
    ],
)  # fmt: skip
def test_right_ones_are_read_and_ask_for_what_they_compare(
    tmp_path: Path, task: str, text: str, facts: dict[str, Any], ask: dict[str, Any]
) -> None:
    goldens = read(tmp_path, HEAD + text, task)
    assert goldens.repo == "org/name"
    assert goldens.facts == facts
    assert goldens.ask() == ask


@pytest.mark.parametrize(
    ("task", "text", "problems"),
    [
        ("embedding", HEAD, ["holds no answer at all: give vectors, tokens, similarities"]),
        ("reranker", HEAD, ["holds no answer at all: give scores, orders, tokens"]),
        ("seq2seq", HEAD, ["holds no answer at all: give texts, tokens"]),
        (
            "embedding", f"[[vectors]]\n{VECTOR}tolerance = {ALL}\n",
            [
                "in 'goldens-version': must be 1",
                "in 'repo': these goldens are of None, not of 'org/name'",
            ],
        ),
        (
            "embedding", f"{HEAD}poolng = 1\n[[vectors]]\n{VECTOR}tolerance = {ALL}\n",
            ["in 'poolng': is not a key that is known for task 'embedding'"],
        ),
        (
            "reranker",
            (
                f"{HEAD}dimension = 1\n[[scores]]\n{SCORES}tolerance = {ALL}\n"
                f"[[vectors]]\n{VECTOR}tolerance = {ALL}\n"
            ),
            [
                "in 'dimension': is not a key that is known for task 'reranker'",
                "in 'vectors': is not a key that is known for task 'reranker'",
            ],
        ),
        (
            "seq2seq", f"{HEAD}labels = 1\n[[scores]]\n{SCORES}tolerance = {ALL}\n",
            [
                "in 'labels': is not a key that is known for task 'seq2seq'",
                "in 'scores': is not a key that is known for task 'seq2seq'",
                "holds no answer at all: give texts, tokens",
            ],
        ),
        (
            "embedding",
            f"{HEAD}[[texts]]\n{TEXT}overlap = {ALL}\n[[tokens]]\n{TOKENS}expected = [1]\n",
            ["in 'texts': is not a key that is known for task 'embedding'"],
        ),
        (
            "embedding", f"{HEAD}[[vectors]]\n{VECTOR}tolerence = {ALL}\n",
            [
                "in 'vectors[0]': tolerence is not known",
                "in 'vectors[0]': lacks tolerance or least-cosine",
            ],
        ),
        (
            "embedding", f"{HEAD}[[vectors]]\n{VECTOR}tolerance = {TWO}\n",
            ["in 'vectors[0]': must bound int8"],
        ),
        (
            "embedding",
            f"{HEAD}[[vectors]]\n{VECTOR}tolerance = {ALL}\nleast-cosine = {{ int8 = 1 }}\n",
            ["in 'vectors[0]': must bound fp32", "in 'vectors[0]': must bound fp16"],
        ),
        (
            "embedding",
            f"{HEAD}[[similarities]]\n{LIKE}tolerance = {ALL}\n[[similarities]]\n{LIKE}",
            ["in 'similarities[1]': lacks tolerance"],
        ),
        (
            "reranker", HEAD.replace("org/name", "org/other") + '[[tokens]]\nid = "a"\n',
            [
                "in 'repo': these goldens are of 'org/other', not of 'org/name'",
                "in 'tokens[0]': lacks text", "in 'tokens[0]': lacks source",
                "in 'tokens[0]': lacks expected or pieces",
            ],
        ),
        (
            "reranker", f"{HEAD}[[scores]]\n{LIKE}",
            ["in 'scores[0]': lacks activation", "in 'scores[0]': lacks tolerance"],
        ),
        (
            "reranker", f"{HEAD}[[scores]]\n{SCORES}tolerance = {TWO}\n",
            ["in 'scores[0]': must bound int8"],
        ),
        (
            "reranker", f"{HEAD}[[orders]]\n{ORDER.replace('best', 'first')}",
            ["in 'orders[0]': lacks best", "in 'orders[0]': first is not known"],
        ),
        (
            "seq2seq", f'{HEAD}[[texts]]\nid = "a"\n',
            [
                "in 'texts[0]': lacks prompt", "in 'texts[0]': lacks expected",
                "in 'texts[0]': lacks new-tokens", "in 'texts[0]': lacks source",
                "in 'texts[0]': lacks overlap",
            ],
        ),
        (
            "seq2seq", f"{HEAD}[[texts]]\n{TEXT}overlap = {ALL}\nlogprobs = [-1.0]\n",
            ["in 'texts[0]': lacks tolerance for its logprobs"],
        ),
        (
            "seq2seq",
            f"{HEAD}[[texts]]\n{TEXT}overlap = {ALL}\nlogprobs = [-1.0]\ntolerance = {TWO}\n",
            ["in 'texts[0]': must bound int8"],
        ),
        (
            "seq2seq", f"{HEAD}[[tokens]]\n{TOKENS}pieces = []\nexpected = []\nspecial = false\n",
            ["in 'tokens[0]': special is not known"],
        ),
    ],
)  # fmt: skip
def test_what_would_compare_nothing_is_refused(
    tmp_path: Path, task: str, text: str, problems: list[str]
) -> None:
    assert refusal(tmp_path, text, task) == problems


@pytest.mark.parametrize("body", [b"a = ", b"\xff"])
def test_what_is_no_toml_is_refused_by_its_name(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "name.toml").write_bytes(body)
    with pytest.raises(InvalidFile, match=r"name\.toml") as caught:
        read_goldens(tmp_path, "name", "org/name", "embedding")
    (problem,) = caught.value.problems
    assert problem.startswith("cannot be read: ")


def test_refusal_names_the_file_that_holds_it(tmp_path: Path) -> None:
    (tmp_path / "name.toml").write_text(HEAD)
    with pytest.raises(InvalidFile, match=r"goldens/name\.toml"):
        read_goldens(tmp_path, "name", "org/name", "seq2seq")


@pytest.mark.parametrize(("folder", "spec"), COMMITTED)
def test_committed_goldens_are_read_and_ask_for_all_that_they_hold(folder: Path, spec: Any) -> None:
    goldens = read_goldens(folder, spec.name, spec.repo, spec.task)
    assert goldens is not None, "every model that this project names has its goldens"
    assert goldens.facts
    asked = goldens.ask()
    assert set(goldens.answers) == set(TASKS[spec.task].golden_kinds)
    for kind, answers in goldens.answers.items():
        for answer in answers:
            assert answer["source"]
            for question in questions_of(kind, answer):
                assert question in asked[ASKED[kind]]
    assert len(
        {(kind, answer["id"]) for kind, own in goldens.answers.items() for answer in own}
    ) == (sum(map(len, goldens.answers.values())))

    # Tokens, and more: a right tokenizer beside wrong weights would be green with those alone.
    own = {"embedding": "vectors", "reranker": "scores", "seq2seq": "texts"}[spec.task]
    assert goldens.of("tokens")
    assert goldens.of(own)
    for kind, answers in goldens.answers.items():
        for answer in answers:
            for bound in TASKS[spec.task].golden_kinds[kind].bounds:
                if bound in answer:
                    assert tuple(answer[bound]) == PRECISIONS
            if "documents" in answer and "expected" in answer:
                assert len(answer["documents"]) == len(answer["expected"])
            if "best" in answer:
                assert 0 <= answer["best"] < len(answer["documents"])


ASKED = {
    **dict.fromkeys(("vectors", "tokens", "similarities"), "texts"),
    **dict.fromkeys(("scores", "orders"), "pairs"),
    "texts": "prompts",
}


def questions_of(kind: str, answer: dict[str, Any]) -> list[Any]:
    """What one answer is compared with."""
    if kind in ("vectors", "tokens"):
        return [text_of(answer)]
    if kind == "texts":
        return [[answer["prompt"], answer["new-tokens"]]]
    query, documents = answer["query"], answer["documents"]
    if kind == "similarities":
        return [query, *documents]
    return [[query, document] for document in documents]


def test_each_committed_goldens_file_is_of_a_model_of_its_catalogue() -> None:
    for catalogue, folder in FOLDERS.items():
        names = {spec.name for spec in read_catalogue(catalogue).models}
        assert {path.stem for path in folder.glob("*.toml")} == names
