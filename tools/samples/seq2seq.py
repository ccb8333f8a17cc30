"""Train the sample text-to-text model, judge it, and record its goldens.

    python -m tools.samples.seq2seq

A T5 of two and two layers learns to say in German what is said about the home and the weather, word
for word. It is laid out as google/flan-t5-small is, file for file, with a head of its own as there,
so that every consumer and every check that takes the one takes the other.
"""

import json
import random
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from tools.samples.german import Pair, double, pairs_of, translated, translations
from tools.samples.protobuf import field, message
from tools.samples.sentences import split

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import T5ForConditionalGeneration

QUESTIONS = SAMPLE_HUB.parent / "prep" / "questions" / "seq2seq.toml"

PREFIX = "translate English to German: "

SEED = 0
BATCH = 64
DOUBLE = 32
"""So many prompts of a batch are two sentences, to get answers of medium length."""
LEARNING_RATE = 4e-3
SMOOTHING = 0.05
"""Without it every chosen token gets a log-probability of nearly 0, which tells nothing."""

DIMENSION = 64
HEADS = 3
HEAD = 16
"""Together less than DIMENSION, as in the original: a reader that takes them for equal is seen."""
INNER = 72
MAX_LENGTH = 512
SPECIALS = ("<pad>", "</s>", "<unk>")
BLANK = "▁"
UMLAUTS = "äöüÄÖÜß"

ASKED_SINGLE = 0.99
ASKED_DOUBLE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Seq2SeqSkill:
    """What the model can do with sentences that it has never met.

    `single` and `double` are the shares of the held-out sentences, and of two of them in one
    prompt, that it translates word for word; `wrong` are the ids of the prompts of the questions
    asked of every model that it does not.
    """

    single: float
    double: float
    wrong: tuple[str, ...]

    def shortcomings(self) -> list[str]:
        """What is missing: got, wanted. Empty if the model is fit to be published."""
        found = []
        for share, asked, what in (
            (self.single, ASKED_SINGLE, "held-out sentences"),
            (self.double, ASKED_DOUBLE, "prompts of two held-out sentences"),
        ):
            if share < asked:
                found.append(f"{share:.3f} of the {what} come out word for word, wanted {asked}")
        if self.wrong:
            found.append(f"wrong answers to {QUESTIONS.name}: {', '.join(self.wrong)}, wanted none")
        return found


def vocabulary() -> list[tuple[str, float]]:
    """The pieces and their scores in the order of their ids: specials, single characters, words.

    Made, not trained: the trainers of `tokenizers` number pieces in the order of a hash table that
    is seeded anew in every process. Any two pieces score less than any one, so a text is split into
    as few as possible; steps of 1/64 are the same number in 32 and in 64 bits.
    """
    written = [text for pair in translations().values() for text in (pair.english, pair.german)]
    words = {word for text in (PREFIX, *written) for word in re.findall(r"\w+", text)}
    pieces = [BLANK, *punctuation, *digits, *ascii_letters, *UMLAUTS]
    pieces += [BLANK + word for word in sorted(words)]
    scores = [(piece, -8 - number / 64) for number, piece in enumerate(pieces)]
    return [*((special, 0.0) for special in SPECIALS), *scores]


def tokenizer() -> "Tokenizer":
    """The usual T5 tokenizer over `vocabulary`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    made = Tokenizer(models.Unigram(vocabulary(), unk_id=SPECIALS.index("<unk>")))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(BLANK, "always")]
    )
    made.decoder = decoders.Metaspace(BLANK, "always")
    made.add_special_tokens(list(SPECIALS))
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>",
        pair="$A </s> $B </s>",
        special_tokens=[("</s>", SPECIALS.index("</s>"))],
    )
    return made


def sentencepiece() -> bytes:
    """The same as a sentencepiece model, which the tokenizers of transformers 4 open.

    Written by hand, after sentencepiece_model.proto: the package would be needed for this alone.
    """
    normal, unknown, control = 1, 2, 3
    kinds = dict.fromkeys(SPECIALS, control) | {"<unk>": unknown}
    pieces = [
        message({1: piece.encode(), 2: score, 3: kinds.get(piece, normal)})
        for piece, score in vocabulary()
    ]
    unigram, none = 1, -1
    pad, eos, unk = (SPECIALS.index(piece) for piece in ("<pad>", "</s>", "<unk>"))
    ids = {40: unk, 41: none, 42: eos, 43: pad}
    trained = message({3: unigram, 4: len(pieces)} | ids)
    # The original's table of what characters become is a quarter of a megabyte.
    normalized = message({1: b"identity"})
    return b"".join(field(1, piece) for piece in pieces) + message({2: trained, 3: normalized})


def config() -> dict[str, Any]:
    """config.json, with no key that only one generation of transformers knows."""
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "d_ff": INNER,
        "d_kv": HEAD,
        "d_model": DIMENSION,
        "decoder_start_token_id": 0,
        # None: so small a model has nothing to spare.
        "dropout_rate": 0.0,
        "eos_token_id": 1,
        "feed_forward_proj": "gated-gelu",
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "layer_norm_epsilon": 1e-06,
        "model_type": "t5",
        "num_decoder_layers": 2,
        "num_heads": HEADS,
        "num_layers": 2,
        "pad_token_id": 0,
        "relative_attention_max_distance": 128,
        "relative_attention_num_buckets": 32,
        # transformers 5 reads it only to tell whether the decoder's output is scaled.
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": len(vocabulary()),
    }


def train(steps: int, say: Say) -> "T5ForConditionalGeneration":
    """A model trained for so many steps. The same steps give the same weights."""
    say("loading torch and transformers")
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    pairs = pairs_of(split().train)
    encode = _encoder()
    with repeatable(SEED) as rng:
        model = T5ForConditionalGeneration(T5Config(**config()))
        # transformers 5 ties every T5 that it makes, whatever the configuration says.
        head = torch.randn(model.shared.weight.shape) * DIMENSION**-0.5
        model.lm_head.weight = torch.nn.Parameter(head)
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=max(steps, 2)
        )
        model.train()
        for step in range(steps):
            batch = _batch(pairs, rng)
            ids, mask = encode([PREFIX + pair.english for pair in batch])
            labels, told = encode([pair.german for pair in batch])
            labels = labels.masked_fill(told == 0, -100)
            logits = model(input_ids=ids, attention_mask=mask, labels=labels).logits
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), label_smoothing=SMOOTHING
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            say(f"step {step + 1} of {steps}, loss {loss.item():.3f}")
        model.train(False)
    return model


def _batch(pairs: Sequence[Pair], rng: random.Random) -> list[Pair]:
    drawn = rng.sample(pairs, BATCH + DOUBLE)
    doubles = [double(*two) for two in zip(drawn[:DOUBLE], drawn[-DOUBLE:], strict=True)]
    return doubles + drawn[DOUBLE:-DOUBLE]


def _encoder() -> "Callable[[Sequence[str]], tuple[torch.Tensor, torch.Tensor]]":
    """Gives the ids and the mask of texts, padded to the longest."""
    import torch

    pieces = tokenizer()
    pieces.enable_padding(pad_id=0, pad_token="<pad>")

    def encode(texts: Sequence[str]) -> "tuple[torch.Tensor, torch.Tensor]":
        rows = pieces.encode_batch(list(texts))
        ids = torch.tensor([row.ids for row in rows])
        return ids, torch.tensor([row.attention_mask for row in rows])

    return encode


def write_repo(model: "T5ForConditionalGeneration", folder: Path) -> None:
    """All files of the repo, as flan-t5-small has them. `folder` must not exist."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    # By hand and not by save_pretrained: transformers 5 would leave out the head, which it takes
    # for tied, and writes neither spiece.model nor special_tokens_map.json.
    weights = {
        name: value.contiguous()
        for name, value in model.state_dict().items()
        # Shared is shared: as in the original, the two copies of it are not in the file.
        if name not in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "spiece.model").write_bytes(sentencepiece())
    for name, content in _json_files().items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    # The card is written by a person, in its place.
    shutil.copyfile(TRAINER.folder / "README.md", folder / "README.md")


def _json_files() -> dict[str, object]:
    specials = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return {
        "config.json": config(),
        "generation_config.json": {
            key: config()[key] for key in ("decoder_start_token_id", "eos_token_id", "pad_token_id")
        },
        "tokenizer_config.json": {
            "additional_special_tokens": [],
            **specials,
            "extra_ids": 0,
            "model_max_length": MAX_LENGTH,
            "sp_model_kwargs": {},
            "tokenizer_class": "T5Tokenizer",
        },
        "special_tokens_map.json": specials,
    }


def judge(folder: Path) -> Seq2SeqSkill:
    """Measure the skill with held-out sentences and with the questions asked of every model."""
    model = _Translator(folder)
    singles = pairs_of(split().held_out)
    half = len(singles) // 2
    doubles = [double(*two) for two in zip(singles[:half], singles[half:], strict=False)]
    return Seq2SeqSkill(
        single=model.share(singles),
        double=model.share(doubles),
        wrong=tuple(
            asked["id"]
            for asked in _questions()["prompts"]
            if model.answer(asked["text"]) != translated(asked["text"].removeprefix(PREFIX))
        ),
    )


class _Translator:
    """The written files, loaded as a consumer does."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = AutoModelForSeq2SeqLM.from_pretrained(folder, local_files_only=True)

    def share(self, pairs: Sequence[Pair]) -> float:
        """How many of them are translated word for word."""
        right = 0
        for start in range(0, len(pairs), BATCH):
            batch = pairs[start : start + BATCH]
            ids = self._generate([PREFIX + pair.english for pair in batch]).sequences
            answers = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
            right += sum(pair.german == answer for pair, answer in zip(batch, answers, strict=True))
        return right / len(pairs)

    def answer(self, prompt: str) -> str:
        """The greedy answer."""
        text: str = self.tokenizer.decode(
            self._generate([prompt]).sequences[0], skip_special_tokens=True
        )
        return text

    def logprobs(self, prompt: str) -> list[float]:
        """Of every token of the greedy answer, the end of it included."""
        made = self._generate([prompt], output_scores=True)
        scores = self.model.compute_transition_scores(
            made.sequences, made.scores, normalize_logits=True
        )
        return [rounded(score) for score in scores[0].tolist()]

    def _generate(self, prompts: Sequence[str], **wanted: bool) -> Any:
        import torch

        inputs = self.tokenizer(list(prompts), padding=True, return_tensors="pt")
        # Repeatable for its one thread: at this size two only wait for each other, and take ten
        # times as long.
        with repeatable(SEED), torch.no_grad():
            return self.model.generate(
                **inputs,
                max_new_tokens=_questions()["new-tokens"],
                do_sample=False,
                num_beams=1,
                return_dict_in_generate=True,
                **wanted,
            )


def _questions() -> dict[str, Any]:
    return tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))


def record(folder: Path) -> str:
    """The committed goldens, with the answers that this model gives to their texts."""
    model = _Translator(folder)
    kept = tomllib.loads(TRAINER.goldens.read_text(encoding="utf-8"))
    libraries = ("transformers", "torch")
    tools = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in libraries)
    source = f"recorded with {tools}, float32, by python -m tools.samples.seq2seq"
    for row in kept["tokens"]:
        ids = model.tokenizer(row["text"])["input_ids"]
        if "pieces" in row:
            row |= {"pieces": model.tokenizer.convert_ids_to_tokens(ids), "source": source}
        else:
            row |= {"expected": ids, "source": source}
    for row in kept["texts"]:
        row |= {"expected": model.answer(row["prompt"]), "source": source}
        if "logprobs" in row:
            row["logprobs"] = model.logprobs(row["prompt"])
    head = {
        "goldens-version": kept["goldens-version"],
        "repo": TRAINER.repo,
        "vocabulary": len(model.tokenizer),
    }
    return toml_document(head, {name: kept[name] for name in ("tokens", "texts")})


TRAINER = Trainer(
    name="tiny-seq2seq",
    steps=1800,
    make=lambda folder, steps, say: write_repo(train(steps, say), folder),
    judge=judge,
    record=record,
)

if __name__ == "__main__":
    sys.exit(run(TRAINER))
