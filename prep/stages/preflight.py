"""The preflight: whether disk, memory, modes and hub allow a run; known before the first byte.

`needs_of` and `gather` look, at sizes and receipts, the disks, the memory and the hub;
`find_obstacles` decides and is pure. A real run and ``--dry-run`` ask the same three. A model that
lacks nothing has no need, and without a need nothing is asked: a complete home contacts no hub.
"""

import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from prep.catalogue.entries import ModelSpec
from prep.catalogue.lock import LockedFile, LockedModel
from prep.convert import conversion, overlay
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
from prep.fetch.part import bytes_there
from prep.home.layout import Home
from prep.machine.disk import Disk, disk_of, nearest, why_not_writable
from prep.machine.memory import Memory, memory
from prep.settings import Settings
from prep.stages.estimates import Make, make_of
from prep.stages.plan import CONVERTS, ConversionPlan, plan_conversion, plan_source
from prep.verify.conversion import ConversionState, check_conversion
from prep.verify.source import check_source

STATE_BYTES = 1 << 20  # for ledger, locks and reports
SMALL_FILES = 16  # of a converted folder, and around a model: folders, links, refs


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one model lacks. `files` are to be fetched or adopted, with `fetch` bytes from the hub.

    `path` is one of them, to be asked of the hub; None where nothing is. `adopt` bytes lie in the
    home already, under other names; they are digested before they count. `folders` are those that
    something will be put into, or below.
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
    converter: str | None = None  # which one makes them, None for the usual one


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The state of this machine and of the hub.

    `home` and `temporary` are equal where TMPDIR is on the home's disk. `unwritable` are folders of
    the home with the reason. `refusals` are the hub's errors, by model. `converter` says why the
    second converter cannot be used, where one of them needs it.
    """

    home: Disk
    temporary: Disk
    memory: Memory
    unwritable: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, PrepError] = field(default_factory=dict)
    converter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why models cannot be prepared: what was found, what is needed, what to do."""

    models: tuple[str, ...]
    text: str
    transient: bool

    def __str__(self) -> str:
        return f"{', '.join(self.models)}: {self.text}"


def needs_of(settings: Settings) -> tuple[Need, ...]:
    """What the chosen models lack, by sizes and receipts; nothing is digested."""
    counted: set[str] = set()  # files that two entries share are fetched once
    needs = [_need(settings, spec, counted) for spec in settings.models]
    return tuple(need for need in needs if need.files or need.make)


def _need(settings: Settings, spec: ModelSpec, counted: set[str]) -> Need:
    home, locked = settings.home, settings.locked(spec)
    also = settings.lock.paths_of(locked.repo, locked.commit)
    state = check_source(home, locked, also_locked=also, deep=False)
    candidates = Candidates(home, locked.repo)
    files = plan_source(locked, state).fetch
    fresh = [file for file in files if file.sha256 not in counted]
    counted.update(file.sha256 for file in fresh)
    adoptable = [file for file in fresh if candidates.of(file)]
    fetched = [file for file in fresh if file not in adoptable]
    make = tuple(
        make_of(home, locked, precision)
        for precision in settings.precisions_of(spec)
        if quick_plan(home, spec, locked, precision)[0].action in CONVERTS
    )
    return Need(
        model=spec.name,
        repo=locked.repo,
        commit=locked.commit,
        files=len(files),
        fetch=sum(file.size - _partial_bytes(home, file) for file in fetched),
        adopt=sum(file.size for file in adoptable),
        path=fetched[0].path if fetched else None,
        folders=_folders(home, locked, bool(files), bool(make)),
        make=make,
        converter=locked.converter,
    )


def _partial_bytes(home: Home, file: LockedFile) -> int:
    """Bytes that an earlier run fetched; the download is resumed behind them."""
    return bytes_there(home.partial / file.sha256, file.size)


def quick_plan(
    home: Home, spec: ModelSpec, locked: LockedModel, precision: str
) -> tuple[ConversionPlan, ConversionState, ConversionState]:
    """The plan by sizes and receipts; the states of the stable path and of the recipe's folder."""
    recipe = conversion.recipe_for(locked, spec.task, precision)
    at, place = home.stable(locked.repo, precision), home.conversions(locked.repo) / recipe.digest
    stable = check_conversion(home, locked, precision, at=at, deep=False)
    made = check_conversion(home, locked, precision, at=place, wanted=recipe, deep=False)
    return plan_conversion(recipe, stable, made), stable, made


def _folders(home: Home, locked: LockedModel, fetched: bool, made: bool) -> tuple[str, ...]:
    """The folders that exist, of all that something will be put into."""
    wanted = [home.state]
    if fetched:
        snapshot = home.snapshot(locked.repo, locked.commit)
        blobs, refs = home.repo(locked.repo) / "blobs", home.ref(locked.repo).parent
        wanted += [home.partial, blobs, refs, snapshot]
    if made:
        wanted.append(home.conversions(locked.repo))
    return tuple(dict.fromkeys(str(nearest(folder)) for folder in wanted))


def gather(settings: Settings, needs: Sequence[Need], scratch: Path, say: hub.Say) -> Findings:
    """Look at the disks, the memory and the hub; the hub only where something is to be fetched."""
    folders = sorted({folder for need in needs for folder in need.folders})
    reasons = {folder: why_not_writable(Path(folder)) for folder in folders}
    return Findings(
        home=disk_of(settings.home.root),
        temporary=disk_of(Path(tempfile.gettempdir())),
        memory=memory(),
        unwritable={folder: reason for folder, reason in reasons.items() if reason is not None},
        refusals=_refusals(settings, needs, scratch, say),
        converter=overlay.missing() if any(map(_by_second_converter, needs)) else None,
    )


def _refusals(
    settings: Settings, needs: Sequence[Need], scratch: Path, say: hub.Say
) -> dict[str, PrepError]:
    """What each hub answers for the models that something is to be fetched of."""
    asked = {need.model: (need.repo, need.commit, need.path) for need in needs if need.path}
    refused: dict[str, PrepError] = {}
    specs = (spec for spec in settings.models if spec.name in asked)
    for network, models in settings.by_network(specs).items():
        own = {spec.name: asked[spec.name] for spec in models}
        refused |= hub.access(network, own, scratch=scratch, say=say)
    return refused


def find_obstacles(
    needs: Sequence[Need], findings: Findings, workers: int = 1
) -> tuple[Obstacle, ...]:
    """Everything that keeps models from being prepared, `workers` of them at once. Pure."""
    return (
        *_by_hub(needs, findings),
        *_by_mode(needs, findings),
        *_by_converter(needs, findings),
        *_by_disk(needs, findings, workers),
        *_by_memory(needs, findings, workers),
    )


def _by_hub(needs: Sequence[Need], findings: Findings) -> Iterator[Obstacle]:
    """One obstacle for each answer: a hub that is unreachable is reported once for all models."""
    models: dict[tuple[str, bool], list[str]] = {}
    for need in needs:
        if error := findings.refusals.get(need.model):
            answer = (str(error), isinstance(error, TransientError))
            models.setdefault(answer, []).append(need.model)
    for (text, transient), names in models.items():
        yield Obstacle(models=tuple(names), text=text, transient=transient)


def _by_mode(needs: Sequence[Need], findings: Findings) -> Iterator[Obstacle]:
    for folder, reason in findings.unwritable.items():
        yield Obstacle(
            models=tuple(need.model for need in needs if folder in need.folders),
            text=f"not writable: {folder} cannot be written ({reason}). Give a home that this user "
            "may write (--model-home), or check this one as it is with --offline.",
            transient=False,
        )


def _by_converter(needs: Sequence[Need], findings: Findings) -> Iterator[Obstacle]:
    if findings.converter:
        yield Obstacle(
            models=tuple(need.model for need in needs if _by_second_converter(need)),
            text=f"converter not installed: {findings.converter}",
            transient=False,
        )


def _by_second_converter(need: Need) -> bool:
    return bool(need.make) and need.converter is not None


def _by_disk(needs: Sequence[Need], findings: Findings, workers: int) -> Iterator[Obstacle]:
    home, tmp = findings.home, findings.temporary
    fetched = sum(need.fetch for need in needs)
    made = sum(make.bytes for need in needs for make in need.make)
    temporary = _largest(needs, workers, lambda make: make.temporary)
    models = tuple(need.model for need in needs)
    parts = [f"{fetched} to fetch", f"{made} for conversions"]
    needed = fetched + made + STATE_BYTES * bool(needs)
    if tmp.place == home.place:
        needed += temporary
        parts.append(f"{temporary} while converting")
    elif temporary > tmp.free:
        yield Obstacle(
            models=_converted(needs),
            text=f"no space left: {tmp.place} has {tmp.free} bytes free, {temporary} are needed "
            "there while converting. Free some, or set TMPDIR to a folder on a larger disk.",
            transient=True,
        )
    if needed > home.free:
        yield Obstacle(
            models=models,
            text=f"no space left: {home.place} has {home.free} bytes free, {needed} are needed "
            f"({', '.join(parts)}). Free some, or prepare fewer models (--models).",
            transient=True,
        )
    files = sum(2 * need.files + SMALL_FILES * (1 + len(need.make)) for need in needs)
    if home.files is not None and files > home.files:
        yield Obstacle(
            models=models,
            text=f"no space left: {home.place} can take {home.files} more files (inodes), {files} "
            "are needed. Remove files there that nobody needs, or give another --model-home.",
            transient=True,
        )


def _by_memory(needs: Sequence[Need], findings: Findings, workers: int) -> Iterator[Obstacle]:
    """The preflight's memory check: estimates.py says what a conversion takes."""
    bound = findings.memory
    needed = _largest(needs, workers, lambda make: make.memory)
    if needed > bound.free:
        fewer = ", or prepare fewer models at once (-n)" if workers > 1 else ""
        yield Obstacle(
            models=_converted(needs),
            text=f"out of memory: {bound.bound} has {bound.free} of {bound.limit} bytes of memory "
            f"free, {needed} are needed while converting. Raise the limit, end other "
            f"processes{fewer}; --precision none prepares the original weights alone.",
            transient=True,
        )


def _converted(needs: Iterable[Need]) -> tuple[str, ...]:
    return tuple(need.model for need in needs if need.make)


def _largest(needs: Iterable[Need], workers: int, size: Callable[[Make], int]) -> int:
    """The sum of the largest conversions of as many models as are prepared at once."""
    return sum(sorted(max(map(size, need.make)) for need in needs if need.make)[-workers:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """The needs and findings of a whole run, for every process that prepares its models."""

    needs: tuple[Need, ...]
    findings: Findings
    workers: int = 1

    def only(self, wanted: Mapping[str, Collection[str]] | None) -> "Preflight":
        """The same, for the models and precisions that a run chose; None is all of them."""
        if wanted is None:
            return self
        needs = [
            replace(
                need, make=tuple(make for make in need.make if make.precision in wanted[need.model])
            )
            for need in self.needs
            if need.model in wanted
        ]
        return replace(self, needs=tuple(need for need in needs if need.files or need.make))

    def refusal(self, model: str) -> PrepError | None:
        """Why the model cannot be prepared."""
        obstacles = find_obstacles(self.needs, self.findings, self.workers)
        own = [obstacle for obstacle in obstacles if model in obstacle.models]
        if not own:
            return None
        kind = (
            PreflightTransient if all(obstacle.transient for obstacle in own) else PreflightFailed
        )
        lines = [obstacle.text for obstacle in own]
        text = f": {lines[0]}" if len(lines) == 1 else listing(" cannot be prepared", lines)
        return kind(f"preflight failed: {model}{text}")

    def dump(self) -> str:
        """As text, for another process."""
        content = asdict(self)
        content["findings"]["refusals"] = {
            model: {"class": type(error).__name__, "message": str(error)}
            for model, error in self.findings.refusals.items()
        }
        return json.dumps(content)

    @classmethod
    def load(cls, text: str) -> "Preflight":
        """What `dump` gave."""
        content: dict[str, Any] = json.loads(text)
        needs, findings = content["needs"], content["findings"]
        for need in needs:
            need["folders"] = tuple(need["folders"])
            need["make"] = tuple(Make(**make) for make in need["make"])
        findings["home"] = Disk(**findings["home"])
        findings["temporary"] = Disk(**findings["temporary"])
        findings["memory"] = Memory(**findings["memory"])
        findings["refusals"] = {
            model: by_name(error["class"])(error["message"])
            for model, error in findings["refusals"].items()
        }
        return cls(
            needs=tuple(Need(**need) for need in needs),
            findings=Findings(**findings),
            workers=content["workers"],
        )


def run_preflight(
    settings: Settings, scratch: Path, workers: int = 1, say: hub.Say = lambda text: None
) -> Preflight:
    """The preflight of everything that `settings` choose; `say` gets lines about waits."""
    needs = needs_of(settings)
    findings = gather(settings, needs, scratch, say)
    return Preflight(needs=needs, findings=findings, workers=workers)
