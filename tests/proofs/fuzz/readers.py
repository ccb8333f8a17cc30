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
from prep.catalogue.entries import read_catalogue
from prep.catalogue.goldens import read_goldens
from prep.catalogue.lock import Lock, check_lock, read_lock, render
from prep.catalogue.pin_change import meaning
from prep.catalogue.questions import read_questions
from prep.commands import cleanup, dry_run
from prep.errors import LISTED, PrepError
from prep.fetch.hub import find_token
from prep.files import unsafe
from prep.files.reader import Unreadable, parse_json, read_lines
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
from prep.tasks.golden_kinds import text_of
from prep.tasks.registry import TASKS
from prep.tasks.task import FOLDER, Task
from prep.verify.conversion import check_conversion
from prep.verify.source import check_source
from tests.proofs.fuzz.hostile import Form
from tests.support.paths import ROOT
from tests.support.small_homes import COMMIT, REPO, SOURCE, locked_model, tiny
from tests.support.small_settings import SPEC, settings_for
from tests.unit.commands.test_cleanup import OLD_LOCK, prepare
from tests.unit.commands.test_cleanup import SOURCE as PLACED
from tests.unit.commands.test_cleanup import settings as cleaning
from tests.unit.report.test_page import model, whole

SAMPLES = ROOT / "sample_hub"


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


def _questions(task: Task) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        questions = read_questions(folder, task)
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
    entry = summary.entry(ModelRun(), "unchecked", settings, "tiny")
    summary.write_summary(
        folder / "summary.json", settings, {"tiny": entry}, 0, 1767225600.0, folder / "report.html"
    )


def _summary_seed(folder: Path) -> bytes:
    run = whole(0, other=model(), more=model("repaired"))
    return (json.dumps(run, indent=1) + "\n").encode()


def _history_seed(folder: Path) -> bytes:
    lines = [history.line(name, model(), code) for name in ("tiny", "other") for code in (0, 1, 75)]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _older(name: str) -> Callable[[Path], bytes]:
    """A record as version 0.1 wrote it."""
    return lambda _: (ROOT / "tests" / "unit" / "report" / "older" / name).read_bytes()


def _plan_time(folder: Path) -> None:
    settings = settings_for(folder, locked_model())
    for name in ("tiny", "other"):
        dry_run._seconds(dry_run._fetch_seconds(settings, name, 10_000_000))


def _proven(folder: Path) -> None:
    made = tiny(folder)
    assert write_for_consumers(settings_for(folder, made.locked), {"tiny": "ready"}, 0) == []


def _ready_path(folder: Path) -> Path:
    return folder / "model-prep" / "ready.json"


def _ready_seed(folder: Path) -> bytes:
    return _ready_path(folder).read_bytes()


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


def _beside(name: str) -> Callable[[Path], Path]:
    return lambda folder: folder / name


def _given(data: bytes) -> Callable[[Path], bytes]:
    return lambda folder: data


def _file(path: Path) -> Callable[[Path], bytes]:
    return lambda folder: path.read_bytes()


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

READERS: tuple[Reader, ...] = (
    Reader(
        name="catalogue",
        reads=("prep/catalogue/entries.py:read_catalogue",),
        form="toml",
        path=_beside("models.toml"),
        seed=_file(SAMPLES / "models.toml"),
        read=_catalogue,
    ),
    Reader(
        name="lock",
        reads=("prep/catalogue/lock.py:read_lock",),
        form="toml",
        path=_beside("models.lock.toml"),
        seed=_file(SAMPLES / "models.lock.toml"),
        read=_lock,
    ),
    *(
        Reader(
            name=f"goldens of {task}",
            reads=("prep/catalogue/goldens.py:read_goldens",),
            form="toml",
            path=_beside(f"tiny-{task}.toml"),
            seed=_file(SAMPLES / "goldens" / f"tiny-{task}.toml"),
            read=_goldens(f"tiny-{task}", f"model-prep-samples/tiny-{task}", task),
        )
        for task in ("embedding", "reranker", "seq2seq")
    ),
    *(
        Reader(
            name=f"questions of {name}",
            reads=("prep/catalogue/questions.py:read_questions",),
            form="toml",
            path=_beside(f"{name}.toml"),
            seed=_file(FOLDER / f"{name}.toml"),
            read=_questions(task),
        )
        for name, task in TASKS.items()
    ),
    *(
        Reader(
            name=name,
            reads=("prep/home/receipt.py:read_receipt", "prep/report/ready_file.py:_folders"),
            form="json",
            path=_receipt_path,
            seed=lambda folder: _receipt_path(folder).read_bytes(),
            read=_receipt,
            prepare=tiny,
            seal=seal,
        )
        for name, seal in (("receipt", None), ("receipt, sealed", _sealed_receipt))
    ),
    *(
        Reader(
            name=name,
            reads=("prep/report/summary.py:_earlier",),
            form="json",
            path=_beside("summary.json"),
            seed=seed,
            read=_report,
        )
        for name, seed in (("summary", _summary_seed), ("summary, older", _older("summary.json")))
    ),
    *(
        Reader(
            name=name,
            reads=("prep/report/history.py:read",),
            form="lines",
            path=_beside("history.jsonl"),
            seed=seed,
            read=_report,
        )
        for name, seed in (("history", _history_seed), ("history, older", _older("history.jsonl")))
    ),
    Reader(
        name="summary, for the plan",
        reads=("prep/commands/dry_run.py:_fetch_seconds",),
        form="json",
        path=lambda folder: Home(folder).state / "summary.json",
        seed=_summary_seed,
        read=_plan_time,
    ),
    *(
        Reader(
            name=f"ready.json, {name}{', sealed' if seal else ''}",
            reads=reads,
            form="json",
            path=_ready_path,
            seed=_ready_seed,
            read=read,
            prepare=_proven,
            seal=seal,
        )
        for name, read, reads in (
            ("by a run", _consumers, ("prep/report/ready_file.py:_earlier",)),
            ("by the gate", _gate_home, ("deploy/ready.py:_manifest", "deploy/ready.py:_contents")),
        )
        for seal in (None, _sealed_ready)
    ),
    Reader(
        name="lock, by the gate",
        reads=("deploy/ready.py:_lock", "deploy/ready.py:_contents"),
        form="toml",
        path=_beside("models.lock.toml"),
        seed=_given(render(Lock(models=(locked_model(),))).encode()),
        read=_gate_lock,
        prepare=lambda folder: _proven(folder / "home"),
    ),
    Reader(
        name="ledger",
        reads=("prep/home/ledger.py:_parsed", "prep/home/ledger.py:read_ledger"),
        form="lines",
        path=lambda folder: Home(folder).ledger,
        seed=lambda folder: Home(folder).ledger.read_bytes(),
        read=_clean,
        prepare=_placed,
    ),
    Reader(
        name="refs/main",
        reads=(
            "prep/commands/cleanup.py:_commit_of",
            "prep/verify/source.py:_check_ref",
            "deploy/ready.py:_ref",
        ),
        form="text",
        path=lambda folder: Home(folder).ref(REPO),
        seed=_given(COMMIT.encode()),
        read=_named,
        prepare=_placed,
    ),
    Reader(
        name="safetensors header",
        reads=("prep/files/unsafe.py:_object", "prep/files/unsafe.py:_opened"),
        form="safetensors",
        path=_beside("model.safetensors"),
        seed=_given(WEIGHTS),
        read=_tensors,
    ),
    Reader(
        name="index of shards",
        reads=("prep/files/unsafe.py:_object", "prep/files/unsafe.py:_opened"),
        form="json",
        path=_beside("model.safetensors.index.json"),
        seed=_given(INDEX),
        read=_unsafe("model.safetensors.index.json"),
    ),
    *(
        Reader(
            name=f"{path}, what it asks",
            reads=("prep/files/unsafe.py:of_file", "prep/files/unsafe.py:_opened"),
            form="json",
            path=_beside(path),
            seed=_given(SETTINGS[path]),
            read=_unsafe(path),
        )
        for path in ("config.json", "modules.json", "tokenizer_config.json")
    ),
    *(
        Reader(
            name=f"{path}, what changed",
            reads=("prep/catalogue/pin_change.py:_object", "prep/commands/relock.py:_texts"),
            form="json",
            path=_beside(path),
            seed=_given(SETTINGS[path]),
            read=_changed(path),
            prepare=lambda folder: (folder / "1_Pooling").mkdir(),
        )
        for path in SETTINGS
    ),
    Reader(
        name="modules.json, by its test",
        reads=("model_tests/test_embedding.py:modules_of",),
        form="json",
        path=_beside("modules.json"),
        seed=_given(SETTINGS["modules.json"]),
        read=lambda folder: str(modules_of(folder / "modules.json")).encode(),
    ),
    Reader(
        name="sentence_bert_config.json, by its test",
        reads=("model_tests/test_embedding.py:limit_of",),
        form="json",
        path=_beside("sentence_bert_config.json"),
        seed=_given(SETTINGS["sentence_bert_config.json"]),
        read=lambda folder: str(limit_of(folder / "sentence_bert_config.json")).encode(),
    ),
    Reader(
        name="note of a lock's holder",
        reads=("prep/home/file_lock.py:_read", "prep/home/file_lock.py:describe_holder"),
        form="json",
        path=_beside("org--name.fetch.holder"),
        seed=_given(NOTE),
        read=_waited,
    ),
    Reader(
        name="events of workers",
        reads=("prep/plugin/terminal.py:_follow",),
        form="lines",
        path=_beside("events.jsonl"),
        seed=_given(EVENTS),
        read=_followed,
    ),
    Reader(
        name="token of the hub",
        reads=("prep/fetch/hub.py:find_token",),
        form="text",
        path=_beside("token"),
        seed=_given(b"hf_abc\n"),
        read=lambda folder: find_token({"HF_TOKEN_PATH": str(folder / "token")}),
    ),
)

# What is read and was written by nobody else, or is no document to us.
TRUSTED: Mapping[str, str] = {
    "prep/files/reader.py": "the reader itself",
    "prep/files/append.py": "opens a file to add lines; reads its last byte alone",
    "prep/tasks/task.py:questions": "committed beside the code",
    "prep/report/page.py:render": "a template, committed beside the code",
    "prep/machine/build.py": "what git and pip wrote beside the code",
    "prep/machine/memory.py:_text": "the kernel's",
    "prep/plugin/signals.py:_below": "the kernel's",
    "prep/sandbox/probe/isolation.py": "the kernel's",
    "deploy/ready.py:_digest": "bytes to be digested, whatever they are",
    "deploy/ready.py:_look": "opened to see whether it can be, and not read",
    "prep/plugin/workspace.py:context_for": "this run's controlling process wrote it, in memory",
    "prep/stages/loaded.py:load_model": "loads a model, in a process of ours",
    "prep/files/checksum.py:digest_file": "bytes to be digested, whatever they are",
    "prep/fetch/session.py": "a hub's answers, held in tests/proofs/fuzz/hub.py",
    "prep/fetch/worker.py": "the same; and `open` is a request",
    "prep/plugin/junit.py:in_memory": "what pytest has just written, in memory",
    "prep/fetch/download.py": "bytes to be digested, whatever they are",
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
