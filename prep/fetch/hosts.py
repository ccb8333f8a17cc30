"""Which hosts answered, seen from the parent: one that never does is given up soon.

The child cannot bound this itself: a name is looked up, and each address of a name is tried, in
calls that take no timeout of ours.
"""

import time

from prep.children import Event, Watch
from prep.errors import HubUnreachable

SILENCE_SECONDS = 20  # a host that never answered costs a run no more, its child's start aside


class HostWatch(Watch):
    """As `Watch`, and a host that was asked and never answered is given up after `silence`."""

    def __init__(self, hub: str, patience: float, deadline: float | None, silence: float) -> None:
        super().__init__(patience, deadline)
        self.silence = silence
        self._hub = hub
        self._asked: dict[str, float] = {}

    def hears(self, event: Event) -> bool:
        """Whether the event was for this watch alone: of a host, or a step."""
        if event["event"] == "step":
            self.step()
        elif event["event"] == "asking":
            self._asked[event["host"]] = time.monotonic()
        elif event["event"] == "answered":
            self._asked.pop(event["host"], None)
        else:
            return False
        return True

    def check(self, doing: str) -> None:
        """Raise where a bound is passed."""
        for host, since in self._asked.items():
            if time.monotonic() - since > self.silence:
                raise HubUnreachable(unreachable(host, "no answer in time", hub=self._hub))
        super().check(doing)


def unreachable(host: str, reason: str, *, hub: str) -> str:
    """The one sentence for a host that cannot be reached: the hub, or where it sends us."""
    who = f"The hub at {host}" if host == hub else f"{host}, where {hub} sends for the bytes,"
    return (
        f"{who} cannot be reached ({reason}). Check the network, the proxy settings "
        "and --hub (HF_ENDPOINT), then run again. A prepared home is checked without network by "
        "`pytest --offline`, and `make demo` shows the whole suite without any."
    )
