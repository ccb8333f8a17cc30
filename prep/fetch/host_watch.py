"""Which hosts answered, seen from the parent: one that accepts no connection is given up soon.

The child cannot bound this itself: a name is looked up in a call that takes no timeout of ours.
"""

import time

from prep.errors import HubUnreachable
from prep.process.child import Event, Watch

CONNECT_LIMIT_SECONDS = 20  # what a host that accepts no connection costs a run, at most


class HostWatch(Watch):
    """As `Watch`, and a host must accept the connection within `connect_limit` seconds."""

    def __init__(
        self, hub: str, timeout: float, deadline: float | None, connect_limit: float
    ) -> None:
        super().__init__(timeout, deadline)
        self.connect_limit = connect_limit
        self._hub = hub
        self._asked: dict[str, tuple[float, str]] = {}

    def handle(self, event: Event) -> bool:
        """Whether the event was for this watch alone: of a host, or a step."""
        if event["event"] in ("step", "waiting"):  # a wait that the hub asks for is progress
            self.step()
            return bool(event["event"] == "step")
        if event["event"] == "asking":
            self._asked[event["host"]] = (time.monotonic(), event["role"])
        elif event["event"] in ("connected", "answered"):
            self._asked.pop(event["host"], None)
        else:
            return False
        return True

    def check(self, doing: str) -> None:
        """Raise where a limit is exceeded."""
        for host, (since, role) in self._asked.items():
            if time.monotonic() - since > self.connect_limit:
                raise HubUnreachable(unreachable(named(host, self._hub, role), "timed out"))
        super().check(doing)


def named(host: str, hub: str, role: str, cdn: str | None = None) -> str:
    """A host, and why it is asked; `cdn` is the one to which the hub redirected for the bytes."""
    if host == hub:
        return host
    if role == "hub":
        return f"{host} (redirected to by {hub})"
    if cdn in (None, host):
        return f"{host} (storage host of {hub})"
    return f"{host} (redirected to by {cdn}, the storage host of {hub})"


def unreachable(host: str, reason: str) -> str:
    """The message for a host that cannot be reached: the hub, or where it redirects to."""
    return (
        f"{host}: {reason}. Check the network, the proxy settings and --hub (HF_ENDPOINT), then "
        "run again. A prepared home is checked without network by `pytest --offline`, and `make "
        "demo` shows the whole suite without any."
    )
