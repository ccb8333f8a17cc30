"""Whether the whole set can be prepared: told before the first byte, all problems in one list.

`needs_of` and `look` look, at sizes and receipts, the disks, the memory and the hub; `judge`
decides and is pure. A real run and ``--dry-run`` ask the same three. What lacks nothing is in no
need, and where there is no need nobody is asked: a complete home contacts no hub.
"""

import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedModel
from prep.convert import conversion
from prep.errors import (
    PreflightFailed,
    PreflightTransient,
    PrepError,
    TransientError,
    by_name,
    listing,
)
from prep.fetch import hub
from prep.fetch.adopt import Candidates
from prep.home.layout import Home
from prep.machine.disk import Disk, disk_of, nearest, why_not_writable
from prep.machine.memory import Memory, memory
from prep.settings import Settings
from prep.stages.estimates import Make, make_of
from prep.stages.plan import plan_conversion, plan_source
from prep.verify.conversion import check_conversion
from prep.verify.source import check_source

STATE = 1 << 20  # bytes for the suite's own notes and reports
SMALL = 16  # files of a converted folder, and what stands around a model: folders, links, refs


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one model lacks. `files` are to come, with `fetch` bytes from the hub.

    `path` is one of them, to be asked of the hub; None where it is asked for nothing. `adopt` bytes
    lie in the home already, under other names; they are digested before they count. `folders` are
    those that something will be put into, or below.
    """

    model: str
    repo: str
    commit: str
    files: int
    fetch: int
    adopt: int
    path: str | None
    folders: tuple[str, ...]
    make: tuple[Make, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What this machine and the hub have to say.

    `home` and `temporary` are equal where TMPDIR is on the home's disk. `closed` are folders of the
    home that cannot be written, each with the reason. `refusals` is the hub's no, by model.
    """

    home: Disk
    temporary: Disk
    memory: Memory
    closed: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, PrepError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why models cannot be prepared: what is there, what is wanted, what to do."""

    models: tuple[str, ...]
    text: str
    transient: bool

    def __str__(self) -> str:
        return f"{', '.join(self.models)}: {self.text}"


def needs_of(
    settings: Settings, wanted: Mapping[str, Collection[str]] | None = None
) -> tuple[Need, ...]:
    """What the chosen models lack, by sizes and receipts; nothing is digested.

    `wanted` narrows it to models and their precisions; None is the case as it stands.
    """
    found = []
    seen: set[str] = set()  # files that two entries share come once
    for spec in settings.models:
        if wanted is not None and spec.name not in wanted:
            continue
        precisions = settings.precisions_of(spec)
        chosen = precisions if wanted is None else wanted[spec.name]
        need = _need(
            settings, spec, [precision for precision in precisions if precision in chosen], seen
        )
        if need.files or need.make:
            found.append(need)
    return tuple(found)


def _need(settings: Settings, spec: ModelSpec, precisions: Iterable[str], seen: set[str]) -> Need:
    locked = settings.lock.get(spec.name)
    assert locked is not None, "settings were held against the lock"
    also = settings.lock.paths_of(locked.repo, locked.commit)
    state = check_source(settings.home, locked, also_locked=also, deep=False)
    candidates = Candidates(settings.home, locked.repo)
    files = plan_source(locked, state).fetch
    fresh = [file for file in files if file.sha256 not in seen]
    seen.update(file.sha256 for file in fresh)
    adoptable = [file for file in fresh if candidates.of(file)]
    asked = [file for file in fresh if file not in adoptable]
    make = tuple(
        make_of(settings.home, locked, precision)
        for precision in precisions
        if _is_to_make(settings, spec, locked, precision)
    )
    return Need(
        model=spec.name,
        repo=locked.repo,
        commit=locked.commit,
        files=len(files),
        fetch=sum(file.size - _partial(settings.home, file.sha256, file.size) for file in asked),
        adopt=sum(file.size for file in adoptable),
        path=asked[0].path if asked else None,
        folders=_folders(settings.home, locked, bool(files), bool(make)),
        make=make,
    )


def _partial(home: Home, sha256: str, size: int) -> int:
    """Bytes of a file that an earlier run left, to be gone on from."""
    partial = home.partial / sha256
    return min(partial.stat().st_size, size) if partial.is_file() else 0


def _is_to_make(settings: Settings, spec: ModelSpec, locked: LockedModel, precision: str) -> bool:
    home = settings.home
    recipe = conversion.recipe_for(locked, spec.task, precision)
    place = home.conversions(locked.repo) / recipe.digest
    stable = home.stable(locked.repo, precision)
    return plan_conversion(
        recipe,
        check_conversion(home, locked, precision, at=stable, deep=False),
        check_conversion(home, locked, precision, at=place, wanted=recipe, deep=False),
    ).action in ("convert", "convert again")


def look(
    settings: Settings,
    needs: Sequence[Need],
    scratch: Path,
    say: hub.Say = lambda text: None,
) -> Facts:
    """Look at the disks, the memory and the hub; the hub only where something is to be fetched."""
    folders = sorted({folder for need in needs for folder in need.folders})
    closed = {
        folder: why for folder in folders if (why := why_not_writable(Path(folder))) is not None
    }
    asked = {need.model: (need.repo, need.commit, need.path) for need in needs if need.path}
    return Facts(
        home=disk_of(settings.home.root),
        temporary=disk_of(Path(tempfile.gettempdir())),
        memory=memory(),
        closed=closed,
        refusals=hub.access(settings.network, asked, scratch=scratch, say=say) if asked else {},
    )


def _folders(home: Home, locked: LockedModel, fetched: bool, made: bool) -> tuple[str, ...]:
    """The folders that are there, of all that something will be put into."""
    wanted = [home.state]
    if fetched:
        snapshot = home.snapshot(locked.repo, locked.commit)
        blobs, refs = home.repo(locked.repo) / "blobs", home.ref(locked.repo).parent
        wanted += [home.partial, blobs, refs, snapshot]
    if made:
        wanted.append(home.conversions(locked.repo))
    return tuple(dict.fromkeys(str(nearest(folder)) for folder in wanted))


def judge(needs: Sequence[Need], facts: Facts, workers: int = 1) -> tuple[Obstacle, ...]:
    """Everything that stands in the way. `workers` models are prepared side by side. Pure."""
    return (
        *_by_hub(needs, facts),
        *_by_mode(needs, facts),
        *_by_disk(needs, facts, workers),
        *_by_memory(needs, facts, workers),
    )


def _by_hub(needs: Sequence[Need], facts: Facts) -> Iterator[Obstacle]:
    """One obstacle for each answer: a hub that is not there is not told once a model."""
    told: dict[tuple[str, bool], list[str]] = {}
    for need in needs:
        if error := facts.refusals.get(need.model):
            told.setdefault((str(error), isinstance(error, TransientError)), []).append(need.model)
    for (text, transient), models in told.items():
        yield Obstacle(models=tuple(models), text=text, transient=transient)


def _by_mode(needs: Sequence[Need], facts: Facts) -> Iterator[Obstacle]:
    for folder, why in facts.closed.items():
        yield Obstacle(
            models=tuple(need.model for need in needs if folder in need.folders),
            text=f"{folder} cannot be written ({why}). Give a home that this user may write "
            "(--model-home), or check this one as it is with --offline.",
            transient=False,
        )


def _by_disk(needs: Sequence[Need], facts: Facts, workers: int) -> Iterator[Obstacle]:
    fetched = sum(need.fetch for need in needs)
    made = sum(make.bytes for need in needs for make in need.make)
    temporary = sum(_largest(needs, workers, lambda make: make.temporary))
    models = tuple(need.model for need in needs)
    parts = [f"{fetched} to fetch", f"{made} for conversions"]
    wanted = fetched + made + STATE * bool(needs)
    if facts.temporary.place == facts.home.place:
        wanted += temporary
        parts.append(f"{temporary} while converting")
    elif temporary > facts.temporary.free:
        yield Obstacle(
            models=tuple(need.model for need in needs if need.make),
            text=f"{facts.temporary.place} has {facts.temporary.free} bytes free, {temporary} are "
            "needed there while converting. Make room there, or set TMPDIR to a folder on a "
            "larger disk.",
            transient=True,
        )
    if wanted > facts.home.free:
        yield Obstacle(
            models=models,
            text=f"{facts.home.place} has {facts.home.free} bytes free, {wanted} are needed "
            f"({', '.join(parts)}). Make room there, or prepare fewer models (--models).",
            transient=True,
        )
    files = sum(2 * need.files + SMALL * (1 + len(need.make)) for need in needs)
    if facts.home.files is not None and files > facts.home.files:
        yield Obstacle(
            models=models,
            text=f"{facts.home.place} has room for {facts.home.files} more files (inodes), {files} "
            "are needed. Remove files there that nobody needs, or give another --model-home.",
            transient=True,
        )


def _by_memory(needs: Sequence[Need], facts: Facts, workers: int) -> Iterator[Obstacle]:
    wanted = sum(_largest(needs, workers, lambda make: make.memory))
    if wanted > facts.memory.free:
        fewer = ", or prepare fewer models at once (-n)" if workers > 1 else ""
        yield Obstacle(
            models=tuple(need.model for need in needs if need.make),
            text=f"{facts.memory.bound} has {facts.memory.free} of {facts.memory.limit} bytes of "
            f"memory free, {wanted} are needed while converting. Raise the limit, end other "
            f"processes{fewer}; --precision none prepares the original weights alone.",
            transient=True,
        )


def _largest(needs: Iterable[Need], workers: int, size: Callable[[Make], int]) -> list[int]:
    """The largest conversion of each model, of as many models as are prepared side by side."""
    each = [max(map(size, need.make)) for need in needs if need.make]
    return sorted(each)[-workers:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """One look for a whole run, wherever its models are prepared."""

    needs: tuple[Need, ...]
    facts: Facts
    workers: int = 1

    def only(self, wanted: Mapping[str, Collection[str]] | None) -> "Preflight":
        """The same look, for the models and precisions that a run chose."""
        if wanted is None:
            return self
        needs = [
            replace(need, make=tuple(m for m in need.make if m.precision in wanted[need.model]))
            for need in self.needs
            if need.model in wanted
        ]
        return replace(self, needs=tuple(need for need in needs if need.files or need.make))

    def refusal(self, model: str) -> tuple[PrepError, bool] | None:
        """Why the model is not begun, and whether it is the one that tells the whole list."""
        obstacles = judge(self.needs, self.facts, self.workers)
        own = [obstacle for obstacle in obstacles if model in obstacle.models]
        if not own:
            return None
        kind = PreflightTransient if all(one.transient for one in own) else PreflightFailed
        lines = [str(obstacle) for obstacle in obstacles]
        text = lines[0] if len(lines) == 1 else listing("The preparation cannot begin", lines)
        stopped = {name for obstacle in obstacles for name in obstacle.models}
        first = next(need.model for need in self.needs if need.model in stopped)
        return kind(text), model == first

    def dump(self) -> str:
        """As text, for another process."""
        told = asdict(self)
        told["facts"]["refusals"] = {
            model: {"class": type(error).__name__, "message": str(error)}
            for model, error in self.facts.refusals.items()
        }
        return json.dumps(told)

    @classmethod
    def load(cls, text: str) -> "Preflight":
        """What `dump` gave."""
        told: dict[str, Any] = json.loads(text)
        facts = told["facts"]
        return cls(
            needs=tuple(
                Need(
                    **need
                    | {
                        "folders": tuple(need["folders"]),
                        "make": tuple(Make(**make) for make in need["make"]),
                    }
                )
                for need in told["needs"]
            ),
            facts=Facts(
                home=Disk(**facts["home"]),
                temporary=Disk(**facts["temporary"]),
                memory=Memory(**facts["memory"]),
                closed=facts["closed"],
                refusals={
                    model: by_name(error["class"])(error["message"])
                    for model, error in facts["refusals"].items()
                },
            ),
            workers=told["workers"],
        )


def run_preflight(
    settings: Settings,
    scratch: Path,
    workers: int = 1,
    say: hub.Say = lambda text: None,
) -> Preflight:
    """Look at everything that a run of the case will need; `say` hears of waits for the hub."""
    needs = needs_of(settings)
    facts = look(settings, needs, scratch, say)
    return Preflight(needs=needs, facts=facts, workers=workers)
