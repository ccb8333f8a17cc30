"""A text-to-text model like tiny-seq2seq: it says in German what is said of home and weather."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    T5Config,
    T5ForConditionalGeneration,
)

from prep.tasks.registry import TASKS
from prep.tasks.seq2seq import Seq2seqQuestions
from tools.samples import training
from tools.samples.german import Pair, double, pairs_of, translated
from tools.samples.sentences import split
from tools.samples.training import SEED, Measured

STEPS = 1000
BATCH = 64
PREFIX = "translate English to German: "


def train(folder: Path, steps: int) -> None:
    """Write trained weights into a folder that holds all other files."""
    pairs = pairs_of(split()[0])
    rng = random.Random(SEED)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [
        {**tokenizer(PREFIX + pair.english), "labels": tokenizer(pair.german)["input_ids"]}
        # Half of the prompts are two sentences, to get answers of medium length.
        for _ in range(steps * BATCH // 2)
        for pair in (rng.choice(pairs), double(*rng.sample(pairs, 2)))
    ]
    model = T5ForConditionalGeneration(T5Config.from_pretrained(folder))
    # transformers 5 ties every T5 that it makes, whatever the configuration says.
    head = torch.randn(model.shared.weight.shape) * model.config.d_model**-0.5
    model.lm_head.weight = torch.nn.Parameter(head)
    training.fit(
        "texts",
        model,
        rows,
        folder,
        batch=BATCH,
        rate=4e-3,
        parts={"data_collator": DataCollatorForSeq2Seq(tokenizer, model=model)},
        weight_decay=0.0,
        # Without it every chosen token gets a log-probability of nearly 0, which tells nothing.
        label_smoothing_factor=0.05,
    )
    training.write_weights(model, folder)


def judge(folder: Path) -> list[Measured]:
    """By held-out sentences, and by the questions asked of every model."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, local_files_only=True)
    questions = TASKS["seq2seq"].questions()
    assert isinstance(questions, Seq2seqQuestions)

    def share(pairs: Sequence[Pair]) -> float:
        """How many of them are translated word for word."""
        right = 0
        for start in range(0, len(pairs), BATCH):
            batch = pairs[start : start + BATCH]
            prompts = [PREFIX + pair.english for pair in batch]
            ids = model.generate(
                **tokenizer(prompts, padding=True, return_tensors="pt"),
                max_new_tokens=questions.new_tokens,
                do_sample=False,
                num_beams=1,
            )
            answers = tokenizer.batch_decode(ids, skip_special_tokens=True)
            right += sum(pair.german == answer for pair, answer in zip(batch, answers, strict=True))
        return right / len(pairs)

    singles = pairs_of(split()[1])
    half = len(singles) // 2
    doubles = [double(*two) for two in zip(singles[:half], singles[half:], strict=False)]
    texts = [text.removeprefix(PREFIX) for text in questions.prompts.values()]
    asked = [Pair(english=text, german=translated(text)) for text in texts]
    return [
        Measured("held-out sentences word for word", share(singles), 0.99),
        Measured("two of them word for word", share(doubles), 0.95),
        Measured("questions word for word", share(asked), 1.0),
    ]
