"""What a file's name says: pickle or weights, and which globs it matches."""

from fnmatch import fnmatchcase
from functools import lru_cache

# Formats that run code, or may, when a library loads them: never in a lock.
PICKLES = (
    *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.joblib"),
    *("*.npy", "*.npz", "*.h5", "*.keras"),
)


@lru_cache(4096)  # the same names in every entry of a long catalogue
def matches(path: str, globs: tuple[str, ...]) -> bool:
    """Whether a path of a repository matches one of the globs; ``*`` stops at ``/``."""
    parts = path.split("/")
    return any(
        len(parts) == len(globbed) and all(map(fnmatchcase, parts, globbed))
        for globbed in (glob.split("/") for glob in globs)
    )


def is_weights(path: str) -> bool:
    """Whether a locked file holds the transformer's weights; a conversion keeps all others as they
    are, those of a pipeline's other modules among them.
    """
    return ".safetensors" in path and "/" not in path


def is_pickle(path: str) -> bool:
    """Whether loading the file could run code; judged by its name, as loaders do."""
    return matches(path.lower().rpartition("/")[2], PICKLES)
