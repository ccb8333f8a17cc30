"""models.lock.toml: written the same for the same bytes, read strictly, held to the catalogue."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prep.catalogue.entries import Catalogue, ModelSpec, read_catalogue
from prep.catalogue.lock import HEAD, Lock, LockedFile, LockedModel, check_lock, read_lock, render
from prep.errors import LockError
from prep.files.fields import path_problem
from prep.files.patterns import is_pickle
from tests.support.paths import ROOT
from tests.support.small_homes import COMMIT, OTHER_COMMIT, SOURCE, locked_model

SHA256 = "ab" * 32
FILE: dict[str, Any] = {"path": "config.json", "size": 7, "sha256": SHA256}
GOOD: dict[str, Any] = {
    "name": "tiny",
    "repo": "acme/tiny",
    "requested-revision": "main",
    "commit": COMMIT,
    "license": "mit",
    "files": [FILE],
}
KEYS = (
    "commit, consumers, converter, files, hub, license, name, repo, requested-files, "
    "requested-revision"
)
INSIDE = "it must stay inside the model's folder"
PICKLE = "may run code when loaded; only safetensors weights are taken"


def lock(*models: object) -> dict[str, Any]:
    return {"lock-version": 1, "models": list(models)}


def model(**changes: object) -> dict[str, Any]:
    """A good entry with changes, `_` in a key standing for `-`; None takes a key out."""
    changed = {key.replace("_", "-"): value for key, value in changes.items()}
    return {key: value for key, value in {**GOOD, **changed}.items() if value is not None}


def file(**changes: object) -> dict[str, Any]:
    return model(
        files=[{key: value for key, value in {**FILE, **changes}.items() if value is not None}]
    )


def refusal(data: object) -> str:
    with pytest.raises(LockError) as caught:
        Lock.from_dict(data, "models.lock.toml")
    return str(caught.value)


def message(*problems: str) -> str:
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    head = "\n  ".join([f"models.lock.toml cannot be used ({count}):", *problems])
    return f"{head}\n{LockError.remedy}"


WANTED = {
    "version": "must be 1, the version this release reads, got",
    "name": "must be a name of letters, digits, '.', '_' and '-', got",
    "revision": "must be a branch, tag or commit, got",
    "commit": "must be a commit of 40 hex digits, got",
    "sha256": "must be a sha256 of 64 hex digits, got",
    "size": "must be a whole number of at least 0, got",
    "parts": "has an empty part, '.' or '..'",
    "control": "has a control character",
}
VERSIONS = (2, "1", True)
COMMITS = ("main", COMMIT[:39], f"{COMMIT}0", COMMIT.upper(), f"{COMMIT}\n", 7)
SIZES = (-1, 1.5, "7", True)
SHA256S = {
    "cd" * 31: "'" + "cd" * 28 + "…",
    f"{SHA256}a": f"'{SHA256[:56]}…",
    SHA256.upper(): f"'{SHA256.upper()[:56]}…",
    "": "''",
}
PATHS = {
    **dict.fromkeys(("../a", "a/../../b", "./a", "a//b", "a/", ".."), WANTED["parts"]),
    "/etc/passwd": "is absolute",
    "a\\..\\b": "has a backslash",
    **dict.fromkeys(("a\nb", "a\x00b", "a\x1fb", "a\x7fb"), WANTED["control"]),
}
PICKLES = (
    *("pytorch_model.bin", "2_Dense/PYTORCH_MODEL.BIN", "a/b.keras"),
    *(f"a.{kind}" for kind in ["pt", "pth", "ckpt", "pkl", "pickle", "joblib", "npy", "npz", "h5"]),
)
UNKNOWN = "is not a key that is known here; known are"
REFUSED: list[tuple[object, str]] = [
    ([], "must be a table, got []"),
    ({"models": []}, "in 'lock-version': is missing"),
    ({"lock-version": 1}, "in 'models': is missing"),
    *(
        (
            {"lock-version": version, "models": [{"x": 1}]},
            f"in 'lock-version': {WANTED['version']} {version!r}",
        )
        for version in VERSIONS
    ),
    (lock(3), "in 'models[0]': must be a table, got 3"),
    ({**lock(), "token": "x"}, f"in 'token': {UNKNOWN} lock-version, models"),
    (
        lock(GOOD, model(commit=OTHER_COMMIT)),
        "in 'models[1].name': 'tiny' is the name of 'models[0]' too",
    ),
    (lock(model(comit=COMMIT)), f"in 'models[0].comit': {UNKNOWN} {KEYS}"),
    (lock(model(commit=None)), "in 'models[0].commit': is missing"),
    (lock(model(name="a/b")), f"in 'models[0].name': {WANTED['name']} 'a/b'"),
    (lock(model(repo="tiny")), "in 'models[0].repo': must be ORG/NAME, got 'tiny'"),
    (
        lock(model(requested_revision="-")),
        f"in 'models[0].requested-revision': {WANTED['revision']} '-'",
    ),
    *(
        (lock(model(commit=commit)), f"in 'models[0].commit': {WANTED['commit']} {commit!r}")
        for commit in COMMITS
    ),
    (lock(model(license="")), "in 'models[0].license': must be a text, got ''"),
    (
        lock(model(requested_files=[])),
        "in 'models[0].requested-files': must be a list with at least one text, got []",
    ),
    (lock(model(files=[])), "in 'models[0].files': names no file"),
    (lock(model(files=[FILE, FILE])), "in 'models[0].files[1].path': 'config.json' appears twice"),
    (lock(model(files=["a.json"])), "in 'models[0].files[0]': must be a table, got 'a.json'"),
    (lock(file(mode=420)), f"in 'models[0].files[0].mode': {UNKNOWN} path, sha256, size"),
    (lock(file(path=None)), "in 'models[0].files[0].path': is missing"),
    *(
        (lock(file(sha256=value)), f"in 'models[0].files[0].sha256': {WANTED['sha256']} {shown}")
        for value, shown in SHA256S.items()
    ),
    *(
        (lock(file(size=size)), f"in 'models[0].files[0].size': {WANTED['size']} {size!r}")
        for size in SIZES
    ),
    *(
        (lock(file(path=path)), f"in 'models[0].files[0].path': {path!r} {what}; {INSIDE}")
        for path, what in PATHS.items()
    ),
    *(
        (lock(file(path=pickle)), f"in 'models[0].files[0].path': {pickle!r} {PICKLE}")
        for pickle in PICKLES
    ),
]


@pytest.mark.parametrize(("data", "problem"), REFUSED, ids=[problem for _, problem in REFUSED])
def test_refuses_a_lock_that_cannot_be_used(data: object, problem: str) -> None:
    assert refusal(data) == message(problem)


def test_reports_every_problem_at_once() -> None:
    assert refusal(lock(file(path="../a", sha256=None), model(name=None, commit="main"))) == (
        message(
            f"in 'models[0].files[0].path': '../a' has an empty part, '.' or '..'; {INSIDE}",
            "in 'models[0].files[0].sha256': is missing",
            "in 'models[1].name': is missing",
            "in 'models[1].commit': must be a commit of 40 hex digits, got 'main'",
        )
    )


def test_refuses_what_is_not_toml(tmp_path: Path) -> None:
    path = tmp_path / "models.lock.toml"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(LockError) as caught:
        read_lock(path)
    assert str(caught.value) == message("is not TOML: Invalid statement (at line 1, column 1)")


def test_refuses_a_lock_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LockError) as caught:
        read_lock(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} cannot be used (1 problem):\n  cannot be read: Is a directory\n"
        "It is written by pytest --relock alone: lock again, and review the diff."
    )


def test_takes_a_missing_lock_for_an_empty_lock(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "models.lock.toml") == Lock(models=())


@pytest.mark.parametrize("path", ["a b.json", "é.json", "..a/b..json", ".hidden", "a.bin.json"])
def test_takes_odd_paths_that_stay_inside(path: str) -> None:
    read = Lock.from_dict(lock(file(path=path)), "x")
    assert [file.path for file in read.models[0].files] == [path]


odd = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
paths = odd.filter(lambda path: not path_problem(path) and not is_pickle(path))
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
models = st.builds(
    LockedModel,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]*", fullmatch=True),
    repo=st.just("acme/tiny"),
    requested_revision=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]*", fullmatch=True),
    requested_files=st.none() | st.lists(odd, min_size=1, unique=True).map(tuple),
    commit=st.text("0123456789abcdef", min_size=40, max_size=40),
    license=odd,
    files=st.lists(
        st.builds(LockedFile, path=paths, size=st.integers(0, 1 << 50), sha256=digests),
        min_size=1,
        max_size=4,
        unique_by=lambda file: file.path,
    ).map(lambda files: tuple(sorted(files, key=lambda file: file.path))),
)


@settings(max_examples=40, deadline=None, database=None)
@given(st.lists(models, min_size=1, max_size=3, unique_by=lambda model: model.name))
def test_reads_what_it_wrote(entries: list[LockedModel]) -> None:
    lock = Lock(models=tuple(entries))
    text = render(lock)
    assert Lock.from_dict(tomllib.loads(text), "x") == lock
    assert render(Lock.from_dict(tomllib.loads(text), "x")) == text


def test_renders_the_same_text_whatever_the_order_of_files() -> None:
    entry = locked_model({"b.json": b"b", "a.json": b"a"})
    turned = dataclasses.replace(entry, files=entry.files[::-1])
    assert (
        render(Lock(models=(entry,)))
        == render(Lock(models=(turned,)))
        == (
            f"{HEAD}lock-version = 1\n"
            "\n"
            "[[models]]\n"
            'name = "tiny"\n'
            'repo = "acme/tiny"\n'
            'requested-revision = "main"\n'
            f'commit = "{COMMIT}"\n'
            'license = "mit"\n'
            "files = [\n"
            '  { path = "a.json", size = 1, sha256 = '
            '"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" },\n'
            '  { path = "b.json", size = 1, sha256 = '
            '"3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d" },\n'
            "]\n"
        )
    )
    assert entry.digest == turned.digest


@pytest.mark.parametrize(
    "change",
    [
        {"commit": OTHER_COMMIT},
        {"license": "gpl-3.0"},
        {"hub": "own"},
        {"requested_files": ("*.json",)},
        {"files": ()},
    ],
    ids=str,
)
def test_an_entry_with_any_change_is_another(change: dict[str, Any]) -> None:
    assert dataclasses.replace(locked_model(), **change).digest != locked_model().digest


# The lock held against the catalogue.

SPEC = ModelSpec(
    name="tiny", repo="acme/tiny", revision="main", task="embedding", precisions=("int8",), why="x"
)


def against(locked: tuple[LockedModel, ...], *specs: ModelSpec) -> str:
    """What `check_lock` says, "" where the lock answers."""
    catalogue = Catalogue(path=Path("/srv/models.toml"), models=specs)
    try:
        check_lock(catalogue, Lock(models=locked), specs)
    except LockError as error:
        return str(error)
    return ""


def stale(names: str, *problems: str) -> str:
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    head = f"models.lock.toml does not answer models.toml and cannot be used ({count}):"
    remedy = f"Lock again and review the diff: pytest --relock --models {names}"
    return "\n".join([head, *(f"  {problem}" for problem in problems), remedy])


def test_a_lock_of_the_same_catalogue_answers() -> None:
    assert against((locked_model(),), SPEC) == ""
    assert against((locked_model(),), dataclasses.replace(SPEC, licenses=("mit",))) == ""
    assert against((locked_model(),)) == ""  # entries that nobody chose are not asked for


OUT_OF_DATE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {  # catalogue, lock, problem
    "repo": ({"repo": "acme/big"}, {}, "locked repo 'acme/tiny', models.toml says 'acme/big'"),
    "hub": (
        {"hub": "own"}, {}, "locked hub None, models.toml says 'own'",
    ),
    "revision": (
        {"revision": "v2"}, {}, "locked requested-revision 'main', models.toml says 'v2'",
    ),
    "files": (
        {"files": ("*.json",)}, {}, "locked requested-files None, models.toml says ('*.json',)",
    ),
    "files no more": (
        {}, {"requested_files": ("*.json", "a")},
        "locked requested-files ('*.json', 'a'), models.toml says None",
    ),
    "commit by hand": (
        {"revision": COMMIT}, {"requested_revision": COMMIT, "commit": OTHER_COMMIT},
        f"locked commit {OTHER_COMMIT}, the revision is {COMMIT}",
    ),
    "files of another task": (
        {"task": "seq2seq"}, {},
        "locks files that the catalogue does not name: 1_Pooling/config.json, modules.json",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "locked", "problem"), OUT_OF_DATE.values(), ids=OUT_OF_DATE)
def test_refuses_an_entry_out_of_date(
    spec: dict[str, Any], locked: dict[str, Any], problem: str
) -> None:
    entry = dataclasses.replace(locked_model(), **locked)
    assert against((entry,), dataclasses.replace(SPEC, **spec)) == stale("tiny", f"tiny: {problem}")


def test_reports_every_entry_out_of_date_at_once() -> None:
    moved = dataclasses.replace(SPEC, name="moved", repo="acme/b", revision="v2", licenses=("x",))
    assert against(
        (locked_model(), dataclasses.replace(locked_model(), name="moved")),
        dataclasses.replace(SPEC, name="new", repo="acme/new"),
        SPEC,
        moved,
    ) == stale(
        "new,moved",
        "new: has no entry",
        "moved: locked repo 'acme/tiny', models.toml says 'acme/b'",
        "moved: locked requested-revision 'main', models.toml says 'v2'",
        "moved: license 'mit', models.toml allows x; allow it there, or take another model",
    )


def test_refuses_a_licence_that_is_not_allowed_and_says_what_would_help() -> None:
    """Locking again would not."""
    allowing = dataclasses.replace(SPEC, licenses=("apache-2.0", "bsd-3-clause"))
    assert against((locked_model(),), allowing) == (
        "models.lock.toml does not answer models.toml and cannot be used (1 problem):\n"
        "  tiny: license 'mit', models.toml allows apache-2.0, bsd-3-clause; allow it there, or "
        "take another model"
    )


def test_refuses_two_commits_of_one_repo_whoever_of_them_is_chosen() -> None:
    """A branch that moved between two times of locking: refs/main would go to and fro."""
    other = dataclasses.replace(SPEC, name="other")
    entries = (locked_model(), dataclasses.replace(locked_model(commit=OTHER_COMMIT), name="other"))
    catalogue = Catalogue(path=Path("models.toml"), models=(SPEC, other))
    with pytest.raises(LockError) as caught:
        check_lock(catalogue, Lock(models=entries), (other,))
    assert str(caught.value) == stale(
        "tiny,other",
        f"other: locked commit {OTHER_COMMIT}, but tiny of the same repo {COMMIT}; refs/main can "
        "name only one",
    )
    alone = Catalogue(path=Path("models.toml"), models=(other,))
    check_lock(alone, Lock(models=entries), (other,))  # the catalogue names the first no more


def test_an_entry_knows_its_files() -> None:
    locked = locked_model()
    assert locked.bytes == sum(map(len, SOURCE.values()))
    found = locked.file("vocab.txt")
    assert found is not None
    assert (found.path, found.size) == ("vocab.txt", len(SOURCE["vocab.txt"]))
    assert locked.file("absent.txt") is None


def test_entries_of_one_commit_know_each_others_files() -> None:
    first, second = locked_model({"a.json": b"a"}), locked_model({"b.json": b"b"})
    other = locked_model({"c.json": b"c"})
    elsewhere = [
        dataclasses.replace(other, **changed)
        for changed in (
            {"commit": "0" * 40},
            {"commit": "f" * 40},
            {"repo": "acme/other"},
            {"repo": "zeta/tiny"},
        )
    ]
    lock = Lock(models=(first, second, *elsewhere))
    assert lock.paths_of("acme/tiny", COMMIT) == {"a.json", "b.json"}


def test_the_projects_own_lock_answers_its_catalogue() -> None:
    catalogue = read_catalogue(ROOT / "models.toml")
    lock = read_lock(catalogue.lock_path)
    check_lock(catalogue, lock, catalogue.models)
    assert [model.name for model in lock.models] == [spec.name for spec in catalogue.models]
    assert len(lock.models) == 3
    assert render(lock) == catalogue.lock_path.read_text(encoding="utf-8")
