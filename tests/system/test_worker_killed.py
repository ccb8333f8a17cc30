"""An xdist worker that is killed is a transient failure of the model that it worked on."""

import os
import signal
import time
from pathlib import Path

from sample_hub.server import Hub, sample_repos
from tests.support.runs import FILES_ONLY, sample_args, started, wait_until


def test_worker_that_is_killed_is_its_models_transient_failure(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Hub(sample_repos(), rate=100_000) as hub:
        chosen = ("-n", "2", *FILES_ONLY)
        args = sample_args(tmp_path / "home", *chosen, hub=hub.url, models=None)
        with started(*args, log=log) as run:
            wait_until(lambda: "fetching " in log.read_text(), log, run, within=200)
            time.sleep(0.5)
            [worker, *_] = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
            os.kill(int(worker), signal.SIGKILL)
            assert run.wait(timeout=400) == 75, log.read_text()
    said = " ".join(log.read_text().split())
    assert ": the worker gw" in said
    assert ": by SIGKILL, most often out of memory: this machine allows" in said
