"""What a thread that works ahead of the tests is asked to end by, and named by."""

import threading
from contextvars import ContextVar

from prep.errors import Interrupted

CANCELLED: ContextVar[threading.Event | None] = ContextVar("CANCELLED", default=None)
WORKER: ContextVar[str] = ContextVar("WORKER", default="")
"""Who reports progress: a name for each thread that does, none for the one that runs the tests."""


def check_cancelled(doing: str, cancelled: threading.Event | None = None) -> None:
    """Raise `Interrupted` where this thread's work, or what `cancelled` stands for, is unwanted."""
    cancelled = cancelled or CANCELLED.get()
    if cancelled is not None and cancelled.is_set():
        raise Interrupted(f"{doing}: interrupted. What is finished is kept; run again.")
