"""Harmless changes to a home: what differs, and means nothing. A red one teaches to ignore red."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from prep.home.layout import point_link
from prep.home.receipt import read_receipt
from tests.proofs.matrix.damages import other_recipe
from tests.proofs.matrix.home_copies import OTHER_COMMIT
from tests.proofs.matrix.row import Place, Row
from tests.proofs.matrix.source import ALL
from tests.support.small_homes import lead, resolved


def put(path: Path, body: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def folders(place: Place) -> list[Path]:
    """Every folder that belongs to the model, and those above it in the home."""
    own = [folder for top in (place.repo, place.conversions) for folder in (top, *top.rglob("*"))]
    real = [path for path in own if path.is_dir() and not path.is_symlink()]
    return [place.home.root, place.home.hub, place.home.root / "openvino", *real]


def droppings(*names: str) -> Callable[[Place], None]:
    """Such a file in every folder."""

    def do(place: Place) -> None:
        for folder in folders(place):
            for name in names:
                put(folder / name)

    return do


def hub_leftovers(place: Place) -> None:
    """What the hub's own client leaves: locks, half files, notes of what upstream does not have."""
    blobs = place.repo / "blobs"
    name = place.weights.resolve().name
    put(blobs / f"{name}.ab12cd34.incomplete", b"half")
    put(blobs / f"{name}.incomplete", b"half")
    put(blobs / f"{name}.lock", b"")
    put(place.home.hub / ".locks" / place.repo.name / f"{name}.lock", b"")
    put(place.home.hub / "version.txt", b"1")
    put(place.home.hub / "CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55")
    missing = place.repo / ".no_exist" / place.locked.commit
    put(missing / "adapter_config.json", b"")
    put(missing / "chat_template.jinja", b"")
    put(place.repo / "trees" / f"{place.locked.commit}.json", b"{}").chmod(0o600)
    put(place.home.root / "token", b"").chmod(0o600)
    put(place.home.root / "stored_tokens", b"").chmod(0o600)
    put(place.home.root / "xet" / "logs" / "log", b"").chmod(0o600)


def upstream(place: Place) -> None:
    """What upstream also ships, or another service fetched, and no loader of ours takes."""
    for name in (
        *("README.md", ".gitattributes", "LICENSE", "model_card.png", "train_script.py"),
        *("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "rust_model.ot"),
        *("onnx/model.onnx", "onnx/model_O4.onnx", "onnx/config.json", "onnx/tokenizer.json"),
        *("openvino/openvino_model.xml", "openvino/openvino_model.bin"),
        *("coreml/model/coremldata.bin", "eval/similarity_results.csv", "data_config.json"),
        *("training_args.bin", "optimizer.pt", "events.out.tfevents", "model.safetensors.lock"),
        *("model.safetensors.index.json", "model-q4.gguf", "custom_generate/generate.py"),
        *("tokenizer/tokenizer.json", "1_Pooling/README.md", "config.json.bak"),
    ):
        put(place.snapshot / name)


def other_tenants(place: Place) -> None:
    """Other models, commits, branches and tags; older conversions, and halves of some."""
    other = place.repo / "snapshots" / ("feed" + "0" * 36)
    put(other / "adapter_config.json", b"{}")
    (other / "model.safetensors").symlink_to(os.path.relpath(place.weights.resolve(), other))
    put(place.repo / "refs" / "v1.0", b"feed" + b"0" * 36)
    put(place.repo / "refs" / "pr" / "7", OTHER_COMMIT.encode())
    put(place.home.hub / "models--theirs--big" / "blobs" / "ab", b"x").parent.chmod(0o700)
    put(place.home.hub / "datasets--theirs--data" / "refs" / "main", b"x\n")
    put(place.home.root / "openvino" / "theirs--big" / "int8" / "openvino_model.xml").chmod(0o600)
    put(place.home.root / "datasets" / "x" / "y.arrow")
    put(place.conversions / ("e" * 64) / "openvino_model.xml")
    put(place.conversions / ".int8.deadbeef" / "openvino_model.bin").chmod(0o600)
    put(place.conversions / ".aside.deadbeef" / "receipt.json", b"{}")
    put(place.conversions / "int4" / "openvino_model.xml")


def notes_torn(place: Place) -> None:
    """What this suite noted for itself, torn by a kill."""
    put(place.home.ledger, b'{"what": "ref", "re\n\xff\xfe\n[]\n7\n')
    put(place.home.state / "summary.json", b'{"models": {')
    put(place.home.partial / ("f" * 64), b"half")
    put(place.home.state / "locks" / "left.lock", b"").chmod(0o600)
    put(place.home.state / "report.html", b"")


def plain_files(place: Place) -> None:
    """A copy with its links resolved, as ``cp -rL`` and many an upload make it."""
    for top in (place.repo, place.conversions):
        copy = place.scratch / top.name
        shutil.copytree(top, copy, symlinks=False)
        shutil.rmtree(top)
        shutil.move(copy, top)


def plain_without_blobs(place: Place) -> None:
    plain_files(place)
    shutil.rmtree(place.repo / "blobs")


def shared_blobs(place: Place) -> None:
    """Newer hubs keep blobs once for all repositories: two relative links, both in the home."""
    store = place.home.hub / "blobs"
    for blob in (place.repo / "blobs").iterdir():
        target = store / blob.name[:2] / blob.name
        target.parent.mkdir(parents=True, exist_ok=True)
        blob.replace(target)
        blob.symlink_to(os.path.relpath(target, blob.parent))


def snapshot_by_a_link(place: Place) -> None:
    """The snapshot's folder moved within the home, with a relative link in its place."""
    there = place.home.root / "storage" / place.locked.commit
    there.parent.mkdir()
    files = {path: path.resolve() for path in place.snapshot.rglob("*") if path.is_symlink()}
    place.snapshot.rename(there)
    place.snapshot.symlink_to(os.path.relpath(there, place.snapshot.parent))
    for path, blob in files.items():
        moved = there / path.relative_to(place.snapshot)
        lead(moved, os.path.relpath(blob, moved.parent))


def dates(at: float) -> Callable[[Place], None]:
    def do(place: Place) -> None:
        for path in place.home.root.rglob("*"):
            os.utime(path, (at, at), follow_symlinks=False)

    return do


def modes(add: int) -> Callable[[Place], None]:
    """More rights than are needed, or sticky and set-group bits: who may read stays as it was."""

    def do(place: Place) -> None:
        for folder in folders(place)[3:]:
            for path in (folder, *folder.iterdir()):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | (add if path.is_dir() else add & 0o777))

    return do


def nobody_writes(place: Place) -> None:
    """As careful operators leave it: nobody may write, the owner neither."""
    for folder in folders(place)[3:]:
        for path in (*folder.iterdir(), folder):
            if not path.is_symlink():
                path.chmod(0o555 if path.is_dir() else 0o444)


def other_owner(place: Place) -> None:
    if os.geteuid() == 0:
        for path in (place.home.root, *place.home.root.rglob("*")):
            os.chown(path, 4711, 4711, follow_symlinks=False)


def other_tools(place: Place) -> None:
    """Converted elsewhere, by other versions; its content is measured here all the same."""
    tools = dict(read_receipt(place.folder).recipe.tools)
    other_recipe(tools={tool: f"{version}.post1" for tool, version in tools.items()})(place)


def ir_below(place: Place) -> None:
    """sentence-transformers looks there too, and takes the one of the root."""
    for path in place.home.stable(place.locked.repo, "fp32").glob("openvino_model.*"):
        put(place.folder / "openvino" / path.name, path.read_bytes())


def stable_a_folder(place: Place) -> None:
    resolved(place.stable)


def conversion_by_two_links(place: Place) -> None:
    digest = place.folder.name
    (place.conversions / "current").symlink_to(digest)
    point_link(place.stable, "current")


def _home(name: str, do: Callable[[Place], object], together: str = "", **more: object) -> Row:
    return Row(name=name, group="harmless", do=do, expect="green", together=together, **more)  # type: ignore[arg-type]


MODEL_ROWS = (
    _home("nothing at all", lambda place: None, tasks=ALL),
    _home("links resolved", plain_files, tasks=ALL),
    _home("links resolved, no blobs", plain_without_blobs, tasks=ALL),
    _home("blobs shared by the cache", shared_blobs),
    _home("snapshot by a link", snapshot_by_a_link),
    _home("stable path by two links", conversion_by_two_links, "links"),
    _home("single file plain", lambda place: resolved(place.snapshot / "config.json"), "links"),
    _home("stable path a plain folder", stable_a_folder),
    _home("the hub's leftovers", hub_leftovers, "leftovers"),
    _home("notes torn", notes_torn, scope="home"),
    _home("other tenants", other_tenants, "leftovers", tasks=ALL),
    _home("what upstream ships", upstream, tasks=ALL),
    _home(
        "droppings of desktops and editors",
        droppings(
            *(".DS_Store", "._config.json", "Thumbs.db", "desktop.ini", ".directory"),
            *(".config.json.swp", "config.json~", "#config.json#", ".nfs0001", "notes.txt"),
            *("core", "nohup.out", "lost+found.txt", ".gitignore", ".ipynb_checkpoints"),
        ),
        tasks=ALL,
    ),
    _home("another IR in a folder of the conversion", ir_below),
    _home("other tools than the receipt's", other_tools, tasks=ALL),
    _home("dates of long ago", dates(1.0), "dates and modes"),
    _home("open to all, set-group", modes(0o2777), "dates and modes"),
    _home("dates to come", dates(4e9), "dates to come, written by nobody"),
    _home("nobody may write", nobody_writes, "dates to come, written by nobody"),
    _home("another owner", other_owner, scope="home"),
    _home(
        "another precision beside",
        lambda place: lead(place.conversions / "fp16", read_fp32(place)),
        "dates and modes",
    ),
)


def read_fp32(place: Place) -> str:
    return place.home.stable(place.locked.repo, "fp32").resolve().name


ROWS = MODEL_ROWS
