"""The tokenizer as an IR, which OpenVINO's own runtimes read in place of the repository's files.

In a forked child: openvino-tokenizers converts what transformers loads. What it wrote is kept only
if it gives the same token ids as the repository's tokenizer for every text that is asked.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prep.errors import ConversionError, listing
from prep.home.receipt import TOKENIZER
from prep.machine.disk import hidden_full

DETOKENIZER = "openvino_detokenizer.xml"
LONG = 300  # characters: a longer text would pad the whole batch to its length


def make(order: dict[str, Any]) -> dict[str, Any]:
    """Write the IR of the tokenizer into ``order["folder"]``, and with ``order["writes"]`` that of
    the detokenizer; raises where their answers to ``order["texts"]`` are not the tokenizer's.
    """
    import openvino
    from transformers import AutoTokenizer

    folder = Path(order["folder"])
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        models = _converted(tokenizer)
        _drop_unread(models[TOKENIZER], folder)
        for name in (TOKENIZER, DETOKENIZER)[: 1 + order["writes"]]:
            openvino.save_model(models[name], folder / name, compress_to_fp16=False)
        found = differences(folder, tokenizer, order["texts"])
    except Exception as error:
        if full := hidden_full(error, folder, Path(tempfile.gettempdir())):
            raise full from error
        raise ConversionError(f"{type(error).__name__}: {error}") from error
    if found:
        raise ConversionError(
            listing("it answers otherwise than the repository's tokenizer", found)
        )
    return {}


def differences(
    folder: Path, tokenizer: Any, texts: Sequence[str], written: Sequence[Sequence[int]] = ()
) -> list[str]:
    """Where the IRs of a folder answer otherwise than a tokenizer of transformers, in words.

    Each text alone, cut at the tokenizer's limit; the shorter ones in a batch, padded; and as text
    their ids and those that the model has `written`. Empty where the folder has no such IR.
    """
    import openvino
    import openvino_tokenizers  # noqa: F401  # registers the operations of these IRs

    if not (folder / TOKENIZER).is_file():
        return []
    compiled = openvino.compile_model(folder / TOKENIZER, "CPU")

    def encoded(batch: list[str]) -> dict[str, list[list[int]]]:
        return {output.any_name: ids.tolist() for output, ids in compiled(batch).items()}

    found, known = [], {}
    for text in texts:
        known[text] = tokenizer(text, truncation=True)["input_ids"]
        if (got := encoded([text])["input_ids"][0]) != known[text]:
            found.append(f"{text[:40]!r} becomes {_part(got)}, not {_part(known[text])}")
    short = [text for text in texts if len(text) <= LONG]
    if short and not found and tokenizer.pad_token is not None:
        wanted = dict(tokenizer(short, truncation=True, padding=True))
        got_batch = encoded(short)
        names = sorted(got_batch.keys() | (wanted.keys() & _inputs(folder)))
        found += [
            f"{name} of a batch of {len(short)} texts is another"
            for name in names
            if wanted.get(name) != got_batch.get(name)
        ]
    return found + list(_written_otherwise(folder, tokenizer, [*known.values(), *written]))


def _written_otherwise(
    folder: Path, tokenizer: Any, rows: Iterable[Sequence[int]]
) -> Iterator[str]:
    """Where the detokenizer gives another text for token ids, if there is one."""
    import numpy
    import openvino

    if not (folder / DETOKENIZER).is_file():
        return
    compiled = openvino.compile_model(folder / DETOKENIZER, "CPU")
    for ids in rows:
        wanted = tokenizer.decode(ids, skip_special_tokens=True)
        got = str(compiled(numpy.array([ids], numpy.int64))[0][0])
        if got != wanted:
            yield f"{_part(ids)} is written {got[:40]!r}, not {wanted[:40]!r}"


def _converted(tokenizer: Any) -> dict[str, Any]:
    """Both IRs, by the name of their file."""
    from openvino_tokenizers import convert_tokenizer

    _split_at_blanks()
    # Without truncation it would hand over a text of any length, whatever the repository's limit.
    models = convert_tokenizer(tokenizer, with_detokenizer=True, truncation=True)
    for model in models:
        # Nodes are named by a counter of the process; by their order, the same tokenizer gives the
        # same bytes.
        for number, node in enumerate(model.get_ordered_ops()):
            node.set_friendly_name(f"{node.get_type_name()}_{number}")
    return dict(zip((TOKENIZER, DETOKENIZER), models, strict=True))


def _inputs(folder: Path) -> set[str]:
    """What the model beside the tokenizer takes; of a model in several parts, whatever there is."""
    import openvino

    path = folder / "openvino_model.xml"
    if not path.is_file():
        return {"input_ids", "attention_mask", "token_type_ids"}
    return {port.any_name for port in openvino.Core().read_model(path).inputs}


def _drop_unread(tokenizer: Any, folder: Path) -> None:
    """Take out what the model does not take: OpenVINO's runtime hands it all over, and fails."""
    taken = _inputs(folder)
    for result in tokenizer.get_results():
        if not taken & result.input_value(0).names:
            tokenizer.remove_result(result)


def _split_at_blanks() -> None:
    """Have the converter split at white space where words get a ``▁`` as well.

    It leaves that step out there: a tab, two blanks or a blank at the end became tokens of their
    own. Changed in this process, which ends with this tokenizer.
    """
    from openvino_tokenizers.hf_parser import TransformersTokenizerPipelineParser
    from openvino_tokenizers.tokenizer_pipeline import RegexNormalizationStep, WhitespaceSplitStep

    steps = TransformersTokenizerPipelineParser.pre_tokenization_map
    assert "WhitespaceSplit" in steps, "this version names the step otherwise"
    steps["WhitespaceSplit"] = lambda step: [
        RegexNormalizationStep(regex_search_pattern=r"\s+", replace_term=" "),
        RegexNormalizationStep.strip_regex(),
        WhitespaceSplitStep(),
    ]


def _part(ids: Sequence[int]) -> str:
    """Ids as a message shows them."""
    shown = ", ".join(map(str, ids[:8]))
    return f"{len(ids)} tokens ({shown}{', …' if len(ids) > 8 else ''})"
