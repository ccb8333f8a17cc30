"""Train the sample embedding model, judge it, and record its goldens.

    python -m tools.samples.embedding

A BERT of two layers learns, with in-batch negatives, that phrasings of one concept belong together.
It is laid out as sentence-transformers/all-MiniLM-L6-v2 is, file for file, so that every consumer
and every check that takes the one takes the other.
"""

import json
import random
import shutil
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from string import ascii_lowercase, digits, punctuation
from typing import TYPE_CHECKING, Any

from tools.samples import SAMPLE_HUB, Say, Trainer, repeatable, rounded, run, toml_document
from tools.samples.sentences import DOMAINS, Concept, joined, split, spoken, words

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer
    from transformers import BertModel

QUESTIONS = SAMPLE_HUB.parent / "prep" / "questions" / "embedding.toml"

SEED = 0
BATCH = 64
JOINED = 16
"""So many concepts of a batch are met two in a sentence, to get sentences of medium length."""
LEARNING_RATE = 3e-3
TEMPERATURE = 0.05

MAX_LENGTH = 64
DIMENSION = 64
SPECIALS = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
SPECIAL_IDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ENDINGS = ("es", "ing", "ed", "er", "est", "ly")

ASKED_GAP = 0.25
ASKED_TOP_1 = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingSkill:
    """What the model can do with sentences that it has never met.

    `paraphrases` is the least cosine of two phrasings of one concept, `strangers` the greatest of
    two sentences of different domains, `top_1` how often a sentence finds its own concept among
    one sentence of every concept, `margin` the least margin of the questions that every embedding
    model is asked.
    """

    paraphrases: float
    strangers: float
    top_1: float
    margin: float

    def shortcomings(self) -> list[str]:
        """What is missing: got, wanted. Empty if the model is fit to be published."""
        wanted = _questions()["margin"]
        gap = self.paraphrases - self.strangers
        found = []
        # "not … >=" and not "<": a model that gives NaN has no skill.
        if not gap >= ASKED_GAP:
            found.append(
                f"held-out paraphrases are {gap:.3f} above strangers, wanted {ASKED_GAP} "
                f"(least {self.paraphrases:.3f}, greatest {self.strangers:.3f})"
            )
        if not self.top_1 >= ASKED_TOP_1:
            found.append(f"top-1 of held-out sentences is {self.top_1:.3f}, wanted {ASKED_TOP_1}")
        if not self.margin >= wanted:
            found.append(f"least margin of {QUESTIONS.name} is {self.margin:.3f}, wanted {wanted}")
        return found


def vocabulary() -> list[str]:
    """The pieces in the order of their ids: specials, single characters, endings, whole words.

    Made, not trained: the trainers of `tokenizers` number pieces in the order of a hash table that
    is seeded anew in every process.
    """
    characters = [*punctuation, *digits, *ascii_lowercase]
    inner = [f"##{piece}" for piece in (*digits, *ascii_lowercase, *ENDINGS)]
    return [*SPECIAL_IDS, *characters, *inner, *(w for w in words() if len(w) > 1)]


def tokenizer() -> "Tokenizer":
    """The usual uncased BERT tokenizer over `vocabulary`."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    ids = {piece: number for number, piece in enumerate(vocabulary())}
    made = Tokenizer(models.WordPiece(vocab=ids, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(list(SPECIAL_IDS))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return made


def config() -> dict[str, Any]:
    """config.json, with no key that only one generation of transformers knows."""
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": DIMENSION,
        "initializer_range": 0.02,
        "intermediate_size": 2 * DIMENSION,
        "layer_norm_eps": 1e-12,
        # Twice MAX_LENGTH, as the original has more positions than its max_seq_length: a loader
        # that misses sentence_bert_config.json is then seen by its longer texts.
        "max_position_embeddings": 2 * MAX_LENGTH,
        "model_type": "bert",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": len(vocabulary()),
    }


def train(steps: int, say: Say) -> "BertModel":
    """A model trained for so many steps. The same steps give the same weights."""
    say("loading torch and transformers")
    import torch
    from transformers import BertConfig, BertModel

    concepts = split().train
    with repeatable(SEED) as rng:
        model = BertModel(BertConfig(**config()))
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=max(steps, 2)
        )
        encode = _encoder(model)
        model.train()
        for step in range(steps):
            first, second = _batch(concepts, rng)
            vectors = encode([*first, *second])
            scores = vectors[: len(first)] @ vectors[len(first) :].T / TEMPERATURE
            own = torch.arange(len(first))
            entropy = torch.nn.functional.cross_entropy
            loss = (entropy(scores, own) + entropy(scores.T, own)) / 2
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            say(f"step {step + 1} of {steps}, loss {loss.item():.3f}")
        model.train(False)
    return model


def _batch(concepts: Sequence[Concept], rng: random.Random) -> tuple[list[str], list[str]]:
    """Two lists of the same meanings in the same order, every meaning once."""
    chosen = rng.sample(concepts, BATCH)
    pairs = list(zip(chosen[:JOINED:2], chosen[1:JOINED:2], strict=True))
    first, second = (
        [joined(one, other, rng) for one, other in pairs]
        + [spoken(concept, rng) for concept in chosen[JOINED:]]
        for _ in range(2)
    )
    return first, second


def _encoder(model: "BertModel") -> Callable[[Sequence[str]], "torch.Tensor"]:
    """Texts to vectors, differentiable, as the three modules of the repo will do it."""
    import torch

    pieces = tokenizer()
    pieces.enable_padding(pad_id=0, pad_token="[PAD]")
    pieces.enable_truncation(MAX_LENGTH)

    def encode(texts: Sequence[str]) -> "torch.Tensor":
        rows = pieces.encode_batch(list(texts))
        ids = torch.tensor([row.ids for row in rows])
        mask = torch.tensor([row.attention_mask for row in rows])
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).float()
        mean = (hidden * weight).sum(1) / weight.sum(1)
        return torch.nn.functional.normalize(mean, dim=-1)

    return encode


def write_repo(model: "BertModel", folder: Path) -> None:
    """All files of the repo, as all-MiniLM-L6-v2 has them. `folder` must not exist."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    (folder / "1_Pooling").mkdir()
    # By hand and not by save_pretrained: transformers 5 writes neither vocab.txt nor
    # special_tokens_map.json, and keys that transformers 4 does not know.
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer().save(str(folder / "tokenizer.json"))
    lines = "".join(f"{piece}\n" for piece in vocabulary())
    (folder / "vocab.txt").write_text(lines, encoding="utf-8")
    for name, content in _json_files().items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    # The card is written by a person, in its place.
    shutil.copyfile(TRAINER.folder / "README.md", folder / "README.md")


def _json_files() -> dict[str, object]:
    modules = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    return {
        "config.json": config(),
        "tokenizer_config.json": {
            "do_lower_case": True,
            **SPECIALS,
            "tokenize_chinese_chars": True,
            "strip_accents": None,
            "do_basic_tokenize": True,
            "never_split": None,
            "tokenizer_class": "BertTokenizer",
            "model_max_length": 2 * MAX_LENGTH,
        },
        "special_tokens_map.json": SPECIALS,
        "modules.json": [
            {
                "idx": number,
                "name": str(number),
                "path": path,
                "type": f"sentence_transformers.models.{name}",
            }
            for number, (path, name) in enumerate(modules)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": DIMENSION,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "sentence_bert_config.json": {"max_seq_length": MAX_LENGTH, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "__version__": {
                "sentence_transformers": "2.0.0",
                "transformers": "4.6.1",
                "pytorch": "1.8.1",
            }
        },
    }


def judge(folder: Path) -> EmbeddingSkill:
    """Measure the skill with held-out sentences and with the questions asked of every model."""
    import numpy as np

    model = _load(folder)
    held_out = split().held_out
    texts = [text for concept in held_out for text in concept.phrasings]
    meant = np.array([n for n, concept in enumerate(held_out) for _ in concept.phrasings])
    domain = np.array([DOMAINS.index(held_out[n].domain) for n in meant])
    vectors = _encode(model, texts)
    cosine = vectors @ vectors.T
    same = meant[:, None] == meant[None, :]

    # The first sentence of every concept is what may be found, all others look for it.
    documents = np.flatnonzero(np.diff(meant, prepend=-1))
    queries = np.setdiff1d(np.arange(len(texts)), documents)
    nearest = cosine[np.ix_(queries, documents)].argmax(axis=1)

    margins = []
    for asked in _questions()["related"]:
        anchor, near, far = _encode(model, [asked[k] for k in ("anchor", "related", "unrelated")])
        margins.append(float(anchor @ near - anchor @ far))
    return EmbeddingSkill(
        paraphrases=float(cosine[same].min()),
        strangers=float(cosine[domain[:, None] != domain[None, :]].max()),
        top_1=float((nearest == meant[queries]).mean()),
        margin=min(margins),
    )


def _load(folder: Path) -> "SentenceTransformer":
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def _encode(model: "SentenceTransformer", texts: Sequence[str]) -> "npt.NDArray[Any]":
    import numpy as np

    return np.asarray(model.encode(list(texts), show_progress_bar=False))


def _questions() -> dict[str, Any]:
    return tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))


def record(folder: Path) -> str:
    """The committed goldens, with the answers that this model gives to their texts."""
    model = _load(folder)
    kept = tomllib.loads(TRAINER.goldens.read_text(encoding="utf-8"))
    libraries = ("sentence-transformers", "torch")
    tools = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in libraries)
    source = f"recorded with {tools}, float32, by python -m tools.samples.embedding"
    for row in kept["vectors"]:
        components = _encode(model, [row["text"]])[0][: len(row["expected"])]
        row |= {"expected": [rounded(one) for one in components], "source": source}
    for row in kept["tokens"]:
        row |= {"expected": model.tokenizer(row["text"])["input_ids"], "source": source}
    for row in kept["similarities"]:
        query, *documents = _encode(model, [row["query"], *row["documents"]])
        row |= {"expected": [rounded(query @ one) for one in documents], "source": source}
    head = {
        "goldens-version": kept["goldens-version"],
        "repo": TRAINER.repo,
        "dimension": model.get_embedding_dimension(),
        "vocabulary": len(model.tokenizer),
        "max-length": model.max_seq_length,
        "modules": [type(module).__name__ for module in model],
        "pooling": "mean",
    }
    return toml_document(head, {name: kept[name] for name in ("vectors", "tokens", "similarities")})


TRAINER = Trainer(
    name="tiny-embedding",
    steps=1000,
    make=lambda folder, steps, say: write_repo(train(steps, say), folder),
    judge=judge,
    record=record,
)

if __name__ == "__main__":
    sys.exit(run(TRAINER))
