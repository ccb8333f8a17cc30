"""models.toml: what can be used is read as it stands, all else is refused with its place."""

from pathlib import Path
from typing import Any

import pytest

from prep.catalogue.entries import Catalogue, ModelSpec, read_catalogue
from prep.errors import CatalogueError, WrongRequest
from prep.files.patterns import matches
from prep.tasks.registry import TASKS
from tests.support.paths import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PATH = Path("models.toml")
GOOD: dict[str, Any] = {
    "name": "tiny",
    "repo": "acme/tiny",
    "revision": COMMIT,
    "task": "embedding",
    "precisions": ["int8"],
    "why": "for tests",
}
KEYS = "consumers, files, licenses, name, precisions, repo, revision, task, why"
NAMED = "must be a name of letters, digits, '.', '_' and '-', got"
CONSUMERS = "transformers, sentence-transformers, optimum-intel, sentence-transformers-openvino"


def catalogue(*models: object) -> dict[str, Any]:
    return {"catalogue-version": 1, "models": list(models)}


def model(**changes: object) -> dict[str, Any]:
    """A good entry with changes; None takes a key out."""
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not None}


def refusal(data: object) -> str:
    with pytest.raises(CatalogueError) as caught:
        Catalogue.from_dict(data, PATH)
    return str(caught.value)


def message(*problems: str) -> str:
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    head = "\n  ".join([f"models.toml cannot be used ({count}):", *problems])
    return f"{head}\n{CatalogueError.remedy}"


def test_reads_an_entry_as_it_stands() -> None:
    more = {"files": ["*.json"], "consumers": ["transformers"], "licenses": ["mit", "apache-2.0"]}
    read = Catalogue.from_dict(catalogue(model(), model(name="b", repo="acme/b", **more)), PATH)
    assert read.models == (
        ModelSpec(
            name="tiny",
            repo="acme/tiny",
            revision=COMMIT,
            task="embedding",
            precisions=("int8",),
            why="for tests",
        ),
        ModelSpec(
            name="b",
            repo="acme/b",
            revision=COMMIT,
            task="embedding",
            precisions=("int8",),
            why="for tests",
            files=("*.json",),
            consumers=("transformers",),
            licenses=("mit", "apache-2.0"),
        ),
    )
    assert read.models[0].globs == TASKS["embedding"].files
    assert read.models[1].globs == ("*.json",)


def test_a_tasks_defaults_are_what_some_consumer_opens() -> None:
    transformers = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "spiece.model",
        "sentencepiece.bpe.model",
        "tokenizer.model",
    ]
    modules = [
        "modules.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
    ]
    nobody = [
        "pytorch_model.bin",
        "2_Dense/pytorch_model.bin",
        "tf_model.h5",
        "flax_model.msgpack",
        "rust_model.ot",
        "onnx/model.onnx",
        "onnx/config.json",
        "openvino/openvino_model.xml",
        "README.md",
        "train_script.py",
        ".gitattributes",
        "a/model.safetensors",
        "data_config.json",
    ]
    for task, wanted in (
        ("embedding", [*transformers, *modules]),
        ("reranker", transformers),
        ("seq2seq", transformers),
    ):
        every = [*transformers, *modules, *nobody]
        assert [path for path in every if matches(path, TASKS[task].files)] == wanted


def test_its_lock_lies_beside_it() -> None:
    read = Catalogue.from_dict(catalogue(model()), Path("/srv/others.toml"))
    assert read.lock_path == Path("/srv/others.lock.toml")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"name": None}, "in 'models[0].name': is missing", id="no name"),
        pytest.param({"name": "a/b"}, f"in 'models[0].name': {NAMED} 'a/b'", id="name with slash"),
        pytest.param({"name": ".."}, f"in 'models[0].name': {NAMED} '..'", id="name of dots"),
        pytest.param(
            {"name": "a\n"}, f"in 'models[0].name': {NAMED} 'a\\n'", id="name with newline"
        ),
        pytest.param({"name": "a:b"}, f"in 'models[0].name': {NAMED} 'a:b'", id="name with colon"),
        pytest.param(
            {"name": f"{'a' * 57}/"}, f"in 'models[0].name': {NAMED} '{'a' * 57}/'", id="60 shown"
        ),
        pytest.param(
            {"name": f"{'a' * 58}/"}, f"in 'models[0].name': {NAMED} '{'a' * 56}…", id="61 cut"
        ),
        pytest.param({"name": 7}, f"in 'models[0].name': {NAMED} 7", id="name a number"),
        pytest.param(
            {"repo": "tiny"}, "in 'models[0].repo': must be ORG/NAME, got 'tiny'", id="short repo"
        ),
        pytest.param(
            {"repo": "a/../b"}, "in 'models[0].repo': must be ORG/NAME, got 'a/../b'", id="repo up"
        ),
        pytest.param(
            {"repo": "a/b\x07"},
            "in 'models[0].repo': must be ORG/NAME, got 'a/b\\x07'",
            id="repo with a control character",
        ),
        pytest.param(
            {"repo": "a/b--c"},  # the cache's folder is that of a--b/c
            "in 'models[0].repo': must be ORG/NAME, got 'a/b--c'",
            id="repo with two dashes",
        ),
        pytest.param(
            {"repo": "a/b."}, "in 'models[0].repo': must be ORG/NAME, got 'a/b.'", id="repo dot"
        ),
        pytest.param(
            {"repo": "a/" + "b" * 95},
            "in 'models[0].repo': must be ORG/NAME, got "
            "'a/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…",
            id="long repo",
        ),
        pytest.param(
            {"revision": "-x"},
            "in 'models[0].revision': must be a branch, a tag or a commit, got '-x'",
            id="revision like an option",
        ),
        pytest.param(
            {"revision": ""},
            "in 'models[0].revision': must be a branch, a tag or a commit, got ''",
            id="empty revision",
        ),
        pytest.param(
            {"task": "poetry"},
            "in 'models[0].task': must be one of embedding, reranker, seq2seq, got 'poetry'",
            id="unknown task",
        ),
        pytest.param(
            {"task": ["embedding"]},
            "in 'models[0].task': must be one of embedding, reranker, seq2seq, got ['embedding']",
            id="task a list",
        ),
        pytest.param(
            {"precisions": "int8"},
            "in 'models[0].precisions': must be a list of texts, got 'int8'",
            id="precisions a text",
        ),
        pytest.param(
            {"precisions": []},
            "in 'models[0].precisions': must be a list of texts, got []",
            id="no precision",
        ),
        pytest.param(
            {"precisions": ["int8", "int4"]},
            "in 'models[0].precisions[1]': must be one of fp32, fp16, int8, got 'int4'",
            id="unknown precision",
        ),
        pytest.param(
            {"precisions": ["int8", "int8"]},
            "in 'models[0].precisions[1]': 'int8' stands there twice",
            id="precision twice",
        ),
        pytest.param({"why": " "}, "in 'models[0].why': must be a text, got ' '", id="blank why"),
        pytest.param(
            {"files": ["ok.json", "../x"]},
            "in 'models[0].files[1]': '../x' has an empty part, '.' or '..'",
            id="glob up",
        ),
        pytest.param(
            {"files": ["/etc/*"]},
            "in 'models[0].files[0]': '/etc/*' is absolute",
            id="glob absolute",
        ),
        pytest.param(
            {"files": ["a\\b"]}, "in 'models[0].files[0]': 'a\\\\b' has a backslash", id="backslash"
        ),
        pytest.param(
            {"files": ["a\x1f"]},
            "in 'models[0].files[0]': 'a\\x1f' has a control character",
            id="glob with a control character",
        ),
        pytest.param(
            {"files": [3]}, "in 'models[0].files[0]': must be a text, got 3", id="glob a number"
        ),
        pytest.param(
            {"consumers": ["fastembed"]},
            f"in 'models[0].consumers[0]': must be one of {CONSUMERS}, got 'fastembed'",
            id="unknown consumer",
        ),
        pytest.param(
            {"licenses": []},
            "in 'models[0].licenses': must be a list of texts, got []",
            id="no licence allowed",
        ),
        pytest.param(
            {"retries": 3},
            f"in 'models[0].retries': is not a key that is known here; known are {KEYS}",
            id="unknown key",
        ),
    ],
)
def test_refuses_an_entry_that_cannot_be_used(changes: dict[str, object], problem: str) -> None:
    assert refusal(catalogue(model(**changes))) == message(problem)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param([], "must be a table, got []", id="not a table"),
        pytest.param({"models": [GOOD]}, "in 'catalogue-version': is missing", id="no version"),
        *(
            pytest.param(
                {"catalogue-version": version, "models": [GOOD]},
                "in 'catalogue-version': must be 1, the version this release reads, got "
                f"{version!r}",
                id=f"version {version!r}",
            )
            for version in (2, 0, "1", True, 1.0)
        ),
        pytest.param({"catalogue-version": 1}, "in 'models': is missing", id="no models"),
        pytest.param(catalogue(), "names no model: add a [[models]] entry", id="empty"),
        pytest.param(
            {"catalogue-version": 1, "models": GOOD},
            "in 'models': must be an array of tables, got "
            "{'name': 'tiny', 'repo': 'acme/tiny', 'revision': '012345…",
            id="one table",
        ),
        pytest.param(
            catalogue(GOOD, "b"), "in 'models[1]': must be a table, got 'b'", id="entry a text"
        ),
        pytest.param(
            {**catalogue(GOOD), "verify": False},
            "in 'verify': is not a key that is known here; known are catalogue-version, models",
            id="unknown key",
        ),
        pytest.param(
            catalogue(GOOD, model(repo="acme/b")),
            "in 'models[1].name': 'tiny' is the name of 'models[0]' too",
            id="name twice",
        ),
        pytest.param(
            catalogue(GOOD, model(name="TINY", repo="acme/b")),
            "in 'models[1].name': 'TINY' is the name of 'models[0]' too",
            id="name twice but for case",
        ),
        pytest.param(
            catalogue(GOOD, model(name="b", revision="main")),
            f"in 'models[1].revision': 'main', but 'models[0]' wants '{COMMIT}' of the same repo; "
            "refs/main can name only one commit",
            id="two revisions of one repo",
        ),
        pytest.param(
            catalogue(GOOD, model(name="b", files=["*.json"])),
            "in 'models[1]': 'models[0]' converts other files of the same repo, or for another "
            "task, to the same precision; the stable path can lead to only one",
            id="two conversions of one name",
        ),
    ],
)
def test_refuses_a_catalogue_that_cannot_be_used(data: object, problem: str) -> None:
    assert refusal(data) == message(problem)


def test_tells_every_problem_at_once() -> None:
    data = catalogue(model(name="a b", revision=None), model(task="x", files=["../a"], extra=1))
    assert refusal({**data, "more": 1}) == message(
        f"in 'models[0].name': {NAMED} 'a b'",
        "in 'models[0].revision': is missing",
        "in 'models[1].task': must be one of embedding, reranker, seq2seq, got 'x'",
        "in 'models[1].files[0]': '../a' has an empty part, '.' or '..'",
        f"in 'models[1].extra': is not a key that is known here; known are {KEYS}",
        "in 'more': is not a key that is known here; known are catalogue-version, models",
    )


def test_lets_entries_share_a_repo_where_they_do_not_clash() -> None:
    """The same conversion twice is one; other precisions have other stable paths."""
    same = model(name="same")
    other = model(name="other", files=["*.json"], precisions=["fp16"])
    read = Catalogue.from_dict(catalogue(GOOD, same, other), PATH)
    assert [spec.name for spec in read.models] == ["tiny", "same", "other"]


def test_refuses_what_is_not_toml(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text("catalogue-version: 1\n", encoding="utf-8")
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(path)
    assert str(caught.value) == message(
        "is not TOML: Expected '=' after a key in a key/value pair (at line 1, column 18)"
    )


def test_refuses_what_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(path)
    assert str(caught.value) == message(
        "is not TOML: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    )


def test_refuses_an_absent_file_by_its_whole_path(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(path)
    assert str(caught.value) == (
        f"{path} cannot be used (1 problem):\n  cannot be read: No such file or directory\n"
        "Correct the places named; docs/reference.md#catalogue-and-lock lists every key."
    )


def test_a_refusal_is_the_request_of_whoever_wrote_it() -> None:
    with pytest.raises(WrongRequest):
        Catalogue.from_dict({}, PATH)


def test_the_projects_own_catalogue_holds_its_three_models() -> None:
    read = read_catalogue(ROOT / "models.toml")
    assert [spec.task for spec in read.models] == ["embedding", "reranker", "seq2seq"]
    assert read.lock_path == ROOT / "models.lock.toml"
