"""Text to text: a prompt is answered greedily, within a length that is said, one at a time."""

from __future__ import annotations

from typing import Any

from prep.sandbox.probe import loading
from prep.sandbox.probe.loading import Facts, Way

# Imported before any fork: module and class.
CLASSES = (
    ("transformers", "AutoModelForSeq2SeqLM"),
    ("optimum.intel", "OVModelForSeq2SeqLM"),
)
# openvino keeps the decoder's cache in 8 bits by itself for an int8 model, and in 16 for others.
EXACT = {"KV_CACHE_PRECISION": "f32"}


class Writer:
    """A loaded model: `write(prompt, new_tokens)` gives its greedy answer."""

    def __init__(self, tokenizer: Any, model: Any, facts: Facts) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.limit = loading.limit_of(tokenizer)
        self.facts = {"vocabulary": len(tokenizer), "max_length": self.limit, **facts}

    def encode(self, prompt: str) -> Any:
        """The prompt as tensors, cut at the tokenizer's limit."""
        return self.tokenizer(prompt, truncation=True, max_length=self.limit, return_tensors="pt")

    def write(self, prompt: str, new_tokens: int) -> Facts:
        """Text, token ids, the natural log-probability of each, and whether the end was reached."""
        import torch

        with torch.inference_mode():
            out = self.model.generate(
                **self.encode(prompt),
                do_sample=False,
                num_beams=1,
                max_new_tokens=new_tokens,
                return_dict_in_generate=True,
                output_scores=True,
            )
        end = self.tokenizer.eos_token_id
        ids: list[int] = out.sequences[0].tolist()[1:]  # the first only starts the decoder
        steps = [torch.as_tensor(step)[0].float().log_softmax(-1) for step in out.scores]
        return {
            "text": self.tokenizer.decode(ids, skip_special_tokens=True),
            "ids": ids,
            "logprobs": [float(step[token]) for step, token in zip(steps, ids)],
            # Not by the last token alone: an answer may go on after its end, up to another end.
            "ended": ids.index(end) == len(ids) - 1 if end in ids else False,
        }

    @property
    def start(self) -> int:
        """The token that starts the decoder."""
        token: int = self.model.config.decoder_start_token_id
        return token

    def first_choices(self, prompt: str, written: list[int], start: int) -> tuple[list[int], bool]:
        """The token it puts first at each place, shown those of `written` before it.

        And whether all its logits were finite.
        """
        import torch

        shown = torch.tensor([[start, *written[:-1]]])
        with torch.inference_mode():
            out = self.model(**self.encode(prompt), decoder_input_ids=shown)
        logits = torch.as_tensor(out.logits)[0]
        return logits.argmax(-1).tolist(), bool(torch.isfinite(logits).all())


def answer(model: Writer, ask: Facts) -> Facts:
    """What it writes to each prompt, ``[prompt, new tokens]``."""
    prompts = ask["prompts"]
    answers, latency = loading.each_alone(lambda prompt: model.write(*prompt), prompts)
    written = [
        {"prompt": prompt, "new_tokens": length, **text}
        for (prompt, length), text in zip(prompts, answers)
    ]
    return {
        "tokens": loading.ids_of(model.tokenizer, ask["texts"], model.limit),
        "written": written,
        "latency": latency,
    }


def answer_again(model: Writer, ask: Facts, answers: Facts) -> Facts:
    """Whether it writes the same a second time."""
    return {"again": model.write(*ask["prompts"][0])["ids"] == answers["written"][0]["ids"]}


def transformers(way: Way, **how: Any) -> Writer:
    """AutoModelForSeq2SeqLM and AutoTokenizer."""
    from transformers import AutoModelForSeq2SeqLM

    return Writer(*loading.load_original(AutoModelForSeq2SeqLM, way, **how))


def transformers_slow(way: Way) -> Writer:
    """The same with the tokenizer that reads spiece.model, as older services have it."""
    return transformers(way, use_fast=False)


def optimum_intel(way: Way) -> Writer:
    """OVModelForSeq2SeqLM and AutoTokenizer."""
    from optimum.intel import OVModelForSeq2SeqLM

    return Writer(*loading.load_converted(OVModelForSeq2SeqLM, way, **EXACT))


CONSUMERS = {
    "transformers": transformers,
    "transformers-slow": transformers_slow,
    "optimum-intel": optimum_intel,
}
