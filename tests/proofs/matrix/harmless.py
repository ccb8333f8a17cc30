"""Harmless changes to a home. A false alarm teaches people to ignore alarms."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from prep.home.layout import point_link
from prep.home.receipt import read_receipt
from tests.proofs.matrix.damages import converted_before_the_tokenizer_ir, other_recipe
from tests.proofs.matrix.home_copies import OTHER_COMMIT
from tests.proofs.matrix.row import Target, kind
from tests.proofs.matrix.source import ALL
from tests.support.small_homes import lead, resolved


def put(path: Path, body: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def folders(target: Target) -> list[Path]:
    """Every folder that belongs to the model, and those above it in the home."""
    own = [folder for top in (target.repo, target.conversions) for folder in (top, *top.rglob("*"))]
    real = [path for path in own if path.is_dir() and not path.is_symlink()]
    return [target.home.root, target.home.hub, target.home.root / "openvino", *real]


def droppings(*names: str) -> Callable[[Target], None]:
    """Such a file in every folder."""

    def do(target: Target) -> None:
        for folder in folders(target):
            for name in names:
                put(folder / name)

    return do


def hub_leftovers(target: Target) -> None:
    """What the hub's own client leaves: locks, half files, notes of what upstream does not have."""
    blobs = target.repo / "blobs"
    name = target.weights.resolve().name
    put(blobs / f"{name}.ab12cd34.incomplete", b"half")
    put(blobs / f"{name}.incomplete", b"half")
    put(blobs / f"{name}.lock", b"")
    put(target.home.hub / ".locks" / target.repo.name / f"{name}.lock", b"")
    put(target.home.hub / "version.txt", b"1")
    put(target.home.hub / "CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55")
    missing = target.repo / ".no_exist" / target.locked.commit
    put(missing / "adapter_config.json", b"")
    put(missing / "chat_template.jinja", b"")
    put(target.repo / "trees" / f"{target.locked.commit}.json", b"{}").chmod(0o600)
    put(target.home.root / "token", b"").chmod(0o600)
    put(target.home.root / "stored_tokens", b"").chmod(0o600)
    put(target.home.root / "xet" / "logs" / "log", b"").chmod(0o600)


def upstream(target: Target) -> None:
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
        put(target.snapshot / name)


def other_tenants(target: Target) -> None:
    """Other models, commits, branches and tags; older conversions, and halves of some."""
    other = target.repo / "snapshots" / ("feed" + "0" * 36)
    put(other / "adapter_config.json", b"{}")
    (other / "model.safetensors").symlink_to(os.path.relpath(target.weights.resolve(), other))
    put(target.repo / "refs" / "v1.0", b"feed" + b"0" * 36)
    put(target.repo / "refs" / "pr" / "7", OTHER_COMMIT.encode())
    put(target.home.hub / "models--theirs--big" / "blobs" / "ab", b"x").parent.chmod(0o700)
    put(target.home.hub / "datasets--theirs--data" / "refs" / "main", b"x\n")
    put(target.home.root / "openvino" / "theirs--big" / "int8" / "openvino_model.xml").chmod(0o600)
    put(target.home.root / "datasets" / "x" / "y.arrow")
    put(target.conversions / ("e" * 64) / "openvino_model.xml")
    put(target.conversions / ".int8.deadbeef" / "openvino_model.bin").chmod(0o600)
    put(target.conversions / ".aside.deadbeef" / "receipt.json", b"{}")
    put(target.conversions / "int4" / "openvino_model.xml")


def notes_truncated(target: Target) -> None:
    """What this suite noted for itself, truncated by a kill."""
    put(target.home.ledger, b'{"what": "ref", "re\n\xff\xfe\n[]\n7\n')
    put(target.home.state / "summary.json", b'{"models": {')
    put(target.home.partial / ("f" * 64), b"half")
    put(target.home.state / "locks" / "left.lock", b"").chmod(0o600)
    put(target.home.state / "report.html", b"")


def plain_files(target: Target) -> None:
    """A copy with its links resolved, as ``cp -rL`` and many an upload make it."""
    for top in (target.repo, target.conversions):
        copy = target.scratch / top.name
        shutil.copytree(top, copy, symlinks=False)
        shutil.rmtree(top)
        shutil.move(copy, top)


def plain_without_blobs(target: Target) -> None:
    plain_files(target)
    shutil.rmtree(target.repo / "blobs")


def shared_blobs(target: Target) -> None:
    """Newer hubs keep blobs once for all repositories: two relative links, both in the home."""
    store = target.home.hub / "blobs"
    for blob in (target.repo / "blobs").iterdir():
        kept = store / blob.name[:2] / blob.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        blob.replace(kept)
        blob.symlink_to(os.path.relpath(kept, blob.parent))


def snapshot_by_a_link(target: Target) -> None:
    """The snapshot's folder moved within the home, with a relative link in its place."""
    there = target.home.root / "storage" / target.locked.commit
    there.parent.mkdir()
    files = {path: path.resolve() for path in target.snapshot.rglob("*") if path.is_symlink()}
    target.snapshot.rename(there)
    target.snapshot.symlink_to(os.path.relpath(there, target.snapshot.parent))
    for path, blob in files.items():
        moved = there / path.relative_to(target.snapshot)
        lead(moved, os.path.relpath(blob, moved.parent))


def dates(at: float) -> Callable[[Target], None]:
    def do(target: Target) -> None:
        for path in target.home.root.rglob("*"):
            os.utime(path, (at, at), follow_symlinks=False)

    return do


def modes(add: int) -> Callable[[Target], None]:
    """More rights than are needed, or sticky and set-group bits: who may read stays as it was."""

    def do(target: Target) -> None:
        for folder in folders(target)[3:]:
            for path in (folder, *folder.iterdir()):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | (add if path.is_dir() else add & 0o777))

    return do


def nobody_writes(target: Target) -> None:
    """As careful operators leave it: nobody may write, the owner neither."""
    for folder in folders(target)[3:]:
        for path in (*folder.iterdir(), folder):
            if not path.is_symlink():
                path.chmod(0o555 if path.is_dir() else 0o444)


def other_owner(target: Target) -> None:
    if os.geteuid() == 0:
        for path in (target.home.root, *target.home.root.rglob("*")):
            os.chown(path, 4711, 4711, follow_symlinks=False)


def other_tools(target: Target) -> None:
    """Converted elsewhere, by other versions; its content is measured here all the same."""
    tools = dict(read_receipt(target.folder).recipe.tools)
    other_recipe(tools={tool: f"{version}.post1" for tool, version in tools.items()})(target)


def ir_below(target: Target) -> None:
    """sentence-transformers looks there too, and takes the one of the root."""
    for path in target.home.stable(target.locked.repo, "fp32").glob("openvino_model.*"):
        put(target.folder / "openvino" / path.name, path.read_bytes())


def conversion_by_two_links(target: Target) -> None:
    digest = target.folder.name
    (target.conversions / "current").symlink_to(digest)
    point_link(target.stable, "current")


_home = kind(group="harmless", expect="passed")
ROWS = (
    _home("nothing at all", lambda target: None, tasks=ALL),
    _home("links resolved", plain_files, tasks=ALL),
    _home("links resolved, no blobs", plain_without_blobs, tasks=ALL),
    _home("blobs shared by the cache", shared_blobs),
    _home("snapshot by a link", snapshot_by_a_link),
    _home("stable path by two links", conversion_by_two_links, together="links"),
    _home("single file plain", lambda target: resolved(target.snapshot / "config.json"),
        together="links"),
    _home("stable path a plain folder", lambda target: resolved(target.stable)),
    _home("the hub's leftovers", hub_leftovers, together="leftovers"),
    _home("notes truncated", notes_truncated, scope="home"),
    _home("other tenants", other_tenants, together="leftovers", tasks=ALL),
    _home("what upstream ships", upstream, tasks=ALL),
    _home("droppings of desktops and editors",
        droppings(*(".DS_Store", "._config.json", "Thumbs.db", "desktop.ini", ".directory"),
            *(".config.json.swp", "config.json~", "#config.json#", ".nfs0001", "notes.txt"),
            *("core", "nohup.out", "lost+found.txt", ".gitignore", ".ipynb_checkpoints")),
        tasks=ALL),
    _home("another IR in a folder of the conversion", ir_below),
    _home("other tools than the receipt's", other_tools, tasks=ALL),
    _home("converted before the tokenizer IR", converted_before_the_tokenizer_ir, tasks=ALL),
    _home("dates of long ago", dates(1.0), together="dates and modes"),
    _home("open to all, set-group", modes(0o2777), together="dates and modes"),
    _home("dates to come", dates(4e9), together="dates to come, written by nobody"),
    _home("nobody may write", nobody_writes, together="dates to come, written by nobody"),
    _home("another owner", other_owner, scope="home"),
    _home("another precision beside",
        lambda t: lead(t.conversions / "fp16", t.home.stable(t.locked.repo,
            "fp32").resolve().name), together="dates and modes"),
)  # fmt: skip
