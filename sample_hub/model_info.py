"""What the hub's API says of a repository: model info and lines of a listing."""

import json
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from typing import Any

from sample_hub.cdn import xet_hash
from sample_hub.served import File, ServedRepo, describe, files_of, fold

HEADER_LIMIT = 1 << 20  # bytes; what claims more is no safetensors file of ours


def model_info(repo: ServedRepo, *, blobs: bool) -> dict[str, Any]:
    """The answer of `/api/models/ID`; siblings have no more than a name unless asked for blobs."""
    files = files_of(repo.folder)
    card = _card(files)
    if repo.license:
        card["license"] = repo.license
    config = _json(files.get("config.json"))
    library, pipeline = card.get("library_name", "transformers"), card.get("pipeline_tag")
    weights = _safetensors(files)
    tags = [library, *(["safetensors"] if weights else []), *card.get("tags", ())]
    tags += [config["model_type"]] if "model_type" in config else []
    tags += [f"license:{repo.license}"] if repo.license else []
    index = _model_index(repo, pipeline)
    stats = [file.stat() for file in files.values()]
    newest = max((stat.st_mtime for stat in stats), default=0.0)
    changed = datetime.fromtimestamp(newest, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    info = {
        "_id": repo.commit[:24],
        "id": repo.repo,
        "modelId": repo.repo,
        "author": repo.repo.partition("/")[0],
        "sha": repo.commit,
        "createdAt": changed,
        "lastModified": changed,
        "private": repo.private,
        "gated": "manual" if repo.gated else False,
        "disabled": False,
        "downloads": 1234,
        "likes": 5,
        "library_name": library,
        "tags": list(dict.fromkeys([*tags, "region:us"])),
        "cardData": {**card, "model-index": index},
        "model-index": index,
        "config": {key: config[key] for key in ("architectures", "model_type") if key in config},
        "transformersInfo": {"auto_model": "AutoModel", "processor": "AutoTokenizer"},
        "siblings": [_sibling(path, file, blobs=blobs) for path, file in files.items()],
        "spaces": [],
        "usedStorage": sum(stat.st_size for stat in stats),
    }
    if pipeline:
        info["pipeline_tag"] = info["transformersInfo"]["pipeline_tag"] = pipeline
    return info | ({"safetensors": weights} if weights else {})


def item_of(place: str, beneath: dict[str, Path], *, hidden: bool = False) -> dict[str, Any]:
    """One line of a tree listing; the Xet hash is `hidden` from who may not read a gated model."""
    if place not in beneath:
        return {"type": "directory", "oid": fold(beneath), "size": 0, "path": place}
    file = describe(place, beneath[place])
    line = {"type": "file", "oid": file.oid, "size": file.size, "path": place}
    line |= _lfs(file, "oid")
    if hidden and "xetHash" in line:
        line["xetHash"] = "*" * 64
    return line


def _sibling(path: str, file: Path, *, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    known = describe(path, file)
    line = {"rfilename": path, "blobId": known.oid, "size": known.size}
    return line | _lfs(known, "sha256")


def _lfs(file: File, digest_key: str) -> dict[str, Any]:
    """What is said of a large file; model info and tree have different names for its digest."""
    if file.sha256 is None:
        return {}
    lfs = {digest_key: file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return {"lfs": lfs, "xetHash": xet_hash(file.sha256)}


def _model_index(repo: ServedRepo, pipeline: str | None) -> list[dict[str, Any]]:
    """Results as model cards hold them; this one is made up."""
    result = {
        "task": {"type": pipeline or "feature-extraction"},
        "dataset": {"type": "model-prep/samples", "name": "Samples", "split": "test"},
        "metrics": [{"type": "accuracy", "value": 0.5}],
    }
    return [{"name": repo.repo.rpartition("/")[2], "results": [result]}]


def _card(files: dict[str, Path]) -> dict[str, Any]:
    """Scalars and lists of the front matter of README.md; no YAML reader comes with Python."""
    card: dict[str, Any] = {}
    if "README.md" not in files:
        return card
    head, _, rest = files["README.md"].read_text(encoding="utf-8").partition("---\n")
    key = ""
    for line in ("" if head else rest.partition("\n---")[0]).splitlines():
        if line.startswith("- ") and isinstance(card.get(key), list):
            card[key].append(line[2:].strip())
        elif ":" in line and not line.startswith((" ", "-")):
            key, _, value = line.partition(":")
            card[key] = value.strip() or []
    return card


def _json(file: Path | None) -> dict[str, Any]:
    try:
        read = json.loads(file.read_bytes()) if file else {}
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _safetensors(files: dict[str, Path]) -> dict[str, Any] | None:
    """How many parameters there are of each type, by the files' headers."""
    counted: dict[str, int] = {}
    for path, file in files.items():
        if not path.endswith(".safetensors"):
            continue
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            head = stream.read(length) if length <= HEADER_LIMIT else b""
        try:
            for name, tensor in json.loads(head).items():
                if name != "__metadata__":
                    counted[tensor["dtype"]] = counted.get(tensor["dtype"], 0) + prod(
                        tensor["shape"]
                    )
        except (ValueError, AttributeError, TypeError, KeyError):  # a test's bytes, no weights
            continue
    return {"parameters": counted, "total": sum(counted.values())} if counted else None
