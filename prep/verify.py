"""Holds the home against the lock and the receipts. Looks only; changes nothing, heals nothing.

What a look finds are problems, each of one aspect, so that one test judges one aspect. `deep`
digests every byte; without it, sizes alone are compared (the plan's quick look).
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prep import hazards
from prep import receipt as receipts
from prep.digest import digest_files
from prep.errors import ConversionError
from prep.layout import Home, can_be_seen, leads_astray, link_target
from prep.lock import LockedFile, LockedModel
from prep.receipt import Receipt, Recipe
from prep.tasks import a_loader_takes, is_weights

LONGEST_REF = 200  # bytes to tell of; a commit has 40
Aspect = Literal["bytes", "links", "modes", "extras", "ref", "receipt", "hazards"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not as it must be: `kind` is one word, `detail` got and wanted."""

    aspect: Aspect
    kind: str
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind:<8} {self.path:<24} {self.detail}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """The original files of one model as they lie in the home.

    `ref` is the text of refs/main, None where there is none. `unused` are files in the snapshot
    that no loader takes; they are listed, never touched.
    """

    problems: tuple[Problem, ...]
    unused: tuple[str, ...]
    ref: str | None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionState:
    """One converted model as it lies in the home: `folder` is what the looked-at path leads to."""

    problems: tuple[Problem, ...]
    unused: tuple[str, ...]
    folder: Path | None
    receipt: Receipt | None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with links, receipt, bytes, modes and extras."""
        return not self.problems


def look_at_source(
    home: Home,
    locked: LockedModel,
    *,
    also_locked: Iterable[str] = (),
    deep: bool,
    on_bytes: Callable[[int], None] | None = None,
) -> SourceState:
    """Look at a model's snapshot and its ref; `also_locked` are paths of other entries there."""
    snapshot = home.snapshot(locked.repo, locked.commit)
    problems, found = _files(home, snapshot, locked.files)
    problems += _digests(found, on_bytes) if deep else _sizes(found)
    if deep:
        problems += _hazards(found, locked.files, problems)
    known = {file.path for file in locked.files} | set(also_locked)
    extra, unused = _extras(snapshot, known)
    extra += _denied(home, locked)
    ref, wrong = _ref(home, locked)
    return SourceState(
        problems=(
            *problems,
            *_modes(home, [snapshot, *found, home.ref(locked.repo)]),
            *extra,
            *wrong,
        ),
        unused=unused,
        ref=ref,
    )


def look_at_conversion(
    home: Home,
    locked: LockedModel,
    precision: str,
    *,
    at: Path,
    wanted: Recipe | None = None,
    deep: bool,
    on_bytes: Callable[[int], None] | None = None,
) -> ConversionState:
    """Look at the converted model at `at`: its stable path, or a recipe's folder.

    `wanted` is the recipe that this machine would follow now; None, as under --offline, takes the
    tools that the receipt names.
    """
    name = home.shown(at)

    def broken(kind: str, path: str, detail: str) -> ConversionState:
        problem = Problem(aspect="receipt", kind=kind, path=path, detail=detail)
        return ConversionState(problems=(problem,), unused=(), folder=None, receipt=None)

    try:
        folder = at.resolve(strict=True)
    except PermissionError as error:
        return broken("closed", name, f"cannot be reached: {error.strerror}")
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        target = link_target(at)
        dangling = f"leads to {target}, which is not there" if target else "never converted"
        return broken("missing", name, dangling)
    astray = leads_astray(home, at)
    if astray and astray[0] == "outside":
        return broken(astray[0], name, astray[1])
    try:
        receipt = receipts.read_receipt(folder)
    except ConversionError as error:
        state = broken("broken", f"{name}/{receipts.NAME}", str(error))
        return ConversionState(problems=state.problems, unused=(), folder=folder, receipt=None)

    problems = _against_lock(receipt, locked, precision, f"{name}/{receipts.NAME}")
    for path, told in ((at, astray), (folder / receipts.NAME, None)):
        if found_astray := told or leads_astray(home, path):
            kind, detail = found_astray
            shown = name if path == at else f"{name}/{receipts.NAME}"
            problems.append(Problem(aspect="links", kind=kind, path=shown, detail=detail))
    by_recipe = folder.name != precision  # a copy with links resolved has a plain int8/ folder
    for other, digest in (
        ("its folder", folder.name if by_recipe else None),
        ("the recipe in force", wanted.digest if wanted else None),
    ):
        if digest not in (None, receipt.recipe.digest):
            problems.append(
                Problem(
                    aspect="receipt",
                    kind="changed",
                    path=f"{name}/{receipts.NAME}",
                    detail=f"its recipe is {receipt.recipe.digest[:12]}…, {other} {digest}",
                )
            )
    wrong, found = _files(home, folder, receipt.files)
    problems += wrong
    problems += _digests(found, on_bytes) if deep else _sizes(found)
    if deep:
        problems += _hazards(found, receipt.files, problems)
    known = {file.path for file in receipt.files} | {receipts.NAME}
    extra, unused = _extras(folder, known, converted=True)
    modes = _modes(home, [at, folder, folder / receipts.NAME, *found])
    return ConversionState(
        problems=(*problems, *modes, *extra), unused=unused, folder=folder, receipt=receipt
    )


def _against_lock(
    receipt: Receipt, locked: LockedModel, precision: str, path: str
) -> list[Problem]:
    recipe = receipt.recipe
    source = {file.path: file.sha256 for file in locked.files}
    pairs = (
        ("repo", recipe.repo, locked.repo),
        ("commit", recipe.commit, locked.commit),
        ("precision", recipe.precision, precision),
    )
    problems = [
        Problem(
            aspect="receipt", kind="changed", path=path, detail=f"{what} is {got}, wanted {wanted}"
        )
        for what, got, wanted in pairs
        if got != wanted
    ]
    if not problems and dict(recipe.source) != source:
        problems.append(
            Problem(
                aspect="receipt",
                kind="changed",
                path=path,
                detail="it was made from other bytes than the lock names",
            )
        )
    made = {file.path: file.sha256 for file in receipt.files}
    problems += [
        Problem(
            aspect="receipt",
            kind="changed",
            path=path,
            detail=f"it lists another {name} than the lock, whose bytes every conversion keeps",
        )
        for name, sha256 in source.items()
        if not problems and not is_weights(name) and made.get(name) != sha256
    ]
    return problems


def _files(
    home: Home, folder: Path, files: Iterable[LockedFile]
) -> tuple[list[Problem], dict[Path, LockedFile]]:
    """Presence, links and sizes; what is found whole so far is left for digests and modes."""
    problems: list[Problem] = []
    found: dict[Path, LockedFile] = {}
    root = home.root.resolve()
    for file in files:
        path = folder / file.path

        def note(aspect: Aspect, kind: str, detail: str, name: str = file.path) -> None:
            problems.append(Problem(aspect=aspect, kind=kind, path=name, detail=detail))

        try:
            real = path.resolve(strict=True)
        except PermissionError as error:
            note("bytes", "closed", f"cannot be reached: {error.strerror}")
            continue
        except (OSError, RuntimeError):
            target = link_target(path)
            link = f", a link to {target}, which is not there" if target else ""
            note("bytes", "missing", f"{file.size} bytes{link}")
            continue
        if astray := leads_astray(home, path):
            note("links", *astray)
        if not real.is_relative_to(root):
            continue
        if not real.is_file():
            note("bytes", "changed", "is not a file")
            continue
        found[path] = file
    return problems, found


def _sizes(found: dict[Path, LockedFile]) -> list[Problem]:
    """The quick look: what is left of a wrong file but its bytes."""
    sizes = ((file, path.stat().st_size) for path, file in found.items())
    return [_changed(file, _other_size(size, file)) for file, size in sizes if size != file.size]


def _digests(
    found: dict[Path, LockedFile], on_bytes: Callable[[int], None] | None
) -> list[Problem]:
    problems = []
    for path, got in digest_files(found, on_bytes).items():
        file = found[path]
        if isinstance(got, OSError):
            problems.append(_changed(file, f"cannot be read: {got.strerror}"))
        elif got.size != file.size:
            other = _other_size(got.size, file)
            problems.append(_changed(file, f"{other}  (sha256 {got.sha256[:12]}…)"))
        elif got.sha256 != file.sha256:
            detail = f"sha256 is {got.sha256[:12]}…, locked {file.sha256[:12]}…  (same size)"
            problems.append(_changed(file, detail))
    return sorted(problems, key=lambda problem: problem.path)


def _changed(file: LockedFile, detail: str) -> Problem:
    return Problem(aspect="bytes", kind="changed", path=file.path, detail=detail)


def _other_size(size: int, file: LockedFile) -> str:
    return f"size is {size}, locked {file.size}"


def _hazards(
    found: dict[Path, LockedFile], files: Iterable[LockedFile], problems: Iterable[Problem]
) -> list[Problem]:
    """What must not be run of the files whose bytes are right; the others are red already.

    The lock may have been written by hand, or before anybody looked for this.
    """
    paths = {file.path for file in files}
    wrong = {problem.path for problem in problems}
    hazardous = []
    for path, file in sorted(found.items()):
        if file.path in wrong:
            continue
        try:
            hazard = hazards.of_path(file.path, path, paths)
        except OSError:
            continue  # its bytes were read a moment ago: the next look tells what is wrong with it
        if hazard:
            kind, detail = hazard.kind, hazard.detail
            problem = Problem(aspect="hazards", kind=kind, path=file.path, detail=detail)
            hazardous.append(problem)
    return hazardous


def _ref(home: Home, locked: LockedModel) -> tuple[str | None, list[Problem]]:
    """refs/main must be the commit and nothing else: the hub reads it without stripping."""
    path = home.ref(locked.repo)

    def broken(kind: str, detail: str) -> list[Problem]:
        return [Problem(aspect="ref", kind=kind, path="refs/main", detail=detail)]

    if astray := leads_astray(home, path):
        return None, broken(*astray)
    if can_be_seen(path) and not path.is_file():  # Don't open it: a pipe would never end
        return None, broken("changed", "is not a file")
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_REF).decode("utf-8", errors="replace")
    except OSError:
        return None, broken("missing", "without it the model cannot be loaded by its name")
    if text == locked.commit:
        return text, []
    return text, broken("changed", f"is {text!r}, locked {locked.commit!r}")


def _modes(home: Home, paths: Iterable[Path]) -> list[Problem]:
    """Others must be able to read each path, and to enter each folder from the home downwards."""
    root = home.root.resolve()
    seen: dict[Path, Problem | None] = {}
    for real in (place for path in paths for place in _on_the_way(path)):
        if not real.is_relative_to(root):
            continue  # links that lead outside are another aspect
        for one in (real, *real.parents):
            if one not in seen:
                seen[one] = _mode(home, one)
            if one == root:
                break
    return [problem for _, problem in sorted(seen.items()) if problem]


def _on_the_way(path: Path) -> Iterator[Path]:
    """What must be open to get at `path`: the folder of every link on the way, and its end.

    Where it is not there, or we are kept from seeing it, the folders above it that are there.
    """
    while not can_be_seen(path):
        path = path.parent
    yield path.resolve()
    while target := link_target(path):
        yield path.parent.resolve()
        path = path.parent / target


def _mode(home: Home, path: Path) -> Problem | None:
    mode = path.stat().st_mode
    wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    if mode & wanted == wanted:
        return None
    need = "o+rx" if stat.S_ISDIR(mode) else "o+r"
    shown = home.shown(path) if path != home.root.resolve() else str(home.root)
    return Problem(
        aspect="modes",
        kind="closed",
        path=shown,
        detail=f"mode is {stat.S_IMODE(mode):04o}, other users need {need}",
    )


def _extras(
    folder: Path, known: set[str], *, converted: bool = False
) -> tuple[list[Problem], tuple[str, ...]]:
    """Files that nobody locked: a problem where a loader takes them, else only listed."""
    problems, unused = [], []
    for path in sorted(_walk(folder)):
        if path in known:
            continue
        if a_loader_takes(path, known, converted=converted):
            problems.append(
                Problem(
                    aspect="extras",
                    kind="extra",
                    path=path,
                    detail="is not locked, and a loader would take it",
                )
            )
        else:
            unused.append(path)
    return problems, tuple(unused)


def _denied(home: Home, locked: LockedModel) -> list[Problem]:
    """Locked files of which the hub's client has noted that upstream has none.

    It reads its notes first, so loads by name do not see a file that is there and whole.
    """
    notes = Path(".no_exist") / locked.commit
    return [
        Problem(
            aspect="extras",
            kind="denies",
            path=str(notes / file.path),
            detail="the hub's client notes here that there is no such file, and looks no further",
        )
        for file in locked.files
        if can_be_seen(home.repo(locked.repo) / notes / file.path)
    ]


def _walk(folder: Path) -> Iterator[str]:
    """All files below; of a link to a folder, the files directly in it: deeper no loader looks."""
    for top, folders, names in os.walk(folder):
        here = Path(top)
        linked = [here / name for name in folders if link_target(here / name)]
        behind = [path for link in linked for path in link.glob("*") if path.is_file()]
        for path in (*(here / name for name in names), *behind):
            yield path.relative_to(folder).as_posix()
