"""The settings of a run: options, environment and files, checked as a whole.

Nothing here knows pytest; `prep.plugin.options` says where each value comes from.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from prep.catalogue.addresses import is_url, wrong_part
from prep.catalogue.entries import Catalogue, ModelSpec, read_catalogue
from prep.catalogue.goldens import read_goldens
from prep.catalogue.lock import Lock, LockedModel, check_lock, read_lock
from prep.catalogue.questions import read_questions
from prep.errors import LockError, WrongRequest
from prep.fetch.hub import DEFAULT_ENDPOINT, Network
from prep.files.checksum import digest_file
from prep.home.layout import Home
from prep.tasks.consumers import Interpreter
from prep.tasks.precisions import PRECISIONS
from prep.tasks.question_sets import Questions

SUITE = Path(__file__).resolve().parent.parent
SAMPLE = "sample"
JOB_INDEX = "JOB_COMPLETION_INDEX"
GENERIC = ("venv", ".venv", "env", ".env", "local", "usr", "python")  # names no service
TRUE = frozenset({"1", "ON", "YES", "TRUE"})  # as huggingface_hub reads its switches


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A share of the chosen models, of `count`, numbered from 0.

    `index` None: the number that Kubernetes gives each pod of an Indexed Job.
    """

    index: int | None
    count: int

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{'auto' if self.index is None else self.index}/{self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenOptions:
    """The options as given; None where they are not. Paths are absolute.

    `token` is the hub's, from wherever it was found; it is in no repr and no message.
    """

    models: Sequence[str] = ()
    catalogue: Path | None = None
    model_home: Path | None = None
    hub: str | None = None
    offline: bool = False
    precisions: Sequence[str] = ()
    download_timeout: float = 60.0
    download_deadline: float | None = None
    consumer_pythons: Sequence[Path] = ()
    relock: bool = False
    cleanup: bool = False
    dry_run: bool = False
    shard: Shard | None = None
    as_json: bool = False
    summary: Path | None = None
    report: Path | None = None
    verdict_xml: Path | None = None
    metrics: Path | None = None
    bom: Path | None = None
    verify_signature: Path | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`models` are the chosen entries; `precisions` overrides theirs where not None.

    `shard`, where given, has its number, and `models` are its share of the chosen: perhaps none.
    `interpreters` are consumers' own Pythons that load the models as well. `goldens` is the folder
    of recorded answers that belongs to the catalogue, `questions` are those of each of its entries.
    """

    catalogue: Catalogue
    lock: Lock
    models: tuple[ModelSpec, ...]
    home: Home
    network: Network
    offline: bool
    sample: bool
    precisions: tuple[str, ...] | None
    interpreters: tuple[Interpreter, ...]
    relock: bool
    dry_run: bool
    shard: Shard | None
    goldens: Path
    questions: Mapping[str, Questions]
    summary: Path | None
    report: Path | None
    verdict_xml: Path | None = None
    metrics: Path | None = None
    bom: Path | None = None
    verify_signature: Path | None = None
    cleanup: bool = False
    as_json: bool = False

    @property
    def idle(self) -> str | None:
        """What to say where this share of the models holds none; that is no failure."""
        if self.models:
            return None
        return f"model-prep: share {self.shard} has no models: nothing was to be done"

    def locked(self, spec: ModelSpec) -> LockedModel:
        """The model's entry in the lock."""
        locked = self.lock.get(spec.name)
        assert locked is not None, "the settings were checked against the lock"
        return locked

    def questions_of(self, spec: ModelSpec) -> Questions:
        """What the model is asked."""
        return self.questions[spec.name]

    def asked_of(self, spec: ModelSpec) -> str:
        """sha256 of what a verdict depends on beside the lock and its precisions."""
        goldens = self.goldens / f"{spec.name}.toml"
        recorded = digest_file(goldens).sha256 if goldens.is_file() else None
        entry = (spec.consumers, spec.language, spec.languages, spec.ov_config)
        asked = repr((entry, self.questions.get(spec.name), recorded))
        return hashlib.sha256(asked.encode()).hexdigest()

    def network_of(self, spec: ModelSpec) -> Network:
        """The hub that has the model: its entry's own, else that of the run."""
        if spec.hub is None:
            return self.network
        folder = None if is_url(spec.hub) else self.catalogue.path.parent / spec.hub
        return self.network.at(os.path.abspath(folder) if folder else spec.hub)

    def by_network(self, specs: Iterable[ModelSpec]) -> dict[Network, list[ModelSpec]]:
        """Models by the hub that has them."""
        found: dict[Network, list[ModelSpec]] = {}
        for spec in specs:
            found.setdefault(self.network_of(spec), []).append(spec)
        return found

    def consumers_of(self, spec: ModelSpec) -> tuple[str, ...] | None:
        """Which consumers read a model: those of the entry, else of the lock; None for all."""
        locked = self.lock.get(spec.name)
        return spec.consumers or (locked.consumers if locked else None)

    def precisions_of(self, spec: ModelSpec) -> tuple[str, ...]:
        """Which precisions to prepare of a model; empty means the original weights only."""
        return spec.precisions if self.precisions is None else self.precisions


def _read_lock(path: Path, given: GivenOptions) -> Lock:
    """The lock. Where --relock cannot read it, "lock again" is no remedy."""
    try:
        return read_lock(path)
    except LockError as error:
        if not given.relock:
            raise
        remedy = (
            "--relock keeps what it does not lock anew, so it has to read the file: resolve its "
            "conflicts, take the last version that was committed, or remove it; then lock again."
        )
        raise LockError(error.file, error.problems, remedy) from None


def resolve_settings(given: GivenOptions, environ: Mapping[str, str], root: Path) -> Settings:
    """Check all options together; `WrongRequest` names what does not fit. Uses no network."""
    sample = given.hub == SAMPLE
    if sample and given.catalogue:
        raise WrongRequest("--hub sample brings its own catalogue: leave --catalogue out.")
    switch = environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or ""
    offline = given.offline or switch.upper() in TRUE
    _modes(given, offline)
    shard = _shard(given, environ)
    default = SUITE / "sample_hub" / "models.toml" if sample else root / "models.toml"
    catalogue = read_catalogue(given.catalogue or default)
    models = _chosen(catalogue, given.models)
    lock = _read_lock(catalogue.lock_path, given)
    if not given.relock:
        check_lock(catalogue, lock, models)
    goldens = catalogue.path.parent / "goldens"
    if not goldens.is_dir():
        goldens = SUITE / "model_tests" / "goldens"
    for spec in models:  # an invalid file is refused before anything is done
        read_goldens(goldens, spec.name, spec.repo, spec.task)
    root_of_home = given.model_home or _default_home(environ, root, sample)
    home = Home(root_of_home, catalogue=os.path.abspath(catalogue.path))
    if home.root.exists() and not home.root.is_dir():
        raise WrongRequest(f"The home {home.root} is not a folder: see --model-home (HF_HOME).")
    settings = Settings(
        catalogue=catalogue,
        lock=lock,
        models=_share(models, shard),
        home=home,
        network=_network(given, environ, sample, offline),
        offline=offline,
        sample=sample,
        precisions=_precisions(given.precisions),
        interpreters=_interpreters(given.consumer_pythons),
        relock=given.relock,
        dry_run=given.dry_run,
        shard=shard,
        goldens=goldens,
        questions=read_questions(catalogue),
        summary=given.summary or (None if offline else home.state / "summary.json"),
        report=given.report or (None if offline else home.state / "report.html"),
        verdict_xml=given.verdict_xml or (None if offline else home.state / "verdict.xml"),
        metrics=given.metrics or (None if offline else home.state / "metrics.prom"),
        bom=given.bom or (None if offline else home.state / "bom.cdx.json"),
        verify_signature=given.verify_signature,
        cleanup=given.cleanup,
        as_json=given.as_json,
    )
    for network in settings.by_network(models):
        if network.folder and f"{os.path.realpath(network.folder)}/".startswith(
            f"{os.path.realpath(home.root)}/"
        ):
            raise WrongRequest(
                f"The hub {network.folder} lies in the home {home.root}, which this suite writes "
                "and cleans up: keep models of your own elsewhere."
            )
    return settings


def _modes(given: GivenOptions, offline: bool) -> None:
    """Which modes go together: --dry-run with each of the two others, and nothing else."""
    if given.relock and given.cleanup:
        raise WrongRequest(
            "--relock and --cleanup are two steps: relock, review, run pytest, then clean up."
        )
    if offline and given.relock:
        raise WrongRequest("--relock asks the hub, which --offline (HF_HUB_OFFLINE) forbids.")
    if offline and given.cleanup and not given.dry_run:
        raise WrongRequest(
            "--cleanup removes from the home, which --offline (HF_HUB_OFFLINE) forbids."
        )
    if (key := given.verify_signature) is not None:
        if not offline:
            raise WrongRequest(
                "--verify-signature is for --offline: a run that may write changes what was signed."
            )
        if not key.is_file():
            raise WrongRequest(f"--verify-signature {key}: there is no such file.")
    if given.as_json and given.cleanup:
        raise WrongRequest(
            "--dry-run=json is for a run and for --relock: with --cleanup it is --dry-run."
        )


def _chosen(catalogue: Catalogue, names: Sequence[str]) -> tuple[ModelSpec, ...]:
    known = {spec.name: spec for spec in catalogue.models}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise WrongRequest(
            f"{catalogue.path.name} has no model named {', '.join(unknown)}. "
            f"It has: {', '.join(known)}."
        )
    return tuple(spec for spec in catalogue.models if not names or spec.name in names)


def _shard(given: GivenOptions, environ: Mapping[str, str]) -> Shard | None:
    """The share that was asked for, with its number."""
    shard = given.shard
    if shard is None:
        return None
    if given.relock:
        raise WrongRequest(
            "--relock writes one lock for the whole catalogue: leave --shard out, or choose with "
            "--models."
        )
    if given.cleanup:
        raise WrongRequest("--cleanup works on the whole home: leave --shard out.")
    if shard.index is not None:
        return shard
    number = environ.get(JOB_INDEX)
    if not number:
        raise WrongRequest(
            f"--shard {shard} takes its number from {JOB_INDEX}, which is not set: Kubernetes sets "
            f"it in the pods of an Indexed Job. Elsewhere say which: --shard 0/{shard.count}."
        )
    if not (number.isascii() and number.isdigit() and int(number) < shard.count):
        raise WrongRequest(
            f"{JOB_INDEX} is {number!r}, but --shard {shard} has shares from 0 to "
            f"{shard.count - 1}: the Job's completions and the number after the slash must be one."
        )
    return replace(shard, index=int(number))


def _share(chosen: tuple[ModelSpec, ...], shard: Shard | None) -> tuple[ModelSpec, ...]:
    """Every `count`-th repository, in the order of the catalogue.

    By repository and not by entry: two entries of a repository share its snapshot, and would wait
    for each other.
    """
    if shard is None:
        return chosen
    repos = list(dict.fromkeys(spec.repo for spec in chosen))[shard.index :: shard.count]
    return tuple(spec for spec in chosen if spec.repo in repos)


def _precisions(wanted: Sequence[str]) -> tuple[str, ...] | None:
    if not wanted:
        return None
    if "none" in wanted:
        if len(set(wanted)) > 1:
            raise WrongRequest("--precision none means no conversion: it stands alone.")
        return ()
    return tuple(precision for precision in PRECISIONS if precision in wanted)


def _interpreters(pythons: Sequence[Path]) -> tuple[Interpreter, ...]:
    """Each is named by its environment's folder, and by the folder above where that is generic."""
    found: dict[str, Interpreter] = {}
    for python in dict.fromkeys(pythons):
        if not (python.is_file() and os.access(python, os.X_OK)):
            raise WrongRequest(
                f"--consumer-python {python} is not an interpreter: give the path of a Python, as "
                "/srv/app/venv/bin/python."
            )
        place = python.parent.parent
        names = (place.parent.name, place.name) if place.name in GENERIC else (place.name,)
        name = re.sub(r"[^\w.-]+", "-", "-".join(filter(None, names))) or "python"
        labels = (name, *(f"{name}-{count}" for count in range(2, 99)))
        label = next(label for label in labels if label not in found)
        found[label] = Interpreter(python=python, label=label)
    return tuple(found.values())


def _default_home(environ: Mapping[str, str], root: Path, sample: bool) -> Path:
    if sample:
        return root / "models-sample"
    given = environ.get("HF_HOME")
    return Path(os.path.abspath(Path(given).expanduser())) if given else root / "models"


def _network(
    given: GivenOptions, environ: Mapping[str, str], sample: bool, offline: bool
) -> Network:
    endpoint = given.hub or environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    if given.hub and not sample and not is_url(given.hub):
        if not offline and not Path(given.hub).is_dir():
            raise WrongRequest(
                f"--hub {given.hub} is no folder; the address of a hub begins with https://."
            )
        return Network(endpoint=given.hub, timeout=given.download_timeout)
    try:
        parts = urlsplit(DEFAULT_ENDPOINT if sample else endpoint)
    except ValueError:
        raise _no_address("its host cannot be read (an IPv6 address is [::1])") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WrongRequest(f"The hub must be a URL (https://…) or 'sample', got {endpoint!r}.")
    if parts.username or parts.password:
        raise WrongRequest(
            "The hub's URL holds a user or a password, which reports would show: pass a token in "
            "HF_TOKEN instead."
        )
    if wrong := wrong_part(parts):
        raise _no_address(wrong)
    token = None if sample else given.token
    if token and not offline:
        _check_token(token, environ)
    return Network(
        endpoint=endpoint.rstrip("/"),
        token=token,
        timeout=given.download_timeout,
        deadline=given.download_deadline,
    )


def _check_token(token: str, environ: Mapping[str, str]) -> None:
    """Refuse what no header can hold; the message says where it is, and nothing of it."""
    kept = token.replace("\r", "").replace("\n", "")  # the hub's client leaves these out
    for place, letter in enumerate(kept, 1):
        if not " " <= letter <= "~":
            names = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
            found = (name for name in names if environ.get(name, "").strip())
            raise WrongRequest(
                f"The token in {next(found, 'the token file of the hub')} cannot be one: character "
                f"{place} of {len(kept)} is invisible or not ASCII. Copy the token anew."
            )


def _no_address(wrong: str) -> WrongRequest:
    """Never with the address: a query or a user part may hold a secret."""
    return WrongRequest(
        f"--hub (HF_ENDPOINT) is not the address of a hub: {wrong}. Give one as "
        "https://mirror.example:8443/hf."
    )
