"""Models of one's own: in a folder, or on a hub of their own beside the public one."""

import json
import shutil
from pathlib import Path

from sample_hub.server import Hub, sample_repos
from tests.support.fault_play import TOKEN
from tests.support.paths import ROOT
from tests.support.runs import FILES_ONLY, TINY, TINY_REPO, run, status

ENTRY = """catalogue-version = 1
[[models]]
name = "tuned"
repo = "acme/tuned"
revision = "main"
task = "embedding"
precisions = []
why = "fine-tuned here"
"""


def test_a_fine_tuned_folder_is_locked_fetched_and_checked(tmp_path: Path) -> None:
    """A changed file is another commit; until it is locked, no byte of it gets into the home."""
    hub, home = tmp_path / "hub", tmp_path / "home"
    model = shutil.copytree(ROOT / "sample_hub" / "repos" / TINY_REPO, hub / "acme" / "tuned")
    catalogue, lock = tmp_path / "models.toml", tmp_path / "models.lock.toml"
    catalogue.write_text(f'{ENTRY}hub = "hub"\n')
    args = ("--catalogue", catalogue, "--model-home", home)
    done = run(*args, "--relock")
    assert (done.code, "tuned: new, 10 files, 400015 bytes" in done.out) == (0, True), done.out
    first = lock.read_text()
    assert 'repo = "acme/tuned"\nhub = "hub"\n' in first
    planned = run(*args, "--dry-run=json")
    assert planned.code == 0
    assert json.loads(planned.out)["models"][0]["fetch-bytes"] == 400015
    done = run(*args, *FILES_ONLY)
    assert (done.code, status(home, "tuned")) == (0, "unchecked"), done.out
    assert len(list(home.rglob("snapshots/*/*.safetensors"))) == 1
    (model / "config.json").write_text((model / "config.json").read_text() + "\n")
    assert run(*args, *FILES_ONLY).code == 0, "a complete home asks no hub"
    assert run(*args, *FILES_ONLY, "--offline").code == 0
    moved = run(*args, "--relock")
    assert (moved.code, "changed  config.json" in moved.out) == (0, True), moved.out
    lock.write_text(first)
    shutil.rmtree(home)
    done = run(*args, *FILES_ONLY)
    assert done.code == 1
    assert f"checksum mismatch: acme/tuned: {model}/config.json has " in done.said
    shutil.rmtree(hub)
    done = run(*args, *FILES_ONLY)
    assert done.code == 1
    assert f"refused by the hub: there is no folder {model}." in done.said


def test_the_option_takes_a_folder_too_and_none_in_the_home(tmp_path: Path) -> None:
    home, catalogue = tmp_path / "home", tmp_path / "models.toml"
    catalogue.write_text(ENTRY)
    args = ("--catalogue", catalogue, "--model-home", home, "--relock")
    shutil.copytree(ROOT / "sample_hub" / "repos" / TINY_REPO, home / "own" / "acme" / "tuned")
    done = run(*args, f"--hub={home}/own")
    assert done.code == 4
    assert f"The hub {home}/own lies in the home {home}, which this suite" in done.said
    done = run(*args, f"--hub={tmp_path}/gone")
    assert (done.code, f"--hub {tmp_path}/gone is no folder;" in done.said) == (4, True)
    (home / "own").rename(tmp_path / "own")
    done = run(*args, "--hub", tmp_path / "own")
    assert done.code == 0, done.out
    assert "hub =" not in (tmp_path / "models.lock.toml").read_text()


def test_an_entrys_own_hub_stands_beside_the_runs_and_gets_no_token(tmp_path: Path) -> None:
    home, catalogue = tmp_path / "home", tmp_path / "models.toml"
    text = (ROOT / "sample_hub" / "models.toml").read_text()
    text = text.partition('[[models]]\nname = "tiny-seq2seq"')[0]
    text = text.replace('["int8"]', "[]")  # so that no relock waits for the exporter
    served = sample_repos()
    with (
        Hub([repo for repo in served if repo.repo != TINY_REPO], tokens=[TOKEN]) as usual,
        Hub([repo for repo in served if repo.repo == TINY_REPO], tokens=[]) as own,
    ):
        why = 'why = "shows'
        catalogue.write_text(text.replace(why, f'hub = "{own.url}"\n{why}', 1))
        args = ("--catalogue", catalogue, "--model-home", home, "--hub", usual.url)
        env = {"HF_TOKEN": TOKEN}
        for more in (("--relock",), ("--models", f"{TINY},tiny-reranker", *FILES_ONLY)):
            done = run(*args, *more, env=env)
            assert done.code == 0, done.out
        assert own.bodies("model.safetensors")
        assert usual.bodies("model.safetensors")
        assert not any(request.authorization for request in own.requests)
        assert any(request.authorization for request in usual.requests)
        assert f'hub = "{own.url}"\n' in (tmp_path / "models.lock.toml").read_text()
        done = run(*args, "--models", TINY, *FILES_ONLY, env=env | {"HF_HUB_OFFLINE": "1"})
        assert done.code == 0
    catalogue.write_text(catalogue.read_text().replace(own.url, "https://u:p@h"))
    done = run(*args)
    assert (done.code, "it holds a user or a password, which reports" in done.said) == (4, True)
