"""Options beat the environment, and what does not fit is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from prep.catalogue.lock import Lock, render
from prep.errors import LockError, WrongRequest
from prep.fetch.hub import DEFAULT_ENDPOINT, Network, find_token
from prep.home.layout import Home
from prep.settings import SUITE, GivenOptions, Settings, resolve_settings
from tests.support.small_homes import locked_model

CATALOGUE = """\
catalogue-version = 1

[[models]]
name = "tiny"
repo = "acme/tiny"
revision = "main"
task = "embedding"
precisions = ["int8"]
why = "for tests"

[[models]]
name = "new"
repo = "acme/new"
revision = "main"
task = "embedding"
precisions = ["fp16", "int8"]
why = "not locked yet"
"""
SECRET = "hf_CANARY"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a catalogue of two models, of which the first is locked."""
    (tmp_path / "models.toml").write_text(CATALOGUE, encoding="utf-8")
    lock = render(Lock(models=(locked_model(),)))
    (tmp_path / "models.lock.toml").write_text(lock, encoding="utf-8")
    return tmp_path


def resolve(root: Path, environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    return resolve_settings(GivenOptions(**{"models": ["tiny"], **given}), environ or {}, root)


def refusal(root: Path, environ: Mapping[str, str] | None = None, **given: Any) -> str:
    with pytest.raises(WrongRequest) as caught:
        resolve(root, environ, **given)
    return str(caught.value)


def test_without_options_the_defaults_hold(root: Path) -> None:
    settings = resolve(root)
    assert settings.catalogue.path == root / "models.toml"
    assert settings.lock.get("tiny") == locked_model()
    assert [spec.name for spec in settings.models] == ["tiny"]
    assert settings.home == Home(root / "models")
    assert settings.network == Network(
        endpoint=DEFAULT_ENDPOINT, token=None, timeout=60.0, deadline=None
    )
    assert not (settings.offline or settings.sample or settings.relock or settings.dry_run)
    assert settings.precisions is None
    assert settings.precisions_of(settings.models[0]) == ("int8",)
    assert settings.goldens == SUITE / "model_tests" / "goldens"
    assert settings.summary == root / "models" / "model-prep" / "summary.json"
    assert settings.report == root / "models" / "model-prep" / "report.html"


def test_the_environment_is_read_and_an_option_beats_it(root: Path, tmp_path: Path) -> None:
    environ = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": "https://hf.mirror/"}
    settings = resolve(root, environ)
    assert settings.home == Home(tmp_path / "hf")
    assert settings.network.endpoint == "https://hf.mirror"
    chosen = {"model_home": tmp_path / "chosen", "hub": "https://chosen.example/"}
    settings = resolve(root, environ, **chosen)
    assert settings.home == Home(tmp_path / "chosen")
    assert settings.network.endpoint == "https://chosen.example"


def test_hf_home_is_made_absolute_and_its_tilde_is_the_users(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(root)
    assert resolve(root, {"HF_HOME": "~/hf"}).home == Home(Path("/home/somebody/hf"))
    assert resolve(root, {"HF_HOME": "down/../hf"}).home == Home(root / "hf")
    assert resolve(root, {"HF_HOME": ""}).home == Home(root / "models")


def test_the_network_is_as_given(root: Path) -> None:
    settings = resolve(root, token=SECRET, download_timeout=5.0, download_deadline=9.0)
    assert settings.network == Network(token=SECRET, timeout=5.0, deadline=9.0)


def test_offline_writes_no_report_unless_an_option_says_where(root: Path, tmp_path: Path) -> None:
    assert (resolve(root, offline=True).summary, resolve(root, offline=True).report) == (None, None)
    given = resolve(root, offline=True, summary=tmp_path / "s.json", report=tmp_path / "r.html")
    assert (given.summary, given.report) == (tmp_path / "s.json", tmp_path / "r.html")


OFFLINE = [
    {variable: value}
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    for value in ("1", "0", "", "true", "True", "YES", "on", "off", "2", "y", " 1")
] + [
    {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"},
    {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "1"},
    {},
]


def test_offline_is_read_as_the_hub_reads_it(root: Path) -> None:
    hubs = asked_of_the_hub(OFFLINE, "constants.HF_HUB_OFFLINE")
    assert [resolve(root, case).offline for case in OFFLINE] == hubs
    assert set(hubs) == {True, False}
    assert resolve(root, {"HF_HUB_OFFLINE": "0"}, offline=True).offline


def test_sample_brings_its_own_and_ignores_whose_environment_it_is() -> None:
    environ = {"HF_HOME": "/nowhere", "HF_ENDPOINT": "https://nowhere", "HF_TOKEN": SECRET}
    root = Path("/srv/project")  # without a catalogue: the sample needs none
    settings = resolve_settings(GivenOptions(hub="sample", token=SECRET), environ, root)
    assert settings.sample
    assert settings.catalogue.path == SUITE / "sample_hub" / "models.toml"
    assert settings.lock.models
    assert settings.home == Home(root / "models-sample")
    assert settings.network.token is None
    assert settings.network.endpoint != "https://nowhere"
    assert settings.goldens == SUITE / "sample_hub" / "goldens"
    chosen = resolve_settings(GivenOptions(hub="sample", model_home=Path("/chosen")), environ, root)
    assert chosen.home == Home(Path("/chosen"))


def test_another_catalogue_has_its_lock_and_goldens_beside_it(root: Path, tmp_path: Path) -> None:
    there = tmp_path / "theirs"
    (there / "goldens").mkdir(parents=True)
    (root / "models.toml").rename(there / "own.toml")
    (root / "models.lock.toml").rename(there / "own.lock.toml")
    settings = resolve(root, catalogue=there / "own.toml")
    assert settings.lock.get("tiny") == locked_model()
    assert settings.goldens == there / "goldens"
    assert settings.home == Home(root / "models")


def test_models_come_in_the_order_of_the_catalogue(root: Path) -> None:
    settings = resolve(root, models=["new", "tiny", "new"], relock=True)
    assert [spec.name for spec in settings.models] == ["tiny", "new"]
    assert [spec.name for spec in resolve(root, models=[], relock=True).models] == ["tiny", "new"]


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (["int8", "fp32", "int8"], ("fp32", "int8")),
        (["none"], ()),
        (["none", "none"], ()),
        ([], None),
    ],
    ids=str,
)
def test_precisions_stand_in_for_the_catalogues(
    root: Path, given: list[str], got: tuple[str, ...] | None
) -> None:
    settings = resolve(root, precisions=given)
    assert settings.precisions == got
    assert settings.precisions_of(settings.models[0]) == (("int8",) if got is None else got)


NO_LOCKING = "--relock asks the hub, which --offline (HF_HUB_OFFLINE) forbids."
REFUSED: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {  # environment, options, message
    "unknown models, and names the known": (
        {}, {"models": ["tiny", "big", "x"]},
        "models.toml has no model named big, x. It has: tiny, new.",
    ),
    "a signature where the home may change": (
        {}, {"verify_signature": Path("/dev/null")},
        "--verify-signature is for --offline: a run that may write changes what was signed.",
    ),
    "a key that is not there": (
        {}, {"verify_signature": Path("/nowhere/key.pem"), "offline": True},
        "--verify-signature /nowhere/key.pem: there is no such file.",
    ),
    "a hub that is no URL": (
        {"HF_ENDPOINT": "huggingface.co"}, {},
        "The hub must be a URL (https://…) or 'sample', got 'huggingface.co'.",
    ),
    "a password in the hub's URL, without showing it": (
        {"HF_ENDPOINT": "https://bob:s3cret@mirror.example/hf"}, {},
        (
            "The hub's URL holds a user or a password, which reports would show: pass a token in "
            "HF_TOKEN instead."
        ),
    ),
    "no precision beside another": (
        {}, {"precisions": ["int8", "none"]},
        "--precision none means no conversion: it stands alone.",
    ),
    "to lock with --offline": ({}, {"relock": True, "offline": True}, NO_LOCKING),
    "to lock with HF_HUB_OFFLINE": ({"HF_HUB_OFFLINE": "1"}, {"relock": True}, NO_LOCKING),
    "a catalogue beside the sample": (
        {}, {"hub": "sample", "catalogue": Path("models.toml")},
        "--hub sample brings its own catalogue: leave --catalogue out.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("environ", "given", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(root: Path, environ: dict[str, str], given: dict[str, Any], message: str) -> None:
    assert refusal(root, environ, **given) == message


@pytest.mark.parametrize(
    ("hub", "wrong"),
    [
        ("http://[::1", "its host cannot be read (an IPv6 address is [::1])"),
        ("http://localhost:abc", "its port is no number up to 65535"),
        ("http://localhost:99999", "its port is no number up to 65535"),
        ("http://a..b", "its host is no name (a part of it is empty or too long)"),
        ("http://a b", "it has a space or an invisible character"),
        ("http://a/hf?token=secret", "it has a query or a fragment (? or #)"),
        ("http://a/#top", "it has a query or a fragment (? or #)"),
    ],
)
def test_refuses_an_address_that_no_request_can_be_made_to(
    root: Path, hub: str, wrong: str
) -> None:
    said = (
        f"--hub (HF_ENDPOINT) is not the address of a hub: {wrong}. Give one as "
        "https://mirror.example:8443/hf."
    )
    assert refusal(root, hub=hub) == said
    assert refusal(root, {"HF_ENDPOINT": hub}) == said


@pytest.mark.parametrize(
    "hub", ["http://[::1]:8080", "http://localhost:8080/hf", "https://b\u00fccher.example"]
)
def test_takes_every_address_that_a_request_can_be_made_to(root: Path, hub: str) -> None:
    assert resolve(root, hub=hub).network.endpoint == hub


@pytest.mark.parametrize("odd", ["\u200b", "\u0430", "\x07", "\udcff"])
def test_refuses_a_token_that_no_header_can_hold_without_showing_it(root: Path, odd: str) -> None:
    token = f"hf_s3cret{odd}rest"
    for environ, place in (
        ({"HF_TOKEN": token}, "HF_TOKEN"),
        ({"HUGGING_FACE_HUB_TOKEN": token}, "HUGGING_FACE_HUB_TOKEN"),
        ({}, "the token file of the hub"),
    ):
        assert refusal(root, environ, token=token) == (
            f"The token in {place} cannot be one: character 10 of 14 is invisible or not ASCII. "
            "Copy the token anew."
        )
    assert resolve(root, token=token, offline=True).network.token == token, "nobody is sent it"
    assert resolve(root, token="hf_broken\r\nby_lines").network.token == "hf_broken\r\nby_lines"


def test_refuses_a_lock_that_does_not_answer_unless_it_is_locked_anew(root: Path) -> None:
    with pytest.raises(LockError) as caught:
        resolve(root, models=[])
    assert str(caught.value) == (
        "models.lock.toml does not answer models.toml and cannot be used (1 problem):\n"
        "  new: has no entry\n"
        "Lock again and review the diff: pytest --relock --models new"
    )
    assert resolve(root, models=[], relock=True).relock


def test_an_unreadable_lock_is_not_overwritten_by_relock(root: Path) -> None:
    (root / "models.lock.toml").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    assert refusal(root).endswith(
        "It is written by pytest --relock alone: lock again, and review the diff."
    )
    assert refusal(root, relock=True).endswith(
        "--relock keeps what it does not lock anew, so it has to read the file: resolve its "
        "conflicts, take the last version that was committed, or remove it; then lock again."
    )


def test_the_token_is_shown_nowhere(root: Path) -> None:
    given = GivenOptions(models=["tiny"], token=SECRET)
    settings = resolve_settings(given, {"HF_TOKEN": SECRET}, root)
    assert settings.network.token == SECRET
    for shown in (given, settings, settings.network):
        assert SECRET not in f"{shown!r} {shown}"
    assert repr(settings.network) == f"Network(endpoint='{DEFAULT_ENDPOINT}', token=set)"


@pytest.fixture
def keychain(tmp_path: Path) -> Path:
    """A folder with a token in each place where the hub's client looks for one."""
    files = {
        "user/.cache/huggingface/token": "hf_of_user\n",
        "cache/huggingface/token": "hf_of_cache",
        "hf/token": " hf_of_home \n",
        "elsewhere": "hf_of_path",
        "blank": " \n",
    }
    for path, token in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(token, encoding="utf-8")
    return tmp_path


TOKENS: list[tuple[dict[str, str], str | None]] = [
    ({"HF_TOKEN": "hf_one", "HUGGING_FACE_HUB_TOKEN": "hf_two", "HF_HOME": "{}/hf"}, "hf_one"),
    ({"HF_TOKEN": " hf_one\n"}, "hf_one"),
    ({"HUGGING_FACE_HUB_TOKEN": "hf_two", "HF_HOME": "{}/hf"}, "hf_two"),
    ({"HF_TOKEN": "", "HF_HOME": "{}/hf"}, "hf_of_home"),
    ({"HF_TOKEN": " ", "HF_HOME": "{}/hf"}, "hf_of_home"),
    ({"HF_TOKEN_PATH": "{}/elsewhere", "HF_HOME": "{}/hf"}, "hf_of_path"),
    ({"HF_TOKEN_PATH": "{}/blank", "HF_HOME": "{}/hf"}, None),
    ({"HF_HOME": "{}/hf", "XDG_CACHE_HOME": "{}/cache"}, "hf_of_home"),
    ({"XDG_CACHE_HOME": "{}/cache"}, "hf_of_cache"),
    ({"HF_HOME": "$PLACE/hf", "PLACE": "{}"}, "hf_of_home"),
    ({"HF_HOME": "~/../hf"}, "hf_of_home"),
    ({"HF_TOKEN_PATH": "{}/absent"}, None),
    ({"HOME": "{}/hf"}, None),
    ({}, "hf_of_user"),
]


def test_the_token_is_found_where_the_hubs_client_finds_it(
    keychain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [
        {
            "HOME": f"{keychain}/user",
            **{key: value.replace("{}", str(keychain)) for key, value in case.items()},
        }
        for case, _ in TOKENS
    ]
    ours = []
    for case in cases:
        with monkeypatch.context() as patch:
            patch.setenv("HOME", case["HOME"])  # what a tilde means is the process's own
            patch.setenv("PLACE", str(keychain))
            ours.append(find_token(case))
    assert ours == [token for _, token in TOKENS]
    assert asked_of_the_hub(cases, "huggingface_hub.get_token()") == ours


HUB = """
import importlib, json, os, sys
import huggingface_hub
from huggingface_hub import constants
own = dict(os.environ)
answers = []
for case in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update({**own, **case})
    importlib.reload(constants)
    answers.append(EXPRESSION)
print(json.dumps(answers))
"""


def asked_of_the_hub(cases: list[dict[str, str]], expression: str) -> list[Any]:
    """What the hub's own client makes of each environment, in a process of its own."""
    steering = ("HF_", "HUGGING", "TRANSFORMERS_", "XDG_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(steering)}
    done = subprocess.run(
        [sys.executable, "-c", HUB.replace("EXPRESSION", expression)],
        input=json.dumps(cases),
        env=kept,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers: list[Any] = json.loads(done.stdout)
    return answers
