"""Locks that are right in every digest, of a repository that is wrong: only answers show it.

The repository is changed first, then locked, fetched and converted: nothing but the recorded
answers, the properties and the loads themselves knows better.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_tests import (
    test_agreement,
    test_embedding,
    test_offline_loading,
    test_reranker,
    test_seq2seq,
)
from tests.proofs.matrix.row import Row
from tests.support.real_loads import change_weights, configure, judges_of, negated, renamed, zeroed

JUDGES = {
    "embedding": tuple(judges_of(test_embedding)),
    "reranker": tuple(judges_of(test_reranker)),
    "seq2seq": tuple(judges_of(test_seq2seq)),
}
AGREEMENT = tuple(judges_of(test_agreement))
LOADS = tuple(judges_of(test_offline_loading))
TOKENS = "test_tokens_are_the_published"
RELATED = "test_related_stands_above_unrelated"
MADE_UP = "test_no_weights_are_made_up"
# Numbers that are made up may be others in the next load, so no conversion agrees, or none is made;
# and a model that writes no words any more writes others in eight bits.
UNCONVERTED = ("test_receipt_names_the_pin", "test_content_is_right[agreement]")


def weights(change: Callable[..., object]) -> Callable[[Path], None]:
    return lambda folder: change_weights(folder, change)  # type: ignore[arg-type]


def in_json(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    """Other content of a JSON file: `change` gives the new one."""

    def do(folder: Path) -> None:
        path = folder / name
        data = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(change(data)), encoding="utf-8")

    return do


def words_exchanged(folder: Path) -> None:
    """Two thirds of a vocabulary: the same words under other numbers."""
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = data["model"]["vocab"]
    names = sorted(vocabulary, key=vocabulary.__getitem__)
    kept, rest = names[:10], names[10:]
    data["model"]["vocab"] = {word: at for at, word in enumerate([*kept, *rest[::-1]])}
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join([*kept, *rest[::-1]]) + "\n", encoding="utf-8")


def case_kept(folder: Path) -> None:
    """In both files: transformers sets the one right by what the other says."""

    def words(data: dict[str, dict[str, object]]) -> object:
        return {**data, "normalizer": {**data["normalizer"], "lowercase": False}}

    in_json("tokenizer.json", words)(folder)
    in_json("tokenizer_config.json", lambda data: {**data, "do_lower_case": False})(folder)


def _row(
    name: str,
    task: str,
    seen_by: tuple[str, ...],
    *words: str,
    damage_repo: Callable[[Path], object] | None = None,
    file: str = "",
    also: tuple[str, ...] = (),
    **entry: str,
) -> Row:
    return Row(
        name=name,
        group="answers",
        seen_by=seen_by,
        may_see=(*JUDGES[task], *AGREEMENT, *also),
        file=file
        or "transformers:",  # what it was loaded by stands for the file: all are as locked
        words=words,
        tasks=(task,),
        damage_repo=damage_repo,
        entry=entry,
        true=False,
    )


ROWS = (
    _row("weights of another training", "embedding",
        ("test_vectors_are_the_published", "test_similarities_are_the_published"),
        damage_repo=weights(negated("encoder.layer.1.output.dense"))),
    _row("one layer is zero", "embedding", ("test_vectors_are_the_published",),
        damage_repo=weights(zeroed("encoder.layer.0.attention"))),
    _row("a layer under other names", "embedding", (MADE_UP,),
        damage_repo=weights(renamed("encoder.layer.0.intermediate")), also=(*UNCONVERTED, *LOADS)),
    _row("vocabulary exchanged", "embedding", (TOKENS, RELATED), damage_repo=words_exchanged),
    _row("capitals kept", "embedding", (TOKENS,), damage_repo=case_kept),
    _row("length limit of another model", "embedding", ("test_pipeline_is_the_published",),
        "max-length is 16",
        damage_repo=in_json("sentence_bert_config.json", lambda _: {"max_seq_length": 16}),
        file="sentence-transformers"),
    _row("pooling by the first token", "embedding",
        ("test_vectors_are_the_published", "test_pipeline_is_the_published"),
        damage_repo=in_json("1_Pooling/config.json", lambda data: {**data,
            "pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}),
        file="sentence-transformers"),
    _row("not normalised", "embedding", ("test_pipeline_is_the_published",), "modules is",
        damage_repo=in_json("modules.json", lambda data: data[:2]), file="sentence-transformers"),
    _row("scores turned round", "reranker",
        ("test_scores_are_the_published", "test_order_is_the_published",
            "test_relevant_stands_above_the_others"),
        damage_repo=weights(negated("classifier.out_proj."))),
    _row("a head under other names", "reranker", (MADE_UP,),
        damage_repo=weights(renamed("classifier.")), also=(*UNCONVERTED, *LOADS)),
    _row("scores by another activation", "reranker", ("test_classifier_is_the_published",),
        "activation is",
        damage_repo=lambda folder: configure(folder,
            sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"}),
        file="sentence-transformers"),
    _row("a head turned round", "seq2seq", ("test_texts_are_the_published",),
        damage_repo=weights(negated("lm_head")), also=UNCONVERTED),
    _row(
        "a head tied to the words",
        "seq2seq",
        ("test_log_probabilities_are_the_published",),  # the same words stand first
        damage_repo=lambda folder: configure(folder, tie_word_embeddings=True),
        also=(*UNCONVERTED, *LOADS),
    ),
    _row("a decoder that does not see", "seq2seq",
        ("test_texts_are_the_published", "test_answers_follow_their_prompts"),
        damage_repo=weights(zeroed("EncDecAttention.o"))),
    _row("an encoder under other names", "seq2seq", (MADE_UP,),
        damage_repo=weights(renamed("encoder.block.0")), also=(*UNCONVERTED, *LOADS)),
)  # fmt: skip
