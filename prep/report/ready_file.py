"""What consumers read of a green run: `ready.json` for their readiness gate, `consumer.env`.

`deploy/ready.py` holds a home against the one, without this project; services take their
environment from the other. Both lie in the home, so a run under ``--offline`` writes neither.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedFile, LockedModel
from prep.files.checksum import Digest, digest_files
from prep.files.fields import NAME as NAMES
from prep.files.reader import Unreadable, read_json
from prep.files.typed import (
    Commit,
    Count,
    Number,
    Repo,
    Sha256,
    Texts,
    Time,
    plain,
    read_or_none,
)
from prep.home.file_lock import lock_file
from prep.home.layout import Home, make_folder, now, write_text
from prep.home.receipt import NAME
from prep.machine.build import Build, build
from prep.report.older_versions import READY_BEFORE, models_of
from prep.report.run_report import GREEN, Precision, Status
from prep.settings import Settings
from prep.tasks.loaders import outranked, taken_beside
from prep.verify.conversion import check_conversion
from prep.verify.problem import Problem
from prep.verify.source import check_source

VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyVerdict:
    """A model in `ready.json`."""

    status: Status
    at: Time
    model_prep: Build | None
    entry: Sha256
    asked: Sha256 | None = None
    repo: Repo
    commit: Commit
    precisions: tuple[Precision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyRef:
    """`refs/main`, and what it holds."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyFile:
    """One file as it was judged; `path` is in its folder."""

    path: str
    size: Count
    mtime_ns: Number
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyFolder:
    """A folder: its files, patterns of what loaders take beside them, and files that do no harm."""

    path: str
    files: tuple[ReadyFile, ...]
    taken: Texts
    harmless: Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyProof(ReadyVerdict):
    """A model that is ready, with all that was proven of it."""

    ref: ReadyRef
    folders: tuple[ReadyFolder, ...]


ReadyModels = dict[str, ReadyVerdict]
CLOCKS_DIFFER = 60  # seconds that a file server's clock may be behind ours
PLAIN = re.compile(r"[\w/.@:+,%=-]+", re.ASCII)  # means the same to docker, systemd and a shell


def write_for_consumers(
    settings: Settings, verdicts: Mapping[str, Status], since: float
) -> list[str]:
    """Merge this run's verdicts into both files, under a lock; gives what is not as it was judged.

    `since` is when the run began (seconds since the epoch): what has changed from then on is
    digested again, so that the times which are noted are those of the bytes that were judged.
    """
    path = settings.home.state / "ready.json"
    make_folder(path.parent)
    wrong: list[str] = []
    with lock_file(Path(f"{path}.lock")):
        earlier = _earlier(path)
        models: ReadyModels = dict(earlier)
        for name, status in verdicts.items():
            fresh, problems = _model(settings, name, status, since)
            wrong += problems
            if not _keeps(models.get(name), fresh):
                models[name] = fresh
        whole = {
            "ready-version": VERSION,
            "model-prep": build().record(),
            "at": now(),
            "models": plain(models),
            "seal": _seal(plain(models)),
        }
        files = {
            path: json.dumps(whole, indent=1, ensure_ascii=False) + "\n",
            path.with_name("consumer.env"): environment(settings.home, models),
        }
        stale = list(files)
        try:
            for file, text in files.items():
                write_text(file, text)
                stale.remove(file)
        except OSError:
            if any(_is_green(earlier.get(name)) and not _is_green(models[name]) for name in models):
                for file in stale:  # no proof at all is better than one that is taken back
                    file.unlink(missing_ok=True)
            raise
    return wrong


def environment(home: Home, models: Mapping[str, ReadyVerdict]) -> str:
    """The text of `consumer.env`: plain KEY=value, the same to docker, systemd and a shell."""
    root = str(home.root)
    head = (
        "# Written by pytest: what a consumer sets, and the paths of the models that are ready.\n"
    )
    if not PLAIN.fullmatch(root):
        return (
            f"{head}# Nothing is set: docker, systemd and shells read {root!r} each in their own\n"
            "# way. Choose a home without blanks and signs (--model-home).\n"
        )
    paths: dict[str, list[str]] = {}
    for name, model in sorted(models.items()):
        for precision in model.precisions if model.status in GREEN else ():
            paths.setdefault(variable(name, precision), []).append(
                str(home.stable(model.repo, precision))
            )
    lines = [f"HF_HOME={root}", "HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1"]
    for key, found in paths.items():
        many = f"# {key} would be {len(found)} paths: {', '.join(found)}"
        lines.append(f"{key}={found[0]}" if len(found) == 1 else many)
    return head + "\n".join(lines) + "\n"


def variable(name: str, precision: str) -> str:
    """The variable of a converted path: ``small-en-v1.5`` → ``MODEL_SMALL_EN_V1_5_INT8``."""
    return re.sub(r"[^A-Z0-9]", "_", f"MODEL_{name}_{precision}".upper())


def _model(
    settings: Settings, name: str, status: Status, since: float
) -> tuple[ReadyVerdict, list[str]]:
    """One model's entry, with its files where it is green; and what speaks against that."""
    spec = next(spec for spec in settings.models if spec.name == name)
    locked = settings.lock.get(name)
    assert locked is not None, "settings were held against the lock"
    verdict = ReadyVerdict(
        status=status,
        at=now(),
        model_prep=build(),
        entry=locked.digest,
        asked=settings.asked_of(spec),
        repo=locked.repo,
        commit=locked.commit,
        precisions=spec.precisions,
    )
    if status not in GREEN:
        return verdict, []
    folders, problems = _folders(settings, spec, locked)
    problems += _changed(settings.home, folders, since) if not problems else []
    if problems:
        return replace(verdict, status="failed"), [f"{name}: {problem}" for problem in problems]
    ref = settings.home.shown(settings.home.ref(locked.repo))
    said = {field.name: getattr(verdict, field.name) for field in fields(verdict)}
    proof = ReadyProof(**said, ref=ReadyRef(path=ref, text=locked.commit), folders=tuple(folders))
    return proof, []


def _folders(
    settings: Settings, spec: ModelSpec, locked: LockedModel
) -> tuple[list[ReadyFolder], list[str]]:
    """The snapshot and the converted folders as they lie there now; and what is wrong with them."""
    home = settings.home
    also = settings.lock.paths_of(locked.repo, locked.commit)
    source = check_source(home, locked, also_locked=also, deep=False)
    snapshot = home.snapshot(locked.repo, locked.commit)
    problems: list[Problem] = list(source.problems)
    folders = []
    if source.sound:
        harmless = {*source.unused, *also}
        folders.append(_folder(home, snapshot, locked.files, harmless, converted=False))
    for precision in spec.precisions:
        stable = home.stable(locked.repo, precision)
        state = check_conversion(home, locked, precision, at=stable, deep=False)
        problems += state.problems
        if state.sound and state.receipt is not None:
            text = (stable / NAME).read_bytes()  # read_receipt has just found it whole
            own = LockedFile(path=NAME, size=len(text), sha256=hashlib.sha256(text).hexdigest())
            files = (*state.receipt.files, own)
            folders.append(_folder(home, stable, files, set(state.unused), converted=True))
    return folders, [" ".join(str(problem).split()) for problem in problems]


def _folder(
    home: Home, at: Path, files: tuple[LockedFile, ...], harmless: set[str], *, converted: bool
) -> ReadyFolder:
    known = {file.path for file in files}
    return ReadyFolder(
        path=home.shown(at),
        files=tuple(
            ReadyFile(
                path=file.path,
                size=file.size,
                mtime_ns=(at / file.path).stat().st_mtime_ns,
                sha256=file.sha256,
            )
            for file in files
        ),
        taken=tuple(taken_beside(known, converted=converted)),
        harmless=tuple(sorted((harmless | outranked(known)) - known)),
    )


def _changed(home: Home, folders: Sequence[ReadyFolder], since: float) -> list[str]:
    """Which files that changed since the run began are not what was judged."""
    wanted: dict[Path, Digest] = {}
    for folder in folders:
        for file in folder.files:
            path = home.root / folder.path / file.path
            stat = path.stat()
            if max(stat.st_mtime, stat.st_ctime) > since - CLOCKS_DIFFER:
                wanted[path] = Digest(file.size, file.sha256)
    return [
        f"changed {home.shown(path)} since it was judged"
        for path, got in sorted(digest_files(wanted).items())
        if got != wanted[path]
    ]


def _is_green(model: ReadyVerdict | None) -> bool:
    return model is not None and model.status in GREEN


def _keeps(earlier: ReadyVerdict | None, fresh: ReadyVerdict) -> bool:
    """Whether an earlier proof stands: a run that left checks out says nothing against it."""
    return (
        earlier is not None
        and fresh.status == "unchecked"
        and (earlier.entry, earlier.precisions) == (fresh.entry, fresh.precisions)
        and earlier.asked in (None, fresh.asked)
    )


def _earlier(path: Path) -> ReadyModels:
    """The models of the file that is there; one that cannot be read or was changed counts not."""
    try:
        data = read_json(path)
    except (OSError, Unreadable):
        return {}
    if not isinstance(data, dict) or data.get("seal") != _seal(data.get("models")):
        return {}
    models = models_of(data, "ready-version", VERSION, READY_BEFORE)
    found: ReadyModels = {}
    for name, model in models.items():
        proof = read_or_none(ReadyProof, model) or read_or_none(ReadyVerdict, model)
        if proof is not None and NAMES.fullmatch(name):
            found[name] = proof
    return found


def _seal(models: object) -> str:
    text = json.dumps(models, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
