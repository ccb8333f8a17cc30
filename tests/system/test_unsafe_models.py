"""A model that should not be run is refused before anything loads it, wherever it is met.

The canary is a module of the repository that leaves a file behind when it is imported.
"""

import ast
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_tests.test_pins import REFUSE
from prep.catalogue.lock import Lock, LockedModel, render
from prep.errors import ModelError
from prep.home.layout import Home
from prep.sandbox.import_server import ImportServer
from prep.tasks.registry import TASKS
from sample_hub.server import Hub, ServedRepo
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE, TINY, TINY_REPO, Run, run, write_catalogue
from tests.support.small_homes import locked_files, place_source

ORIGINAL = ROOT / "sample_hub" / "repos" / TINY_REPO
AUTO_MAP = {
    "AutoConfig": "modeling_canary.CanaryConfig",
    "AutoModel": "modeling_canary.CanaryModel",
    "AutoModelForSequenceClassification": "modeling_canary.CanaryModel",
    "AutoModelForSeq2SeqLM": "modeling_canary.CanaryModel",
    "AutoTokenizer": ["modeling_canary.CanaryTokenizer", None],
}


class Canary:
    """A copy of a sample model that asks for code, and the file that the code would leave."""

    def __init__(self, folder: Path, original: Path = ORIGINAL) -> None:
        self.folder = folder
        self.song = folder.parent / "it-was-run"
        shutil.copytree(original, folder)
        code = f"open({str(self.song)!r}, 'w').close()\nclass CanaryConfig: pass\n"
        (folder / "modeling_canary.py").write_text(code)
        for name in ("config.json", "tokenizer_config.json"):
            self.change(name, auto_map=AUTO_MAP)

    def change(self, name: str, **settings: object) -> None:
        path = self.folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    def without_request(self) -> "Canary":
        """The same without its request, to be damaged in another way."""
        for name in ("config.json", "tokenizer_config.json"):
            shutil.copy(ORIGINAL / name, self.folder / name)
        return self

    def served(self) -> ServedRepo:
        return ServedRepo.of("acme/bird", self.folder, "mit")

    def locked(self) -> LockedModel:
        """As somebody could have written it by hand."""
        paths = [path for path in self.folder.rglob("*") if path.suffix not in (".py", ".md")]
        files = {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in paths
            if path.is_file()
        }
        return LockedModel(
            name="bird",
            repo="acme/bird",
            requested_revision="main",
            commit=self.served().commit,
            license="mit",
            files=locked_files(files),
        )


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    """Whatever a test does with it, its code is never run."""
    bird = Canary(tmp_path / "bird")
    yield bird
    assert not bird.song.exists()


def catalogue(folder: Path, *more: str) -> Path:
    lines = "".join(f"{line}\n" for line in more)
    return write_catalogue(folder, ("bird", "acme/bird"), more=lines)


def to_lock(folder: Path, *more: str) -> Path:
    """The same without a conversion: the exporter, which takes longest, has no say here."""
    path = catalogue(folder, *more)
    path.write_text(path.read_text().replace('["int8"]', "[]"))
    return path


def relocked(canary: Canary, tmp_path: Path, *more: str) -> tuple[Run, Hub]:
    with Hub([canary.served()]) as hub:
        args = ("--catalogue", to_lock(tmp_path, *more), "--hub", hub.url, "--relock")
        return run(*args), hub


def lying(path: Path) -> None:
    """Let the first tensor of the file reach a byte further than its shape, and into the next."""
    body = path.read_bytes()
    end = 8 + int.from_bytes(body[:8], "little")
    header = json.loads(body[8:end])
    first = next(name for name, tensor in header.items() if tensor.get("data_offsets", [1])[0] == 0)
    header[first]["data_offsets"][1] += 1
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body[end:])


def test_relock_reports_all_unsafe_files_and_locks_nothing(canary: Canary, tmp_path: Path) -> None:
    lying(canary.folder / "model.safetensors")
    done, hub = relocked(canary, tmp_path, 'files = ["*"]')
    assert done.code == 1
    shown = json.dumps(AUTO_MAP)[:77]
    assert done.out == (
        f"unsafe file: bird: will not lock acme/bird at {canary.served().commit} (4 problems):\n"
        f"  config.json  auto_map names code to import: {shown}…\n"
        "  model.safetensors  embeddings.LayerNorm.bias is F32 [64], which does not fill "
        "its 257 bytes\n"
        "  modeling_canary.py  is code, and a model whose loading needs its own code is not taken\n"
        f"  tokenizer_config.json  auto_map names code to import: {shown}…\n"
        "Nothing was locked. Choose another model or revision; where a library needs the model "
        "without these files, narrow 'files' in the catalogue.\n"
    )
    assert not (tmp_path / "models.lock.toml").exists()
    weights = [request for request in hub.requests if request.path.startswith("/cdn/")]
    assert 0 < sum(weight.sent for weight in weights) < 20_000  # of 400 kB


def test_code_that_no_file_asks_for_is_only_not_locked(canary: Canary, tmp_path: Path) -> None:
    done, _ = relocked(canary.without_request(), tmp_path)
    assert done.code == 0, done.out
    assert "modeling_canary.py" not in (tmp_path / "models.lock.toml").read_text()


@pytest.mark.parametrize("damage", ["code", "lies"])
def test_fetch_places_nothing_of_it(canary: Canary, tmp_path: Path, damage: str) -> None:
    """The lock is of an older release, or was written by hand: its digests are right."""
    if damage == "lies":
        lying(canary.without_request().folder / "model.safetensors")
    lock = Lock(models=(canary.locked(),))
    path = catalogue(tmp_path)
    path.with_name("models.lock.toml").write_text(render(lock))
    home = Home(tmp_path / "home")
    with Hub([canary.served()]) as hub:
        done = run("--catalogue", path, "--hub", hub.url, "--model-home", home.root, "-x")
    assert done.code == 1, done.out
    detail = {
        "code": "config.json matches the lock and was not placed: auto_map names",
        "lies": "model.safetensors matches the lock and was not placed: embeddings.LayerNorm.bias "
        "is F32 [64], which does not fill its 257 bytes. --relock would not lock it. Choose "
        "another model or revision.",
    }[damage]
    assert detail in done.said
    assert not home.ref("acme/bird").exists()
    placed = {path.read_bytes() for path in (home.repo("acme/bird") / "blobs").iterdir()}
    name = "config.json" if damage == "code" else "model.safetensors"
    assert (canary.folder / name).read_bytes() not in placed
    assert not (home.partial / lock.models[0].file(name).sha256).exists()  # type: ignore[union-attr]


def test_home_that_holds_it_is_red_and_nothing_is_let_at_it(canary: Canary, tmp_path: Path) -> None:
    """As an older release, or another tool, would have placed it."""
    lying(canary.folder / "model.safetensors")
    locked = canary.locked()
    path = catalogue(tmp_path)
    path.with_name("models.lock.toml").write_text(render(Lock(models=(locked,))))
    home = Home(tmp_path / "home")
    files = {file.path: (canary.folder / file.path).read_bytes() for file in locked.files}
    snapshot = place_source(home, locked, files)
    shutil.copy(canary.folder / "modeling_canary.py", snapshot)
    done = run("--catalogue", path, "--model-home", home.root, "--offline")
    assert done.code == 1
    place = home.shown(snapshot)
    for sentence in (
        f"bird asks to run code in {place} (2 problems): code config.json auto_map names code to",
        (
            f"bird has weights that are not what they say in {place} (1 problem): lies "
            "model.safetensors embeddings.LayerNorm.bias is F32 [64], which does not fill "
            f"its 257 bytes {REFUSE}"
        ),
    ):
        assert sentence in done.said, done.out
    failed = [line for line in done.out.splitlines() if line.startswith("FAILED")]
    assert ["code" in line or "headers" in line for line in failed] == [True, True]
    assert "importing the libraries" not in done.out


def test_no_load_of_ours_would_run_it_even_so(tmp_path: Path) -> None:
    """Let at it on purpose, by every consumer of original weights: none is told to trust it."""
    server = ImportServer(tmp_path)
    ask = {"texts": ["a lamp"], "pairs": [["a lamp", "a light"]], "prompts": [["a lamp", 2]]}
    sources = [
        (task.name, consumer)
        for task in TASKS.values()
        for consumer in task.consumers
        if consumer.reads == "source"
    ]
    for task, consumer in sources:
        here = tmp_path / task / consumer.name
        bird = Canary(here / "bird", ORIGINAL.parent / f"tiny-{task}")
        order = {"task": task, "consumer": consumer.name, "ask": ask}
        with contextlib.suppress(ModelError):  # a known architecture loads by the library's own
            server.run(LOAD, {**order, "way": {"target": str(bird.folder)}}, doing="loading it")
        assert not bird.song.exists(), consumer
        server.run(
            "tests.system.test_unsafe_models:trust",
            {"folder": str(bird.folder)},
            doing="trusting it",
        )
        assert bird.song.exists()  # or all this would prove nothing
    server.stop()


def trust(order: dict[str, str]) -> dict[str, str]:
    """What a careless reader does, in a child of the server."""
    from transformers import AutoConfig

    with contextlib.suppress(AttributeError):  # the canary is no configuration, and has sung
        AutoConfig.from_pretrained(order["folder"], trust_remote_code=True)
    return {}


def test_code_is_never_trusted_and_every_load_says_so() -> None:
    """Whatever is said of trust in prep/ is False, and what loads a model by itself says it."""
    said, silent = [], []
    for path in sorted((ROOT / "prep").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
                said += [v for k, v in zip(keys, node.values, strict=True) if k == TRUST]
            elif isinstance(node, ast.keyword) and node.arg == TRUST:
                said.append(node.value)
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(LOADERS):
                # A load by name takes all of `way.hub`, which says it.
                passed = [keyword.arg or ast.unparse(keyword.value) for keyword in node.keywords]
                if not {TRUST, "way.hub", "hub"} & set(passed):
                    silent.append(f"{path.name}: {ast.unparse(node)}")
    assert len(said) >= 4
    assert [ast.unparse(value) for value in said if ast.unparse(value) != "False"] == []
    assert silent == []


LOAD = "prep.sandbox.probe.consumers:load"
TRUST = "trust_remote_code"
LOADERS = ("from_pretrained", "SentenceTransformer", "CrossEncoder")


def test_licence_that_is_not_allowed_is_not_locked(canary: Canary, tmp_path: Path) -> None:
    done, _ = relocked(
        canary.without_request(), tmp_path, 'licenses = ["apache-2.0", "bsd-3-clause"]'
    )
    assert done.code == 4
    assert "bird: license 'mit', models.toml allows apache-2.0, bsd-3-clause; allow it" in done.said
    assert not (tmp_path / "models.lock.toml").exists()


def test_licence_that_nobody_states_is_unknown_and_allowed_only_by_that_name(
    canary: Canary, tmp_path: Path
) -> None:
    (canary.without_request().folder / "README.md").unlink()
    served = ServedRepo.of("acme/bird", canary.folder)
    with Hub([served]) as hub:
        ask = ("--hub", hub.url, "--relock")
        refused = run("--catalogue", to_lock(tmp_path, 'licenses = ["mit"]'), *ask)
        taken = run("--catalogue", to_lock(tmp_path, 'licenses = ["mit", "unknown"]'), *ask)
    assert refused.code == 4
    assert "bird: license 'unknown', models.toml allows mit; allow it there" in refused.said
    assert taken.code == 0, taken.out
    assert 'license = "unknown"' in (tmp_path / "models.lock.toml").read_text()


def test_licence_that_the_lock_holds_and_the_catalogue_does_not_allow_is_exit_4(
    tmp_path: Path,
) -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    path = tmp_path / "models.toml"
    path.write_text(text.replace(f'name = "{TINY}"\n', f'name = "{TINY}"\nlicenses = ["mit"]\n'))
    shutil.copy(SAMPLE.with_name("models.lock.toml"), tmp_path)
    done = run("--catalogue", path, "--collect-only")
    assert done.code == 4
    assert done.out.strip() == (
        "ERROR: models.lock.toml does not answer models.toml and cannot be used (1 problem):\n"
        f"  {TINY}: license 'apache-2.0', models.toml allows mit; allow it there, or take another "
        "model"
    )
