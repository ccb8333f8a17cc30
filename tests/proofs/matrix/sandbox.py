"""Environment, mount, user and place of a run: the verdict must be that of the home alone."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from prep.home.layout import Home
from tests.proofs.matrix.layout import MODES
from tests.proofs.matrix.row import Place, Row
from tests.proofs.matrix.source import BYTES
from tests.support.paths import ROOT
from tests.support.restricted import MOUNTS, OPENED, USER
from tests.support.runs import in_namespace
from tests.support.small_homes import flip


def env(**values: str) -> Callable[[Place], None]:
    return lambda place: place.env.update(values)


def both(*deeds: Callable[[Place], object]) -> Callable[[Place], None]:
    def do(place: Place) -> None:
        for deed in deeds:
            deed(place)

    return do


def moved(place: Place, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(place.home.root, to)
    place.home = Home(to)


def by_a_link(place: Place) -> None:
    """The home is reached by a link, and lies elsewhere."""
    link = place.home.root
    there = place.scratch / "there"
    shutil.move(link, there)
    link.symlink_to(there)


def shadows(place: Place) -> None:
    """PYTHONPATH with modules that are not what their names say: children get a path of ours."""
    folder = place.scratch / "shadows"
    folder.mkdir()
    for name in ("torch", "transformers", "openvino", "numpy", "sentence_transformers"):
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} was shadowed')\n")
    (folder / "sitecustomize.py").write_text(
        "import os\nos.environ['HF_HUB_OFFLINE'] = '0'\nos.environ['HF_HOME'] = '/nowhere'\n"
    )
    place.env["PYTHONPATH"] = str(folder)


def home_of_the_user(place: Place) -> None:
    """A HOME with settings of the user's own: tokens, site packages, a customized start."""
    home = place.scratch / "user"
    site = home / ".local" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (site / "usercustomize.py").write_text("import os\nos.environ['TRANSFORMERS_OFFLINE'] = '0'\n")
    (home / ".cache" / "huggingface").mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text("hf_CANARY")
    place.env["HOME"] = str(home)


def read_only(place: Place) -> None:
    """The home on a mount that nobody can write."""
    root = place.home.root
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    place.prefix = (*in_namespace("--mount"), "sh", "-c", script, str(root))


def on_tmpfs(place: Place) -> None:
    root = place.home.root
    copy = place.scratch / "copy"
    shutil.copytree(root, copy, symlinks=True)
    script = 'mount -t tmpfs none "$0" && cp -a "$1/." "$0" && chmod 755 "$0" && shift && exec "$@"'
    place.prefix = (*in_namespace("--mount"), "sh", "-c", script, str(root), str(copy))


def as_a_user(place: Place) -> None:
    """Checked by somebody who owns nothing of it."""
    if os.geteuid() != 0:
        return
    become = f"os.setgroups([]); os.setgid({USER}); os.setuid({USER})\n"
    run = "os.execv(sys.argv[2], sys.argv[2:])"
    there = place.catalogue.parent
    there.chmod(0o777)
    script = MOUNTS + OPENED + become + run
    place.prefix = (sys.executable, "-c", script, str(place.scratch / "x" / "hf-home"))
    (place.scratch / "x").mkdir()
    (place.scratch / "x" / "hf-home").mkdir()
    place.env["PYTHONPATH"] = str(ROOT)
    place.env["PYTHONDONTWRITEBYTECODE"] = "1"


def umask(bits: str) -> Callable[[Place], None]:
    def do(place: Place) -> None:
        place.prefix = ("sh", "-c", f'umask {bits} && exec "$@"', "sh")

    return do


def without(*names: str) -> Callable[[Place], None]:
    flags = tuple(part for name in names for part in ("-u", name))

    def do(place: Place) -> None:
        place.prefix = ("env", *flags)

    return do


def weights_flipped(place: Place) -> None:
    flip(place.weights)


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


def _green(name: str, do: Callable[[Place], object], together: str = "", **more: object) -> Row:
    return Row(
        name=name,
        group="environment",
        do=do,
        expect="green",
        scope="home",
        together=together,
        **more,  # type: ignore[arg-type]
    )


GREEN_ROWS = (
    _green("stale variables of the hub", env(**STALE), "odd environment"),
    _green("proxies and certificates", env(**PROXIES), "odd environment"),
    _green("locale, zone, threads, terminal", env(**ODD), "odd environment"),
    _green("modules that shadow", shadows, "odd environment"),
    _green("settings of the user", home_of_the_user, "odd environment"),
    _green("home with spaces", lambda p: moved(p, p.scratch / "my models (1)"), "odd place"),
    _green("home in other letters", lambda p: moved(p, p.scratch / "модели-模型-é"), "odd place"),
    _green(
        "home far down",
        lambda p: moved(p, p.scratch / LONG / LONG / LONG / "models"),
        "odd place",
    ),
    _green("home reached by a link", by_a_link, "odd place"),
    _green("umask 077", umask("077"), "odd place"),
    _green("no HOME, no LANG", without("HOME", "LANG", "TERM", "USER", "LOGNAME", "SHELL")),
    _green("mounted read-only", read_only),
    _green("in memory", on_tmpfs),
    _green("as another user", as_a_user),
)


def _red(name: str, do: Callable[[Place], object]) -> Row:
    return Row(
        name=name,
        group="environment",
        do=both(weights_flipped, do),
        seen_by=BYTES,
        file="model.safetensors",
        words=("(same size)",),
        scope="home",
    )


RED_ROWS = (
    _red("damage under stale variables", env(**STALE)),
    _red("damage under odd variables", env(**ODD)),
    _red("damage on a read-only mount", read_only),
    _red("damage seen by another user", as_a_user),
    Row(
        name="home closed, reached by a link",
        group="environment",
        do=both(lambda place: place.home.root.chmod(0o700), by_a_link),
        seen_by=MODES,
        may_see=("test_everybody_can_read_the_converted",),
        file="home",
        words=("0700", "chmod o+rx"),
        scope="home",
    ),
    Row(
        name="home is empty",
        group="environment",
        do=lambda place: moved_away(place),
        seen_by=(*BYTES, "test_name_leads_to_the_pin"),
        file="model.safetensors",
        scope="home",
    ),
    Row(
        name="home one level too deep",
        group="environment",
        do=lambda place: setattr(place, "home", Home(place.home.hub)),
        seen_by=(*BYTES, "test_name_leads_to_the_pin"),
        file="model.safetensors",
        scope="home",
    ),
)


def moved_away(place: Place) -> None:
    shutil.move(place.home.root, place.scratch / "elsewhere")
    place.home.root.mkdir()


ROWS = (*GREEN_ROWS, *RED_ROWS)
