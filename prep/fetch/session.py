"""The hub client's own session, listened to: which hosts answered, and what they cannot serve now.

huggingface_hub tries some things again by itself, for as long as a hub asks, and falls back to what
the cache holds. So an answer that can pass is raised here, before its client sees it.
"""

import threading

import httpx
from huggingface_hub import set_client_factory

from prep.children import Emit

PASSING = frozenset({408, 429, 500, 502, 503, 504})


class CannotServe(Exception):
    """An answer that says: not now."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class Hosts:
    """The hosts of this child's requests; the parent is told as they are asked and answer."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        self._answered: set[str] = set()

    def listen(self) -> None:
        """Hear of every request of the client's session, and of every answer.

        By a factory: its client begins a new session where a connection failed.
        """
        set_client_factory(self._session)

    def heard(self, url: httpx.URL) -> bool:
        """Whether that host ever answered."""
        return host_of(url) in self._answered

    def _session(self) -> httpx.Client:
        return httpx.Client(
            event_hooks={"request": [self._ask], "response": [self._hear]},
            follow_redirects=True,
            timeout=None,  # every request has its own
        )

    def _ask(self, request: httpx.Request) -> None:
        self._tell("asking", request.url, self._asked)

    def _hear(self, response: httpx.Response) -> None:
        self._tell("answered", response.request.url, self._answered)
        if response.status_code in PASSING:
            raise CannotServe(response)

    def _tell(self, event: str, url: httpx.URL, known: set[str]) -> None:
        host = host_of(url)
        with self._lock:
            if host not in known:
                known.add(host)
                self._emit({"event": event, "host": host})


def host_of(url: httpx.URL) -> str:
    """Host and port, as a person would write them."""
    return url.netloc.decode()
