"""A host that never answers costs a run its timeout once, however many models it was to bring."""

import selectors
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.runs import SAMPLE, run

TIMEOUT = 20  # seconds
AT_MOST = 25.0  # seconds, from the first connection to the end of the last


class SilentHost:
    """Takes connections, reads, and says nothing; notes when they came and when they were gone."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.came: list[float] = []
        self.gone: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.listening, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(timeout=0.2):
                    connection = key.fileobj
                    assert isinstance(connection, socket.socket)
                    if connection is self.listening:
                        self.came.append(time.monotonic())
                        selector.register(connection.accept()[0], selectors.EVENT_READ)
                    elif not connection.recv(65536):
                        self.gone.append(time.monotonic())
                        selector.unregister(connection)
                        connection.close()

    def __enter__(self) -> "SilentHost":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.listening.close()


@pytest.fixture
def host() -> Iterator[SilentHost]:
    with SilentHost() as running:
        yield running


@pytest.mark.parametrize(
    "mode",
    [(), ("-n", "2"), ("--dry-run",), ("--relock",)],
    ids=["alone", "two-workers", "dry-run", "relock"],
)
def test_three_models_wait_once(
    mode: tuple[str, ...], host: SilentHost, tmp_path: Path, show: Callable[[str], None]
) -> None:
    for name in ("models.toml", "models.lock.toml"):
        shutil.copy(SAMPLE.with_name(name), tmp_path)
    args = ("--catalogue", tmp_path / "models.toml", "--hub", host.url)
    args += (f"--download-timeout={TIMEOUT}",)
    done = run(*args, "--model-home", tmp_path / "home", *mode, timeout=600)
    assert done.code == 75, done.out
    assert "accepted the connection, and gave no answer within --download-timeout" in done.said
    seconds = max(host.gone) - min(host.came)
    show(f"waited {seconds:.1f} s, {len(host.came)} connections")
    assert seconds <= AT_MOST
