"""Long contexts: a long text is cut for them, and asked whole once where that is cheap."""

import json
import shutil
from pathlib import Path

import pytest

from prep.sandbox.probe.lengths import CUT, MOST_BYTES, growth, scores_bytes
from prep.stages.loaded import Loaded
from prep.stages.pipeline import Stages
from tests.support.real_loads import Tensors, change_weights, load

POSITIONS = "embeddings.position_embeddings.weight"


def longer(right: Loaded, to: Path, length: int) -> Path:
    """The sample model with so many positions, its own again and again."""
    shutil.copytree(Path(right.path), to)

    def repeat(tensors: Tensors) -> Tensors:
        kind, (count, width), data = tensors[POSITIONS]
        times = -(-length // count)
        return {**tensors, POSITIONS: (kind, [length, width], (data * times)[: 4 * length * width])}

    change_weights(to, repeat)
    for name, key in (
        ("config.json", "max_position_embeddings"),
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ):
        content = json.loads((to / name).read_text())
        (to / name).unlink()  # a link into the home
        (to / name).write_text(json.dumps({**content, key: length}))
    return to


@pytest.mark.parametrize("consumer", ["transformers", "sentence-transformers"])
@pytest.mark.parametrize(("length", "tried"), [(8192, 8192), (65536, CUT)])
def test_a_long_text_is_asked_whole_where_that_is_cheap(
    stages: Stages, tmp_path: Path, consumer: str, length: int, tried: int
) -> None:
    right = load(stages, "embedding", "transformers:name")
    folder = longer(right, tmp_path / "model", length)
    odd = [*right.questions.odd.values()]
    result = stages.context.server.run(
        "prep.sandbox.probe.consumers:load",
        {
            "task": "embedding",
            "consumer": consumer,
            "ask": right.questions.all(),
            "again": True,
            "odd": odd,
            "way": {"target": str(folder)},
        },
        doing="a long context",
    )
    facts = result.value
    assert facts["longest"] == {"tried": tried, "limit": length}
    assert facts["latency"] < 0.1
    assert max(odd, key=len) not in facts["vectors"], "cut"
    lengths = [len(tokens["ids"]) for tokens in facts["tokens"].values()]
    assert max(lengths) == CUT
    # As many as were asked, and the one that is as long as the model takes.
    asked = len(right.questions.all()["texts"])
    assert len(facts["vectors"]) == asked + (tried > CUT)


def test_a_model_of_a_usual_length_is_asked_to_its_limit(stages: Stages) -> None:
    right = load(stages, "embedding", "transformers:name")
    limit = right.facts["max_length"]
    assert right.facts["longest"] == {"tried": limit, "limit": limit}
    assert limit <= CUT
    assert set(right.questions.odd.values()) < right.facts["vectors"].keys(), "none is cut"


def test_time_and_memory_grow_with_the_square_of_the_length() -> None:
    base = {"hidden_size": 768, "num_attention_heads": 12}
    assert growth(base, 512, 512) == 1
    assert growth(base, 512, 8192) == pytest.approx(16 * (6 * 768 + 8192) / (6 * 768 + 512))
    assert growth({"d_model": 1}, 512, 5120) == pytest.approx(100, rel=0.02)
    assert growth({}, 512, 1024) == growth({"hidden_size": 1024}, 512, 1024)
    assert scores_bytes(base, 8192) == 2 * 4 * 12 * 8192**2 > MOST_BYTES
    assert scores_bytes(base, 1024) < MOST_BYTES
