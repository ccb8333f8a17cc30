"""The entry point (`pytest11`): loads the plugin where a run asks for this suite, and only there.

pytest imports this module in every run of an environment that has model-prep installed. So it
imports nothing but pytest and the standard library, and decides by the arguments (PYTEST_ADDOPTS
and the ini file's `addopts` included):

1. ``-p prep.plugin`` is among them, as in this project's pytest.ini: the plugin is loaded already.
2. ``--help``: the plugin is loaded, so that its options are shown; unless a conftest.py has an
   option of the same name.
3. One of the places of tests is this suite, as a path or by ``--pyargs model_tests``: the suite
   runs under its own settings, not under those of the directory: see `suite_arguments`.
4. An option of ours has an existing path as its value, after a space: the run starts again with
   ``--option=path``. If no plugin and no conftest.py knows such an option then, one sentence says
   what to write.
5. Anything else is a run of other people's tests: nothing is loaded, and no hook does anything.

In cases 3 and 4, pytest starts again in the same process with other arguments. Nothing less would
do: it chooses its ini file and its root from the arguments before any plugin is loaded, and takes
each existing path for a place of tests, also the value of an option that it does not know yet.
"""

import argparse
import os
import shlex
from collections.abc import Generator, Sequence, Set
from pathlib import Path

import pytest

PACKAGE = "model_tests"
PLUGIN = "prep.plugin"
# As prep.plugin.options adds them, which imports too much for a run of other people's tests.
WITH_VALUE = {
    *("--models", "--catalogue", "--model-home", "--hub", "--precision", "--shard"),
    *("--download-timeout", "--download-deadline", "--consumer-python", "--summary", "--report"),
    *("--verdict-xml", "--metrics", "--bom", "--verify-signature"),
}
OPTIONS = WITH_VALUE | {"--offline", "--dry-run", "--relock", "--cleanup", "--no-progress"}
# What this project's pytest.ini says, for a run without it. The ini file and the conftest.py files
# of the directory are those of other tests: their options may have the names of ours, and
# `--cov-fail-under` or `filterwarnings = error` would fail a run in which all models are ready.
SETTINGS = (
    *("-c", os.devnull, "--noconftest", "-o", "strict=true", "-p", PLUGIN),
    *("--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"),
    *("-p", "no:anyio", "-p", "no:pytest_cov"),
)
# What an ini file may say: used as the environment would be, where the environment says nothing.
INI = {
    "models": "MODELS_TO_DOWNLOAD",
    "model_home": "HF_HOME",
    "hub": "HF_ENDPOINT",
    "download_timeout": "DOWNLOAD_TIMEOUT",
    "offline": "HF_HUB_OFFLINE",
}

_AGAIN = pytest.StashKey[list[str]]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None]:
    """Decide which of the cases this run is; the first place where all arguments are known."""
    given, manager = early_config.known_args_namespace, early_config.pluginmanager
    here = early_config.invocation_params.dir
    loaded = manager.hasplugin(PLUGIN)
    asked = not (loaded or given.help) and any(
        is_suite(place, here, given.pyargs) for place in given.file_or_dir
    )
    if asked:
        _start_again(early_config, args, suite_arguments(early_config, parser, args))
        given.noconftest = True
    yield
    if given.help and not loaded:
        _show_options(manager)
    elif not asked and any(arg.partition("=")[0] in OPTIONS for arg in args):
        _, unknown = parser.parse_known_and_unknown_args(args)
        ours = [name for arg in unknown if (name := arg.partition("=")[0]) in OPTIONS]
        names = WITH_VALUE if manager.hasplugin(PLUGIN) else WITH_VALUE.intersection(ours)
        before = list(early_config.invocation_params.args)
        joined = join_values(before, names, here)
        if joined != before and not given.inifilename:
            _start_again(early_config, args, joined)
        elif ours:
            raise pytest.UsageError(not_asked(ours, before))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | pytest.ExitCode | None:
    """Start pytest again, where that was decided; None lets the run go on."""
    arguments = config.stash.get(_AGAIN, None)
    if arguments is None:
        return None
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:  # a debugger in the second run needs the true stdin
        capture.stop_global_capturing()
    return pytest.main(arguments, plugins=config.invocation_params.plugins)


def is_suite(place: str, here: Path, pyargs: bool) -> bool:
    """Whether a place of tests, as written on the command line, is of this suite."""
    name = place.partition("[")[0].partition("::")[0]
    if PACKAGE not in name:
        return False
    if pyargs and name.partition(".")[0] == PACKAGE:
        return True
    suite = Path(__file__).resolve().parents[2] / PACKAGE
    return (here / name).exists() and (here / name).resolve().is_relative_to(suite)


def suite_arguments(config: pytest.Config, parser: pytest.Parser, args: Sequence[str]) -> list[str]:
    """The arguments for the suite alone, under its own settings.

    Of the directory's ini file, only what it says of our options stays in force.
    """
    config.pluginmanager.import_plugin(PLUGIN)  # to tell places of tests from values of options
    given = parser.parse_known_args(args)
    here = config.invocation_params.dir
    others = [place for place in given.file_or_dir if not is_suite(place, here, given.pyargs)]
    if given.inifilename:
        others.insert(0, f"-c {given.inifilename}")
    if others:
        raise pytest.UsageError(
            f"{PACKAGE} runs under its own settings, apart from other tests: leave out "
            f"{', '.join(others)}; or add `-p {PLUGIN}` to run under this directory's settings."
        )
    overrides = [f"{name}={value}" for name in INI if (value := config.getini(name))]
    ini = (part for override in overrides for part in ("-o", override))
    root = Path(__file__).parents[2]  # the package's: a test has the same id wherever it is run
    typed = config.invocation_params.args
    named = [place for place in given.file_or_dir if place not in typed]  # in the ini's addopts
    if named and given.pyargs:
        named.append("--pyargs")
    return [*SETTINGS, f"--rootdir={root}", *ini, *typed, *named]


def join_values(args: Sequence[str], names: Set[str], here: Path) -> list[str]:
    """Write ``--option path`` as ``--option=path`` for the named options and existing paths."""
    joined: list[str] = []
    for arg in args:
        if joined and joined[-1] in names and (here / arg).exists():
            joined[-1] += f"={arg}"
        else:
            joined.append(arg)
    return joined


def not_asked(options: Sequence[str], args: Sequence[str]) -> str:
    """What to write in place of a command that has our options, but does not ask for the suite."""
    return (
        f"unknown here: {', '.join(options)}. For model-prep, write "
        f"`{shlex.join(['pytest', '--pyargs', PACKAGE, *args])}`, and each option in "
        "PYTEST_ADDOPTS as --option=value."
    )


def _start_again(config: pytest.Config, args: list[str], arguments: list[str]) -> None:
    """Leave nothing in `args` that this run could stumble over; `pytest_cmdline_main` goes on."""
    args[:] = [str(config.invocation_params.dir)]
    config.stash[_AGAIN] = arguments


def _show_options(manager: pytest.PytestPluginManager) -> None:
    """Add our options to the help, unless a conftest.py has one of their names."""
    try:
        manager.import_plugin(PLUGIN)
    except (ValueError, argparse.ArgumentError):
        for name in (PLUGIN, f"{PLUGIN}.hooks"):
            if manager.hasplugin(name):
                manager.unregister(name=name)
