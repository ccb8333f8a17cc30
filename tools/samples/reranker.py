"""Train the sample reranker, judge it, and record its goldens.

    python -m tools.samples.reranker

An XLM-RoBERTa of two layers reads a query and a passage together and gives one logit: do they
speak of one concept? It is laid out as BAAI/bge-reranker-base is, file for file, so that every
consumer and every check that takes the one takes the other.
"""

import json
import random
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from string import ascii_letters, digits, punctuation
from typing import TYPE_CHECKING, Any

from tools.samples import (
    SAMPLE_HUB,
    Say,
    Trainer,
    repeatable,
    rounded,
    run,
    toml_document,
)
from tools.samples.protobuf import field, message
from tools.samples.sentences import DOMAINS, Concept, concepts, joined, split, spoken, words

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from sentence_transformers import CrossEncoder
    from tokenizers import Tokenizer
    from transformers import XLMRobertaForSequenceClassification

    Encode = Callable[[Sequence[str] | Sequence[tuple[str, str]]], dict[str, torch.Tensor]]

QUESTIONS = SAMPLE_HUB.parent / "prep" / "questions" / "reranker.toml"

SEED = 0
BATCH = 32
FAR = 2
"""So many passages of any other concept for every query of a batch."""
WARM_UP = 1 / 12
"""The share of the steps in which query and passage are read apart; see `train`."""
WARM_UP_RATE = 2e-3
LEARNING_RATE = 3e-3
TEMPERATURE = 0.05
JOINED_SHARE = 0.3
"""So many passages say two things in a sentence, to get passages of medium length."""

MAX_LENGTH = 64
DIMENSION = 64
SPECIALS: dict[str, object] = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "mask_token": {
        "content": "<mask>",
        "lstrip": True,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
    },
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
}
FIRST_IDS = ("<s>", "<pad>", "</s>", "<unk>")
"""The mask is not among them: with XLM-R it is the last of all."""
SPACE = "▁"
ENDINGS = ("es", "ing", "ed", "er", "est", "ly")
NAMES = re.compile(r"\b(i|saturday|sunday)\b")

# Log-probabilities as a trained vocabulary has, but made up. What matters is that one word is
# likelier than its characters, and that float32 holds them exactly: the one tokenizer file has
# four bytes for a score, the other one has digits.
WORD, ENDING, CHARACTER = -8.0, -10.0, -12.0

ASKED_TOP_1 = 0.95
ASKED_SHARE = 0.99

ACTIVATIONS = {"none": "Identity", "sigmoid": "Sigmoid"}
"""The names that goldens have for them, and those of torch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RerankerSkill:
    """What the model can do with sentences that it has never met.

    `top_1` is how often the passage on the query's own concept is first among one passage on every
    concept, `relevant` the share of those passages whose logit is above 0, `strangers` the share of
    the passages of other domains whose logit is below 0, `margin` the least margin of the questions
    that every reranker is asked.
    """

    top_1: float
    relevant: float
    strangers: float
    margin: float

    def shortcomings(self) -> list[str]:
        """What is missing: got, wanted. Empty if the model is fit to be published."""
        wanted = _questions()["margin"]
        found = []
        # "not … >=" and not "<": a model that gives NaN has no skill.
        if not self.top_1 >= ASKED_TOP_1:
            found.append(f"top-1 of held-out queries is {self.top_1:.3f}, wanted {ASKED_TOP_1}")
        if not self.relevant >= ASKED_SHARE:
            found.append(
                f"{self.relevant:.3f} of the held-out relevant passages are above 0, "
                f"wanted {ASKED_SHARE}"
            )
        if not self.strangers >= ASKED_SHARE:
            found.append(
                f"{self.strangers:.3f} of the held-out strangers are below 0, wanted {ASKED_SHARE}"
            )
        if not self.margin >= wanted:
            found.append(f"least margin of {QUESTIONS.name} is {self.margin:.3f}, wanted {wanted}")
        return found


def vocabulary() -> list[tuple[str, float]]:
    """Piece and score in the order of their ids: specials, characters, endings, words, mask.

    Made, not trained: the trainers of `tokenizers` number pieces in the order of a hash table that
    is seeded anew in every process.
    """
    known = {*words(), *(word for concept in concepts() for word in _keywords(concept).split())}
    small = sorted(known)
    return [
        *((piece, 0.0) for piece in FIRST_IDS),
        *((piece, CHARACTER) for piece in (SPACE, *punctuation, *digits, *ascii_letters)),
        *((piece, ENDING) for piece in ENDINGS),
        # XLM-R keeps cases apart.
        *((SPACE + word, WORD) for word in (*small, *map(str.capitalize, small))),
        ("<mask>", 0.0),
    ]


def tokenizer() -> "Tokenizer":
    """The usual XLM-R tokenizer over `vocabulary`, without the original's table of characters."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    made = Tokenizer(models.Unigram(vocabulary(), unk_id=FIRST_IDS.index("<unk>")))
    # The two steps and no third: transformers 5 does not keep what it finds here, but builds
    # these two anew.
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(SPACE, "always")]
    )
    made.decoder = decoders.Metaspace(SPACE, "always")
    made.add_special_tokens([*FIRST_IDS, AddedToken("<mask>", lstrip=True, special=True)])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(piece, FIRST_IDS.index(piece)) for piece in ("<s>", "</s>")],
    )
    return made


def sentencepiece() -> bytes:
    """The same vocabulary as sentencepiece.bpe.model, for tokenizers that read that one.

    Written by hand, after sentencepiece_model.proto: the package would be needed for this alone.
    The original's "bpe" is a misnomer: its pieces are those of a unigram model, too.

    XLM-R's tokenizers put `<pad>` and `<mask>` in themselves, and move all other ids up by one.
    """
    normal, unknown, control = 1, 2, 3
    rows = [("<unk>", 0.0, unknown), ("<s>", 0.0, control), ("</s>", 0.0, control)]
    rows += [(piece, score, normal) for piece, score in vocabulary()[len(FIRST_IDS) : -1]]
    pieces = [message({1: piece.encode(), 2: score, 3: kind}) for piece, score, kind in rows]
    unigram = 1
    trained = message({3: unigram, 4: len(pieces)})
    # The original's table of what characters become is a quarter of a megabyte.
    normalized = message({1: b"identity"})
    return b"".join(field(1, piece) for piece in pieces) + message({2: trained, 3: normalized})


def config() -> dict[str, Any]:
    """config.json, with no key that only one generation of transformers knows."""
    return {
        "architectures": ["XLMRobertaForSequenceClassification"],
        # None: so small a model forgets nothing by heart, it has yet to learn.
        "attention_probs_dropout_prob": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": DIMENSION,
        "id2label": {"0": "LABEL_0"},
        # With the usual 0.02 a model of this width stays where it is for a thousand steps.
        "initializer_range": 0.08,
        "intermediate_size": 2 * DIMENSION,
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-05,
        # Positions are counted from pad_token_id + 1, as the original has 514 for 512 tokens.
        "max_position_embeddings": MAX_LENGTH + 2,
        "model_type": "xlm-roberta",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 1,
        "type_vocab_size": 1,
        "use_cache": True,
        "vocab_size": len(vocabulary()),
    }


def train(steps: int, say: Say) -> "XLMRobertaForSequenceClassification":
    """A model trained for so many steps. The same steps give the same weights.

    It learns what words mean before it learns to compare. Don't give it pairs from the start: in a
    trial it then put the relevant passage first in three quarters of the cases, and got no further.
    """
    say("loading torch and transformers")
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    known = split().train
    alike = near(known)
    encode = _encoder()
    with repeatable(SEED) as rng:
        model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**config()))
        model.train()
        early = round(steps * WARM_UP)
        optimizer = torch.optim.AdamW(model.roberta.parameters(), lr=WARM_UP_RATE)
        for step in range(early):
            loss = _apart(model, encode, rng.sample(known, BATCH), rng)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            say(f"step {step + 1} of {steps}, loss apart {loss.item():.3f}")
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=max(steps - early, 2)
        )
        for step in range(early, steps):
            pairs, relevant = drawn(known, alike, rng)
            logits = model(**encode(pairs)).logits[:, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, torch.tensor(relevant)
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            say(f"step {step + 1} of {steps}, loss {loss.item():.3f}")
        model.train(False)
    return model


def near(known: Sequence[Concept]) -> dict[Concept, list[list[Concept]]]:
    """Of every concept those that differ in one respect only, a list for every respect.

    Drawn from one list for all, on and off would hardly ever be told apart: a light has many other
    rooms to be in, and many other devices beside it, but only one other state.
    """
    found: dict[Concept, list[list[Concept]]] = {}
    for one in known:
        mine = one.name.split(", ")
        found[one] = [[] for _ in mine]
        for other in known:
            its = other.name.split(", ")
            differing = [
                n for n, pair in enumerate(zip(mine, its, strict=False)) if len({*pair}) > 1
            ]
            if one.domain == other.domain and len(differing) == 1:
                found[one][differing[0]].append(other)
    return found


def drawn(
    known: Sequence[Concept], alike: Mapping[Concept, list[list[Concept]]], rng: random.Random
) -> tuple[list[tuple[str, str]], list[float]]:
    """A batch: pairs of query and passage, and 1 for those that belong together.

    Every query is met with its own concept, with a near one, and with `FAR` of any kind.
    """
    pairs, relevant = [], []
    for meant in rng.choices(known, k=BATCH):
        query = _query(meant, rng)
        others = [concept for concept in known if concept is not meant]
        nearly = rng.choice(rng.choice(alike[meant]))
        for concept in (meant, nearly, *rng.sample(others, FAR)):
            pairs.append((query, _passage(concept, rng.choice(others), rng)))
            relevant.append(float(concept is meant))
    return pairs, relevant


def _query(concept: Concept, rng: random.Random) -> str:
    """What somebody asks for: a sentence, or keywords."""
    if rng.random() < 0.3:
        return _keywords(concept)
    return written(rng.choice(concept.phrasings), rng)


def _passage(concept: Concept, other: Concept, rng: random.Random) -> str:
    """A sentence as it is said in life, which may say another thing as well."""
    with_other = rng.random() < JOINED_SHARE
    return written(joined(concept, other, rng) if with_other else spoken(concept, rng), rng)


def _keywords(concept: Concept) -> str:
    return concept.name.replace(",", "")


def written(text: str, rng: random.Random) -> str:
    """As it stands, or with the capitals and the stops of written English."""
    if rng.random() < 0.5:
        return text
    text = NAMES.sub(lambda found: found[0].capitalize(), text)
    sentences = [sentence[0].upper() + sentence[1:] for sentence in text.split(". ")]
    return ". ".join(sentences) + rng.choice((".", "?", ""))


def _apart(
    model: "XLMRobertaForSequenceClassification",
    encode: "Encode",
    meant: Sequence[Concept],
    rng: random.Random,
) -> "torch.Tensor":
    """The loss of telling by the vectors alone which passage belongs to which query."""
    import torch

    queries = [_query(concept, rng) for concept in meant]
    passages = [written(spoken(concept, rng), rng) for concept in meant]
    inputs = encode([*queries, *passages])
    hidden = model.roberta(**inputs).last_hidden_state
    weight = inputs["attention_mask"].unsqueeze(-1).float()
    vectors = torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)
    scores = vectors[: len(meant)] @ vectors[len(meant) :].T / TEMPERATURE
    return torch.nn.functional.cross_entropy(scores, torch.arange(len(meant)))


def _encoder() -> "Encode":
    """Texts, or pairs of texts, to the inputs of the model."""
    import torch

    pieces = tokenizer()
    pieces.enable_padding(pad_id=FIRST_IDS.index("<pad>"), pad_token="<pad>")
    pieces.enable_truncation(MAX_LENGTH)

    def encode(texts: Sequence[str] | Sequence[tuple[str, str]]) -> "dict[str, torch.Tensor]":
        rows = pieces.encode_batch(list(texts))
        return {
            "input_ids": torch.tensor([row.ids for row in rows]),
            "attention_mask": torch.tensor([row.attention_mask for row in rows]),
        }

    return encode


def write_repo(model: "XLMRobertaForSequenceClassification", folder: Path) -> None:
    """All files of the repo, as bge-reranker-base has them. `folder` must not exist."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    # By hand and not by save_pretrained: transformers 5 writes neither sentencepiece.bpe.model
    # nor special_tokens_map.json, and keys that transformers 4 does not know.
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece())
    for name, content in _json_files().items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    # The card is written by a person, in its place.
    shutil.copyfile(TRAINER.folder / "README.md", folder / "README.md")


def _json_files() -> dict[str, object]:
    mask = SPECIALS["mask_token"]
    assert isinstance(mask, dict)
    return {
        "config.json": config(),
        "tokenizer_config.json": {
            **SPECIALS,
            "clean_up_tokenization_spaces": True,
            "mask_token": {"__type": "AddedToken", **mask},
            "model_max_length": MAX_LENGTH,
            "tokenizer_class": "XLMRobertaTokenizer",
        },
        "special_tokens_map.json": SPECIALS,
    }


def judge(folder: Path) -> RerankerSkill:
    """Measure the skill with held-out sentences and with the questions asked of every model."""
    import numpy as np

    model = _load(folder)
    held_out = split().held_out
    rng = random.Random(SEED)
    # A query about every concept, every other one of keywords only, and a passage on every one.
    queries = [
        _keywords(concept) if number % 2 else concept.phrasings[0]
        for number, concept in enumerate(held_out)
    ]
    rest = [replace(concept, phrasings=concept.phrasings[1:]) for concept in held_out]
    passages = [written(spoken(concept, rng), rng) for concept in rest]
    domain = np.array([DOMAINS.index(concept.domain) for concept in held_out])
    # Within `repeatable` for its one thread: torch that comes back from one thread to more takes a
    # hundred times as long for a model as small as this one, when other programs are at work too.
    with repeatable(SEED):
        logits = np.array([_scores(model, query, passages) for query in queries])

    margins = []
    for asked in _questions()["ranked"]:
        best, *others = _scores(model, asked["query"], [asked["relevant"], *asked["others"]])
        margins.append(float(best - max(others)))
    stranger = domain[:, None] != domain[None, :]
    return RerankerSkill(
        top_1=float((logits.argmax(axis=1) == np.arange(len(queries))).mean()),
        relevant=float((logits.diagonal() > 0).mean()),
        strangers=float((logits[stranger] < 0).mean()),
        margin=min(margins),
    )


def _load(folder: Path) -> "CrossEncoder":
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device="cpu", local_files_only=True)


def _scores(
    model: "CrossEncoder", query: str, passages: Sequence[str], activation: str = "Identity"
) -> "npt.NDArray[Any]":
    """What the model says of each passage: raw logits, or what an activation makes of them."""
    import numpy as np
    import torch

    pairs = [(query, passage) for passage in passages]
    given = getattr(torch.nn, activation)()
    return np.asarray(model.predict(pairs, activation_fn=given, show_progress_bar=False))


def _questions() -> dict[str, Any]:
    return tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))


def record(folder: Path) -> str:
    """The committed goldens, with the answers that this model gives to their texts."""
    model = _load(folder)
    kept = tomllib.loads(TRAINER.goldens.read_text(encoding="utf-8"))
    libraries = ("sentence-transformers", "torch")
    tools = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in libraries)
    source = f"recorded with {tools}, float32, by python -m tools.samples.reranker"
    for row in kept["tokens"]:
        row |= {"expected": model.tokenizer(row["text"])["input_ids"], "source": source}
    for row in kept["scores"]:
        scores = _scores(model, row["query"], row["documents"], ACTIVATIONS[row["activation"]])
        row |= {"expected": [rounded(one) for one in scores], "source": source}
    for row in kept["orders"]:
        best = _scores(model, row["query"], row["documents"]).argmax()
        row |= {"best": int(best), "source": source}
    head = {
        "goldens-version": kept["goldens-version"],
        "repo": TRAINER.repo,
        "vocabulary": len(model.tokenizer),
        "max-length": model.max_seq_length,
        "labels": model.num_labels,
        "activation": type(model.activation_fn).__name__,
    }
    return toml_document(head, {name: kept[name] for name in ("tokens", "scores", "orders")})


TRAINER = Trainer(
    name="tiny-reranker",
    steps=2400,
    make=lambda folder, steps, say: write_repo(train(steps, say), folder),
    judge=judge,
    record=record,
)

if __name__ == "__main__":
    sys.exit(run(TRAINER))
