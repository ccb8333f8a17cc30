"""The repositories that the embedded hub serves: folders, described as the hub describes them."""

import re
import time
from dataclasses import dataclass, replace
from hashlib import sha1, sha256
from pathlib import Path
from typing import Self
from urllib.parse import quote

from sample_hub.faults import CHUNK

SAMPLES = Path(__file__).parent / "repos"
# What the .gitattributes file says that the hub puts into a new model repository.
LFS_NAMES = re.compile(
    r".+\.(7z|arrow|bin|bz2|ckpt|ftz|gz|h5|joblib|mlmodel|model|msgpack|npy|npz|onnx|ot|parquet|pb"
    r"|pickle|pkl|pt|pth|rar|safetensors|tar|tflite|tgz|wasm|xz|zip|zst)"
    r"|.+\.(bin|lfs|tar)\..+|.*tfevents.*"
)
LFS_ABOVE = 10 * 1024 * 1024  # bytes; the hub takes no larger file into git itself


def is_lfs(path: str) -> bool:
    """Whether the hub's default .gitattributes keeps a file of this name in LFS."""
    name = path.rpartition("/")[2]
    return path.startswith("saved_model/") or LFS_NAMES.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a repository as the hub describes it."""

    file: Path
    size: int
    oid: str  # git's sha1 of the blob; for an LFS file, of the pointer that git holds in its place
    sha256: str | None = None  # LFS files only
    pointer_size: int = 0


_KNOWN: dict[tuple[str, Path, int, int, int], File] = {}


def describe(path: str, file: Path) -> File:
    """Digest a file: once, as long as its size and its times of change stay the same."""
    stat = file.stat()
    key = (path, file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if known := _KNOWN.get(key):
        return known
    lfs = is_lfs(path) or stat.st_size > LFS_ABOVE
    digest = sha256() if lfs else sha1(b"blob %d\0" % stat.st_size)
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    made = File(file=file, size=stat.st_size, oid=digest.hexdigest())
    if lfs:
        lines = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{made.oid}")
        pointer = "\n".join((*lines, f"size {made.size}\n")).encode()
        oid = sha1(b"blob %d\0%b" % (len(pointer), pointer)).hexdigest()
        made = replace(made, oid=oid, sha256=made.oid, pointer_size=len(pointer))
    # Don't remember a file that was written just now: written again within the same tick of the
    # file system's clock, it could have the same size and times and be taken for the first.
    if time.time_ns() - stat.st_ctime_ns > 100_000_000:
        _KNOWN[key] = made
    return made


def files_of(folder: Path) -> dict[str, Path]:
    """All that is served of a folder, by path. What is not in here cannot be asked for."""
    found = {file.relative_to(folder): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {
        path.as_posix(): file
        for path, file in found.items()
        if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    }


def fold(files: dict[str, Path]) -> str:
    """One name for these files: it moves with any of their bytes or names."""
    lines = sorted(f"{describe(path, file).oid} {quote(path)}\n" for path, file in files.items())
    return sha1("".join(lines).encode()).hexdigest()


def commit_of(folder: Path) -> str:
    """The commit that a folder's content stands for: 40 hex digits that move with any change.

    The same everywhere for the same paths and bytes; not the commit that git would make.
    """
    return fold(files_of(folder))


def listing_of(files: dict[str, Path]) -> dict[str, dict[str, Path]]:
    """Files and folders by path, each with the files that it stands for."""
    found: dict[str, dict[str, Path]] = {}
    for path, file in files.items():
        for place in (path, *(parent.as_posix() for parent in Path(path).parents)):
            found.setdefault(place, {})[path] = file
    return {place: found[place] for place in sorted(found) if place != "."}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRepo:
    """A folder that is served as a commit of a model repository."""

    repo: str  # "ORG/NAME"
    folder: Path  # its files, links followed; nothing hidden, no __pycache__
    commit: str  # 40 hex digits: what branch "main" and the commit itself resolve to
    license: str | None = None  # shown as cardData.license and as tag "license:…"
    gated: bool = False  # everybody sees that it is there, only `readers` get its files
    private: bool = False  # nobody but `readers` sees that it is there
    readers: frozenset[str] = frozenset()  # tokens
    tags: frozenset[str] = frozenset()  # other names of this commit; "refs/pr/N" is one too
    formerly: frozenset[str] = frozenset()  # names that lead here by a redirect: it was renamed

    @classmethod
    def of(cls, repo: str, folder: Path, license: str | None = None) -> Self:
        """Serve a folder under the commit that its content gives."""
        return cls(repo=repo, folder=folder, commit=commit_of(folder), license=license)


def sample_repos() -> tuple[ServedRepo, ...]:
    """The sample models that ship with the project."""
    folders = sorted(folder for folder in SAMPLES.glob("[!._]*/[!._]*") if folder.is_dir())
    return tuple(ServedRepo.of(f"{f.parent.name}/{f.name}", f, "apache-2.0") for f in folders)
