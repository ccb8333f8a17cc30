"""The files that lock or receipt name: present, of the right size and checksum, safe to open."""

from collections.abc import Callable, Iterable
from pathlib import Path

from prep.catalogue.lock import LockedFile
from prep.files import unsafe
from prep.files.checksum import digest_files
from prep.home.layout import Home, escapes_home, link_target
from prep.verify.problem import Aspect, Problem


def check_files(
    home: Home,
    folder: Path,
    files: Iterable[LockedFile],
    *,
    deep: bool,
    on_bytes: Callable[[int], None] | None = None,
) -> tuple[list[Problem], list[Path]]:
    """The problems of the files in `folder`, and the paths of those that are present.

    `deep` reads every byte and looks for unsafe content; without it, sizes alone are compared.
    """
    files = tuple(files)
    problems, found = _present(home, folder, files)
    if deep:
        problems += _wrong_checksums(found, on_bytes)
        problems += _unsafe(found, files, problems)
    else:
        sizes = ((file, path.stat().st_size) for path, file in found.items())
        problems += [
            _corrupt(file, _wrong_size(size, file)) for file, size in sizes if size != file.size
        ]
    return problems, list(found)


def _present(
    home: Home, folder: Path, files: Iterable[LockedFile]
) -> tuple[list[Problem], dict[Path, LockedFile]]:
    """Missing files and links that escape, and the files that can be read and compared."""
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
        except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
            target = link_target(path)
            link = f", a link to {target}, which is not there" if target else ""
            note("bytes", "missing", f"{file.size} bytes{link}")
            continue
        if escape := escapes_home(home, path):
            note("links", *escape)
        if not real.is_relative_to(root):
            continue
        if not real.is_file():
            note("bytes", "corrupt", "is not a file")
            continue
        found[path] = file
    return problems, found


def _wrong_checksums(
    found: dict[Path, LockedFile], on_bytes: Callable[[int], None] | None
) -> list[Problem]:
    """Every byte is read; `on_bytes` gets how many, as they are."""
    problems = []
    for path, got in digest_files(found, on_bytes).items():
        file = found[path]
        if isinstance(got, OSError):
            problems.append(_corrupt(file, f"cannot be read: {got.strerror}"))
        elif got.size != file.size:
            wrong = _wrong_size(got.size, file)
            problems.append(_corrupt(file, f"{wrong}  (sha256 {got.sha256[:12]}…)"))
        elif got.sha256 != file.sha256:
            detail = f"sha256 is {got.sha256[:12]}…, locked {file.sha256[:12]}…  (same size)"
            problems.append(_corrupt(file, detail))
    return sorted(problems, key=lambda problem: problem.path)


def _corrupt(file: LockedFile, detail: str) -> Problem:
    return Problem(aspect="bytes", kind="corrupt", path=file.path, detail=detail)


def _wrong_size(size: int, file: LockedFile) -> str:
    return f"size is {size}, locked {file.size}"


def _unsafe(
    found: dict[Path, LockedFile], files: Iterable[LockedFile], problems: Iterable[Problem]
) -> list[Problem]:
    """Unsafe files among those whose bytes are the lock's; the others have failed already.

    The lock may have been written by hand, or by a version that did not look for this.
    """
    paths = {file.path for file in files}
    wrong = {problem.path for problem in problems}
    unsafe_problems = []
    for path, file in sorted(found.items()):
        if file.path in wrong:
            continue
        try:
            finding = unsafe.of_path(file.path, path, paths)
        except OSError:
            continue  # its bytes were read a moment ago: the next check says what is wrong with it
        if finding:
            unsafe_problems.append(
                Problem(aspect="unsafe", kind=finding.kind, path=file.path, detail=finding.detail)
            )
    return unsafe_problems
