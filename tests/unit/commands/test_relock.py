"""A new pin is told in words: what changed, and what follows for those who use the model."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from prep.catalogue.lock import read_lock
from sample_hub.server import Hub, ServedRepo
from tests.support.paths import ROOT
from tests.support.runs import TINY, TINY_REPO, Run, run


class Publisher:
    """A repository of the sample embedding that its owner goes on with, and a catalogue of it.

    No precision is asked for: the exporter, which takes longest, has no say in what is told here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.catalogue = folder / "models.toml"
        self.lock = folder / "models.lock.toml"
        shutil.copytree(ROOT / "sample_hub" / "repos" / TINY_REPO, folder / "old")
        self.repos = [ServedRepo.of(TINY_REPO, folder / "old", "apache-2.0")]
        self.pin("main")

    def pin(self, revision: str, more: str = "") -> None:
        text = (
            f'catalogue-version = 1\n[[models]]\nname = "{TINY}"\nrepo = "{TINY_REPO}"\n'
            f'revision = "{revision}"\ntask = "embedding"\nprecisions = []\nwhy = "x"\n'
        )
        self.catalogue.write_text(text + more)

    def publish(self, license: str = "apache-2.0", **tags: frozenset[str]) -> str:
        """A new commit: no normalising, half the length; gives it."""
        new = self.folder / "new"
        shutil.copytree(self.folder / "old", new)
        modules = json.loads((new / "modules.json").read_text())
        (new / "modules.json").write_text(json.dumps(modules[:2]))
        (new / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
        self.repos.append(replace(ServedRepo.of(TINY_REPO, new, license), **tags))
        return self.repos[-1].commit

    def run(self, *args: str) -> Run:
        with Hub(self.repos) as hub:
            case = ("--catalogue", self.catalogue, "--model-home", self.home, "--hub", hub.url)
            return run(*case, *args)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(tmp_path)
    assert made.run("--relock").code == 0
    return made


def test_a_branch_that_moved_is_told_and_then_locked(publisher: Publisher) -> None:
    assert (
        publisher.run("-k", "what_the_lock_says").code == 0
    )  # so that the old values lie in the home
    old = publisher.lock.read_text()
    still = publisher.run("--relock", "--dry-run")
    assert still.code == 0
    assert "models.lock.toml is not written (--dry-run): nothing has moved on" in still.out

    before, commit = publisher.repos[0].commit, publisher.publish("mit")
    dry = publisher.run("--relock", "--dry-run")
    assert dry.code == 10, "a bot may open a pull request"
    size = (publisher.folder / "new" / "modules.json").stat().st_size
    assert dry.out.splitlines() == [
        f"{TINY}:",
        f"  commit: {before} → {commit}",
        "  license: apache-2.0 → mit",
        f"  changed  modules.json  350 → {size} bytes",
        "  changed  sentence_bert_config.json  53 → 22 bytes",
        "  pooling: mean_tokens, normalised → mean_tokens",
        "  maximum length: 64 → 32",
        '  modules.json: 2 {"idx": 2, "name": "2", "path": "2_Normalize", "type": "s… → null',
        "  sentence_bert_config.json: do_lower_case false → null",
        "  sentence_bert_config.json: max_seq_length 64 → 32",
        "  indexes must be rebuilt: yes (modules.json, sentence_bert_config.json)",
        f"models.lock.toml is not written (--dry-run): the lock would change for {TINY}",
    ]
    assert publisher.lock.read_text() == old
    assert publisher.run("--relock").out.splitlines()[:-1] == dry.out.splitlines()[:-1]
    entry = read_lock(publisher.lock).get(TINY)
    assert entry is not None
    assert (entry.commit, entry.license) == (commit, "mit")


def test_consumers_that_cannot_read_it_are_named_and_planned_without(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    (tmp_path / "old" / "modules.json").unlink()
    publisher.repos = [ServedRepo.of(TINY_REPO, tmp_path / "old", "apache-2.0")]
    why = "there is no modules.json, so that the library would make up a pipeline"
    assert publisher.run("--relock").out.splitlines()[1:3] == [
        f"  not read by sentence-transformers: {why}",
        f"  not read by sentence-transformers-openvino: {why}",
    ]
    left_out = "sentence-transformers, sentence-transformers-openvino"
    assert f"  not read by {left_out}\n" in publisher.run("--dry-run").out


def printed_json(done: Run) -> dict[str, Any]:
    """What it printed for programs; what it says meanwhile goes to stderr, which comes before."""
    found: dict[str, Any] = json.loads(done.out[done.out.index("{") :])
    return found


def test_what_moved_is_told_to_programs(publisher: Publisher) -> None:
    still = publisher.run("--relock", "--dry-run=json")
    found = printed_json(still)
    assert (still.code, found["exit"], found["gone"]) == (0, 0, [])
    [model] = found["models"]
    assert (model["moved"], model["meaning"]) == (False, [])

    before, commit = publisher.repos[0].commit, publisher.publish()
    old = publisher.lock.read_bytes()
    moved = publisher.run("--relock", "--dry-run=json")
    found = printed_json(moved)
    schema = json.loads((ROOT / "docs" / "relock.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(found)
    assert (moved.code, found["exit"], found["lock"]) == (10, 10, "models.lock.toml")
    [model] = found["models"]
    assert (model["name"], model["before"], model["after"]) == (TINY, before, commit)
    assert (model["moved"], model["main"]) == (True, None)
    assert f"  commit: {before} → {commit}" in model["changes"]
    assert model["meaning"][-1].startswith("indexes must be rebuilt: yes (")
    assert publisher.lock.read_bytes() == old

    publisher.catalogue.write_text(publisher.catalogue.read_text().replace(TINY, "renamed", 1))
    gone = publisher.run("--relock", "--dry-run")
    assert gone.code == 10, gone.out
    assert gone.out.endswith(f"the lock would change for renamed, {TINY}\n")


def test_a_pin_says_that_the_hub_has_gone_on_without_it(publisher: Publisher) -> None:
    old, new = publisher.repos[0].commit, publisher.publish(tags=frozenset({"v2"}))
    publisher.pin(old)
    done = publisher.run("--relock", "--dry-run")
    assert done.code == 10
    assert f"  the catalogue pins this commit; the repository's main is {new}" in done.out
    publisher.pin("v2")
    done = publisher.run("--relock")
    assert done.code == 0
    assert f"  requested-revision: main → v2\n  commit: {old} → {new}\n" in done.out


def test_what_the_hub_has_not_is_red_and_the_lock_stays(publisher: Publisher) -> None:
    old = publisher.lock.read_bytes()
    publisher.pin("v3")
    none = publisher.run("--relock")
    assert (none.code, "has no revision v3" in none.said) == (1, True), none.out
    publisher.repos.clear()
    gone = publisher.run("--relock")
    assert gone.code == 1, gone.out
    assert TINY_REPO in gone.out
    assert publisher.lock.read_bytes() == old


def test_only_the_named_are_locked_and_the_rest_stays(publisher: Publisher) -> None:
    other = (
        '[[models]]\nname = "second"\nrepo = "acme/second"\nrevision = "main"\n'
        'task = "embedding"\nprecisions = []\nwhy = "x"\n'
    )
    publisher.pin("main", other)
    publisher.repos.append(ServedRepo.of("acme/second", publisher.folder / "old", "mit"))
    assert publisher.run("--relock", "--models", "second").code == 0
    old = publisher.lock.read_text()
    assert old.count("[[models]]") == 2
    publisher.publish()
    done = publisher.run("--relock", "--models", "second")
    assert done.out.startswith("second: unchanged at ")
    assert publisher.lock.read_text() == old
    publisher.catalogue.write_text(f"catalogue-version = 1\n{other}")
    assert publisher.run("--relock", "--models", "second").code == 0
    assert publisher.lock.read_text().count("[[models]]") == 1, "that is the whole catalogue"
