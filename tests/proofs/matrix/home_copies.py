"""Sets up homes for rows: copies of really prepared ones, each row with a model of its own.

One run judges many models, so rows share what is dear: starting, and importing the libraries. A
copy under another repository's name is what preparing that repository would have given: the
receipt names it, and the folder has the digest of that recipe.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from prep.catalogue.entries import ModelSpec, read_catalogue
from prep.catalogue.lock import Lock, LockedModel, read_lock, render
from prep.home.layout import Home, point_link
from prep.home.receipt import NAME, read_receipt
from sample_hub.server import SAMPLES, Hub, ServedRepo
from tests.proofs.matrix.row import Row, Target, is_cheap
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE, run, true_repo

OTHER_COMMIT = "decade" + "0" * 34
BYSTANDER = "somebody's"
# What checksums, links, modes and content show needs one consumer.
ONE_CONSUMER = {"consumers": '["optimum-intel"]'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The rows that are done to one model, and its name in the catalogue."""

    name: str
    rows: tuple[Row, ...]
    task: str

    @property
    def row(self) -> Row:
        return self.rows[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedHome:
    """A home with the changes made, one target for each unit; `served` is what a hub would have.

    `not_applied` says which changes failed, by target, and why.
    """

    targets: tuple[Target, ...]
    served: tuple[ServedRepo, ...]
    not_applied: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return self.targets[0].home


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A model to make copies of: its entry, its lock, its files and its goldens."""

    spec: ModelSpec
    locked: LockedModel
    folder: Path
    goldens: Path
    catalogue: Path

    def served(self, repo: str, folder: Path | None = None) -> ServedRepo:
        """Its files under a repository's name; of another folder, under the commit of that."""
        if folder is not None:
            return ServedRepo.of(repo, folder, "apache-2.0")
        return ServedRepo(
            repo=repo, folder=self.folder, commit=self.locked.commit, license="apache-2.0"
        )


def original(name: str) -> Original:
    """A sample model, or the true one whose weights a package carries."""
    known = {spec.name for spec in read_catalogue(SAMPLE).models}
    path = SAMPLE if name in known else ROOT / "models.toml"
    catalogue = read_catalogue(path)
    spec = next(spec for spec in catalogue.models if spec.name == name)
    locked = read_lock(catalogue.lock_path).get(name)
    assert locked is not None
    if name in known:
        folder, goldens = SAMPLES / spec.repo, path.parent / "goldens"
    else:
        folder = true_repo().folder
        goldens = ROOT / "model_tests" / "goldens"
    return Original(
        spec=spec, locked=locked, folder=folder, goldens=goldens / f"{name}.toml", catalogue=path
    )


class HomeCopies:
    """Prepares each model once, and makes changed copies; all below `scratch`."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._prepared: dict[str, Path] = {}

    def prepared(self, model: Original) -> Path:
        """A home in which a real run has prepared the model: int8, and fp32 for those that ask."""
        name = model.spec.name
        if name not in self._prepared:
            home = self.scratch / "prepared" / name
            with Hub([model.served(model.spec.repo)]) as hub:
                args = ("--precision", "int8", "--precision", "fp32", "-m", "conversion")
                given = ("--catalogue", model.catalogue, "--models", name, "--hub", hub.url)
                done = run(*given, "--model-home", home, *args, timeout=1800)
            if done.code:
                raise RuntimeError(f"{name} could not be prepared:\n{done.out}")
            self._prepared[name] = home
        return self._prepared[name]

    @contextmanager
    def changed(
        self, units: Sequence[Unit], models: Callable[[str], Original]
    ) -> Iterator[ChangedHome]:
        """A home of copies, with the changes made; removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.scratch, ignore_cleanup_errors=True) as at:
            top = Path(at)
            top.chmod(0o755)
            (top / "goldens").mkdir()
            originals = [models(unit.task) for unit in units]
            set_up = [self._set_up(*pair, top) for pair in zip(units, originals, strict=True)]
            targets, served = [target for target, _ in set_up], [repo for _, repo in set_up]
            entries = [
                _entry(unit, target.locked.repo, model.spec)
                for unit, target, model in zip(units, targets, originals, strict=True)
            ]
            catalogue = targets[0].catalogue
            catalogue.write_text("\n".join(["catalogue-version = 1\n", *entries]), encoding="utf-8")
            if any(unit.row.damage_repo or unit.row.entry for unit in units):
                _prepare(targets, served)
            else:
                lock = Lock(models=tuple(target.locked for target in targets))
                targets[0].lock.write_text(render(lock), encoding="utf-8")
            changed = ChangedHome(targets=tuple(targets), served=tuple(served))
            leave_bystanders(changed)
            for unit, target in zip(units, targets, strict=True):
                for row in unit.rows:
                    try:
                        row.do(target)
                    except Exception as error:  # else one row would hide what became of all
                        changed.not_applied[target.name] = f"it could not be applied: {error!r}"
            try:
                yield changed
            finally:
                _open(top)

    def _set_up(self, unit: Unit, model: Original, top: Path) -> tuple[Target, ServedRepo]:
        """One model of its own: copied, or changed before anything is made of it."""
        repo = f"matrix/{unit.name}"
        target = Target(
            name=unit.name,
            home=Home(top / "home"),
            locked=replace(model.locked, name=unit.name, repo=repo, requested_revision="main"),
            task=unit.task,
            scratch=top / "scratch" / unit.name,
            catalogue=top / "models.toml",
        )
        target.scratch.mkdir(parents=True)
        golden = model.goldens.read_text(encoding="utf-8")
        target.goldens.write_text(golden.replace(f'"{model.spec.repo}"', f'"{repo}"'), "utf-8")
        if unit.row.entry or unit.row.damage_repo:
            folder = target.scratch / "repository"
            shutil.copytree(model.folder, folder)
            if unit.row.damage_repo:
                unit.row.damage_repo(folder)
            return target, model.served(repo, folder)
        copy_model(self.prepared(model), target.home, model.spec.repo, target.locked)
        return target, model.served(repo)


def copy_model(origin: Path, home: Home, repo: str, locked: LockedModel) -> None:
    """Copy a prepared model under another repository's name, as if that had been prepared."""
    there = Home(origin)
    shutil.copytree(there.repo(repo), home.repo(locked.repo), symlinks=True)
    home.note_placed("ref", home.ref(locked.repo), repo=locked.repo, commit=locked.commit)
    for stable in sorted(there.conversions(repo).glob("[!.]*")):
        if not stable.is_symlink():
            continue
        receipt = read_receipt(stable)
        recipe = replace(receipt.recipe, repo=locked.repo)
        folder = home.conversions(locked.repo) / recipe.digest
        shutil.copytree(stable.resolve(), folder)
        # Not write_text: it waits for the disk, which a hundred copies cannot.
        (folder / NAME).write_text(replace(receipt, recipe=recipe).render(), encoding="utf-8")
        point_link(home.stable(locked.repo, stable.name), recipe.digest)


def leave_bystanders(changed: ChangedHome) -> None:
    """Files of somebody else in every folder that repairing might touch."""
    for target in changed.targets:
        for path in bystanders(target):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(BYSTANDER, encoding="utf-8")


def bystanders(target: Target) -> tuple[Path, ...]:
    """Where they lie."""
    return (
        target.home.root / "notes.txt",
        target.home.hub / "models--somebody--else" / "snapshots" / OTHER_COMMIT / "config.json",
        target.repo / "notes.txt",
        target.repo / "blobs" / "notes.txt",
        target.repo / "refs" / "pr" / "1",
        target.repo / "snapshots" / OTHER_COMMIT / "config.json",
        target.snapshot / "notes.txt",
        target.conversions / "notes.txt",
        target.conversions / "somebodys" / "openvino_model.xml",
    )


def _entry(unit: Unit, repo: str, spec: ModelSpec) -> str:
    keys = {
        "name": json.dumps(unit.name),
        "repo": json.dumps(repo),
        "revision": '"main"',
        "task": json.dumps(spec.task),
        "precisions": '["int8"]',
        "why": '"a row of the matrix"',
        **(ONE_CONSUMER if unit.row.expect == "failed" and is_cheap(unit.row) else {}),
        **unit.row.entry,
    }
    return "[[models]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def _prepare(targets: Sequence[Target], served: Iterable[ServedRepo]) -> None:
    """Lock, fetch and convert what the hub serves, damaged as it is."""
    with Hub(served) as hub:
        given = ("--catalogue", targets[0].catalogue, "--hub", hub.url)
        home = ("--model-home", targets[0].home.root)
        for args, fine in ((("--relock",), (0,)), (("-m", "conversion"), (0, 1))):
            done = run(*given, *home, *args, timeout=1800)
            if done.code not in fine:  # 1: what is damaged may be too far gone to be converted
                raise RuntimeError(f"what is damaged could not be prepared:\n{done.out}")
    lock = read_lock(targets[0].lock)
    for target in targets:
        locked = lock.get(target.name)
        assert locked is not None
        target.locked = locked


def _open(top: Path) -> None:
    """Let whoever is no root remove closed folders."""
    for path in (top, *top.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
