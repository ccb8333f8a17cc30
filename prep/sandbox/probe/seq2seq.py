"""Text to text: a prompt is answered greedily, within a length that is said, one at a time."""

from __future__ import annotations

import copy
from typing import Any

from prep.sandbox.probe import loading
from prep.sandbox.probe.loading import Facts, Way
from prep.sandbox.probe.serving import PerThread

# Imported before any fork: module and class.
CLASSES = (
    ("transformers", "AutoModelForSeq2SeqLM"),
    ("optimum.intel", "OVModelForSeq2SeqLM"),
)
# openvino keeps the decoder's cache in 8 bits by itself for an int8 model, and in 16 for others.
EXACT = {"KV_CACHE_PRECISION": "f32"}
TOKENS = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
Languages = dict[str, str]


class Writer:
    """A loaded model: `write(prompt, new_tokens)` gives its greedy answer.

    Greedy under a neutral configuration: no least length and no ban on repetitions, which would
    hide what the model itself puts first. Tokens that start an answer are the repository's, and
    those of the target language.
    """

    def __init__(self, tokenizer: Any, model: Any, facts: Facts, languages: Languages) -> None:
        # That of a translator sets its languages in each call: threads that share it get an error.
        self.tokenizer = PerThread(tokenizer, copy.deepcopy)
        self.model = model
        self.limit = loading.limit_of(tokenizer, model.config)
        self.prefix, forced = _addressed(tokenizer, languages)
        self.published = _published(model, forced)
        self.neutral = model.generation_config = _neutral(model, forced)
        self.facts = {"vocabulary": len(tokenizer), "max_length": self.limit, **facts}

    def encode(self, prompt: str) -> Any:
        """The prompt as tensors, cut at the limit."""
        text = self.prefix + prompt
        return self.tokenizer(text, truncation=True, max_length=self.limit, return_tensors="pt")

    def write(self, prompt: str, new_tokens: int) -> Facts:
        """Text, token ids, the natural log-probability of each, and whether the end was reached."""
        import torch

        with torch.inference_mode():
            out = self.model.generate(
                **self.encode(prompt),
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

    def first_choices(self, prompt: str, written: list[int]) -> tuple[list[int], bool]:
        """The token it puts first at each place, shown those of `written` before it.

        A forced token counts as chosen. And whether all its logits were finite.
        """
        import torch

        logits, forced = self._logits(prompt, written), self.neutral.forced_bos_token_id
        first: list[int] = logits.argmax(-1).tolist()
        if forced is not None:
            first[0] = forced
        return first, bool(torch.isfinite(logits).all())

    def write_as_published(self, prompt: str, new_tokens: int) -> list[int]:
        """The tokens that the repository's own generation configuration gives, beams included.

        `new_tokens` are its limit, or as many as that configuration asks for at least.
        """
        import torch

        limit = max(new_tokens, self.published.min_length or 0, self.published.min_new_tokens or 0)
        with torch.inference_mode():
            out = self.model.generate(
                **self.encode(prompt), generation_config=self.published, max_new_tokens=limit
            )
        ids: list[int] = out[0].tolist()[1:]
        return ids

    def score(self, prompt: str, written: list[int]) -> float:
        """The mean log-probability of the tokens that were chosen: not of a forced or last one."""
        steps = self._logits(prompt, written).log_softmax(-1)
        begin = 0 if self.published.forced_bos_token_id is None else 1
        chosen = [
            float(step[token])
            for step, token in list(zip(steps, written))[begin:]
            if token != self.tokenizer.eos_token_id
        ]
        return sum(chosen) / len(chosen) if chosen else 0.0

    def _logits(self, prompt: str, written: list[int]) -> Any:
        """At each place of `written`, those before it shown."""
        import torch

        shown = torch.tensor([[self.neutral.decoder_start_token_id, *written[:-1]]])
        with torch.inference_mode():
            out = self.model(**self.encode(prompt), decoder_input_ids=shown)
        return torch.as_tensor(out.logits)[0].float()


def _published(model: Any, forced: int | None) -> Any:
    """The repository's generation configuration, without sampling, which nothing is held against.

    One answer, whatever is asked for by default; and in the target language.
    """
    config = copy.deepcopy(model.generation_config)
    config.do_sample, config.num_return_sequences = False, 1
    if forced is not None:
        config.forced_bos_token_id = forced
    return config


def _neutral(model: Any, forced: int | None) -> Any:
    """Greedy generation with the repository's own tokens, and nothing else that it says."""
    from transformers import GenerationConfig

    def token(name: str) -> Any:
        said = getattr(model.generation_config, name, None)
        return said if said is not None else getattr(model.config, name, None)

    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        forced_bos_token_id=forced if forced is not None else token("forced_bos_token_id"),
        **{name: token(name) for name in TOKENS},
    )


def _addressed(tokenizer: Any, languages: Languages) -> tuple[str, int | None]:
    """What stands before a prompt, and the token that an answer begins with, for these languages.

    Tokenizers of translators differ: some set a token for the source and are given that of the
    target (NLLB, M2M100, mBART), some read the target from the text (MADLAD, Marian).
    """
    if source := languages.get("source"):
        tokenizer.src_lang = source
    target = languages.get("target")
    if target is None:
        return "", None
    vocabulary = tokenizer.get_vocab()
    for prefix in (f"<2{target}>", f">>{target}<<"):
        if prefix in vocabulary:
            return f"{prefix} ", None
    for name in (target, f"__{target}__"):
        if name in vocabulary:
            return "", int(vocabulary[name])
    raise ValueError(f"the tokenizer knows no language {target!r}")


def answer(model: Writer, ask: Facts) -> Facts:
    """What it writes to each prompt, ``[prompt, new tokens]``; its first choices in given texts."""
    prompts = ask["prompts"]
    answers, latency = loading.each_alone(lambda prompt: model.write(*prompt), prompts)
    written = [
        {"prompt": prompt, "new_tokens": length, **text}
        for (prompt, length), text in zip(prompts, answers)
    ]
    facts: Facts = {
        "tokens": loading.ids_of(model.tokenizer, ask["texts"], model.limit),
        "written": written,
        "latency": latency,
    }
    if "configured" in ask:
        given = dict(ask.get("configured-given", ()))
        facts["configured"] = [
            _configured(model, prompt, length, given.get(prompt))
            for prompt, length in ask["configured"]
        ]
    if ask.get("given"):
        choices = [model.first_choices(prompt, ids) for prompt, ids in ask["given"]]
        facts["choices"] = [first for first, _ in choices]
        facts["finite"] = all(finite for _, finite in choices)
    return facts


def _configured(model: Writer, prompt: str, new_tokens: int, given: list[int] | None) -> Facts:
    """Its answer by the repository's own configuration, and how probable that and the `given` one
    are to this model."""
    ids = model.write_as_published(prompt, new_tokens)
    return {
        "prompt": prompt,
        "ids": ids,
        "text": model.tokenizer.decode(ids, skip_special_tokens=True),
        "score": model.score(prompt, ids),
        "given-score": model.score(prompt, ids if given is None else given),
    }


def alone(model: Writer, ask: Facts) -> Facts:
    """What it writes to each prompt, and nothing else."""
    written = ((prompt, length, model.write(prompt, length)) for prompt, length in ask["prompts"])
    return {"written": [{"prompt": p, "new_tokens": n, **text} for p, n, text in written]}


def answer_again(model: Writer, ask: Facts, answers: Facts) -> Facts:
    """Whether it writes the same a second time."""
    return {"again": model.write(*ask["prompts"][0])["ids"] == answers["written"][0]["ids"]}


def transformers(way: Way, tokenizing: Facts | None = None, **how: Any) -> Writer:
    """AutoModelForSeq2SeqLM and AutoTokenizer."""
    from transformers import AutoModelForSeq2SeqLM

    return Writer(
        *loading.load_original(AutoModelForSeq2SeqLM, way, tokenizing, **how), way.languages
    )


def transformers_slow(way: Way) -> Writer:
    """The same with the tokenizer that reads spiece.model, as older services have it."""
    return transformers(way, {"use_fast": False})


def optimum_intel(way: Way) -> Writer:
    """OVModelForSeq2SeqLM and AutoTokenizer."""
    from optimum.intel import OVModelForSeq2SeqLM

    return Writer(*loading.load_converted(OVModelForSeq2SeqLM, way, **EXACT), way.languages)


def reference(way: Way) -> Writer:
    """The model in float32: what every consumer is held against."""
    return transformers(way, **loading.float32())


CONSUMERS = {
    "transformers": transformers,
    "transformers-slow": transformers_slow,
    "optimum-intel": optimum_intel,
}
