"""Catalogues, locks and goldens that cannot be used (exit 4), or do not fit the home."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prep.catalogue.lock import Lock, LockedFile, LockedModel, read_lock, render
from prep.files.checksum import digest_file
from tests.proofs.matrix.damages import cut, rewrite
from tests.proofs.matrix.layout import REF, UNLOCKED
from tests.proofs.matrix.row import Row, Target, kind
from tests.proofs.matrix.source import BYTES
from tests.support.small_homes import replace_by_folder

LOCK, CATALOGUE = "models.lock.toml", "models.toml"


def edit(path: Path, *pairs: tuple[str, str]) -> None:
    """Replace texts, each of which must be there."""
    text = path.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text, f"{old!r} is not in {path}"
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")


_damage = kind()  # a lock that can be read, and does not fit the home
_refused = kind(expect="exit 4")


def _lock(name: str, do: Callable[[Path], object], *words: str) -> Row:
    return _refused(name, lambda target: do(target.lock), *words, group="lock", file=LOCK)


def _edited(name: str, old: str, new: str, *words: str) -> Row:
    return _lock(name, lambda path: edit(path, (old, new)), *words)


def _catalogue(name: str, do: Callable[[Path], object], *words: str) -> Row:
    given = {"group": "catalogue", "file": CATALOGUE}
    return _refused(name, lambda target: do(target.catalogue), *words, **given)


def _catalogued(name: str, old: str, new: str, *words: str) -> Row:
    return _catalogue(name, lambda path: edit(path, (old, new)), *words)


def twice(path: Path) -> None:
    """Every entry twice."""
    text = path.read_text(encoding="utf-8")
    head, mark, entry = text.partition("[[models]]")
    path.write_text(head + mark + entry + "\n" + mark + entry, encoding="utf-8")


PATH = 'path = "config.json"'
AGAIN = "Lock again and review the diff: pytest --relock --models"

LOCK_ROWS = (
    _lock("lock removed", lambda path: path.unlink(), "has no entry", AGAIN),
    _lock("lock emptied", lambda path: path.write_text(""), "lock-version"),
    _lock("lock truncated", cut(500), "is not TOML"),
    _lock("lock no text", lambda path: path.write_bytes(b"\xff\xfe" * 50), "is not TOML"),
    _lock("lock a folder", replace_by_folder, "cannot be read"),
    _lock("lock with a merge conflict",
        lambda path: rewrite(path, lambda body: b"<<<<<<< ours\n" + body), "is not TOML"),
    _lock("lock with entries twice", twice, "is the name of 'models[0]' too"),
    _edited("lock of a later version", "lock-version = 1", "lock-version = 2", "lock-version"),
    _edited("lock with an unknown key", "license = ", "licence = ", "licence"),
    _edited("lock without the model", 'name = "', 'name = "other-', "has no entry", AGAIN),
    _edited("lock of another repository", 'repo = "matrix/', 'repo = "other/', "locked repo",
        AGAIN),
    _edited("lock stale", 'requested-revision = "main"', 'requested-revision = "v1"',
        "locked requested-revision 'v1'", AGAIN),
    _edited("lock of other wishes", "commit = ", 'requested-files = ["*"]\ncommit = ',
        "locked requested-files", AGAIN),
    _edited("lock of a short commit", 'commit = "', 'commit = "x', "a commit of 40 hex digits"),
    _edited("lock of a short digest", 'sha256 = "', 'sha256 = "ab', "a sha256 of 64 hex digits"),
    _edited("lock leads out", PATH, 'path = "../config.json"', "must stay inside"),
    _edited("lock with an absolute path", PATH, 'path = "/etc/passwd"', "must stay inside"),
    _edited("lock with a backslash", PATH, 'path = "a\\\\b.json"', "must stay inside"),
    _edited("lock of a pickle", PATH, 'path = "pytorch_model.bin"', "may run code when loaded"),
    _edited("lock of what nobody asked for", PATH, 'path = "notes.json"',
        "locks files that the catalogue does not name: notes.json", AGAIN),
    _edited("lock of a file twice", PATH, 'path = "model.safetensors"', "appears twice"),
    _edited("lock of a negative size", "size = ", "size = -", "a whole number of at least 0"),
    _edited("lock of a size as text", "size = ", 'size = "', "TOML"),
)  # fmt: skip

CATALOGUE_ROWS = (
    _catalogue("catalogue removed", lambda path: path.unlink(), "cannot be read"),
    _catalogue("catalogue truncated", cut(70), "TOML"),
    _catalogue("catalogue emptied", lambda path: path.write_text(""), "catalogue-version"),
    _catalogue("catalogue with entries twice", twice, "too"),
    _catalogued("catalogue of a later version", "version = 1", "version = 9", "version"),
    _catalogued("catalogue with an unknown key", "why = ", "trust_remote_code = true\nwhy = ",
        "trust_remote_code"),
    _catalogued("catalogue of an unknown task", '"embedding"', '"fill-mask"', "task"),
    _catalogued("catalogue of an unknown precision", '["int8"]', '["int4"]', "int4"),
    _catalogued("catalogue without a reason", '"a row of the matrix"', '""', "why"),
    _catalogued("catalogue of no repository", 'repo = "matrix/', 'repo = "', "ORG/NAME"),
    _catalogued("catalogue of files that lead out", "why = ", 'files = ["../*"]\nwhy = ', "../*"),
    _catalogued("catalogue of an unknown consumer", "why = ", 'consumers = ["vllm"]\nwhy = ',
        "must be one of"),
    _refused("catalogue allows other licences",
        lambda target: edit(target.catalogue, ("why = ", 'licenses = ["mit"]\nwhy = ')),
        "license 'apache-2.0', models.toml allows mit", group="catalogue", file=LOCK),
    _refused("catalogue moved on",
        lambda target: edit(target.catalogue, ('revision = "main"', 'revision = "v2"')),
        "locked requested-revision 'main', models.toml says 'v2'", AGAIN, group="catalogue",
        file=LOCK),
    _refused("goldens truncated",
        lambda target: rewrite(target.goldens, lambda body: body[: body.rindex(b"[") + 1]),
        "cannot be read", group="goldens", file=".toml"),
    _refused("goldens of another model",
        lambda target: edit(target.goldens, ("matrix/", "other/")), "repo", group="goldens",
        file=".toml"),
    _refused("goldens that bound nothing",
        lambda target: edit(target.goldens, ("tolerance = {", "tolerence = {")), "tolerance",
        group="goldens", file=".toml"),
    _refused("models to download unknown",
        lambda target: target.env.update(MODELS_TO_DOWNLOAD="nobody"), "nobody",
        group="environment", file=CATALOGUE),
    _refused("timeout no number", lambda target: target.env.update(DOWNLOAD_TIMEOUT="soon"),
        "soon", group="environment", file="DOWNLOAD_TIMEOUT"),
)  # fmt: skip


def relocked(change: Callable[[LockedModel], LockedModel]) -> Callable[[Target], None]:
    """The model's entry changed, in a lock that can be read."""

    def do(target: Target) -> None:
        lock = read_lock(target.lock)
        models = [change(model) if model.name == target.name else model for model in lock.models]
        target.lock.write_text(render(Lock(models=tuple(models))), encoding="utf-8")

    return do


def with_file(path: str, **changes: object) -> Callable[[LockedModel], LockedModel]:
    def change(model: LockedModel) -> LockedModel:
        files = [replace(file, **changes) if file.path == path else file for file in model.files]  # type: ignore[arg-type]
        return replace(model, files=tuple(files))

    return change


def without_file(path: str) -> Callable[[LockedModel], LockedModel]:
    return lambda model: replace(
        model, files=tuple(file for file in model.files if file.path != path)
    )


def locked_as_it_lies(path: str, change: Callable[[bytes], bytes]) -> Callable[[Target], None]:
    """A damaged file, and a lock with its checksum."""

    def do(target: Target) -> None:
        rewrite(target.snapshot / path, change)
        got = digest_file(target.snapshot / path)
        relocked(with_file(path, size=got.size, sha256=got.sha256))(target)

    return do


def runs_code(body: bytes) -> bytes:
    return json.dumps(json.loads(body) | {"auto_map": {"AutoModel": "theirs.Model"}}).encode()


def cut_short(body: bytes) -> bytes:
    """A header that names more than there is."""
    return body[:-4096]


def one_more(model: LockedModel) -> LockedModel:
    more = LockedFile(path="added_tokens.json", size=2, sha256="0" * 64)
    return replace(model, files=(*model.files, more))


DAMAGE_ROWS = (
    _damage("locked config asks for code", locked_as_it_lies("config.json", runs_code), "auto_map",
        group="unsafe", file="config.json", seen_by=("test_nothing_asks_to_run_code",)),
    _damage("locked weights end too soon", locked_as_it_lies("model.safetensors", cut_short),
        group="unsafe", file="model.safetensors",
        seen_by=("test_weights_are_what_their_headers_say",)),
    _damage("lock of other bytes", relocked(with_file("model.safetensors", sha256="0" * 64)),
        "locked 000000000000…  (same size)", group="lock", seen_by=BYTES,
        file="model.safetensors"),
    _damage("lock of another size", relocked(with_file("config.json", size=1)), "locked 1",
        group="lock", seen_by=BYTES, file="config.json"),
    # Its bytes are there by another commit's name: work, and no damage.
    _damage("lock of another commit", relocked(lambda model: replace(model, commit="0" * 40)),
        group="lock", seen_by=(*BYTES, *REF), file="model.safetensors", online="ready"),
    _damage("lock of a file more", relocked(one_more), "missing", group="lock", seen_by=BYTES,
        file="added_tokens.json"),
    _damage("lock without the tokenizer", relocked(without_file("tokenizer.json")),
        "is not locked, and a loader would take it", group="lock", seen_by=UNLOCKED,
        file="tokenizer.json"),
    _damage("lock without the length limit", relocked(without_file("sentence_bert_config.json")),
        "is not locked, and a loader would take it", group="lock", seen_by=UNLOCKED,
        file="sentence_bert_config.json"),
)  # fmt: skip

ROWS = (*LOCK_ROWS, *CATALOGUE_ROWS, *DAMAGE_ROWS)
