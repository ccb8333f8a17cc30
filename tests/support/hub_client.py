"""What a service does with the hub's client alone: run by the interpreter and the client of a test.

``python client.py fill HOME ENDPOINT REPO`` fetches all of a repository as a user would, and
``python client.py read HOME REPO COMMIT`` reads it without network, by its name and by its commit.
Each prints the client's version and the sha256 of every file by its path, as JSON.
"""

import hashlib
import json
import os
import sys
from pathlib import Path


def main(do: str, home: str, *more: str) -> None:
    os.environ.update(HF_HOME=home, HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    if do == "fill":
        os.environ["HF_ENDPOINT"] = more[0]
    else:
        os.environ["HF_HUB_OFFLINE"] = "1"
    # Its environment is read when it is imported.
    from huggingface_hub import __version__, snapshot_download

    if do == "fill":
        folders = [snapshot_download(more[1])]
    else:
        repo, commit = more
        folders = [snapshot_download(repo), snapshot_download(repo, revision=commit)]
    seen = [files(Path(folder)) for folder in folders]
    assert all(result == seen[0] for result in seen)
    sys.stdout.write(json.dumps({"version": __version__, "files": seen[0]}))


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
