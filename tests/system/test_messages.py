"""The pages for people: every exit code has its row, and their commands and examples are run."""

import os
import re
import sys
from pathlib import Path

from prep.catalogue.entries import read_catalogue
from prep.errors import Exit
from sample_hub.server import Hub, sample_repos
from tests.support.paths import ROOT
from tests.support.runs import TINY, process, run
from tests.system.test_documents import code_blocks, listed, names, section
from tests.unit.deploy.test_ready import gate

MESSAGES, ADDING, CONSUMERS = (
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("messages", "adding-a-model", "consumers")
)


def test_every_exit_code_of_the_gate_has_a_row() -> None:
    assert names(CONSUMERS, "\nexit code |") == ["0", "1", "2"]


def test_messages_list_every_exit_code_of_a_run() -> None:
    codes = listed(section(MESSAGES, "## Exit codes"))
    assert sorted(map(int, codes)) == sorted([*range(6), *map(int, Exit)])


def test_options_of_the_gate_are_its_own() -> None:
    code, out = gate("--help")
    documented = {name.partition(" ")[0] for name in names(CONSUMERS, "\noption |")}
    assert code == 0
    assert documented - {"NAME…"} == set(re.findall(r"^  (--[a-z]+)", out, re.MULTILINE))


def test_commands_for_adding_a_model_run(tmp_path: Path) -> None:
    entry, *_ = code_blocks(ADDING, "toml")
    catalogue = tmp_path / "models.toml"
    text = "\n".join(line.strip() for line in entry.splitlines())
    catalogue.write_text(f"catalogue-version = 1\n{text}\n", encoding="utf-8")
    [spec] = read_catalogue(catalogue).models
    assert spec.name == TINY
    shown = [
        line.strip() for block in code_blocks(ADDING, "console") for line in block.splitlines()
    ]
    commands = [line.removeprefix("$ pytest ").split() for line in shown if line[:2] == "$ "]
    commands = [command for command in commands if TINY in command]  # others: test_own_models
    assert [" ".join(command) for command in commands] == [
        f"--relock --models {TINY}",
        f"--dry-run --models {TINY}",
        f"--models {TINY}",
    ]
    with Hub(sample_repos()) as hub:
        case = ("--catalogue", catalogue, "--model-home", tmp_path / "home", "--hub", hub.url)
        locked = run(*case, *commands[0])
        assert locked.out.splitlines() == shown[1:4]
        assert run(*case, *commands[1]).code == 0
        assert run(*case, *commands[2], "-k", "what_the_lock_says or leads_to_the_pin").code == 0


def test_consumer_variables_are_those_that_a_run_writes(prepared: Path) -> None:
    path = prepared / "model-prep" / "consumer.env"
    lines = path.read_text(encoding="utf-8").replace(str(prepared), "/srv/models").splitlines()
    documented = code_blocks(CONSUMERS, "text")[0].splitlines()
    assert documented == [line for line in lines if not line.startswith("#")]
    assert names(CONSUMERS, "\nvariable |") == [
        *(line.partition("=")[0] for line in documented[:3]),
        "MODEL_…",
    ]
    code, out = gate(prepared)
    assert code == 0
    shown = code_blocks(CONSUMERS, "console")[1].splitlines()[1]
    numbers = re.compile(r"\d{4}-\d\d-\d\dT[\d:+]+")
    assert numbers.sub("AT", out.strip()) == numbers.sub("AT", shown)


def test_every_librarys_example_runs_without_network(prepared: Path, tmp_path: Path) -> None:
    """All in one process: importing the libraries is what takes the time."""
    blocks = code_blocks(CONSUMERS, "python")
    assert len(blocks) == 5
    for block in blocks:
        compile(block, "consumers.md", "exec")
    script = "\n".join([*blocks, "print(vectors.shape, type(model).__name__)"])
    env = dict(
        line.split("=", 1)
        for line in (prepared / "model-prep" / "consumer.env").read_text().splitlines()
        if not line.startswith("#")
    )
    telemetry = tmp_path / "intel" / "openvino_telemetry"
    telemetry.parent.mkdir()
    telemetry.write_text("0")
    kept = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    kept |= {"HOME": str(tmp_path), "CI": "true", "HF_ENDPOINT": "http://127.0.0.1:9", **env}
    done = process(sys.executable, "-c", script, env=kept, apart=True)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "(1, 64) TextEmbeddingPipeline"
