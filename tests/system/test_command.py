"""What the command says when it is asked for something it cannot do, or for nothing."""

import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sample_hub.faults import Fault
from sample_hub.server import Hub, sample_repos
from tests.support.runs import (
    CHECKS,
    FILES_ONLY,
    ROOT,
    SAMPLE,
    TINY,
    command,
    copy_home,
    in_namespace,
    process,
    run,
    sample,
    status,
)


@pytest.fixture
def silent_host() -> Iterator[str]:
    """A host that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def errors(out: str) -> list[str]:
    """The sentences that pytest printed as usage errors."""
    return [line.removeprefix("ERROR: ") for line in out.splitlines() if line.startswith("ERROR: ")]


def test_unknown_model_is_refused_and_the_known_are_named() -> None:
    done = run("--models", "nope")
    assert done.code == 4
    assert errors(done.out) == [
        (
            "models.toml has no model named nope. It has: all-MiniLM-L6-v2, bge-reranker-base, "
            "flan-t5-small."
        )
    ]


def test_environment_chooses_models_and_an_option_beats_it() -> None:
    env = {"MODELS_TO_DOWNLOAD": "nope"}
    assert run("--collect-only", env=env).code == 4
    chosen = run("--collect-only", "-q", "--models", "flan-t5-small", env=env)
    assert chosen.code == 0
    assert "[flan-t5-small]" in chosen.out
    assert "MiniLM" not in chosen.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("catalogue-version = 1\n", "in 'models': is missing"),
        ("catalogue-version = 1\nmodels = []\n", "names no model: add a [[models]] entry"),
        ("catalogue-version = 2\n", "must be 1, the version this release reads, got 2"),
        ("not toml", "is not TOML"),
    ],
)
def test_unusable_catalogue_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "empty.toml"
    path.write_text(text)
    done = run("--catalogue", path)
    assert done.code == 4
    assert "empty.toml cannot be used (1 problem):" in done.out
    assert words in done.out


def test_stale_and_missing_entries_are_told_all_at_once(tmp_path: Path) -> None:
    text = (ROOT / "models.toml").read_text()
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(text.replace('"0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab"', '"main"'))
    lock = (ROOT / "models.lock.toml").read_text()
    (tmp_path / "models.lock.toml").write_text(lock.replace('"all-MiniLM-L6-v2"', '"other"'))
    done = run("--catalogue", catalogue)
    assert done.code == 4
    assert "all-MiniLM-L6-v2: has no entry" in done.out
    assert "flan-t5-small: locked requested-revision '0fc9ddf7" in done.out
    assert "pytest --relock --models all-MiniLM-L6-v2,flan-t5-small" in done.out


CANNOT_BE_DONE = (
    (["--cleanup", "--relock"],
        "--relock and --cleanup are two steps: relock, review, run pytest, then clean up."),
    (["--cleanup", "--offline"],
        "--cleanup removes from the home, which --offline (HF_HUB_OFFLINE) forbids."),
    (["--cleanup", "--dry-run=json"],
        "--dry-run=json is for a run and for --relock: with --cleanup it is --dry-run."),
    (["--consumer-python", "/no/python"],
        ("--consumer-python /no/python is not an interpreter: give the path of a Python, as "
        "/srv/app/venv/bin/python.")),
    (["--shard", "auto/2"],
        ("--shard auto/2 takes its number from JOB_COMPLETION_INDEX, which is not set: "
        "Kubernetes sets it in the pods of an Indexed Job. Elsewhere say which: --shard 0/2.")),
    (["--offline", "--relock"],
        "--relock asks the hub, which --offline (HF_HUB_OFFLINE) forbids."),
    (["--summary", "/proc/no/summary.json"],
        "--summary /proc/no/summary.json cannot be written: choose another place."),
    (["--summary=reports/one.json", "--report", "reports/../reports/one.json"],
        "--summary and --report are one file: give each its own."),
    (["--precision", "none", "--precision", "int8"],
        "--precision none means no conversion: it stands alone."),
    (["--junitxml", "/proc/no/junit.xml"],
        "--junitxml /proc/no/junit.xml cannot be written: choose another place."),
)  # fmt: skip


@pytest.mark.parametrize(
    ("args", "sentence"),
    CANNOT_BE_DONE,
)
def test_what_cannot_be_done_is_one_sentence(args: list[str], sentence: str) -> None:
    done = run(*args)
    assert done.code == 4
    assert errors(done.out) == [sentence]


def test_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    done = sample(tmp_path / "home")
    assert done.code == 4
    assert errors(done.out) == [
        f"The home {tmp_path / 'home'} is not a folder: see --model-home (HF_HOME)."
    ]


def test_a_selection_that_checks_nothing_is_never_green(tmp_path: Path, prepared: Path) -> None:
    assert sample(prepared, "--offline", "-k", "no_such_test").code == 5
    (tmp_path / "skip_all.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_setup(item):\n"
        "    pytest.skip('not today')\n"
    )
    skipped = sample(prepared, "--offline", "-p", "skip_all", env={"PYTHONPATH": str(tmp_path)})
    assert skipped.code == 5, skipped.out
    assert f"{TINY} unchecked" in skipped.said


def test_part_of_the_suite_gives_no_verdict_and_keeps_the_earlier(
    tmp_path: Path, prepared: Path
) -> None:
    home = copy_home(prepared, tmp_path / "home")
    summary_path = home / "model-prep" / "summary.json"
    # A verdict is of one home: make it this one's.
    summary_path.write_text(summary_path.read_text().replace(str(prepared), str(home)))
    part = sample(home, *FILES_ONLY)
    assert part.code == 0, part.out
    assert f"{TINY} unchecked" in part.said
    assert status(home) == "ready"
    file = sample(home, ROOT / "model_tests" / "test_pins.py")
    assert (file.code, f"{TINY} unchecked" in file.said) == (0, True), file.out


def test_unreachable_hub_is_one_sentence(tmp_path: Path) -> None:
    done = sample(tmp_path / "home")
    assert done.code == 75
    sentence = (
        "hub unreachable: 127.0.0.1:9: connection refused. Check the network, the proxy settings "
        "and --hub (HF_ENDPOINT), then run again. A prepared home is checked without network by "
        "`pytest --offline`, and `make demo` shows the whole suite without any."
    )
    assert done.said.count(sentence) == 1
    assert "Traceback" not in done.out
    assert done.out.count("ERROR at setup") == 1
    assert f"{TINY} transient" in done.said
    assert status(tmp_path / "home") == "transient"


def test_published_weights_alone_are_ready(tmp_path: Path, prepared: Path) -> None:
    """Though test_conversion.py has no test then for any model of the catalogue."""
    home, catalogue = copy_home(prepared, tmp_path / "home"), tmp_path / "models.toml"
    shutil.copytree(SAMPLE.parent / "goldens", tmp_path / "goldens")
    text = re.sub(r"precisions = .*", "precisions = []", SAMPLE.read_text(encoding="utf-8"))
    catalogue.write_text(text, encoding="utf-8")
    shutil.copy(SAMPLE.with_name("models.lock.toml"), tmp_path)
    given = ("--catalogue", catalogue, "--model-home", home, "--models", TINY, "--offline")
    done = run(*given)
    assert done.code == 0, done.out
    assert f"{TINY} ready" in done.said


def test_other_names_of_tests_give_no_verdict(tmp_path: Path, prepared: Path) -> None:
    """As from PYTEST_ADDOPTS: every file is collected, and most of the tests are not."""
    home = copy_home(prepared, tmp_path / "home")
    done = sample(home, "-o", "python_functions=test_source_is* test_name_leads*")
    assert done.code == 0, done.out
    assert status(home) == "unchecked"


def test_host_that_never_answers_is_given_up_soon(tmp_path: Path, silent_host: str) -> None:
    done = sample(tmp_path / "home", "--download-timeout=5", *FILES_ONLY, hub=silent_host)
    assert done.code == 75, done.out
    assert "accepted the connection, and gave no answer within --download-timeout." in done.said


def test_two_workers_find_an_unreachable_hub_to_be_passing(tmp_path: Path) -> None:
    done = sample(tmp_path / "home", "-n", "2", *FILES_ONLY)
    assert done.code == 75, done.out


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault(status=429, headers={"Retry-After": "999"}), 75, "asks to wait 999 s, longer"),
        (Fault(status=404, code="RevisionNotFound"), 1, "has no revision"),
        (Fault(corrupt=100), 1, "is never retried"),
    ],
    ids=["transient", "refused", "wrong-bytes"],
)
def test_what_the_hub_does_wrong_is_told_and_sorted(
    tmp_path: Path, fault: Fault, code: int, words: str
) -> None:
    def at_weights(method: str, path: str) -> Fault | None:
        return fault if path.endswith("model.safetensors") else None

    with Hub(sample_repos(), faults=at_weights) as hub:
        done = sample(tmp_path / "home", *FILES_ONLY, hub=hub.url)
        assert done.code == code, done.out
        assert words in done.said
        bodies = [body for body in hub.bodies("model.safetensors") if body.sent]
        assert len(bodies) <= 1, "a wrong digest is never retried"
    assert not list((tmp_path / "home" / "hub").rglob("model.safetensors"))


@pytest.mark.parametrize("mode", ["--collect-only", "--dry-run"])
def test_collecting_and_planning_import_no_torch(prepared: Path, mode: str) -> None:
    code = (
        "import sys, pytest\n"
        "code = pytest.main(sys.argv[1:])\n"
        "heavy = ('torch', 'transformers', 'openvino', 'optimum', 'huggingface_hub')\n"
        "sys.stderr.write(repr([name for name in heavy if name in sys.modules]))\n"
        "raise SystemExit(code)\n"
    )
    args = command("--catalogue", SAMPLE, "--models", TINY, "--model-home", prepared, mode)[3:]
    done = process(sys.executable, "-c", code, *args, apart=True)
    assert (done.code, done.err) == (0, "[]"), done.out


def test_relock_gives_the_same_bytes_and_tells_what_changed(tmp_path: Path, hub: Hub) -> None:
    catalogue = tmp_path / "models.toml"
    shutil.copy(SAMPLE, catalogue)
    lock = tmp_path / "models.lock.toml"

    def relock(*args: str) -> str:
        done = run("--catalogue", catalogue, "--hub", hub.url, "--relock", *args)
        assert done.code == (10 if args == ("--dry-run",) else 0), done.out
        return done.out

    first = relock()
    assert first.startswith("asking the exporter which architectures it converts\n")
    assert f"{TINY}: new, 10 files, 400015 bytes" in first
    assert lock.read_bytes() == SAMPLE.with_name("models.lock.toml").read_bytes()
    embedding = catalogue.read_text().partition('\n[[models]]\nname = "tiny-reranker"')[0]
    catalogue.write_text(embedding.replace('["int8"]', "[]"))  # nothing is asked of libraries
    relock()
    old = lock.read_text()
    assert f"{TINY}: unchanged at " in relock()
    assert lock.read_text() == old

    changed = old.replace("size = 389832", "size = 389831")
    lock.write_text(changed)
    dry = relock("--dry-run")
    assert "changed model.safetensors 389831 → 389832 bytes" in " ".join(dry.split())
    assert lock.read_text() == changed
    relock()
    assert lock.read_text() == old


def test_relock_refuses_bytes_that_are_not_the_hubs_own(tmp_path: Path) -> None:
    catalogue = tmp_path / "models.toml"
    shutil.copy(SAMPLE, catalogue)

    def spoil_config(method: str, path: str) -> Fault | None:
        wanted = path.endswith("/config.json") and "/resolve-cache/" in path
        return Fault(corrupt=3) if wanted and method == "GET" else None

    with Hub(sample_repos(), faults=spoil_config) as hub:
        done = run("--catalogue", catalogue, "--hub", hub.url, "--relock")
    assert done.code == 1
    assert "(the hub's own list)" in done.said
    assert "Nothing was locked" in done.said
    assert not (tmp_path / "models.lock.toml").exists()


def test_home_that_may_not_be_written_is_one_sentence(tmp_path: Path, hub: Hub) -> None:
    script = 'mkdir "$0" && mount -t tmpfs -o ro none "$0" && exec "$@"'
    home = tmp_path / "closed"
    prefix = (*in_namespace("--mount"), "sh", "-c", script, str(home))
    done = sample(home, *FILES_ONLY, hub=hub.url, prefix=prefix)
    assert done.code == 1, done.out
    assert "(Read-only file system). Give a home that this user may write" in done.said


def test_full_disk_is_said_as_such_and_can_pass(tmp_path: Path, hub: Hub) -> None:
    script = 'mkdir "$0" && mount -t tmpfs -o size=200k none "$0" && exec "$@"'
    prefix = (*in_namespace("--mount"), "sh", "-c", script, str(tmp_path / "small"))
    done = sample(tmp_path / "small", *FILES_ONLY, hub=hub.url, prefix=prefix)
    assert done.code == 75, done.out
    assert re.search(
        rf"no space left: {tmp_path / 'small'} has \d+ bytes free, \d+ are needed", done.said
    )
    assert hub.bodies("model.safetensors") == []


def test_report_header_states_the_case(prepared: Path) -> None:
    done = sample(prepared, "--collect-only", "--offline")
    assert f"catalogue: {SAMPLE} ({TINY}), lock models.lock.toml" in done.out
    assert f"home: {prepared}, hub: offline" in done.out
    assert f"{CHECKS} tests collected" in done.out
