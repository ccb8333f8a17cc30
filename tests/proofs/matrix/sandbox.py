"""Environment, mount, user and place of a run: the verdict must be that of the home alone."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from prep.home.layout import Home
from tests.proofs.matrix.layout import MODES
from tests.proofs.matrix.row import Target, kind
from tests.proofs.matrix.source import BYTES
from tests.support.paths import ROOT
from tests.support.restricted import MOUNTS, OPENED, USER
from tests.support.runs import in_namespace
from tests.support.small_homes import flip


def env(**values: str) -> Callable[[Target], None]:
    return lambda target: target.env.update(values)


def both(*damages: Callable[[Target], object]) -> Callable[[Target], None]:
    def do(target: Target) -> None:
        for damage in damages:
            damage(target)

    return do


def moved(target: Target, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(target.home.root, to)
    target.home = Home(to)


def by_a_link(target: Target) -> None:
    """The home is reached by a link, and lies elsewhere."""
    link = target.home.root
    there = target.scratch / "there"
    shutil.move(link, there)
    link.symlink_to(there)


def shadows(target: Target) -> None:
    """PYTHONPATH with modules that are not what their names say: children get a path of ours."""
    folder = target.scratch / "shadows"
    folder.mkdir()
    for name in ("torch", "transformers", "openvino", "numpy", "sentence_transformers"):
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} was shadowed')\n")
    (folder / "sitecustomize.py").write_text(
        "import os\nos.environ['HF_HUB_OFFLINE'] = '0'\nos.environ['HF_HOME'] = '/nowhere'\n"
    )
    target.env["PYTHONPATH"] = str(folder)


def home_of_the_user(target: Target) -> None:
    """A HOME with settings of the user's own: tokens, site packages, a customized start."""
    home = target.scratch / "user"
    site = home / ".local" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (site / "usercustomize.py").write_text("import os\nos.environ['TRANSFORMERS_OFFLINE'] = '0'\n")
    (home / ".cache" / "huggingface").mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text("hf_CANARY")
    target.env["HOME"] = str(home)


def read_only(target: Target) -> None:
    """The home on a mount that nobody can write."""
    root = target.home.root
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    target.prefix = (*in_namespace("--mount"), "sh", "-c", script, str(root))


def on_tmpfs(target: Target) -> None:
    root = target.home.root
    copy = target.scratch / "copy"
    shutil.copytree(root, copy, symlinks=True)
    script = 'mount -t tmpfs none "$0" && cp -a "$1/." "$0" && chmod 755 "$0" && shift && exec "$@"'
    target.prefix = (*in_namespace("--mount"), "sh", "-c", script, str(root), str(copy))


def as_a_user(target: Target) -> None:
    """Checked by somebody who owns nothing of it."""
    if os.geteuid() != 0:
        return
    become = f"os.setgroups([]); os.setgid({USER}); os.setuid({USER})\n"
    run = "os.execv(sys.argv[2], sys.argv[2:])"
    there = target.catalogue.parent
    there.chmod(0o777)
    script = MOUNTS + OPENED + become + run
    target.prefix = (sys.executable, "-c", script, str(target.scratch / "x" / "hf-home"))
    (target.scratch / "x").mkdir()
    (target.scratch / "x" / "hf-home").mkdir()
    target.env["PYTHONPATH"] = str(ROOT)
    target.env["PYTHONDONTWRITEBYTECODE"] = "1"


def umask(bits: str) -> Callable[[Target], None]:
    def do(target: Target) -> None:
        target.prefix = ("sh", "-c", f'umask {bits} && exec "$@"', "sh")

    return do


def without(*names: str) -> Callable[[Target], None]:
    flags = tuple(part for name in names for part in ("-u", name))

    def do(target: Target) -> None:
        target.prefix = ("env", *flags)

    return do


def moved_away(target: Target) -> None:
    shutil.move(target.home.root, target.scratch / "elsewhere")
    target.home.root.mkdir()


def weights_flipped(target: Target) -> None:
    flip(target.weights)


LONG = "a folder with a long name that goes on and on, as some build systems like them"
STALE = {
    "HF_HUB_CACHE": "/nowhere/hub",
    "HUGGINGFACE_HUB_CACHE": "/nowhere/old",
    "TRANSFORMERS_CACHE": "/nowhere/transformers",
    "SENTENCE_TRANSFORMERS_HOME": "/nowhere/sentences",
    "HF_HOME": "/nowhere",
    "XDG_CACHE_HOME": "/nowhere/cache",
    "HF_ENDPOINT": "http://127.0.0.1:9/nothing",
    "HF_HUB_OFFLINE": "0",
    "TRANSFORMERS_OFFLINE": "0",
    "HF_TOKEN": "hf_CANARY",
    "HF_HUB_ENABLE_HF_TRANSFER": "1",
    "HF_HUB_DISABLE_SYMLINKS": "1",
    "HF_DATASETS_OFFLINE": "0",
    "TORCH_HOME": "/nowhere/torch",
}
PROXIES = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "REQUESTS_CA_BUNDLE": "/nowhere/ca.pem",
    "SSL_CERT_FILE": "/nowhere/ca.pem",
    "CURL_CA_BUNDLE": "",
}
ODD = {
    "TZ": "Pacific/Kiritimati",
    "LANG": "C",
    "LC_ALL": "C",
    "LANGUAGE": "tr",
    "COLUMNS": "20",
    "NO_COLOR": "1",
    "PYTHONHASHSEED": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "CUDA_VISIBLE_DEVICES": "7",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONOPTIMIZE": "1",
    "MALLOC_PERTURB_": "165",
    "DOWNLOAD_TIMEOUT": "1",
}


_harmless = kind(group="environment", expect="passed", scope="home")
HARMLESS_ROWS = (
    _harmless("stale variables of the hub", env(**STALE), together="odd environment"),
    _harmless("proxies and certificates", env(**PROXIES), together="odd environment"),
    _harmless("locale, zone, threads, terminal", env(**ODD), together="odd environment"),
    _harmless("modules that shadow", shadows, together="odd environment"),
    _harmless("settings of the user", home_of_the_user, together="odd environment"),
    _harmless("home with spaces", lambda p: moved(p, p.scratch / "my models (1)"),
        together="odd place"),
    _harmless("home in other letters", lambda p: moved(p, p.scratch / "модели-模型-é"),
        together="odd place"),
    _harmless("home far down", lambda p: moved(p, p.scratch / LONG / LONG / LONG / "models"),
        together="odd place"),
    _harmless("home reached by a link", by_a_link, together="odd place"),
    _harmless("umask 077", umask("077"), together="odd place"),
    _harmless("no HOME, no LANG", without("HOME", "LANG", "TERM", "USER", "LOGNAME", "SHELL")),
    _harmless("mounted read-only", read_only),
    _harmless("in memory", on_tmpfs),
    _harmless("as another user", as_a_user),
)  # fmt: skip


_damaged = kind(group="environment", seen_by=BYTES, file="model.safetensors", scope="home")
_empty = kind(
    group="environment",
    seen_by=(*BYTES, "test_name_leads_to_the_pin"),
    file="model.safetensors",
    scope="home",
)
DAMAGE_ROWS = (
    _damaged("damage under stale variables", both(weights_flipped, env(**STALE)), "(same size)"),
    _damaged("damage under odd variables", both(weights_flipped, env(**ODD)), "(same size)"),
    _damaged("damage on a read-only mount", both(weights_flipped, read_only), "(same size)"),
    _damaged("damage seen by another user", both(weights_flipped, as_a_user), "(same size)"),
    _damaged("home closed, reached by a link",
        both(lambda target: target.home.root.chmod(0o700), by_a_link), "0700", "chmod o+rx",
        seen_by=MODES, may_see=("test_everybody_can_read_the_converted",), file="home"),
    _empty("home is empty", moved_away),
    _empty("home one level too deep",
        lambda target: setattr(target, "home", Home(target.home.hub))),
)  # fmt: skip


ROWS = (*HARMLESS_ROWS, *DAMAGE_ROWS)
