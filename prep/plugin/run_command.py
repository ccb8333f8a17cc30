"""The modes in which no test runs, and the embedded hub that `--hub sample` starts."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prep.errors import Exit, PrepError, TransientError, WrongRequest
from prep.machine.disk import storage_error
from prep.plugin.options import SETTINGS, settings_of
from prep.settings import Settings


def run_mode(config: pytest.Config) -> int | None:
    """``--dry-run``, ``--relock``, ``--cleanup`` in place of a session; None lets pytest go on."""
    if config.option.help or config.option.version:
        return None
    if not (
        config.getoption("relock") or config.getoption("dry_run") or config.getoption("cleanup")
    ):
        return None
    settings = settings_of(config)
    if settings.idle:
        sys.stdout.write(f"{settings.idle}\n")
        return 0
    from prep.commands import cleanup, dry_run, relock

    run = relock.run if settings.relock else cleanup.run if settings.cleanup else dry_run.run
    with tempfile.TemporaryDirectory(prefix="model-prep-") as scratch, _hub_for(settings) as ready:
        try:
            return run(ready, Path(scratch), sys.stdout.write)
        except WrongRequest as error:
            raise pytest.UsageError(str(error)) from None
        except (PrepError, OSError) as error:
            known = error if isinstance(error, PrepError) else storage_error(error)
            if known is None:
                raise
            sys.stderr.write(f"{known}\n")
            return int(Exit.TRANSIENT) if isinstance(known, TransientError) else 1
        except KeyboardInterrupt:
            sys.stderr.write("stopped by Ctrl-C; what was done is done, the same command goes on\n")
            return int(pytest.ExitCode.INTERRUPTED)


def start_sample_hub(config: pytest.Config) -> None:
    """Start the embedded hub in this process, where it was asked for and the run is online."""
    settings = settings_of(config)
    if settings.sample and not settings.offline and not config.option.collectonly:
        stack = contextlib.ExitStack()
        config.stash[SETTINGS] = stack.enter_context(_hub_for(settings))
        config.add_cleanup(stack.close)


def join_sample_hub(config: pytest.Config) -> None:
    """In an xdist worker: the endpoint that the controlling process gave."""
    endpoint = config.workerinput["prep_endpoint"]  # type: ignore[attr-defined]  # xdist sets it
    config.stash[SETTINGS] = _at(settings_of(config), endpoint)


@contextlib.contextmanager
def _hub_for(settings: Settings) -> Iterator[Settings]:
    """The settings with a hub that answers: the embedded one runs only inside this block."""
    if not settings.sample or settings.offline:
        yield settings
        return
    from sample_hub.server import Hub, sample_repos

    with Hub(sample_repos()) as hub:
        yield _at(settings, hub.url)


def _at(settings: Settings, endpoint: str) -> Settings:
    return replace(settings, network=replace(settings.network, endpoint=endpoint))
