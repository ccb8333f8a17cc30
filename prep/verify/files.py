"""The files that lock or receipt name: there, of the right size and bytes, safe to open."""

from collections.abc import Callable, Iterable
from pathlib import Path

from prep.catalogue.lock import LockedFile
from prep.files import unsafe
from prep.files.checksum import digest_files
from prep.home.layout import Home, escapes_home, link_target
from prep.verify.problem import Aspect, Problem


def present_files(
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
            note("bytes", "unreadable", f"cannot be reached: {error.strerror}")
            continue
        except (OSError, RuntimeError):
            target = link_target(path)
            link = f", a link to {target}, which is not there" if target else ""
            note("bytes", "missing", f"{file.size} bytes{link}")
            continue
        if astray := escapes_home(home, path):
            note("links", *astray)
        if not real.is_relative_to(root):
            continue
        if not real.is_file():
            note("bytes", "corrupt", "is not a file")
            continue
        found[path] = file
    return problems, found


def other_sizes(found: dict[Path, LockedFile]) -> list[Problem]:
    """The quick look: what is left of a wrong file but its bytes."""
    sizes = ((file, path.stat().st_size) for path, file in found.items())
    return [_corrupt(file, _other_size(size, file)) for file, size in sizes if size != file.size]


def other_digests(
    found: dict[Path, LockedFile], on_bytes: Callable[[int], None] | None
) -> list[Problem]:
    """The deep look: every byte is read, and `on_bytes` told how many as they are."""
    problems = []
    for path, got in digest_files(found, on_bytes).items():
        file = found[path]
        if isinstance(got, OSError):
            problems.append(_corrupt(file, f"cannot be read: {got.strerror}"))
        elif got.size != file.size:
            other = _other_size(got.size, file)
            problems.append(_corrupt(file, f"{other}  (sha256 {got.sha256[:12]}…)"))
        elif got.sha256 != file.sha256:
            detail = f"sha256 is {got.sha256[:12]}…, locked {file.sha256[:12]}…  (same size)"
            problems.append(_corrupt(file, detail))
    return sorted(problems, key=lambda problem: problem.path)


def _corrupt(file: LockedFile, detail: str) -> Problem:
    return Problem(aspect="bytes", kind="corrupt", path=file.path, detail=detail)


def _other_size(size: int, file: LockedFile) -> str:
    return f"size is {size}, locked {file.size}"


def unsafe_files(
    found: dict[Path, LockedFile], files: Iterable[LockedFile], problems: Iterable[Problem]
) -> list[Problem]:
    """What must not be run of the files whose bytes are right; the others are red already.

    The lock may have been written by hand, or before anybody looked for this.
    """
    paths = {file.path for file in files}
    wrong = {problem.path for problem in problems}
    problems_found = []
    for path, file in sorted(found.items()):
        if file.path in wrong:
            continue
        try:
            finding = unsafe.of_path(file.path, path, paths)
        except OSError:
            continue  # its bytes were read a moment ago: the next look tells what is wrong with it
        if finding:
            problems_found.append(
                Problem(aspect="unsafe", kind=finding.kind, path=file.path, detail=finding.detail)
            )
    return problems_found
