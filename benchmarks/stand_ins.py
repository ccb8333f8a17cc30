"""Make stand-ins of the large models of models.toml, for machines that cannot have the true ones.

    python -m benchmarks.stand_ins FOLDER

Each has its original's architecture, vocabulary size, file formats and weights file to the byte;
only what is in the files is made up: random weights, and words that nobody ever said. What a
conversion or a load costs is the same; what the models say means nothing.

torch and its friends are imported inside functions: the catalogue of stand-ins is also read by a
process that must not have them in its memory.
"""

import argparse
import json
import logging
import random
import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prep.tasks.registry import TASKS
from prep.tasks.reranker import RerankerQuestions
from sample_hub.served import SAMPLES

if TYPE_CHECKING:
    import torch
    from transformers import XLMRobertaForSequenceClassification

log = logging.getLogger("benchmarks.stand_ins")

SEED = 0
# Log-probabilities of made-up pieces: below those of the sample models, whose words stay whole.
LIKELIEST, LEAST_LIKELY = -20.0, -30.0
SURE = 4.0  # a logit, up or down, as the original has them where it is sure
VOWELS, CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"
WEIGHTS = "model.safetensors"

# The originals' config.json, but for names of folders and of what they were made from.
_CONFIGS = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
SAMPLE_RERANKER = SAMPLES / "model-prep-samples" / "tiny-reranker"
SAMPLE_SEQ2SEQ = SAMPLES / "model-prep-samples" / "tiny-seq2seq"
RERANKER: dict[str, Any] = _CONFIGS["bge-reranker-base"]
SEQ2SEQ: dict[str, Any] = _CONFIGS["flan-t5-small"]
SEQ2SEQ_PIECES = 32000
EXTRA_IDS = tuple(f"<extra_id_{number}>" for number in reversed(range(100)))
"""T5's sentinels, whose numbers go down while their ids go up; rows above them are never used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """One stand-in: the catalogue name of its original, and what writes its repository folder."""

    name: str
    task: str
    license: str
    write: Callable[[Path], None]

    @property
    def repo(self) -> str:
        """Under an owner of its own: never to be taken for the original."""
        return f"stand-ins/{self.name}"


def write_reranker(folder: Path) -> None:
    """All files of bge-reranker-base. `folder` must not exist."""
    log.info("bge-reranker-base: making up a vocabulary")
    sample = _read(SAMPLE_RERANKER / "tokenizer.json")
    specials = _read(SAMPLE_RERANKER / "special_tokens_map.json")
    *known, mask = sample["model"]["vocab"]
    filler = made_up(RERANKER["vocab_size"] - len(known) - 1, letters=7)
    sample["model"]["vocab"] = [*known, *filler, mask]
    for token in sample["added_tokens"]:
        if token["content"] == "<mask>":
            token["id"] = RERANKER["vocab_size"] - 1
    _write_files(
        folder,
        {
            "config.json": RERANKER,
            "special_tokens_map.json": specials,
            "tokenizer.json": sample,
            "tokenizer_config.json": {
                **specials,
                "clean_up_tokenization_spaces": True,
                "mask_token": {"__type": "AddedToken", **specials["mask_token"]},
                "model_max_length": 512,
                "tokenizer_class": "XLMRobertaTokenizer",
            },
        },
    )
    sentencepiece = (SAMPLE_RERANKER / "sentencepiece.bpe.model").read_bytes()
    (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece + _pieces(filler))

    log.info("bge-reranker-base: making up weights")
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    _make_repeatable()
    model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**RERANKER)).eval()
    _steady(model)
    _decide(model, folder)
    # As the original has them, from the time when they were saved with the weights.
    positions = torch.arange(RERANKER["max_position_embeddings"])[None]
    weights = model.state_dict() | {"roberta.embeddings.position_ids": positions}
    _save(weights, folder)


def _steady(model: "XLMRobertaForSequenceClassification") -> None:
    """Let words count for more, and what every layer adds to all texts alike for less.

    As transformers makes it, the body says nearly the same of every text, and 8 bits move that by
    as much as one text differs from another.
    """
    import torch

    with torch.no_grad():
        model.roberta.embeddings.word_embeddings.weight.mul_(5)
        for layer in model.roberta.encoder.layer:
            layer.output.dense.weight.mul_(0.25)


def _decide(model: "XLMRobertaForSequenceClassification", folder: Path) -> None:
    """Set the head so that it puts the relevant passages of the questions first, far ahead.

    A random head gives nearly equal logits, and so 8 bits put another passage first. A trained one
    is sure, and the suite holds every conversion to the original's order.
    """
    import torch
    from transformers import AutoTokenizer

    questions = TASKS["reranker"].questions()
    assert isinstance(questions, RerankerQuestions)
    pairs = [(ranked.query, passage) for ranked in questions.ranked for passage in ranked.passages]
    relevant = {(ranked.query, ranked.relevant) for ranked in questions.ranked}
    wanted = torch.tensor([SURE if pair in relevant else -SURE for pair in pairs]).double()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    seen: list[torch.Tensor] = []
    head = model.classifier.out_proj
    hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        for pair in pairs:
            model(**tokenizer(*pair, return_tensors="pt"))
        hook.remove()
        states = torch.cat(seen).double()
        usual = states.mean(0)
        # Fewer pairs than dimensions: the least weights that give just these logits.
        fitted = torch.linalg.pinv(states - usual) @ (wanted - wanted.mean())
        head.weight.copy_(fitted[None])
        head.bias.copy_(wanted.mean() - usual @ fitted)


def write_seq2seq(folder: Path) -> None:
    """All files of flan-t5-small. `folder` must not exist."""
    log.info("flan-t5-small: making up a vocabulary")
    sample = _read(SAMPLE_SEQ2SEQ / "tokenizer.json")
    known = sample["model"]["vocab"]
    filler = made_up(SEQ2SEQ_PIECES - len(known), letters=5)
    # The sentinels are pieces here and not in spiece.model, as in the original.
    sample["model"]["vocab"] = [*known, *filler, *((extra, 0.0) for extra in EXTRA_IDS)]
    model_token = sample["added_tokens"][0]
    sample["added_tokens"] += [
        {**model_token, "id": SEQ2SEQ_PIECES + number, "content": extra}
        for number, extra in enumerate(EXTRA_IDS)
    ]
    specials = {
        "additional_special_tokens": EXTRA_IDS[::-1],
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    start = ("decoder_start_token_id", "eos_token_id", "pad_token_id")
    _write_files(
        folder,
        {
            "config.json": SEQ2SEQ,
            "generation_config.json": {key: SEQ2SEQ[key] for key in start},
            "special_tokens_map.json": specials,
            "tokenizer.json": sample,
            "tokenizer_config.json": {
                **specials,
                "extra_ids": len(EXTRA_IDS),
                "model_max_length": 512,
                "sp_model_kwargs": {},
                "tokenizer_class": "T5Tokenizer",
            },
        },
    )
    sentencepiece = (SAMPLE_SEQ2SEQ / "spiece.model").read_bytes()
    (folder / "spiece.model").write_bytes(sentencepiece + _pieces(filler))

    log.info("flan-t5-small: making up weights")
    from transformers import T5Config, T5ForConditionalGeneration

    _make_repeatable()
    model = T5ForConditionalGeneration(T5Config(**SEQ2SEQ)).eval()
    weights = {
        name: value
        for name, value in model.state_dict().items()
        # Shared is shared: as in the original, the two copies of it are not in the file.
        if name not in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    }
    # Every token calls for the next one of the vocabulary, and the start for nothing: so the
    # prompt decides where an answer begins. With a random head every tenth token is a near
    # tie, and comes out as another one in 8 bits; a trained model is surer than that.
    weights["shared.weight"][SEQ2SEQ["decoder_start_token_id"]] = 0
    weights["lm_head.weight"] = weights["shared.weight"].roll(1, 0)
    _save(weights, folder)


def _make_repeatable() -> None:
    """From here on the same numbers are drawn, and sums are added in the same order."""
    import torch

    torch.manual_seed(SEED)
    torch.set_num_threads(1)


def made_up(count: int, *, letters: int) -> list[tuple[str, float]]:
    """So many pieces that are words of no language, with their scores; always the same."""
    rng = random.Random(SEED)
    found: dict[str, None] = {}
    while len(found) < count:
        sounds = (rng.choice((CONSONANTS, VOWELS)[place % 2]) for place in range(letters))
        found["▁" + "".join(sounds)] = None
    # Numbers of 32 bits with all their digits, as the originals have them: files are as large.
    scores = array("f", (rng.uniform(LEAST_LIKELY, LIKELIEST) for _ in found))
    return list(zip(found, scores, strict=True))


def _pieces(pieces: Sequence[tuple[str, float]]) -> bytes:
    """More pieces for a sentencepiece model: serialised protobuf messages are joined by +.

    By hand: each is field 1 of the model, with its text as field 1 and its score as field 2. Bytes
    after a 0x0A need their length in one byte, which is so below 128.
    """
    written = []
    for text, score in pieces:
        piece = b"\x0a" + bytes([len(text.encode())]) + text.encode()
        piece += b"\x15" + struct.pack("<f", score)
        written.append(b"\x0a" + bytes([len(piece)]) + piece)
    return b"".join(written)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write_files(folder: Path, files: Mapping[str, object]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")


def _save(weights: "Mapping[str, torch.Tensor]", folder: Path) -> None:
    from safetensors.torch import save_file

    whole = {name: value.contiguous() for name, value in weights.items()}
    save_file(whole, folder / WEIGHTS, metadata={"format": "pt"})


STAND_INS = (
    StandIn(name="bge-reranker-base", task="reranker", license="mit", write=write_reranker),
    StandIn(name="flan-t5-small", task="seq2seq", license="apache-2.0", write=write_seq2seq),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write both into FOLDER, each under its name."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stand_ins", description=main.__doc__
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder: Path = parser.parse_args(arguments).folder
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for stand_in in STAND_INS:
        stand_in.write(folder / stand_in.repo)


if __name__ == "__main__":
    main()
