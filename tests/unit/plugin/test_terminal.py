"""A run on a real terminal: live lines below what pytest prints, and never in what is kept."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.runs import SAMPLE, command, environment, sample_args
from tests.support.terminals import Watched, watch

SPINNING = re.compile("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] ")
STAGES = """
import time
import pytest
from prep.plugin import terminal

@pytest.fixture(scope="session", params=["one", "two"])
def model(request):
    progress = terminal.progress_for(request.session)
    if path := getattr(request.config, "workerinput", {}).get("prep_progress"):
        with open(path, "ab") as file:
            file.write(b'{"who": "gw0", "mod\\n')  # torn by a full disk
    progress.say(request.param, "fetching 1 file")
    for done in range(0, 26):
        progress.bytes(request.param, "fetching", {"done": done * 40_000, "of": 1_000_000})
        time.sleep(SECONDS / 25)
    print("words of a stage")
    progress.say(request.param, "fetched 1.0 MB")
    yield request.param

def test_first(model):
    print("words of a test")

def test_second(model):
    assert model != FAILS

def test_third(model):
    pass
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite that borrows the plugin, with stages that only take time: a second each."""
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n", encoding="utf-8")
    write(tmp_path)
    return tmp_path


def write(suite: Path, *, seconds: float = 1.0, fails: str = "none") -> None:
    code = STAGES.replace("SECONDS", str(seconds)).replace("FAILS", repr(fails))
    (suite / "test_stages.py").write_text(code, encoding="utf-8")


def other_suite(suite: Path, *args: str) -> list[str]:
    """The command of that suite."""
    plugins = ("-p", "prep.plugin", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    where = ("-c", str(suite / "pytest.ini"), "--catalogue", str(SAMPLE))
    home = ("--model-home", str(suite / "home"), str(suite))
    return [sys.executable, "-m", "pytest", *plugins, *where, *home, *args]


def live_lines(watched: Watched) -> list[str]:
    return [line for line in watched.lines_with("") if SPINNING.match(line)]


def test_live_lines_stand_below_and_leave_nothing_behind(suite: Path) -> None:
    junit = suite / "junit.xml"
    watched = watch(other_suite(suite, f"--junitxml={junit}"), HF_HUB_DISABLE_PROGRESS_BARS="1")
    assert watched.code == 0
    shown = [
        line for line in live_lines(watched) if re.search(r" of 1\.0 MB .* MB/s .* left$", line)
    ]
    assert len(shown) > 5
    assert {line.split()[1] for line in shown} == {"one", "two"}
    for _, screen in watched.frames:
        at = [number for number, line in enumerate(screen) if SPINNING.match(line)]
        below = [line for line in screen[at[-1] + 1 :] if line] if at else []
        assert below == []
    final = "\n".join(watched.final)
    assert not SPINNING.search(final)
    for name in ("one", "two"):
        expected = f"\n[{name}] fetching 1 file\n[{name}] fetched 1.0 MB\n.\n"
        assert expected in re.sub(" +\n", "\n", final), final
    assert watched.gap < 5  # two seconds on a machine of one's own
    text = junit.read_text(encoding="utf-8")
    assert "words of a test" not in text
    assert re.findall(r"[^\x20-\x7e\n]", text) == []
    ET.fromstring(text)


def test_workers_have_a_line_each_and_one_painter(suite: Path) -> None:
    watched = watch(other_suite(suite, "-n", "2", "--dist", "load"))
    assert watched.code == 0
    both = [
        screen
        for _, screen in watched.frames
        if {line.split()[1] for line in screen if " of 1.0 MB" in line} == {"one", "two"}
    ]
    assert len(both) > 3
    final = "\n".join(watched.final)
    assert not SPINNING.search(final)
    assert all(f"\n[{name}] fetched 1.0 MB\n" in final for name in ("one", "two"))
    assert any("starting the workers" in line for line in live_lines(watched))


@pytest.mark.parametrize(
    ("args", "env"),
    [(["-s"], {}), (["--pdb"], {}), ([], {"TERM": "dumb"})],
    ids=["-s", "--pdb", "dumb"],
)
def test_plain_lines_where_live_ones_would_be_in_the_way(
    suite: Path, args: list[str], env: dict[str, str]
) -> None:
    write(suite, seconds=2.6)
    watched = watch(other_suite(suite, *args), **env)
    assert watched.code == 0
    assert live_lines(watched) == []
    assert "\x1bD" not in watched.raw
    final = "\n".join(watched.final)
    assert re.search(
        r"\n\[one\] fetching: 0\.\d of 1\.0 MB \(\d+%\), 0\.\d MB/s, \d s left\n", final
    )
    if args == ["-s"]:
        assert final.index("words of a stage") < final.index("[one] fetched")


@pytest.mark.parametrize("args", [["-q"], ["--no-progress"]], ids=str)
def test_quiet_is_quiet(suite: Path, args: list[str]) -> None:
    watched = watch(other_suite(suite, *args))
    assert watched.code == 0
    assert watched.lines_with("fetch") == []
    assert "\x1bD" not in watched.raw


def test_no_color_is_honoured(suite: Path) -> None:
    watched = watch(other_suite(suite), NO_COLOR="1")
    assert live_lines(watched)
    assert re.findall(r"\x1b\[[0-9;]*m", watched.raw) == []


def test_a_narrow_terminal_and_one_that_changes(suite: Path) -> None:
    write(suite, seconds=2.0)
    watched = watch(other_suite(suite, "-v"), columns=90, resize=("0.5 of 1.0 MB", 44))
    assert watched.code == 0
    lines = live_lines(watched)
    assert any(len(line) > 60 for line in lines)
    assert any(len(line) <= 43 for line in lines)
    assert not SPINNING.search("\n".join(watched.final))


def test_a_debugger_and_the_first_failure_find_the_terminal_free(suite: Path) -> None:
    write(suite, fails="one")
    typed: list[str] = []

    def answer(screen: str) -> bytes:
        if "(Pdb)" in screen and not typed:
            typed.append("q")
            return b"q\n"
        return b""

    watched = watch(other_suite(suite, "--pdb"), answer=answer)
    assert (watched.code, typed) == (2, ["q"])
    stopped = watch(other_suite(suite, "-x"))
    assert stopped.code == 1
    assert stopped.lines_with("[two]") == []
    assert not SPINNING.search("\n".join(stopped.final))


@pytest.mark.parametrize("args", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_without_a_terminal_lines_are_plain_and_few(suite: Path, args: list[str]) -> None:
    done = subprocess.run(
        other_suite(suite, *args),
        env=environment(HF_HUB_DISABLE_PROGRESS_BARS="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    lines = [line for line in done.stdout.splitlines() if "fetch" in line]
    assert sorted(lines) == [
        *("[one] fetched 1.0 MB", "[one] fetching 1 file"),
        *("[two] fetched 1.0 MB", "[two] fetching 1 file"),
    ]
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_the_one_private_name_of_pytest_is_still_there(pytestconfig: pytest.Config) -> None:
    """`Painter` stands between pytest's writer and its file."""
    writer = pytestconfig.get_terminal_writer()
    assert hasattr(writer._file, "write"), "pytest has renamed it: see prep/plugin/terminal.py"
    assert isinstance(writer.width_of_current_line, int)


def test_a_real_run_is_never_silent_for_long(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = sample_args(prepared, "--offline", "-m", "pins or load", "-p", "no:hypothesispytest")
    watched = watch(command(*args))
    assert watched.code == 0
    lines = live_lines(watched)
    # Which number a quick load is seen with is chance.
    for words in ("importing the libraries", "checking the int8 conversion", r"\d+ of 12\b"):
        assert any(re.search(words, line) for line in lines), words
    with capsys.disabled():
        sys.stdout.write(f"[longest silence on a terminal: {watched.gap:.2f} s] ")
    assert watched.gap < 10  # two seconds on a machine of one's own; this one may be shared
