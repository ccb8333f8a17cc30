"""What every order of the worker needs: a session with the hub, its timer and its retries."""

import copy
import re

from huggingface_hub import ModelInfo, constants, get_token
from huggingface_hub.errors import RepositoryNotFoundError

from prep.fetch.hub_errors import HubRequest, Visibility
from prep.fetch.retry import Retry
from prep.fetch.session import Hosts, Session
from prep.fetch.timer import ProgressTimer
from prep.process.child import Emit, Event


class Client:
    """A session with the hub that the environment names."""

    def __init__(self, order: Event, emit: Emit) -> None:
        hosts = Hosts(emit)
        self.emit = emit
        self.timer = ProgressTimer(order["timeout"], order["deadline"], emit)
        self.retry = Retry(self.timer, hosts, emit)
        self.session = Session(
            constants.ENDPOINT, get_token(), self.timer, hosts, self.retry.report
        )

    def of(self, doing: str, name: str | None = None) -> "Client":
        """The same session for one repository of several, with its own timeout and deadline.

        `name` stands before its lines.
        """

        def emit(event: Event) -> None:
            named = {"text": f"{name}: {event['text']}"} if name and "text" in event else {}
            self.emit({**event, **named})

        own = copy.copy(self)
        own.timer = ProgressTimer(self.timer.timeout, self.timer.deadline, emit, doing)
        own.retry = self.retry.of(own.timer, emit)
        own.session = self.session.of(own.timer, own.retry.report)
        return own

    def request(self, repo: str, revision: str) -> HubRequest:
        """What an error's message names."""
        return HubRequest(
            endpoint=re.sub(r"(?<=://)[^/@]*@", "", constants.ENDPOINT),  # no password in messages
            repo=repo,
            revision=revision,
            has_token=get_token() is not None,
            visibility=lambda: self._visibility(repo),
        )

    def _visibility(self, repo: str) -> Visibility:
        """What the hub shows of a repository without a token, for an error's message."""
        try:
            data, _ = self.session.json(api_url(repo), token=False)
            info = ModelInfo(**data)  # type: ignore[no-untyped-call]  # the client's own
        except RepositoryNotFoundError:
            return "hidden"
        except Exception:  # whatever it is, the refusal is what is reported
            return "unknown"
        return "gated" if info.gated else "public"


def api_url(repo: str) -> str:
    """Where the hub's API describes a model."""
    return f"{constants.ENDPOINT}/api/models/{repo}"
