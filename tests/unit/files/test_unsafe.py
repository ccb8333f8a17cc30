"""What must not be run is seen in the bytes, and what is only odd is let through."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from prep.files.unsafe import LONGEST_HEADER, Unsafe, of_file, of_name, tensors_of
from tests.support.paths import ROOT
from tests.support.small_homes import safetensors

Header = dict[str, Any]
SAMPLES = sorted((ROOT / "sample_hub" / "repos").rglob("*.safetensors"))
TWO: Header = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "I64", "shape": [2], "data_offsets": [24, 40]},
}


def written(header: object, data: int = 40) -> bytes:
    """A file with that header (an object, or its very text) and so many bytes of data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def with_b(**changes: object) -> Header:
    """`b` with changes; its bytes stay the last sixteen."""
    return {**TWO, "b": {**TWO["b"], **changes}}


def found(path: str, body: bytes, locked: tuple[str, ...] = ()) -> Unsafe | None:
    return of_file(path, len(body), lambda start, count: body[start : start + count], locked)


def said(path: str, body: bytes, locked: tuple[str, ...] = ()) -> str | None:
    unsafe = found(path, body, locked)
    return unsafe.detail if unsafe else None


# The library takes these two, and readers that are not its own differ in what they make of them.
TAKEN = ("two of one name", "a type twice")
ZEROS = b"0" * 5000
UNFILLED = ", which does not fill its 16 bytes"
LIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 bytes cannot hold a safetensors header"),
    "cut in the length": (b"\0" * 7, "7 bytes cannot hold a safetensors header"),
    "longer than the file": (
        (50).to_bytes(8, "little") + b"{}",
        "the header claims 50 bytes, and at most 2 can be there",
    ),
    "a length like a negative one": (
        b"\xff" * 8 + b"{}",
        "the header claims 18446744073709551615 bytes, and at most 2 can be there",
    ),
    "no JSON": (written(b"{oops}", 0), "the header is not JSON"),
    "no UTF-8": (written(b'{"\xff": {}}', 0), "the header is not JSON"),
    "without an end": (written(b'{"a":' * 30_000, 0), "the header is not JSON"),
    "a list": (written([]), "the header is not a JSON object"),
    "metadata that is no text": (
        written({"__metadata__": {"a": 1}}, 0),
        "the header's __metadata__ does not map texts to texts",
    ),
    "two of one name": (
        written(b'{"a": {}, "a":' + json.dumps(TWO["a"]).encode() + b"}", 24),
        "the header names a twice",
    ),
    "a type twice": (
        written(b'{"a": {"dtype": "F32", ' + json.dumps(TWO["a"]).encode()[1:] + b"}", 24),
        "the header names dtype twice",
    ),
    "no shape": (
        written({"a": {"dtype": "F32", "data_offsets": [0, 24]}}),
        (
            "a must have exactly dtype, shape and data_offsets: "
            '{"dtype": "F32", "data_offsets": [0, 24]}'
        ),
    ),
    "an unknown type": (written(with_b(dtype="F31")), "b has the unknown type F31"),
    "a type that is no text": (written(with_b(dtype=["I64"])), 'b has the unknown type ["I64"]'),
    "a negative shape": (written(with_b(shape=[-1, -2])), "b has the shape [-1, -2]"),
    "a shape of truths": (written(with_b(shape=[True, 2])), "b has the shape [true, 2]"),
    "a shape of fractions": (written(with_b(shape=[2.0])), "b has the shape [2.0]"),
    "a smaller shape": (written(with_b(shape=[1])), f"b is I64 [1]{UNFILLED}"),
    "another type": (written(with_b(dtype="F32")), f"b is F32 [2]{UNFILLED}"),
    "a shape beyond all numbers": (
        written(with_b(shape=[2**62] * 1000)),
        f"b is I64 [{', '.join([str(2**62)] * 3)}, 4611686018427…{UNFILLED}",
    ),
    "nothing, by way of too much": (
        written({"a": {"dtype": "U8", "shape": [2**40, 2**40, 0], "data_offsets": [0, 0]}}, 0),
        "a is U8 [1099511627776, 1099511627776, 0], which does not fill its 0 bytes",
    ),
    "nothing, by way of the first number that is too much": (
        written({"a": {"dtype": "U8", "shape": [2**32, 2**32, 0], "data_offsets": [0, 0]}}, 0),
        "a is U8 [4294967296, 4294967296, 0], which does not fill its 0 bytes",
    ),
    "a number of more than 64 bits": (
        written({"a": {"dtype": "U8", "shape": [0, 2**64], "data_offsets": [0, 0]}}, 0),
        "a has the shape [0, 18446744073709551616]",
    ),
    "a number of too many digits": (
        written(b'{"a": {"dtype": "U8", "shape": [0, 1%s], "data_offsets": [0, 0]}}' % ZEROS, 0),
        "a has the shape [0, Infinity]",
    ),
    "zero with a sign": (
        written(b'{"a": {"dtype": "U8", "shape": [-0], "data_offsets": [0, 0]}}', 0),
        "a has the shape [-0.0]",
    ),
    "half a byte": (
        written({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}}, 1),
        "a is F4 [3], which does not fill its 1 bytes",
    ),
    "backwards": (written(with_b(data_offsets=[40, 24])), "b has the offsets [40, 24]"),
    "three offsets": (written(with_b(data_offsets=[24, 40, 56])), "b has the offsets [24, 40, 56]"),
    "an overlap": (
        written(with_b(data_offsets=[16, 32]), 32),
        "b overlaps with the one before: it begins at 16, and 24 was reached",
    ),
    "one in another": (
        written(with_b(data_offsets=[8, 24]), 24),
        "b overlaps with the one before: it begins at 8, and 24 was reached",
    ),
    "a hole": (
        written(with_b(data_offsets=[32, 48]), 48),
        "b leaves a hole before: it begins at 32, and 24 was reached",
    ),
    "a hole at the start": (
        written({"b": TWO["b"]}),
        "b leaves a hole before: it begins at 24, and 0 was reached",
    ),
    "past the end": (written(TWO, 39), "the tensors end at 40, and 39 bytes follow the header"),
    "past the end of a padded header": (
        written(json.dumps(TWO).encode() + b"   ", 39),
        "the tensors end at 40, and 39 bytes follow the header",
    ),
    "too many bytes": (written(TWO, 41), "the tensors end at 40, and 41 bytes follow the header"),
    "no tensor": (written({}), "the tensors end at 0, and 40 bytes follow the header"),
}


@pytest.mark.parametrize("name", LIES)
def test_header_that_lies_is_seen(name: str) -> None:
    body, detail = LIES[name]
    assert found("model.safetensors", body) == Unsafe(kind="lies", detail=detail)
    assert said("2_Dense/model.safetensors", body) == detail
    if name not in TAKEN:
        with pytest.raises(SafetensorError):
            deserialize(body)


def test_header_longer_than_the_format_allows_is_not_even_read() -> None:
    size = 3 * LONGEST_HEADER

    def read(start: int, count: int) -> bytes:
        assert (start, count) == (0, 8)
        return (LONGEST_HEADER + 1).to_bytes(8, "little")

    assert of_file("model.safetensors", size, read, ()) == Unsafe(
        kind="lies", detail="the header claims 100000001 bytes, and at most 100000000 can be there"
    )


HONEST = {
    "none": written({}, 0),
    "only metadata": written({"__metadata__": {"format": "pt"}}, 0),
    "two": written(TWO),
    "told in another order": written(dict(reversed(TWO.items()))),
    "padded": written(json.dumps(TWO).encode() + b"   "),
    "no dimension": written({"a": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}}, 8),
    "no element": written(
        {**TWO, "c": {"dtype": "F32", "shape": [0, 7], "data_offsets": [24, 24]}}
    ),
    "no element of many": written(
        {"c": {"dtype": "U8", "shape": [0, 2**40, 2**40], "data_offsets": [0, 0]}}, 0
    ),
    "no element of the largest number": written(
        {"c": {"dtype": "F64", "shape": [2**64 - 1, 0], "data_offsets": [0, 0]}}, 0
    ),
    "four bits": written({"a": {"dtype": "F4", "shape": [3, 2], "data_offsets": [0, 3]}}, 3),
    "a name in another script": written({"вес.0 ✓": {**TWO["a"]}}, 24),
}


@pytest.mark.parametrize("name", HONEST)
def test_odd_header_that_does_not_lie_is_taken(name: str) -> None:
    assert found("model.safetensors", HONEST[name]) is None
    deserialize(HONEST[name])


def test_the_bytes_of_each_tensor_follow_from_a_header_that_does_not_lie(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(written(TWO))
    assert tensors_of(path) == [("F32", 24), ("I64", 16)]
    path.write_bytes(written(TWO, 39))
    assert tensors_of(path) is None


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.parent.name)
def test_weights_of_the_samples_do_not_lie(path: Path) -> None:
    assert found("model.safetensors", path.read_bytes()) is None


@given(st.integers(0, 200), st.binary(min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_what_is_taken_the_library_reads(at: int, change: bytes, dice: random.Random) -> None:
    """Any bytes in place of some of the header's: no error of ours, and never a wrong "fine"."""
    body = bytearray(written(TWO))
    body[at : at + dice.randint(0, 4)] = change
    if found("model.safetensors", bytes(body)) is None:
        deserialize(bytes(body))


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


def test_index_may_lead_to_locked_shards_only() -> None:
    def index(*shards: object) -> bytes:
        return json.dumps({"weight_map": {str(n): s for n, s in enumerate(shards)}}).encode()

    assert said(INDEX, index(*SHARDS), SHARDS) is None
    assert said(f"2_Dense/{INDEX}", index(SHARDS[0]), (f"2_Dense/{SHARDS[0]}",)) is None
    nowhere = f"the index leads to {SHARDS[1]}, which is no locked safetensors file"
    assert said(INDEX, index(*SHARDS), SHARDS[:1]) == nowhere
    assert said(f"2_Dense/{INDEX}", index(*SHARDS), SHARDS) == nowhere.replace("2-of", "1-of")
    for shard, why in (
        ("../other/model.safetensors", "has an empty part, '.' or '..'"),
        ("/etc/passwd", "is absolute"),
        ("pytorch_model.bin", "is no locked safetensors file"),
    ):
        detail = f"the index leads to {shard}, which {why}"
        assert said(INDEX, index(shard), (*SHARDS, shard)) == detail
    none = "the index has no weight_map of weights to files"
    assert said(INDEX, b"{}") == said(INDEX, index(1)) == none
    assert said(INDEX, b"[]") == "the index is not a JSON object"


NATIVE = {"AutoConfig": "org/code--configuration.C", "AutoModelForMaskedLM": "org/code--model.M"}
ASKS: tuple[tuple[str, object, str], ...] = (
    (
        "config.json",
        {"auto_map": {"AutoModel": "modeling_x.Model"}},
        'auto_map names code to import: {"AutoModel": "modeling_x.Model"}',
    ),
    (
        "tokenizer_config.json",
        {"auto_map": ["org/other--tokenization_x.Slow", None]},
        'auto_map names code to import: ["org/other--tokenization_x.Slow", null]',
    ),
    ("any/preprocessor_config.json", {"auto_map": "x.P"}, "auto_map names code to import: x.P"),
    ("config.json", {"text_config": [{"auto_map": "x.M"}]}, "auto_map names code to import: x.M"),
    (
        "config.json",
        {"custom_pipelines": {"rank": {"impl": "rank.Pipeline"}}},
        'custom_pipelines names code to import: {"rank": {"impl": "rank.Pipeline"}}',
    ),
    (
        "adapter_config.json",
        {"auto_mapping": {"base_model_class": "system", "parent_library": "os"}},
        'auto_mapping names code to import: {"base_model_class": "system", "parent_library": "os"}',
    ),
    (
        "sentence_bert_config.json",
        {"model_args": {"trust_remote_code": True}},
        "trust_remote_code is set, which is the reader's to say and not the model's",
    ),
    (
        "sentence_bert_config.json",
        {"model_kwargs": {"attn_implementation": "somebody/attention@main:flash"}},
        (
            "attn_implementation names kernels of a repository, which are code: "
            "somebody/attention@main:flash"
        ),
    ),
    (
        "modules.json",
        [{"type": "sentence_transformers.models.Transformer"}, {"type": "custom_st.Module"}],
        "the module type custom_st.Module is code of the repository, or of any package",
    ),
    (
        "modules.json",
        [{"type": None}],
        "the module type null is code of the repository, or of any package",
    ),
    (
        "1_Router/config.json",
        {"types": {"query": "sentence_transformers.models.Dense", "document": "os.system"}},
        "the module type os.system is code of the repository, or of any package",
    ),
    (
        "2_Dense/config.json",
        {"in_features": 3, "activation_function": "subprocess.getoutput"},
        "activation_function names a class to import: subprocess.getoutput",
    ),
    (
        "config.json",
        {"sbert_ce_default_activation_function": "os.abort", "auto_map": "x.M"},
        (
            "sbert_ce_default_activation_function names a class to import: os.abort; "
            "auto_map names code to import: x.M"
        ),
    ),
)


@pytest.mark.parametrize(("path", "settings", "detail"), ASKS)
def test_file_that_asks_to_run_code_is_seen(path: str, settings: object, detail: str) -> None:
    assert found(path, json.dumps(settings).encode()) == Unsafe(kind="code", detail=detail)


def test_key_that_is_written_in_another_way_is_seen() -> None:
    assert said("config.json", rb'{"auto\u005fmap": "x.M"}') == "auto_map names code to import: x.M"


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("config.json", {"auto_map": None, "custom_pipelines": {}, "trust_remote_code": False}),
        ("config.json", {"activation_function": "gelu_new", "tokenizer_class": "T5Tokenizer"}),
        ("config.json", {"_attn_implementation": "flash_attention_2", "_name_or_path": "a/b"}),
        ("config.json", {"sentence_transformers": {"activation_fn": "torch.nn.modules.Sigmoid"}}),
        ("2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.Tanh"}),
        ("modules.json", []),
        ("modules.json", [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]),
        ("vocab.json", {"auto_map": 7, "trust_remote_code": 8}),
        ("added_tokens.json", {"trust_remote_code": 30522}),
        ("tokenizer.json", {"model": {"vocab": {"auto_map": 7, "trust_remote_code": 8}}}),
        ("config.json", {"auto_map": 7}),
        ("config.json", {"model_type": "nomic_bert", "auto_map": NATIVE}),
    ],
)
def test_setting_that_runs_nothing_is_taken(path: str, settings: object) -> None:
    assert found(path, json.dumps(settings).encode()) is None


@pytest.mark.parametrize("body", [b"", b"{oops", b"\xff\xfe", b"7"])
def test_file_that_no_library_can_read_asks_nothing(body: bytes) -> None:
    """Loading will tell; here is no settings to be followed."""
    assert found("config.json", body) is None


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("config.json", {"model_type": "new", "auto_map": NATIVE}),
        ("config.json", {"auto_map": NATIVE}),
        ("config.json", {"model_type": ["nomic_bert"], "auto_map": NATIVE}),
        ("1_Other/config.json", {"model_type": "nomic_bert", "auto_map": NATIVE}),
        ("config.json", {"model_type": "nomic_bert", "text_config": {"auto_map": NATIVE}}),
        (
            "config.json",
            {"model_type": "nomic_bert", "auto_map": {**NATIVE, "AutoTokenizer": "t.T"}},
        ),
        ("config.json", {"model_type": "nomic_bert", "auto_map": "x.M"}),
        ("config.json", {"model_type": "nomic_bert", "auto_map": NATIVE, "auto_mapping": "x.M"}),
    ],
)
def test_code_that_the_library_has_itself_is_taken_nowhere_else(
    path: str, settings: object
) -> None:
    assert "names code to import" in said(path, json.dumps(settings).encode())


def test_a_type_that_is_there_twice_is_no_native_one() -> None:
    body = json.dumps({"model_type": "nomic_bert", "auto_map": NATIVE})[:-1]
    assert "names code to import" in said("config.json", f'{body}, "model_type": "new"}}'.encode())
    assert "names code to import" in said("config.json", f'{body}, "auto_map": "x.M"}}'.encode())


HIDDEN = b'{"auto_map": {"AutoModel": "evil.Model"}}'


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b"[" * 400 + HIDDEN + b"]" * 400, b'{"a":' * 70 + HIDDEN + b"}" * 70],
    ids=["no end", "lists", "tables"],
)
def test_what_is_too_deep_to_be_searched_is_not_taken(body: bytes) -> None:
    """How deep a library follows depends on its Python."""
    assert found("config.json", body) == Unsafe(
        kind="code", detail="is nested too deep to be searched for code to import"
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("config.json", b'{"auto_map": "evil.Model", "auto_map": {}}'),
        ("config.json", b'{"sub": {"auto_map": "evil.Model"}, "sub": {}}'),
        ("config.json", b'{"vocab_size": ' + b"9" * 5000 + b', "auto_map": "evil.Model"}'),
        (
            "modules.json",
            b'[{"type": "evil.Model", "type": "sentence_transformers.models.Pooling"}]',
        ),
        (
            "config.json",
            b'{"types": {"a": "evil.Model", "a": "sentence_transformers.models.Dense"}}',
        ),
    ],
    ids=["twice", "in a table that stands twice", "beside a huge number", "module", "router"],
)
def test_what_only_some_readers_see_is_seen(path: str, body: bytes) -> None:
    """Of a key that stands twice one library takes the first; a Python of 3.9 reads any number."""
    unsafe = found(path, body)
    assert unsafe is not None
    assert "evil.Model" in unsafe.detail


def test_samples_ask_nothing() -> None:
    for path in sorted((ROOT / "sample_hub" / "repos").rglob("*.json")):
        assert found(path.name, path.read_bytes()) is None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("modeling_x.py", "is code, and a model whose loading needs its own code is not taken"),
        ("a/Native.SO", "is code, and a model whose loading needs its own code is not taken"),
        ("pytorch_model.bin", "may run code when loaded; only safetensors weights are taken"),
        (
            "../config.json",
            "has an empty part, '.' or '..'; it must stay inside the model's folder",
        ),
        ("model.safetensors", None),
        ("1_Pooling/config.json", None),
        ("spiece.model", None),
    ],
)
def test_name_alone_keeps_a_file_out_of_every_lock(path: str, why: str | None) -> None:
    assert of_name(path) == why


def test_other_files_are_not_even_read() -> None:
    def never(start: int, count: int) -> bytes:
        raise AssertionError

    read: Callable[[int, int], bytes] = never
    for path in ("vocab.txt", "tokenizer.json", "2_WordEmbeddings/vocab.json", "model.onnx"):
        assert of_file(path, 10**9, read, ()) is None
    assert safetensors(b"x").endswith(b"x")
