"""The token of a run is found nowhere but in the environment of those that need it."""

import signal
from pathlib import Path

import pytest

from sample_hub.server import Hub, sample_repos
from tests.support.fault_play import TOKEN
from tests.support.runs import descendants, sample, sample_args, started, wait_until

SECRETS = (TOKEN.encode(), b"Key-Pair-Id", b"Signature=")


def holders(folder: Path) -> list[str]:
    """The files below a folder that hold the token, or an address that the hub signed."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and any(secret in path.read_bytes() for secret in SECRETS):
                found.append(str(path.relative_to(folder)))
        except OSError:
            continue  # removed meanwhile
    return found


def arguments(tmp_path: Path) -> tuple[str, ...]:
    """Whatever writes, into the test's folder."""
    log = tmp_path / "debug.log"
    return (
        *("-vv", "-m", "pins", f"--junitxml={tmp_path / 'junit.xml'}"),
        *("--log-file-level=DEBUG", f"--log-file={log}", "--log-level=DEBUG"),
    )


@pytest.mark.parametrize("known", [TOKEN, "hf_another"], ids=["accepted", "refused"])
def test_token_is_sent_to_the_hub_and_told_to_nobody(tmp_path: Path, known: str) -> None:
    (tmp_path / "tmp").mkdir()
    env = {"HF_TOKEN": TOKEN, "TMPDIR": str(tmp_path / "tmp")}
    with Hub(sample_repos(), tokens=[known]) as hub:
        done = sample(tmp_path / "home", *arguments(tmp_path), hub=hub.url, env=env)
        sent = [request.authorization for request in hub.requests if request.kind != "cdn"]
        assert not any(request.authorization for request in hub.requests if request.kind == "cdn")
    (tmp_path / "out").write_text(done.out)
    assert holders(tmp_path) == []
    if known == TOKEN:
        assert (done.code, all(sent)) == (0, True), done.out
    else:
        assert (done.code, sent.count(False)) == (1, 1), "asked without it once, to tell why"
        assert "(401); the repository is public without it. Unset HF_TOKEN" in done.said
        assert not list((tmp_path / "home").rglob("*.safetensors"))


def test_one_process_has_the_token_and_ctrl_c_leaves_it_nowhere(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with Hub(sample_repos(), rate=20_000, tokens=[TOKEN]) as hub:
        args = sample_args(tmp_path / "home", *arguments(tmp_path), hub=hub.url)
        log = tmp_path / "out"
        env = {"HF_TOKEN": TOKEN, "TMPDIR": str(tmp_path / "tmp")}
        with started(*args, log=log, env=env) as run:
            wait_until(lambda: hub.bodies("config.json"), log, run, within=120)
            below = {
                pid: Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                for pid in descendants(run.pid)
            }
            having = [
                line
                for pid, line in below.items()
                if TOKEN.encode() in Path(f"/proc/{pid}/environ").read_bytes()
            ]
            assert len(below) >= 2, below
            assert [line.split()[-1] for line in having] == ["prep.fetch.worker"]
            assert not any(TOKEN in line for line in below.values())
            assert holders(tmp_path) == []
            run.send_signal(signal.SIGINT)
            assert run.wait(timeout=60) == 2
    assert holders(tmp_path) == []


@pytest.mark.parametrize("secret", SECRETS)
def test_a_held_secret_would_be_found(tmp_path: Path, secret: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x").write_bytes(b"\0" + secret)
    assert holders(tmp_path) == ["deep/x"]
