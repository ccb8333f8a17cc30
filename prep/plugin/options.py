"""The options: one group, each validated where it is read; an option beats the environment."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from prep.catalogue.addresses import SCHEMES, is_url
from prep.errors import Exit, TransientError, WrongRequest
from prep.fetch.hub import find_token
from prep.machine.disk import no_temporary_folder
from prep.plugin.entry import INI
from prep.settings import SAMPLE, GivenOptions, Settings, Shard, resolve_settings
from prep.tasks.precisions import PRECISIONS

SETTINGS = pytest.StashKey[Settings]()

NO_INI = Path(os.devnull)  # as prep.plugin.entry starts the suite of an installed package
HELP = {
    "--models": "only these models of the catalogue; repeatable (MODELS_TO_DOWNLOAD)",
    "--catalogue": "another catalogue than models.toml; its lock is the .lock.toml beside it",
    "--model-home": (
        "the root of all that is prepared, HF_HOME of every consumer; default ./models (HF_HOME)"
    ),
    "--hub": (
        "another hub or mirror, or a folder of models ORG/NAME; 'sample' is the embedded one, with "
        "a catalogue and a home (./models-sample) of its own (HF_ENDPOINT)"
    ),
    "--offline": (
        "check what is there: fetch, convert and repair nothing, write nothing into the home "
        "(HF_HUB_OFFLINE)"
    ),
    "--precision": (
        "instead of what the catalogue says; repeatable; none = the original weights only"
    ),
    "--dry-run": (
        "print what a run would fetch, convert and keep, from sizes and receipts; do nothing; "
        "=json for programs; with --relock what would change, and exit 10 if anything"
    ),
    "--relock": (
        "ask the hub what the catalogue's revisions are, write the lock, print what changed"
    ),
    "--cleanup": "remove what this suite placed and the lock no longer wants; list the rest",
    "--download-timeout": "the longest time without progress; default 60 (DOWNLOAD_TIMEOUT)",
    "--download-deadline": "the longest time for all files of a model; default none",
    "--consumer-python": (
        "run the consumers' loads in that Python as well: a service's own, with nothing of this "
        "project in it; repeatable"
    ),
    "--shard": (
        "only this process's share of the models, I from 0, split by repository; auto takes I "
        "from the pod of an Indexed Job (JOB_COMPLETION_INDEX)"
    ),
    "--summary": "where to write the summary; default <home>/model-prep/summary.json",
    "--report": "where to write the page; default <home>/model-prep/report.html",
    "--verdict-xml": (
        "where to write the verdict as junit, a suite a model, for dashboards; default "
        "<home>/model-prep/verdict.xml"
    ),
    "--metrics": ("where to write metrics for Prometheus; default <home>/model-prep/metrics.prom"),
    "--bom": (
        "where to write the bill of materials (CycloneDX); default <home>/model-prep/bom.cdx.json"
    ),
    "--verify-signature": (
        "with --offline: the home must be the one whose ready.json was signed by that public key"
    ),
    "--no-progress": "no lines about what is happening",
}

# What pytest's cache is needed for, by pytest's own names.
CACHE_OPTIONS = {
    "--lf": "lf",
    "--ff": "failedfirst",
    "--nf": "newfirst",
    "--cache-show": "cacheshow",
    "--cache-clear": "cacheclear",
    "--sw": "stepwise",
    "--sw-skip": "stepwise_skip",
}


def add_options(parser: pytest.Parser) -> None:
    """Register the group; `pytest --help` shows it whole.

    This is the first that pytest asks a plugin for. Its capture begins soon after, and ends in a
    traceback where there is no folder for temporary files.
    """
    if error := no_temporary_folder():
        sys.stderr.write(f"{error}\n")
        full = isinstance(error, TransientError)
        raise SystemExit(int(Exit.TRANSIENT if full else pytest.ExitCode.USAGE_ERROR))
    group = parser.getgroup("model-prep", "model-prep: prepare models and prove them")

    def add(name: str, **how: Any) -> None:
        group.addoption(name, help=HELP[name], **how)

    add("--models", action="append", type=_names, metavar="NAME[,NAME…]")
    add("--catalogue", type=_path, metavar="FILE")
    add("--model-home", type=_path, metavar="DIR")
    add("--hub", type=_hub, metavar="URL|DIR|sample")
    add("--offline", action="store_true")
    add("--precision", action="append", choices=[*PRECISIONS, "none"])
    add("--dry-run", nargs="?", const="text", choices=["text", "json"])
    add("--relock", action="store_true")
    add("--cleanup", action="store_true")
    add("--download-timeout", type=_seconds, metavar="SECONDS")
    add("--download-deadline", type=_seconds, metavar="SECONDS")
    add("--consumer-python", action="append", type=_path, metavar="PATH")
    add("--shard", type=_shard, metavar="I/N|auto/N")
    add("--summary", type=_path, metavar="FILE")
    for name in ("--report", "--verdict-xml", "--metrics", "--bom"):
        add(name, type=_path, metavar="FILE")
    add("--verify-signature", type=_path, metavar="KEY")
    add("--no-progress", action="store_true")
    for name, variable in INI.items():
        option = name.replace("_", "-")
        parser.addini(name, f"as --{option}, where neither it nor {variable} is given", default="")


def refuse_cache_options(config: pytest.Config) -> None:
    """Say that options of pytest's cache do nothing here; pytest itself does not say so.

    The suite runs without that cache (`addopts` in pytest.ini): a verdict needs every test of a
    model, and a home that was repaired since is no reason to leave some out.
    """
    given = [option for option, name in CACHE_OPTIONS.items() if config.getoption(name, None)]
    if given and not config.pluginmanager.hasplugin("cacheprovider"):
        raise pytest.UsageError(
            f"{', '.join(given)}: this suite keeps no record of failed tests, because a verdict "
            "needs every test of a model. Choose models with --models, or tests with -k or -m."
        )


def settings_of(config: pytest.Config) -> Settings:
    """The settings of this run, read once; `pytest.UsageError` (exit 4) where they do not fit."""
    if SETTINGS not in config.stash:
        try:
            ini = {variable: config.getini(name) for name, variable in INI.items()}
            environ = {key: value for key, value in ini.items() if value} | dict(os.environ)
            given = _given_options(config, environ)
            # Where models.toml and the home lie: where the ini file is, or in this directory.
            root = config.invocation_params.dir if config.inipath == NO_INI else config.rootpath
            config.stash[SETTINGS] = resolve_settings(given, environ, root)
        except WrongRequest as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[SETTINGS]


def _given_options(config: pytest.Config, environ: Mapping[str, str]) -> GivenOptions:
    get = config.getoption
    given = [name for names in get("models") or () for name in names]
    models = given or _names(environ.get("MODELS_TO_DOWNLOAD", ""))
    timeout = get("download_timeout")
    if timeout is None:
        try:
            timeout = _seconds(environ.get("DOWNLOAD_TIMEOUT") or "60")
        except argparse.ArgumentTypeError as error:
            raise WrongRequest(f"DOWNLOAD_TIMEOUT {error}") from None
    return GivenOptions(
        models=models,
        catalogue=get("catalogue"),
        model_home=get("model_home"),
        hub=get("hub") or (SAMPLE if environ.get("HF_ENDPOINT") == SAMPLE else None),
        offline=get("offline"),
        precisions=get("precision") or (),
        download_timeout=timeout,
        download_deadline=get("download_deadline"),
        consumer_pythons=get("consumer_python") or (),
        relock=get("relock"),
        cleanup=get("cleanup"),
        dry_run=get("dry_run") is not None,
        shard=get("shard"),
        as_json=get("dry_run") == "json",
        summary=get("summary"),
        report=get("report"),
        verdict_xml=get("verdict_xml"),
        metrics=get("metrics"),
        bom=get("bom"),
        verify_signature=get("verify_signature"),
        token=find_token(os.environ),
    )


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _path(text: str) -> Path:
    """Absolute, without following links: a home may be reached by one."""
    return Path(os.path.abspath(Path(text).expanduser()))


def _hub(text: str) -> str:
    if text == SAMPLE or text.startswith(SCHEMES):
        return text
    if is_url(text):
        raise argparse.ArgumentTypeError(
            f"must be a URL (https://…), a folder or 'sample', got {text!r}"
        )
    return str(_path(text))


def _shard(text: str) -> Shard:
    index, _, count = text.partition("/")
    numbers = count.isascii() and count.isdigit() and int(count) > 0
    if numbers and index == "auto":
        return Shard(index=None, count=int(count))
    if numbers and index.isascii() and index.isdigit() and int(index) < int(count):
        return Shard(index=int(index), count=int(count))
    raise argparse.ArgumentTypeError(
        f"must be I/N, I from 0 and below N, or auto/N, got {text!r}: the shares of three are "
        "0/3, 1/3 and 2/3"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")
    return seconds
