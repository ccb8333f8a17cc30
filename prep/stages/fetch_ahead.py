"""Models are fetched, or checked, while the tests of earlier ones run: one after another."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from prep.catalogue.entries import ModelSpec
from prep.process.cancelled import CANCELLED, WORKER
from prep.stages.fetched import Fetched


@dataclass(slots=True)
class FetchAhead:
    """All of `specs` in their order, in one thread, begun when the first is asked for.

    Without `specs` nothing is fetched ahead. The children that fetch die with their thread, which
    lives until `close`.
    """

    work: Callable[[ModelSpec], Fetched]
    specs: Sequence[ModelSpec] = ()
    _pool: ThreadPoolExecutor | None = None
    _under_way: dict[str, tuple[Future[Fetched], threading.Event]] = field(default_factory=dict)

    def result(self, spec: ModelSpec) -> Fetched:
        """Wait for a model; a wait that is interrupted ends the work as well."""
        if not self.specs:
            return self.work(spec)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "fetch-ahead")
            for other in self.specs:
                self._begin(other)
        if spec.name not in self._under_way:  # it failed, and is done again: not after all others
            return self.work(spec)
        future, cancelled = self._under_way[spec.name]
        try:
            return future.result()
        except BaseException:  # Ctrl-C and alarms too: nobody waits for this model any more
            cancelled.set()
            future.cancel()
            raise

    def forget(self, spec: ModelSpec) -> None:
        """Do again what failed."""
        future, cancelled = self._under_way.get(spec.name, (None, None))
        if future is None or cancelled is None:
            return
        if cancelled.is_set():
            wait([future])
        if future.done() and (future.cancelled() or future.exception()):
            del self._under_way[spec.name]

    def files_of(self, spec: ModelSpec) -> Fetched | None:
        """What came of a model, where that is known already and did not fail."""
        future, _ = self._under_way.get(spec.name, (None, None))
        came = future is not None and future.done() and not future.cancelled()
        return future.result() if future and came and not future.exception() else None

    def close(self) -> None:
        """End what is under way."""
        for _, cancelled in self._under_way.values():
            cancelled.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _begin(self, spec: ModelSpec) -> None:
        assert self._pool is not None
        cancelled = threading.Event()

        def fetch() -> Fetched:
            CANCELLED.set(cancelled)
            WORKER.set("fetching")
            return self.work(spec)

        self._under_way[spec.name] = self._pool.submit(fetch), cancelled
