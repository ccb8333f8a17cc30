"""Every reader of what somebody else wrote, a row each: where it lies, a valid one, who reads it.

`read` does what a run does with the file, and nothing may rise from it but `PrepError` and
`Unreadable`. `reads` names the places in the code that it covers; `test_fuzz.py` holds them
against the code, so that no reader is forgotten. What needs none is in `TRUSTED`, with the reason.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from model_tests.test_embedding import limit_of, modules_of
from prep.catalogue.entries import Catalogue, ModelSpec, read_catalogue
from prep.catalogue.goldens import read_goldens
from prep.catalogue.lock import Lock, check_lock, read_lock, render
from prep.catalogue.pin_change import meaning
from prep.catalogue.questions import read_questions
from prep.commands import cleanup, dry_run
from prep.errors import LISTED, PrepError
from prep.fetch.hub import find_token
from prep.fetch.part import bytes_there
from prep.fetch.spans import Spans, record_of, record_place
from prep.files import unsafe
from prep.files.reader import Unreadable, parse_json, read_lines
from prep.files.typed import plain
from prep.home.file_lock import _Wait
from prep.home.layout import Home, write_text
from prep.home.ledger import read_ledger
from prep.home.receipt import NAME, _canonical, read_receipt
from prep.process.progress import Doing, is_event
from prep.report import history, summary
from prep.report.ready_file import _seal, write_for_consumers
from prep.report.verdict import ModelRun
from prep.stages.estimates import make_of
from prep.stages.preflight import needs_of
from prep.tasks.architecture import describe, missing_files
from prep.tasks.golden_kinds import text_of
from prep.tasks.registry import TASKS
from prep.tasks.task import FOLDER
from prep.verify.conversion import check_conversion
from prep.verify.signature import read_manifest
from prep.verify.source import check_source
from tests.proofs.fuzz.hostile import Form
from tests.support.paths import ROOT
from tests.support.reports import model_report, run_report
from tests.support.small_homes import COMMIT, REPO, SOURCE, locked_model, tiny
from tests.support.small_settings import SPEC, settings_for
from tests.unit.commands.test_cleanup import OLD_LOCK, prepare
from tests.unit.commands.test_cleanup import SOURCE as PLACED
from tests.unit.commands.test_cleanup import settings as cleaning

SAMPLES = ROOT / "sample_hub"
OLDER = ROOT / "tests" / "unit" / "report" / "older"  # records as version 0.1 wrote them


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One row. `prepare` makes what lies around the file, once, in an empty folder.

    `seal` makes bytes that were changed look unchanged, where a seal would keep them from being
    looked at further.
    """

    name: str
    reads: tuple[str, ...]
    form: Form
    path: Callable[[Path], Path]
    seed: Callable[[Path], bytes]
    read: Callable[[Path], object]
    prepare: Callable[[Path], object] = lambda folder: None
    seal: Callable[[bytes], bytes] | None = None


def outcome(reader: Reader, folder: Path) -> str:
    """What became of it: ``read``, or the class of our error. Raises what must not rise."""
    try:
        reader.read(folder)
    except (PrepError, Unreadable) as error:
        text = str(error)
        strange = [sign for sign in text if not sign.isprintable() and sign != "\n"]
        assert text.strip(), f"{type(error).__name__} says nothing"
        assert not strange, f"{strange[0]!r} in {text!r}"
        assert text.count("\n") < LISTED + 10, f"{text.count(chr(10))} lines"
        return type(error).__name__
    return "read"


# ---------------------------------------------------------------- what a run does with each


def _catalogue(folder: Path) -> None:
    read_catalogue(folder / "models.toml")


def _lock(folder: Path) -> None:
    lock = read_lock(folder / "models.lock.toml")
    render(lock)
    [f"{model.bytes} {model.bytes / 1e6:.1f} {model.digest}" for model in lock.models]
    catalogue = read_catalogue(SAMPLES / "models.toml")
    check_lock(catalogue, lock, catalogue.models)


def _goldens(name: str, repo: str, task: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        goldens = read_goldens(folder, name, repo, task)
        if goldens is not None:
            goldens.ask()
            for kind in ("vectors", "tokens"):
                [text_of(golden) for golden in goldens.of(kind)]
            for golden in (*goldens.of("scores"), *goldens.of("vectors")):
                float((golden.get("tolerance") or golden["least-cosine"])["int8"])

    return read


def _questions(task: str) -> Callable[[Path], None]:
    spec = ModelSpec(name="x", repo=REPO, revision="main", task=task, precisions=(), why="x")

    def read(folder: Path) -> None:
        catalogue = Catalogue(path=folder / "models.toml", models=(spec,))
        questions = read_questions(catalogue)["x"]
        questions.all()
        questions.table()
        f"{questions.agreement['int8']:.3f}"

    return read


def _receipt_path(folder: Path) -> Path:
    return Home(folder).stable(REPO, "int8") / NAME


def _receipt(folder: Path) -> None:
    """As the gate of every run, and as the plan, which computes with it."""
    settings = settings_for(folder, locked_model())
    state = check_conversion(
        settings.home, locked_model(), "int8", at=Home(folder).stable(REPO, "int8"), deep=True
    )
    [str(problem) for problem in state.problems]
    needs_of(settings)
    problems: list[Any] = []
    plan = dry_run._model(settings, SPEC, (), problems)
    list(dry_run._rows(plan))
    again = dry_run._plan("int8", "convert", "", state.receipt, work=True)
    dry_run._seconds(again.seconds)
    dry_run._about(again.memory or 0, again)
    read_receipt(_receipt_path(folder).parent)


def _sealed_receipt(data: bytes) -> bytes:
    try:
        body = json.loads(data)
        body.pop("seal", None)
        seal = hashlib.sha256(_canonical(body).encode()).hexdigest()
        return (json.dumps({**body, "seal": seal}, indent=1, sort_keys=True) + "\n").encode()
    except (ValueError, AttributeError, RecursionError, TypeError):
        return data


def _report(folder: Path) -> None:
    """A run's end: merged with what is there, and shown as the page."""
    settings = settings_for(folder, locked_model())
    paths = {"summary": folder / "summary.json", "report": folder / "report.html"}
    settings = replace(settings, **paths)
    report = summary.model_report(ModelRun(), "unchecked", settings, "tiny")
    summary.write_reports(settings, {"tiny": report}, 0, 1767225600.0)


def _summary_seed(folder: Path) -> bytes:
    run = run_report(0, other=model_report(), more=model_report("repaired"))
    return (json.dumps(plain(run), indent=1) + "\n").encode()


def _history_seed(folder: Path) -> bytes:
    report = model_report()
    lines = [history.line(name, report, code) for name in ("tiny", "other") for code in (0, 1, 75)]
    return "".join(json.dumps(plain(line)) + "\n" for line in lines).encode()


def _plan_time(folder: Path) -> None:
    settings = settings_for(folder, locked_model())
    for name in ("tiny", "other"):
        dry_run._seconds(dry_run._fetch_seconds(settings, name, 10_000_000))


def _proven(folder: Path) -> None:
    made = tiny(folder)
    assert write_for_consumers(settings_for(folder, made.locked), {"tiny": "ready"}, 0) == []


def _ready_path(folder: Path) -> Path:
    return folder / "model-prep" / "ready.json"


def _sealed_ready(data: bytes) -> bytes:
    try:
        body = json.loads(data)
        return json.dumps({**body, "seal": _seal(body["models"])}).encode()
    except (ValueError, KeyError, AttributeError, RecursionError, TypeError):
        return data


def _consumers(folder: Path) -> None:
    settings = settings_for(folder, locked_model())
    name = replace(SPEC, name="second")
    lock = Lock(models=(replace(locked_model(), name="second"),))
    write_for_consumers(replace(settings, models=(name,), lock=lock), {"second": "failed"}, 0)
    env = (folder / "model-prep" / "consumer.env").read_text(encoding="utf-8")
    for line in env.splitlines():
        assert line.startswith(("#", "HF_", "TRANSFORMERS_", "MODEL_")), line


def _gate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gate", ROOT / "deploy" / "ready.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GATE = _gate()


def _judged(*args: str) -> None:
    """The gate says yes or no, a line a model, and nothing else."""
    buffer = io.BytesIO()
    out = io.TextIOWrapper(buffer, encoding="ascii")
    with contextlib.redirect_stdout(out):
        code = GATE.main(list(args))
    out.flush()
    lines = buffer.getvalue().decode("ascii").splitlines()
    assert lines
    assert code == (1 if any("NOT READY" in line for line in lines) else 0)
    assert all("ready, proven " in line or "NOT READY" in line for line in lines), lines


def _gate_home(folder: Path) -> None:
    _judged(str(folder), "--deep")


def _gate_lock(folder: Path) -> None:
    _judged(str(folder / "home"), "--lock", str(folder / "models.lock.toml"))


def _placed(folder: Path) -> None:
    prepare(folder, OLD_LOCK, PLACED)


def _clean(folder: Path) -> None:
    """The ledger as a run reads it, and as the cleanup goes by it; nothing is removed."""
    settings = cleaning(folder, locked_model({**SOURCE, "config.json": b"{}"}), dry_run=True)
    read_ledger(settings.home)
    said: list[str] = []
    cleanup.run(settings, folder, said.append)
    "".join(said).encode()


def _named(folder: Path) -> None:
    """refs/main, as every run looks at it and as the cleanup goes by it."""
    state = check_source(Home(folder), locked_model(), deep=False)
    [str(problem) for problem in state.problems]
    _clean(folder)


def _tensors(folder: Path) -> None:
    path = folder / "model.safetensors"
    unsafe.of_path("model.safetensors", path, {"model.safetensors"})
    unsafe.tensors_of(path)
    home = Home(folder / "home")
    snapshot = home.snapshot(REPO, COMMIT)
    snapshot.mkdir(parents=True, exist_ok=True)
    if not (snapshot / "model.safetensors").is_symlink():
        (snapshot / "model.safetensors").symlink_to(path)
    make = make_of(home, locked_model(), "int8")
    f"{make.bytes / 1e6:.1f} {make.memory}"


def _unsafe(path: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        finding = unsafe.of_path(path, folder / path, {"model-00001-of-00002.safetensors"})
        if finding is not None:
            strange = [sign for sign in finding.detail if not sign.isprintable()]
            assert not strange, f"{strange[0]!r} in {finding.detail!r}"

    return read


def _allows(path: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        file = folder / path
        if not file.is_file() or file.stat().st_size > 1 << 21:
            return  # the hub's listing names files alone, and settings are small
        found = describe({path: file.read_bytes().decode(errors="replace")})
        missing_files(found, ["config.json"], ["2_Dense/pytorch_model.bin"])
        for task in TASKS.values():
            task.other_kind(found)
            task.consumers_unable(found, ["config.json"])

    return read


def _changed(path: str) -> Callable[[Path], None]:
    """What a new pin means, the file being the old one's and the new one's."""

    def read(folder: Path) -> None:
        file = folder / path
        if not file.is_file() or file.stat().st_size > 1 << 21:
            return  # another size than the lock's
        text = file.read_bytes().decode(errors="replace")
        base = {name: body.decode() for name, body in SETTINGS.items()}
        was = locked_model()
        now = locked_model({**SOURCE, path: b"other", "config.json": b"{ }"}, "f" * 40)
        for old, new in ((base, {**base, path: text}), ({**base, path: text}, base)):
            for task in ("embedding", "reranker", "seq2seq"):
                "\n".join(meaning(was, now, task, old, new)).encode()

    return read


SETTINGS: Mapping[str, bytes] = {
    "config.json": b'{"model_type": "bert", "hidden_size": 64, "vocab_size": 264, "id2label": '
    b'{"0": "a", "1": "b"}, "max_position_embeddings": 64, "sub_config": {"auto_map": null}}',
    "modules.json": b'[{"idx": 0, "name": "0", "path": "", "type": '
    b'"sentence_transformers.models.Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", '
    b'"type": "sentence_transformers.models.Pooling"}]',
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true, "word_embedding_dimension": 64}',
    "sentence_bert_config.json": b'{"max_seq_length": 64, "do_lower_case": false}',
    "tokenizer_config.json": b'{"model_max_length": 64, "tokenizer_class": "BertTokenizer"}',
    "generation_config.json": b'{"decoder_start_token_id": 0, "max_length": 20}',
}
INDEX = (
    b'{"metadata": {"total_size": 10}, "weight_map": {"a": "model-00001-of-00002.safetensors", '
    b'"b": "model-00001-of-00002.safetensors"}}'
)


def _waited(folder: Path) -> None:
    said: list[str] = []
    wait = _Wait(folder / "org--name.fetch", folder / "org--name.fetch.holder", said.append)
    wait.check()
    assert len(said) == 1
    assert said[0].isprintable(), said[0]
    said[0].encode()


def _resumed(folder: Path) -> None:
    """Never more bytes than the file has, whatever lies behind them."""
    assert 0 <= bytes_there(folder / "part", 5000) <= 5000


def _followed(folder: Path) -> None:
    """As the painter takes the events of xdist's workers."""
    doing: dict[str, Doing] = {}
    for line in read_lines(folder / "events.jsonl"):
        try:
            event = parse_json(line)
        except Unreadable:
            continue
        if is_event(event) and "doing" in event:
            doer = doing.setdefault(event["model"], Doing(event["model"], None, 0.0, 0.0))
            for now in (1.0, 2.0):
                doer.take(event, now)
                doer.line(now)
                doer.figures(now)
                doer.share  # noqa: B018


def _by_its_test(path: str, function: Callable[[Path], object]) -> Callable[[Path], bytes]:
    return lambda folder: str(function(folder / path)).encode()


def _ledger_path(folder: Path) -> Path:
    return Home(folder).ledger


def _content(seed: bytes | Path) -> bytes:
    return seed if isinstance(seed, bytes) else seed.read_bytes()


EVENTS = b"".join(
    json.dumps({"who": "gw0", "model": "tiny", **event}).encode() + b"\n"
    for event in (
        {"say": "fetching 10 files"},
        {"doing": "fetching"},
        {"doing": "fetching", "done": 10, "of": 100, "unit": "bytes"},
        {"doing": "loading by transformers", "done": 1, "of": 2, "unit": "loads"},
        {"doing": None},
    )
)
NOTE = json.dumps(
    {"host": "node-1", "pid": 7, "since": "2026-01-01T00:00:00+00:00", "bytes": 7, "renewed": "x"}
).encode()
WEIGHTS = SOURCE["model.safetensors"]
RANGES = record_of(Spans(5000, [(0, 10), (2000, 3000), (4000, 4500)]))
PARTIAL = bytes(record_place(5000)) + RANGES


def _row(
    name: str,
    reads: str,
    form: Form,
    path: str | Callable[[Path], Path],
    seed: bytes | Path | Callable[[Path], bytes],
    read: Callable[[Path], object],
    **more: Any,
) -> Reader:
    """A reader; `reads` are separated by spaces, `path` is one in the folder, `seed` as given."""
    return Reader(
        name=name,
        reads=tuple(reads.split()),
        form=form,
        path=path if callable(path) else lambda folder: folder / path,
        seed=seed if callable(seed) else lambda _: _content(seed),
        read=read,
        **more,
    )


def _as_it_lies(path: Callable[[Path], Path]) -> Callable[[Path], bytes]:
    """What `prepare` put there."""
    return lambda folder: path(folder).read_bytes()


HEADERS = "prep/files/unsafe.py:_object prep/files/unsafe.py:_opened"
READERS: tuple[Reader, ...] = (
    _row("catalogue", "prep/catalogue/entries.py:read_catalogue", "toml", "models.toml",
        SAMPLES / "models.toml", _catalogue),
    _row("lock", "prep/catalogue/lock.py:read_lock", "toml", "models.lock.toml",
        SAMPLES / "models.lock.toml", _lock),
    *(
        _row(f"goldens of {task}", "prep/catalogue/goldens.py:read_goldens", "toml",
            f"tiny-{task}.toml", SAMPLES / "goldens" / f"tiny-{task}.toml",
            _goldens(f"tiny-{task}", f"model-prep-samples/tiny-{task}", task))
        for task in ("embedding", "reranker", "seq2seq")
    ),
    *(
        _row(f"{what} of {task}", "prep/catalogue/questions.py:_read", "toml",
            f"questions/{name}", FOLDER / name, _questions(task))
        for task in TASKS
        for what, name in (("questions", f"en/{task}.toml"), ("bounds", f"{task}.toml"))
    ),
    *(
        _row(name, "prep/home/receipt.py:read_receipt prep/report/ready_file.py:_folders", "json",
            _receipt_path, _as_it_lies(_receipt_path), _receipt, prepare=tiny, seal=seal)
        for name, seal in (("receipt", None), ("receipt, sealed", _sealed_receipt))
    ),
    *(
        _row(name, "prep/report/summary.py:earlier_models", "json", "summary.json", seed, _report)
        for name, seed in (("summary", _summary_seed), ("summary, older", OLDER / "summary.json"))
    ),
    *(
        _row(name, "prep/report/history.py:read", "lines", "history.jsonl", seed, _report)
        for name, seed in (("history", _history_seed), ("history, older", OLDER / "history.jsonl"))
    ),
    _row("summary, for the plan", "prep/commands/dry_run.py:_fetch_seconds", "json",
        lambda folder: Home(folder).state / "summary.json", _summary_seed, _plan_time),
    *(
        _row(f"ready.json, {name}{', sealed' if seal else ''}", reads, "json",
            _ready_path, _as_it_lies(_ready_path), read, prepare=_proven, seal=seal)
        for name, read, reads in (
            ("by a run", _consumers, "prep/report/ready_file.py:_earlier"),
            ("by its signature", lambda folder: read_manifest(_ready_path(folder)),
                "prep/verify/signature.py:read_manifest"),
            ("by the gate", _gate_home, "deploy/ready.py:_manifest deploy/ready.py:_contents"),
        )
        for seal in (None, _sealed_ready)
    ),
    _row("lock, by the gate", "deploy/ready.py:_lock deploy/ready.py:_contents", "toml",
        "models.lock.toml", render(Lock(models=(locked_model(),))).encode(), _gate_lock,
        prepare=lambda folder: _proven(folder / "home")),
    _row("ledger", "prep/home/ledger.py:_parsed prep/home/ledger.py:read_ledger", "lines",
        _ledger_path, _as_it_lies(_ledger_path), _clean, prepare=_placed),
    _row("refs/main", "prep/commands/cleanup.py:_commit_of prep/verify/source.py:_check_ref "
        "deploy/ready.py:_ref", "text", lambda folder: Home(folder).ref(REPO), COMMIT.encode(),
        _named, prepare=_placed),
    _row("safetensors header", HEADERS, "safetensors", "model.safetensors", WEIGHTS, _tensors),
    _row("index of shards", HEADERS, "json", "model.safetensors.index.json", INDEX,
        _unsafe("model.safetensors.index.json")),
    *(
        _row(f"{path}, what it asks", "prep/files/unsafe.py:of_file prep/files/unsafe.py:_opened",
            "json", path, SETTINGS[path], _unsafe(path))
        for path in ("config.json", "modules.json", "tokenizer_config.json")
    ),
    *(
        _row(f"{path}, what it allows", "prep/tasks/architecture.py:_json", "json", path, content,
            _allows(path), prepare=lambda folder: (folder / "1_Pooling").mkdir())
        for path, content in SETTINGS.items()
    ),
    *(
        _row(f"{path}, what changed",
            "prep/catalogue/pin_change.py:_object prep/commands/relock.py:_texts", "json", path,
            content, _changed(path), prepare=lambda folder: (folder / "1_Pooling").mkdir())
        for path, content in SETTINGS.items()
    ),
    *(
        _row(f"{path}, by its test", f"model_tests/test_embedding.py:{function.__name__}", "json",
            path, SETTINGS[path], _by_its_test(path, function))
        for path, function in (
            ("modules.json", modules_of), ("sentence_bert_config.json", limit_of),
        )
    ),
    _row("note of a lock's holder",
        "prep/home/file_lock.py:_read prep/home/file_lock.py:describe_holder", "json",
        "org--name.fetch.holder", NOTE, _waited),
    _row("record of a partial file", "prep/fetch/part.py:bytes_there", "text", "part", PARTIAL,
        _resumed),
    _row("events of workers", "prep/plugin/terminal.py:_follow", "lines", "events.jsonl", EVENTS,
        _followed),
    _row("token of the hub", "prep/fetch/hub.py:find_token", "text", "token", b"hf_abc\n",
        lambda folder: find_token({"HF_TOKEN_PATH": str(folder / "token")})),
)  # fmt: skip

# What is read and was written by nobody else, or is no document to us.
TRUSTED: Mapping[str, str] = {
    "prep/files/reader.py": "the reader itself",
    "prep/files/append.py": "opens a file to add lines; reads its last byte alone",
    "prep/tasks/task.py:questions": "committed beside the code",
    "prep/report/page.py:render": "a template, committed beside the code",
    "prep/machine/build.py": "what git and pip wrote beside the code",
    "prep/machine/control_groups.py:kernel_text": "the kernel's",
    "prep/sandbox/probe/modules.py": "reads a model, in a process of ours",
    "prep/stages/loaded.py:finish_load": "loads a model, in a process of ours",
    "prep/plugin/signals.py:_below": "the kernel's",
    "prep/sandbox/probe/isolation.py": "the kernel's",
    "deploy/ready.py:_digest": "bytes to be digested, whatever they are",
    "deploy/ready.py:_look": "opened to see whether it can be, and not read",
    "prep/plugin/workspace.py:context_for": "this run's controlling process wrote it, in memory",
    "prep/files/checksum.py:digest_file": "bytes to be digested, whatever they are",
    "prep/fetch/session.py": "a hub's answers, held in tests/proofs/fuzz/hub.py",
    "prep/fetch/worker.py": "the same; and `open` is a request",
    "prep/plugin/junit.py:in_memory": "what pytest has just written, in memory",
    "prep/plugin/outcome.py:_write_step_summary": "opened to add lines, and not read",
    "prep/machine/machine.py": "the kernel's",
    "prep/fetch/download.py": "the same",
    "prep/fetch/folder.py": "bytes to be digested, and a card: tests/unit/fetch/test_folder.py",
    "prep/fetch/ranges.py": "the same",
    "prep/fetch/part.py:locked": "bytes to be digested, whatever they are",
    "prep/convert/conversion.py": "flushes what was just made, and reads nothing",
    "prep/machine/disk.py:why_not_writable": "opens a nameless file, and reads nothing",
    "prep/commands/cleanup.py:_is_locked": "opened to be locked, and read by nobody",
    "prep/stages/preflight.py:load": "this run's controlling process wrote it, in memory",
    "prep/home/layout.py:write_text": "written, not read",
    "prep/process/child.py": "a process of ours: tests/unit/process/test_child.py",
    "prep/sandbox/probe/serve.py": "a process of ours",
    "prep/plugin/report_places.py:_check_place": "opened to see whether it can be written",
    "prep/plugin/terminal.py:_append_to": "opened to be written",
}


def written(reader: Reader, folder: Path, data: bytes) -> Path:
    """Put the bytes where the reader finds them."""
    path = reader.path(folder)
    if path.is_symlink() or not path.is_file():
        write_text(path, "")
    path.write_bytes(reader.seal(data) if reader.seal else data)
    return path
