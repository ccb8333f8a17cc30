"""The probe packed: one file that any Python from 3.9 on can run, and what it says of libraries."""

import ast
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from prep.process.child import GREETING
from prep.sandbox.import_server import MAIN, PROBE, pack
from prep.sandbox.probe import loading
from prep.sandbox.probe.consumers import TASKS
from prep.sandbox.probe.loading import Way
from tests.support.restricted import bare_python, libraries_of, may_have_namespaces

OLDEST = (3, 9)
MODULES = sorted(path.name for path in PROBE.glob("*.py"))
TREES = {name: ast.parse((PROBE / name).read_text(encoding="utf-8")) for name in MODULES}
by_module = pytest.mark.parametrize("name", MODULES)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe as one file."""
    return pack(tmp_path_factory.mktemp("packed") / "probe.pyz")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has no library."""
    return bare_python(tmp_path_factory.mktemp("bare") / "environment")


def test_packed_are_the_probes_modules_and_empty_parents(packed: Path) -> None:
    held_here = {
        f"prep/sandbox/probe/{name}": (PROBE / name).read_text("utf-8") for name in MODULES
    }
    with zipfile.ZipFile(packed) as archive:
        held = {name: archive.read(name).decode() for name in archive.namelist()}
        assert len(archive.namelist()) == len(held)
    parents = ("prep/__init__.py", "prep/sandbox/__init__.py")
    assert held == {**dict.fromkeys(parents, ""), **held_here, "__main__.py": MAIN}
    assert packed.stat().st_mode & 0o777 == 0o644, "another user runs it too"


@by_module
def test_sources_are_of_the_oldest_python_that_runs_them(name: str) -> None:
    source = (PROBE / name).read_text(encoding="utf-8")
    ast.parse(source, feature_version=OLDEST)
    assert newer(ast.parse(source)) == []


def newer(tree: ast.Module) -> list[str]:
    """What a Python 3.9 would stumble over while it runs: annotations are not evaluated there."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Match):
            found.append(f"{node.lineno}: match")
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            keywords = {keyword.arg for keyword in node.keywords}
            if name == "zip" and "strict" in keywords:
                found.append(f"{node.lineno}: zip(strict=…)")
            if name == "dataclass" and keywords & {"slots", "kw_only"}:
                found.append(f"{node.lineno}: dataclass(slots=…)")
            if name in ("isinstance", "issubclass") and isinstance(node.args[1], ast.BinOp):
                found.append(f"{node.lineno}: {name}(…, X | Y)")
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
            names = [node.value.left, node.value.right]
            if isinstance(node.value.op, ast.BitOr) and any(map(is_type, names)):
                found.append(f"{node.lineno}: a type X | Y")
    if not any(is_future(node) for node in tree.body) and len(tree.body) > 1:
        found.append("annotations are evaluated")
    return found


def is_type(node: ast.expr) -> bool:
    builtin = isinstance(node, ast.Name) and node.id in {"bytes", "dict", "int", "list", "str"}
    return builtin or (isinstance(node, ast.Constant) and node.value is None)


def is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


NEWER = """
def f(x: int | None) -> None:
    match x:
        case 1:
            pass
    zip([], [], strict=True)
    isinstance(x, int | str)

@dataclass(slots=True)
class C:
    pass

Text = str | None
"""


def test_what_is_newer_would_be_found() -> None:
    with pytest.raises(SyntaxError):
        ast.parse(NEWER, feature_version=OLDEST)
    assert sorted(newer(ast.parse(NEWER))) == [
        "13: a type X | Y",
        "3: match",
        "6: zip(strict=…)",
        "7: isinstance(…, X | Y)",
        "9: dataclass(slots=…)",
        "annotations are evaluated",
    ]


@by_module
def test_at_the_top_only_the_standard_library_and_the_probe_are_imported(name: str) -> None:
    inside = (ast.FunctionDef, ast.ClassDef)
    at_top = [node for node in TREES[name].body if not isinstance(node, inside)]
    found = []
    for node in (nested for statement in at_top for nested in ast.walk(statement)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(f"{'.' * node.level}{node.module}")
    ours = [module for module in found if f"{module}.".startswith("prep.sandbox.probe.")]
    standard = [module for module in found if module.partition(".")[0] in sys.stdlib_module_names]
    assert sorted(found) == sorted([*ours, *standard])


def ready_line(python: Path | str, probe: Path, home: Path) -> Any:
    """The first line of a probe that is asked nothing."""
    done = subprocess.run(
        [str(python), str(probe)],
        env={"HF_HOME": str(home), "PATH": os.environ["PATH"]},
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr
    return json.loads(done.stdout)["result"]


ABSENT = {
    "transformers": "not installed: torch, transformers",
    "transformers-slow": "not installed: torch, transformers, sentencepiece",
    "sentence-transformers": "not installed: sentence_transformers",
    "optimum-intel": "not installed: optimum.intel, openvino",
    "sentence-transformers-openvino": (
        "not installed: sentence_transformers, optimum.intel, openvino"
    ),
    "openvino-genai": "not installed: torch, transformers, openvino_genai",
}


def test_without_any_library_it_starts_and_says_what_each_consumer_lacks(
    packed: Path, bare: Path, tmp_path: Path
) -> None:
    for name in ("hf-home", "home"):
        (tmp_path / name).mkdir()
    ready = ready_line(bare, packed, tmp_path / "hf-home")
    assert ready.pop("seconds") < 30
    assert 1 << 20 < ready.pop("memory") < 1 << 30
    assert ready.pop("side-by-side") == may_have_namespaces()
    assert ready == {
        "python": ".".join(map(str, sys.version_info[:3])),
        "versions": {},
        "broken": {},
        "not-tried": {
            name: {consumer: ABSENT[consumer] for consumer in task.CONSUMERS}
            for name, task in TASKS.items()
        },
    }
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "hf-home", tmp_path / "home"]


def test_where_nothing_can_be_mounted_it_says_that_loads_come_one_by_one(
    packed: Path, bare: Path, tmp_path: Path
) -> None:
    ready = ready_line(bare, packed, tmp_path)  # its second place, a folder beside, is not there
    assert ready["side-by-side"] is False


def oldest() -> str | None:
    """A Python 3.9 of this machine: where it is called so, or beside this one's in pyenv."""
    beside = Path(sys.base_prefix).parent.glob("3.9.*/bin/python3.9")
    for python in ("python3.9", *map(str, beside)):
        try:
            code = subprocess.run([python, "-c", "1"], capture_output=True, check=False).returncode
        except FileNotFoundError:
            continue
        if code == 0:
            return python
    return None


@pytest.mark.skipif(oldest() is None, reason="no Python 3.9 here")
def test_the_oldest_python_runs_it_and_does_a_job(packed: Path, tmp_path: Path) -> None:
    python = oldest()
    assert python is not None
    assert ready_line(python, packed, tmp_path)["python"].startswith("3.9.")
    for name in ("hf-home", "home", "models"):
        (tmp_path / name).mkdir()
    home = str(tmp_path / "models")
    shown = {"home": home, "as": "path", "user": "owner", "mount": "read-write"}
    order = {"order": 7, "call": "builtins:dict", "args": {"a": 1}, "may_write": []}
    order |= {"threads": 1, "timeout": 20, "sandbox": shown}
    with subprocess.Popen(
        [python, str(packed)],
        env={"HF_HOME": str(tmp_path / "hf-home")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        greeting, answer = (json.loads(process.stdout.readline()) for _ in range(2))
        process.stdin.close()  # it ends at once, with whatever still runs
        assert process.wait(timeout=20) == 0
    assert (greeting["order"], answer["order"]) == (GREETING, 7)
    assert answer["result"] == {"a": 1, "shown": str(tmp_path / "home")}


# Libraries in pieces: a module, and what the package's metadata says.

Pieces = Mapping[str, str]
TORCH = {"torch": ""}
OPENVINO = {"optimum": "", "optimum/intel": "", "openvino": ""}
NEW = "class CrossEncoder:\n    def __init__(self, name, backend='torch'): pass\n"
OLD = "class CrossEncoder:\n    def __init__(self, name): pass\n"
TORN = "raise ImportError('torn apart')\n"


@pytest.fixture
def ready_with(packed: Path, bare: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """The first line of a probe where these libraries are; they are removed afterwards."""
    folder = libraries_of(bare)
    before = set(folder.iterdir())

    def ready(modules: Pieces, **versions: str) -> Any:
        for name, source in modules.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "__init__.py").write_text(source, encoding="utf-8")
        for name, version in versions.items():
            about = folder / f"{name}-{version}.dist-info" / "METADATA"
            about.parent.mkdir()
            about.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        return ready_line(bare, packed, tmp_path)

    yield ready
    for path in set(folder.iterdir()) - before:
        subprocess.run(["rm", "-r", str(path)], check=True)


@pytest.mark.parametrize(
    ("modules", "version", "why"),
    [
        ({**TORCH, "transformers": ""}, "4.57.1", "not installed: sentencepiece"),
        ({**TORCH, "transformers": "", "sentencepiece": ""}, "4.57.1", None),
        ({**TORCH, "transformers": ""}, "5.0.0rc1", "not offered by transformers 5.0.0rc1"),
        ({"transformers": ""}, "4.57.1", "not installed: torch, sentencepiece"),
    ],
    ids=["old without it", "old with it", "new without it", "nor torch"],
)
def test_the_slow_tokenizer_needs_sentencepiece_and_is_gone_in_transformers_5(
    ready_with: Callable[..., Any], modules: Pieces, version: str, why: str | None
) -> None:
    ready = ready_with(modules, transformers=version)
    assert ready["versions"] == {"transformers": version}
    assert ready["not-tried"]["seq2seq"].get("transformers-slow") == why


@pytest.mark.parametrize(("source", "lacks"), [(OLD, True), (NEW, False)], ids=["old", "new"])
def test_cross_encoder_that_knows_no_backend_is_not_tried_with_openvino(
    ready_with: Callable[..., Any], source: str, lacks: bool
) -> None:
    parts = {"sentence_transformers": source, "sentence_transformers/models": "", **OPENVINO}
    untried = ready_with(parts, sentence_transformers="3.4.1")["not-tried"]
    why = "not offered by sentence-transformers 3.4.1"
    assert untried["reranker"].get("sentence-transformers-openvino") == (why if lacks else None)
    assert "sentence-transformers" not in untried["reranker"]
    assert "sentence-transformers-openvino" not in untried["embedding"]


def test_optimum_without_its_part_for_openvino_is_lacking(ready_with: Callable[..., Any]) -> None:
    ready = ready_with({"optimum": "", "openvino": ""})
    assert ready["not-tried"]["embedding"]["optimum-intel"] == "not installed: optimum.intel"


@pytest.mark.parametrize("torn", ["torch", "transformers", "openvino", "optimum/intel"])
def test_library_that_is_broken_is_told_and_not_taken_for_absent(
    ready_with: Callable[..., Any], torn: str
) -> None:
    ready = ready_with({**TORCH, "transformers": "", **OPENVINO, torn: TORN})
    assert ready["broken"] == {torn.replace("/", "."): "ImportError: torn apart"}
    assert not {"transformers", "optimum-intel"} & ready["not-tried"]["embedding"].keys()


@pytest.mark.parametrize("torn", ["sentence_transformers", "optimum"])
def test_package_that_breaks_above_a_module_leaves_the_other_libraries_usable(
    ready_with: Callable[..., Any], torn: str
) -> None:
    """As sentence-transformers does where huggingface-hub is too new for it."""
    above = {"sentence_transformers": NEW, "sentence_transformers/models": "", **OPENVINO}
    ready = ready_with({**TORCH, "transformers": "", **above, torn: TORN})
    assert "ImportError: torn apart" in ready["broken"].values()
    assert "transformers" not in ready["not-tried"]["embedding"]


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/run/home", "/srv/models"),
        ("/run/home/", "/srv/models/"),
        ("/run/home/hub/a", "/srv/models/hub/a"),
        (Path("/run/home/hub"), "/srv/models/hub"),
        ("/run/home-1/hub", "/run/home-1/hub"),
        ("/srv/models/hub", "/srv/models/hub"),
        ("/tmp/x/run/home/hub", "/tmp/x/run/home/hub"),
        ("acme/tiny", "acme/tiny"),
    ],
)
def test_path_in_the_shown_home_is_told_as_in_the_real_one(path: Path | str, real: str) -> None:
    way = Way(target="acme/tiny", home="/srv/models", shown="/run/home")
    assert way.real(path) == real
    assert Way(target="acme/tiny").real(path) == str(path)


def test_way_names_a_repository_or_a_path_in_the_shown_home() -> None:
    shown = {"home": "/srv/models", "shown": "/run/home"}
    no_code = {"trust_remote_code": False}
    name = Way(target="acme/tiny", **shown)
    assert (name.target, name.hub) == ("acme/tiny", {"revision": None, **no_code})
    commit = Way(target="acme/tiny", revision="c0ffee", cache_dir="hub", **shown)
    assert commit.target == "acme/tiny"
    assert commit.hub == {"revision": "c0ffee", "cache_dir": "/run/home/hub", **no_code}
    path = Way(target="acme/tiny", below="hub/a/b", **shown)
    assert (path.target, path.hub) == ("/run/home/hub/a/b", {"revision": None, **no_code})


def test_gap_of_rows_that_are_not_equally_long_is_infinite() -> None:
    """Else a batch that lost its last answers would pass: zip stops at the shorter."""
    assert loading.largest_gap([1.0], [1.0, 2.0]) == float("inf")
    assert loading.largest_gap([1.0, 2.0], [1.0, 2.5]) == 0.5


def test_each_question_gets_its_own_answer_alone_or_in_a_batch() -> None:
    asked: list[list[str]] = []

    def ask(questions: list[str]) -> list[str]:
        asked.append(questions)
        return [question.upper() for question in questions]

    long = "z" * (loading.LONG + 1)
    questions = [*"abcdefghijk", long, "l"]
    together = [question for question in questions if question not in ("b", "j")]
    answers, _ = loading.each(ask, questions, [*together, "not asked"])
    assert answers == [question.upper() for question in questions]
    assert asked == [["b"], ["j"], [long], [*"acdefghi"], ["k", "l"]]


def test_batch_that_lost_an_answer_is_refused() -> None:
    """Else the answers of the next batch would be taken for its own."""
    with pytest.raises(ValueError, match="a batch of 2 questions got 1 answers"):
        loading.each(lambda questions: questions[:1], ["a", "b"], ["a", "b"])


def test_batch_of_questions_that_are_all_long_is_not_empty() -> None:
    """As of a reranker whose first query is long: a batch of nothing ended its loads."""
    assert loading.batch_of([loading.LONG + length for length in (9, 500, 1)]) == [2, 0]
    assert loading.batch_of([loading.LONG + 1, 7]) == [1]
