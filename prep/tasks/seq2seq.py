"""Text to text: a prompt is answered greedily, within a length that is said."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prep.tasks import golden_kinds as kinds
from prep.tasks import loaders
from prep.tasks.architecture import Architecture
from prep.tasks.consumers import Consumer
from prep.tasks.measure import Agreement, Facts, Measure, largest_gap
from prep.tasks.question_sets import PROMPTS, SHARE, Ask, Key, Questions, Table, texts_of, twice
from prep.tasks.task import Task

# How far the log-probability of a token may move by sums in another order: measured 2e-6.
SURE = 1e-4
ODD_TOKENS = 8  # what a model writes to an odd text shows nothing more in more tokens


CONSUMERS = (
    Consumer(name="transformers", classes="AutoModelForSeq2SeqLM, AutoTokenizer", reads="source"),
    Consumer(
        name="transformers-slow",
        classes="AutoModelForSeq2SeqLM, the slow tokenizer (T5Tokenizer), before transformers 5",
        reads="source",
        until=("transformers", 5),
    ),
    Consumer(name="optimum-intel", classes="OVModelForSeq2SeqLM, AutoTokenizer", reads="converted"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seq2seqQuestions(Questions):
    """`new_tokens` is the length of every answer, `ended` the least share that reaches an end.

    `agreement` is the least share of the original's greedy tokens that the converted model puts
    first as well when it is shown the original's tokens before.
    """

    new_tokens: int
    ended: float
    prompts: Mapping[str, str]

    @classmethod
    def bounds(cls) -> Mapping[str, Key]:
        """Those of all tasks, and its own."""
        return {**Questions.bounds(), "new-tokens": kinds.LENGTH, "ended": SHARE}

    @classmethod
    def asked(cls) -> Mapping[str, Key]:
        """Prompts, and what is said before each: "" where nothing is."""
        return {"instruction": kinds.TEXT, "prompts": PROMPTS}

    @classmethod
    def _own(cls, asked: Mapping[str, Any]) -> dict[str, Any]:
        texts = texts_of(asked["prompts"])
        return {"prompts": {id_: asked["instruction"] + text for id_, text in texts.items()}}

    def repeated(self) -> list[str]:
        """Of all prompts."""
        return twice(list(self.prompts.values()))

    def plain(self) -> Ask:
        """Every prompt; and the first once more, by the repository's own configuration."""
        prompts = [[text, self.new_tokens] for text in self.prompts.values()]
        return {"texts": [], "prompts": prompts, "configured": prompts[:1]}

    def all(self) -> Ask:
        """Those, and every odd text as a prompt."""
        odd = [[text, ODD_TOKENS] for text in self.odd.values()]
        plain = self.plain()
        return {**plain, "prompts": [*plain["prompts"], *odd]}

    def sentinels(self) -> Ask:
        """The first two prompts, and the beginning of an answer to each."""
        prompts = list(self.prompts.values())[:2]
        return {"texts": prompts, "prompts": [[text, ODD_TOKENS] for text in prompts]}

    def moved(self, answers: Mapping[str, Any], interrogation: Mapping[str, Any]) -> list[str]:
        """The same tokens, as probable: only sums in another order may differ."""
        known = {(text["prompt"], text["new_tokens"]): text for text in interrogation["written"]}
        problems = []
        for text in answers["written"]:
            wanted = known[text["prompt"], text["new_tokens"]]
            gap = largest_gap(text["logprobs"], wanted["logprobs"])
            if text["ids"] != wanted["ids"] or not gap <= SURE:
                problems.append(
                    f"{text['prompt']!r} is answered {text['text']!r}, the interrogation has "
                    f"{wanted['text']!r}; log-probabilities are {gap:.2e} off, allowed {SURE:g}"
                )
        return problems

    def table(self) -> Table:
        """A text each prompt."""
        return Table(labels=list(self.prompts.values()))

    def _answers(self, facts: Mapping[str, Any]) -> list[Any]:
        """The text that each prompt was answered with."""
        written = {fact["prompt"]: fact["text"] for fact in facts["written"]}
        return [written[prompt] for prompt in self.prompts.values()]


def given(reference: Facts) -> Ask:
    """What a consumer is shown: every text that the reference wrote, to say what it puts first."""
    written, configured = (
        [[text["prompt"], text["ids"]] for text in reference[key]]
        for key in ("written", "configured")
    )
    return {"given": written, "configured-given": configured}


def compare(reference: Facts, answers: Facts, ask: Ask, bound: float) -> Agreement:
    """The share of the reference's greedy tokens that come first here, shown those before them.

    Free answers of two nearly equal models part for good at the first token that differs.
    """
    written = [text["ids"] for text in reference["written"]]
    total = sum(map(len, written))
    same = sum(
        a == b
        for ids, first in zip(written, answers["choices"], strict=True)
        for a, b in zip(ids, first, strict=True)
    )
    return Agreement(
        finite=answers["finite"],
        value=same / total if total else 0.0,
        contradictions=tuple(_otherwise(reference, answers, 1 - bound)),
    )


def _otherwise(reference: Facts, answers: Facts, tie: float) -> Iterator[str]:
    """Answers by the repository's own configuration that are not the reference's.

    A search that finds another text which is as probable, by `tie` in the mean log-probability of a
    token, is right: to the reference it may have been the second. One that loses its way, or does
    not keep to the configuration, finds a text that is less probable, or more.
    """
    known = {wanted["prompt"]: wanted for wanted in reference["configured"]}
    for got in answers.get("configured", ()):  # as a service runs it, that is not asked again
        wanted = known[got["prompt"]]
        gap = got["score"] - got["given-score"]
        if got["ids"] != wanted["ids"] and not abs(gap) <= tie:
            yield (
                f"by the repository's own generation configuration {wanted['prompt']!r} is "
                f"answered {got['text']!r}, by the original {wanted['text']!r}; the mean "
                f"log-probability of a token is {gap:+.3f} apart, allowed {tie:.2g}"
            )


def unable(found: Architecture, paths: Collection[str], consumer: Consumer) -> str | None:
    """Why a consumer cannot read such a model."""
    if consumer.name == "transformers-slow" and "spiece.model" not in paths:
        return "there is no slow tokenizer of T5's kind for it (no spiece.model)"
    return None


GOLDEN_KINDS = {
    "texts": kinds.Kind(
        keys={"prompt": kinds.TEXT, "expected": kinds.TEXT, "new-tokens": kinds.LENGTH},
        more={"logprobs": kinds.NUMBERS, "tolerance": kinds.TOLERANCE},
        bounds=("overlap",),
        needs={"logprobs": "tolerance"},
        ask=lambda answer: {"prompts": [[answer["prompt"], answer["new-tokens"]]]},
    ),
    "tokens": kinds.TOKENS,
}

TASK = Task(
    name="seq2seq",
    files=loaders.TRANSFORMERS,
    consumers=CONSUMERS,
    export_class="OVModelForSeq2SeqLM",
    export_task="text2text-generation-with-past",
    answer="written",
    question_set=Seq2seqQuestions,
    measure=Measure(
        sentence="the share of the PyTorch original's tokens that come first here as well",
        label="same tokens",
        compare=compare,
    ),
    golden_kinds=GOLDEN_KINDS,
    golden_facts={"vocabulary": kinds.COUNT},
    given=given,
    unable=unable,
    new_pin="texts change",
    generates=True,
)
