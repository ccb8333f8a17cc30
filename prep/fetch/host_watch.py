"""Which hosts answered, seen from the parent: one that takes no connection is given up soon.

The child cannot bound this itself: a name is looked up in a call that takes no timeout of ours.
"""

import time

from prep.errors import HubUnreachable
from prep.process.child import Event, Watch

SILENCE_SECONDS = 20  # a host that takes no connection costs a run no more, its start aside


class HostWatch(Watch):
    """As `Watch`, and a host that was asked and took no connection is given up after `silence`."""

    def __init__(self, hub: str, patience: float, deadline: float | None, silence: float) -> None:
        super().__init__(patience, deadline)
        self.silence = silence
        self._hub = hub
        self._asked: dict[str, tuple[float, str]] = {}

    def hears(self, event: Event) -> bool:
        """Whether the event was for this watch alone: of a host, or a step."""
        if event["event"] in ("step", "waiting"):  # a wait that the hub asks for is no silence
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
        """Raise where a bound is passed."""
        for host, (since, role) in self._asked.items():
            if time.monotonic() - since > self.silence:
                raise HubUnreachable(unreachable(which(host, self._hub, role), "no answer in time"))
        super().check(doing)


def which(host: str, hub: str, role: str, cdn: str | None = None) -> str:
    """A host, and why it is asked; `cdn` is the one to which the hub sent for the bytes."""
    if host == hub:
        return f"The hub at {host}"
    if role == "hub":
        return f"{host}, to which {hub} redirects,"
    if cdn in (None, host):
        return f"{host}, where {hub} sends for the bytes,"
    return f"{host}, to which {cdn} redirects (where {hub} sends for the bytes),"


def unreachable(who: str, reason: str) -> str:
    """The one sentence for a host that cannot be reached: the hub, or where it sends us."""
    return (
        f"{who} cannot be reached ({reason}). Check the network, the proxy settings "
        "and --hub (HF_ENDPOINT), then run again. A prepared home is checked without network by "
        "`pytest --offline`, and `make demo` shows the whole suite without any."
    )
