"""models.toml: a valid file is read as it is, all else is refused with its place."""

from dataclasses import replace
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
KEYS = (
    "consumers, files, hub, language, licenses, name, ov-config, precisions, questions, repo, "
    "revision, source-language, target-language, task, why"
)
LANGUAGE = "must be a code of a language, as de or pt-br, got"
NAMED = "must be a name of letters, digits, '.', '_' and '-', got"
NOTHING = "load nothing here: add a precision to be converted, or a consumer"
CACHE = "would have a load write into that folder: leave it out"
CONSUMERS = (
    "transformers, sentence-transformers, optimum-intel, sentence-transformers-openvino, "
    "openvino-genai"
)


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
    tiny = ModelSpec(
        name="tiny",
        repo="acme/tiny",
        revision=COMMIT,
        task="embedding",
        precisions=("int8",),
        why="for tests",
    )
    given = {key: tuple(texts) for key, texts in more.items()}
    assert read.models == (tiny, replace(tiny, name="b", repo="acme/b", **given))  # type: ignore[arg-type]
    assert read.models[0].globs == TASKS["embedding"].files
    assert read.models[1].globs == ("*.json",)


def test_a_tasks_defaults_are_what_some_consumer_opens() -> None:
    transformers = [
        "config.json", "generation_config.json", "model.safetensors",
        "model-00001-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json",
        "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "chat_template.jinja", "vocab.txt", "vocab.json", "merges.txt", "spiece.model",
        "sentencepiece.bpe.model", "tokenizer.model", "source.spm", "spm.model", "bpe.codes",
        "unigram.json",
    ]  # fmt: skip
    modules = [
        "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json",
        "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors",
        "0_StaticEmbedding/tokenizer.json", "router_config.json",
    ]  # fmt: skip
    nobody = [
        "pytorch_model.bin", "2_Dense/pytorch_model.bin", "tf_model.h5", "flax_model.msgpack",
        "rust_model.ot", "onnx/model.onnx", "onnx/config.json", "openvino/openvino_model.xml",
        "README.md", "train_script.py", ".gitattributes", "a/model.safetensors",
        "data_config.json",
    ]  # fmt: skip
    for task, wanted in (
        ("embedding", [*transformers, *modules]),
        ("reranker", [*transformers, *modules]),
        ("seq2seq", transformers),
    ):
        every = [*transformers, *modules, *nobody]
        assert [path for path in every if matches(path, TASKS[task].files)] == wanted


def test_its_lock_lies_beside_it() -> None:
    read = Catalogue.from_dict(catalogue(model()), Path("/srv/others.toml"))
    assert read.lock_path == Path("/srv/others.lock.toml")


REPO = "must be ORG/NAME, got"
REVISION = "must be a branch, a tag or a commit, got"
TASK = "must be one of embedding, reranker, seq2seq, got"
UNKNOWN = "is not a key that is known here; known are"
ENTRIES: list[tuple[dict[str, object], str]] = [  # the changed key, and what is said of it
    ({"name": None}, "name': is missing"),
    ({"name": "a/b"}, f"name': {NAMED} 'a/b'"),
    ({"name": ".."}, f"name': {NAMED} '..'"),
    ({"name": "a\n"}, f"name': {NAMED} 'a\\n'"),
    ({"name": "a:b"}, f"name': {NAMED} 'a:b'"),
    ({"name": f"{'a' * 57}/"}, f"name': {NAMED} '{'a' * 57}/'"),  # 60 characters are shown
    ({"name": f"{'a' * 58}/"}, f"name': {NAMED} '{'a' * 56}…"),
    ({"name": 7}, f"name': {NAMED} 7"),
    ({"language": "German"}, f"language': {LANGUAGE} 'German'"),
    ({"language": "../de"}, f"language': {LANGUAGE} '../de'"),
    ({"language": ""}, f"language': {LANGUAGE} ''"),
    ({"target-language": 7}, "target-language': must be a text, got 7"),
    (
        {"questions": "../own.toml"},
        "questions': '../own.toml' has an empty part, '.' or '..'; it is relative to the catalogue",
    ),
    ({"repo": "tiny"}, f"repo': {REPO} 'tiny'"),
    ({"repo": "a/../b"}, f"repo': {REPO} 'a/../b'"),
    ({"repo": "a/b\x07"}, f"repo': {REPO} 'a/b\\x07'"),
    ({"repo": "a/b--c"}, f"repo': {REPO} 'a/b--c'"),  # the cache's folder is that of a--b/c
    ({"repo": "a/b."}, f"repo': {REPO} 'a/b.'"),
    ({"repo": "a/" + "b" * 95}, f"repo': {REPO} 'a/{'b' * 54}…"),
    ({"revision": "-x"}, f"revision': {REVISION} '-x'"),  # as an option
    ({"revision": ""}, f"revision': {REVISION} ''"),
    ({"task": "poetry"}, f"task': {TASK} 'poetry'"),
    ({"task": ["embedding"]}, f"task': {TASK} ['embedding']"),
    ({"precisions": "int8"}, "precisions': must be a list of texts, got 'int8'"),
    (
        {"precisions": ["int8", "int4"]},
        "precisions[1]': must be one of fp32, fp16, int8, got 'int4'",
    ),
    ({"precisions": ["int8", "int8"]}, "precisions[1]': 'int8' appears twice"),
    ({"why": " "}, "why': must be a text, got ' '"),
    ({"files": ["ok.json", "../x"]}, "files[1]': '../x' has an empty part, '.' or '..'"),
    ({"files": ["/etc/*"]}, "files[0]': '/etc/*' is absolute"),
    ({"files": ["a\\b"]}, "files[0]': 'a\\\\b' has a backslash"),
    ({"files": ["a\x1f"]}, "files[0]': 'a\\x1f' has a control character"),
    ({"files": [3]}, "files[0]': must be a text, got 3"),
    ({"consumers": ["fastembed"]}, f"consumers[0]': must be one of {CONSUMERS}, got 'fastembed'"),
    ({"consumers": ["optimum-intel"], "precisions": []}, f"consumers': {NOTHING}"),
    ({"ov-config": {"CACHE_DIR": "x"}}, f"ov-config.CACHE_DIR': {CACHE}"),
    ({"licenses": []}, "licenses': must be a list with at least one text, got []"),
    ({"retries": 3}, f"retries': {UNKNOWN} {KEYS}"),
]


@pytest.mark.parametrize(("changes", "problem"), ENTRIES, ids=[text for _, text in ENTRIES])
def test_refuses_an_entry_that_cannot_be_used(changes: dict[str, object], problem: str) -> None:
    assert refusal(catalogue(model(**changes))) == message(f"in 'models[0].{problem}")


def test_consumers_that_do_nothing_of_their_own_here_load_nothing() -> None:
    entry = model(consumers=["transformers-slow"], task="seq2seq")
    assert refusal(catalogue(entry)) == message(f"in 'models[0].consumers': {NOTHING}")


VERSION = "must be 1, the version this release reads, got"
CATALOGUES: list[tuple[object, str]] = [
    ([], "must be a table, got []"),
    ({"models": [GOOD]}, "in 'catalogue-version': is missing"),
    *(
        (
            {"catalogue-version": version, "models": [GOOD]},
            f"in 'catalogue-version': {VERSION} {version!r}",
        )
        for version in (2, 0, "1", True, 1.0)
    ),
    ({"catalogue-version": 1}, "in 'models': is missing"),
    (catalogue(), "names no model: add a [[models]] entry"),
    (
        {"catalogue-version": 1, "models": GOOD},
        (
            "in 'models': must be an array of tables, got "
            "{'name': 'tiny', 'repo': 'acme/tiny', 'revision': '012345…"
        ),
    ),
    (catalogue(GOOD, "b"), "in 'models[1]': must be a table, got 'b'"),
    ({**catalogue(GOOD), "verify": False}, f"in 'verify': {UNKNOWN} catalogue-version, models"),
    (
        catalogue(GOOD, model(repo="acme/b")),
        "in 'models[1].name': 'tiny' is the name of 'models[0]' too",
    ),
    (
        catalogue(GOOD, model(name="TINY", repo="acme/b")),
        "in 'models[1].name': 'TINY' is the name of 'models[0]' too",
    ),
    (
        catalogue(GOOD, model(name="b", revision="main")),
        (
            f"in 'models[1].revision': 'main', but 'models[0]' wants '{COMMIT}' of the same repo; "
            "refs/main can name only one commit"
        ),
    ),
    (
        catalogue(GOOD, model(name="b", hub="own", precisions=["fp16"])),
        (
            "in 'models[1]': it comes from another hub than 'models[0]' of the same repo; the home "
            "has one folder for both"
        ),
    ),
    (
        catalogue(model(hub="https://u:p@hub.example")),
        (
            "in 'models[0].hub': is not the address of a hub: it holds a user or a password, which "
            "reports would show"
        ),
    ),
    (
        catalogue(model(**{"ov-config": {"NUM_STREAMS": 2}})),
        "in 'models[0].ov-config.NUM_STREAMS': must be a text, got 2",
    ),
    (
        catalogue(model(**{"ov-config": {"num streams": "2"}})),
        (
            "in 'models[0].ov-config.num streams': is not a name of an OpenVINO property, as "
            "INFERENCE_PRECISION_HINT"
        ),
    ),
    (catalogue(model(**{"ov-config": "x"})), "in 'models[0].ov-config': must be a table, got 'x'"),
    (
        catalogue(model(hub="ftp://hub.example")),
        (
            "in 'models[0].hub': is not the address of a hub: it does not begin with https:// and "
            "a host"
        ),
    ),
    (
        catalogue(GOOD, model(name="b", files=["*.json"])),
        (
            "in 'models[1]': 'models[0]' converts other files of the same repo, or for another "
            "task, to the same precision; the stable path can lead to only one"
        ),
    ),
]


@pytest.mark.parametrize(("data", "problem"), CATALOGUES, ids=[text for _, text in CATALOGUES])
def test_refuses_a_catalogue_that_cannot_be_used(data: object, problem: str) -> None:
    assert refusal(data) == message(problem)


def test_reports_every_problem_at_once() -> None:
    data = catalogue(model(name="a b", revision=None), model(task="x", files=["../a"], extra=1))
    assert refusal({**data, "more": 1}) == message(
        f"in 'models[0].name': {NAMED} 'a b'",
        "in 'models[0].revision': is missing",
        "in 'models[1].task': must be one of embedding, reranker, seq2seq, got 'x'",
        "in 'models[1].files[0]': '../a' has an empty part, '.' or '..'",
        f"in 'models[1].extra': {UNKNOWN} {KEYS}",
        f"in 'more': {UNKNOWN} catalogue-version, models",
    )


def test_lets_entries_share_a_repo_where_they_do_not_clash() -> None:
    """The same conversion twice is one; other precisions have other stable paths."""
    same = model(name="same")
    other = model(name="other", files=["*.json"], precisions=["fp16"])
    read = Catalogue.from_dict(catalogue(GOOD, same, other), PATH)
    assert [spec.name for spec in read.models] == ["tiny", "same", "other"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b"catalogue-version: 1\n",
            "Expected '=' after a key in a key/value pair (at line 1, column 18)",
        ),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
    ids=["YAML", "not UTF-8"],
)
def test_refuses_what_is_not_toml(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(content)
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(path)
    assert str(caught.value) == message(f"is not TOML: {problem}")


def test_refuses_a_missing_file_by_its_whole_path(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    with pytest.raises(WrongRequest) as caught:  # it is the request of whoever wrote it
        read_catalogue(path)
    assert type(caught.value) is CatalogueError
    assert str(caught.value) == (
        f"{path} cannot be used (1 problem):\n  cannot be read: No such file or directory\n"
        "Correct the places named; docs/reference.md#catalogue-and-lock lists every key."
    )


def test_the_projects_own_catalogue_holds_its_three_models() -> None:
    read = read_catalogue(ROOT / "models.toml")
    assert [spec.task for spec in read.models] == ["embedding", "reranker", "seq2seq"]
    assert read.lock_path == ROOT / "models.lock.toml"
