"""A new pin is told in words: what changed, and what follows for those who use the model."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from prep.catalogue.lock import LockedModel, read_lock
from prep.catalogue.pin_change import meaning
from sample_hub.server import Hub, ServedRepo
from tests.support.paths import ROOT
from tests.support.runs import TINY, TINY_REPO, Run, run
from tests.support.small_homes import OTHER_COMMIT, locked_model

MODULES = [
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
BERT = {"hidden_size": 384, "vocab_size": 30522, "transformers_version": "4.8.2"}
Files = dict[str, object]
OLD: Files = {
    "config.json": BERT,
    "modules.json": MODULES,
    "1_Pooling/config.json": {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 256},
    "tokenizer_config.json": {"model_max_length": 512, "name_or_path": "x"},
    "tokenizer.json": {"version": "1.0"},
    "model.safetensors": "weights",
    "generation_config.json": {"max_length": 20},
}


def entry(files: Mapping[str, object], commit: str) -> tuple[LockedModel, dict[str, str]]:
    """The lock's entry of such files, and their texts."""
    texts = {path: json.dumps(content) for path, content in files.items()}
    content = {path: text.encode() for path, text in texts.items()}
    known = {path: text for path, text in texts.items() if path.endswith("config.json")}
    known |= {path: texts[path] for path in texts if path == "modules.json"}
    return locked_model(content, commit), known


def told(new: Files, *, task: str = "embedding", here: bool = True, old: Files = OLD) -> list[str]:
    before, was = entry(old, "c0ffee" + "0" * 34)
    after, now = entry({path: one for path, one in new.items() if one is not None}, OTHER_COMMIT)
    return meaning(before, after, task, was if here else {}, now)


NO = "indexes must be rebuilt: no (nothing that answers come from)"


@pytest.mark.parametrize(
    ("new", "lines"),
    [
        ({}, []),
        (
            {"model.safetensors": "others"},
            [
                "weights changed: model.safetensors",
                "indexes must be rebuilt: yes (weights)",
            ],
        ),
        (
            {"tokenizer.json": {"version": "2.0"}, "vocab.txt": "[PAD]"},
            [
                "tokenizer or vocabulary changed: tokenizer.json, vocab.txt",
                "indexes must be rebuilt: yes (tokenizer or vocabulary)",
            ],
        ),
        (
            {"config.json": BERT | {"transformers_version": "5.0"}},
            ["config.json: nothing changed that is computed with", NO],
        ),
        ({"tokenizer_config.json": {"model_max_length": 512, "name_or_path": "y"}}, [NO]),
        (
            {
                "config.json": BERT | {"hidden_size": 768},
                "1_Pooling/config.json": {
                    "word_embedding_dimension": 768,
                    "pooling_mode_cls_token": True,
                },
            },
            [
                "dimension: 384 → 768",
                "pooling: mean_tokens, normalised → cls_token, normalised",
                "1_Pooling/config.json: pooling_mode_cls_token null → true",
                "1_Pooling/config.json: pooling_mode_mean_tokens true → null",
                "1_Pooling/config.json: word_embedding_dimension 384 → 768",
                "config.json: hidden_size 384 → 768",
                "indexes must be rebuilt: yes (1_Pooling/config.json, config.json)",
            ],
        ),
        (
            {"sentence_bert_config.json": {"max_seq_length": 128}},
            [
                "maximum length: 256 → 128",
                "sentence_bert_config.json: max_seq_length 256 → 128",
                "indexes must be rebuilt: yes (sentence_bert_config.json)",
            ],
        ),
        (
            {"modules.json": MODULES[:2]},
            [
                "pooling: mean_tokens, normalised → mean_tokens",
                (
                    'modules.json: 2 {"path": "2_Normalize", "type": "sentence_transformers.mo… '
                    "→ null"
                ),
                "indexes must be rebuilt: yes (modules.json)",
            ],
        ),
        (
            {"modules.json": None},
            [
                "modules.json is gone",
                "indexes must be rebuilt: yes (modules.json)",
            ],
        ),
        (
            {"generation_config.json": {"max_length": 30}},
            ["generation_config.json: max_length 20 → 30", NO],
        ),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_what_changed_is_told_with_what_follows(new: Files, lines: list[str]) -> None:
    assert told({**OLD, **new}) == lines


def test_what_is_not_known_counts_as_changed() -> None:
    new = {**OLD, "config.json": BERT | {"transformers_version": "5.0"}}
    assert told(new, here=False) == [
        "config.json changed or came; its old values are not in this home",
        "indexes must be rebuilt: yes (config.json)",
    ]


def test_each_task_has_its_own_consequence() -> None:
    new = {**OLD, "generation_config.json": {"max_length": 30}}
    assert told(new, task="seq2seq")[-1] == "texts change: yes (generation_config.json)"
    old = {**OLD, "config.json": BERT | {"id2label": {"0": "LABEL_0"}}}
    new = {**OLD, "config.json": BERT | {"id2label": {"0": "no", "1": "yes"}}}
    lines = told(new, task="reranker", old=old)
    assert lines[0] == "labels: LABEL_0 → no, yes"
    assert lines[-1] == ("scores change, thresholds must be looked at again: yes (config.json)")


def test_another_repository_is_another_model() -> None:
    before, texts = entry(OLD, OTHER_COMMIT)
    lines = meaning(before, replace(before, repo="acme/fork"), "embedding", texts, texts)
    assert lines == ["indexes must be rebuilt: yes (another repository)"]


class Publisher:
    """A repository of the sample embedding that its owner goes on with, and a catalogue of it."""

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
            f'revision = "{revision}"\ntask = "embedding"\nprecisions = ["int8"]\nwhy = "x"\n'
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
    assert dry.code == 0
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


def test_a_pin_says_that_the_hub_has_gone_on_without_it(publisher: Publisher) -> None:
    old, new = publisher.repos[0].commit, publisher.publish(tags=frozenset({"v2"}))
    publisher.pin(old)
    done = publisher.run("--relock", "--dry-run")
    assert done.code == 0
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
        'task = "embedding"\nprecisions = ["int8"]\nwhy = "x"\n'
    )
    publisher.pin("main", other)
    publisher.repos.append(ServedRepo.of("acme/second", publisher.folder / "old", "mit"))
    assert publisher.run("--relock", "--models", "second").code == 0
    old = publisher.lock.read_text()
    assert old.count("[[models]]") == 2
    publisher.publish()
    done = publisher.run("--relock", "--models", "second")
    assert done.out.splitlines()[0].startswith("second: unchanged at ")
    assert publisher.lock.read_text() == old
    publisher.catalogue.write_text(f"catalogue-version = 1\n{other}")
    assert publisher.run("--relock", "--models", "second").code == 0
    assert publisher.lock.read_text().count("[[models]]") == 1, "that is the whole catalogue"
