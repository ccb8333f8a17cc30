"""What a hub's failure means: whether it can pass by itself, and what a person should do.

Sentences are ours and never hold a URL's query or a token; the client's own texts may.
"""

import contextlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import httpx
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented
    parse_ratelimit_headers,
)

from prep.errors import HubBusy, HubRefused, HubUnreachable, NotAHub, PrepError
from prep.fetch.connections import ProxyUnreachable
from prep.fetch.host_watch import unreachable, which
from prep.fetch.session import (
    ServerUnavailable,
    SignatureRefused,
    UnexpectedAnswer,
    count_of,
    host_of,
    sentence_of,
)
from prep.files.reader import printable
from prep.machine.disk import storage_error

LONGEST_ASKED_WAIT = 330.0  # seconds without progress between: a hub's windows are 300 s
Shown = Literal["public", "gated", "hidden", "unknown"]


class TruncatedBody(Exception):
    """A body ended before its time, without an error of the connection."""

    def __init__(self, response: httpx.Response | None = None) -> None:
        super().__init__()
        self.response = response


class RetriesExhausted(Exception):
    """It was tried often enough, or would take too long; the cause says what it was."""

    def __init__(
        self,
        cause: BaseException,
        tries: int,
        asked: float | None = None,
        by_deadline: bool = False,
        in_all: float = 0.0,
    ) -> None:
        super().__init__(tries)
        self.cause, self.tries, self.asked, self.by_deadline = cause, tries, asked, by_deadline
        self.in_all = in_all  # seconds, with the waits before this one


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRequest:
    """What was asked of whom. `shown` finds out what the hub shows to somebody without a token."""

    endpoint: str
    repo: str
    revision: str
    has_token: bool
    shown: Callable[[], Shown]

    @property
    def host(self) -> str:
        """The hub's host, and its port where it is not the usual one."""
        return host_of(httpx.URL(self.endpoint))


def passes(error: BaseException) -> bool:
    """Whether it can pass by itself, so that it is tried again."""
    if isinstance(error, httpx.TransportError):
        return not isinstance(error, httpx.UnsupportedProtocol) and not _untrusted(error)
    return isinstance(
        error, ServerUnavailable | SignatureRefused | TruncatedBody | httpx.DecodingError
    )


def in_short(error: BaseException) -> str:
    """A few words for a line of progress."""
    if isinstance(error, ServerUnavailable):
        return str(error.response.status_code)
    if isinstance(error, SignatureRefused):
        return f"{error.response.status_code} from {host_of(error.response.request.url)}"
    if isinstance(error, TruncatedBody | httpx.DecodingError) or _broke_off(error):
        return "the answer broke off"
    return _reason(error)


def asked_wait(error: BaseException) -> float | None:
    """How many seconds the hub asks to wait, None where it asks nothing.

    ``Retry-After`` in seconds or as a date, which is held against the hub's own clock; else when
    the limit of ``RateLimit`` is renewed, as the hub's client reads it.
    """
    if not isinstance(error, ServerUnavailable):
        return None
    headers = error.response.headers
    said = headers.get("Retry-After", "").strip()
    if (seconds := count_of(said)) is not None:
        return float(seconds)
    with contextlib.suppress(ValueError, OverflowError):
        there = _date(headers.get("Date", "")) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (_date(said) - there).total_seconds())
    with contextlib.suppress(ValueError, OverflowError):
        limit = parse_ratelimit_headers(headers)
        return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None
    return None


def _date(text: str) -> datetime:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def url_of(error: BaseException) -> httpx.URL | None:
    """Which request failed; behind a redirect that is not the hub's own."""
    request = _request(error)
    return None if request is None else request.url


def _request(error: BaseException) -> httpx.Request | None:
    if isinstance(error, ServerUnavailable | UnexpectedAnswer | SignatureRefused | HfHubHTTPError):
        return error.response.request
    if isinstance(error, TruncatedBody):
        return error.response.request if error.response is not None else None
    if isinstance(error, httpx.RequestError):
        with contextlib.suppress(RuntimeError):
            return error.request
    return None


@contextlib.contextmanager
def hub_errors(asked: HubRequest) -> Iterator[None]:
    """Turn what the client and the disk raise into our errors, with host and repository named."""
    try:
        yield
    except PrepError:
        raise
    except (
        *(RetriesExhausted, ServerUnavailable, TruncatedBody, UnexpectedAnswer, SignatureRefused),
        *(httpx.HTTPError, httpx.InvalidURL, OSError),
    ) as error:
        raise meaning(error, asked) from error


def meaning(
    error: BaseException, asked: HubRequest, gave_up: RetriesExhausted | None = None
) -> PrepError:
    """The error of ours that says what happened."""
    if isinstance(error, RetriesExhausted):
        return meaning(error.cause, asked, error)
    if isinstance(error, ServerUnavailable):
        return _busy(error, asked, gave_up)
    if isinstance(error, UnexpectedAnswer):
        return _no_hub(error.response, error.what, asked)
    if isinstance(error, SignatureRefused):
        return _signature(error, asked, gave_up)
    if isinstance(error, HfHubHTTPError):
        return _quoting(_refused(error, asked), error, asked)
    if isinstance(error, httpx.TooManyRedirects | httpx.InvalidURL | httpx.UnsupportedProtocol):
        how = "in circles" if isinstance(error, httpx.TooManyRedirects) else "to no address"
        return NotAHub(
            f"{asked.host} redirects {how} for {asked.repo}. Is it a hub? Check --hub "
            "(HF_ENDPOINT), the proxy, or whether this network wants a login first."
        )
    if isinstance(error, TruncatedBody | httpx.DecodingError) or _broke_off(error):
        return HubBusy(
            f"{_who(error, asked)} broke off in the middle of an answer{_times(gave_up)}. What "
            "came so far is kept; run again to go on from there."
        )
    if isinstance(error, httpx.HTTPError):
        return _transport(error, asked)
    if isinstance(error, OSError) and (known := storage_error(error)):
        return known
    raise error


def _transport(error: httpx.HTTPError, asked: HubRequest) -> PrepError:
    """No answer came."""
    host = _host(error, asked)
    if _untrusted(error):
        return HubRefused(
            f"The TLS certificate of {host} is not trusted ({_verdict(error)}). Name the "
            "file of the CA that signed it in SSL_CERT_FILE (REQUESTS_CA_BUNDLE is read as "
            "well), and check this machine's clock. Nothing was fetched."
        )
    who = _which(error, asked)
    if isinstance(error, ProxyUnreachable):
        return HubUnreachable(
            f"The proxy {error.proxy} cannot be reached ({_reason(error)}), by which {host} is "
            "asked. Check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or name the host in NO_PROXY if "
            "no proxy is needed for it, then run again. Nothing was fetched."
        )
    if isinstance(error, httpx.ReadTimeout):
        return HubUnreachable(
            f"{who} took the connection, and gave no answer within --download-timeout. Run again, "
            "or give a longer one: a mirror that has to fetch a file first is silent meanwhile."
        )
    if isinstance(error, httpx.ProxyError):
        return HubUnreachable(
            f"{who} cannot be reached, because the proxy refuses to connect to it ({error}). "
            f"{_for_proxy(str(error))} Nothing was fetched."
        )
    return HubUnreachable(unreachable(who, _reason(error)))


def _for_proxy(text: str) -> str:
    if text.startswith("407"):
        return (
            "Give its user and password in HTTPS_PROXY, as in http://USER:PASSWORD@HOST:PORT, or "
            "have it let this machine through."
        )
    return "Have it allow that host, or name the host in NO_PROXY if no proxy is needed for it."


def _busy(
    error: ServerUnavailable, asked: HubRequest, gave_up: RetriesExhausted | None
) -> PrepError:
    head = f"{_who(error, asked)} answered {error.response.status_code} for {asked.repo}"
    if gave_up is None or gave_up.asked is None:
        return HubBusy(
            f"{head}{_times(gave_up)}. What came so far is kept; run again later to go on."
        )
    bound = (
        "than is left of --download-deadline"
        if gave_up.by_deadline
        else f"than the {LONGEST_ASKED_WAIT:.0f} s that a run waits without progress "
        "when it is asked to"
    )
    wait = f"{gave_up.asked:.0f} s"
    if not gave_up.by_deadline and gave_up.asked <= LONGEST_ASKED_WAIT:
        wait += f" more, {gave_up.in_all:.0f} s in all"
    more = "" if asked.has_token else " A token in HF_TOKEN may have higher limits."
    return HubBusy(
        f"{head} and asks to wait {wait}, longer {bound}. What came so "
        f"far is kept; run again after that time.{more}"
    )


def _no_hub(response: httpx.Response, what: str, asked: HubRequest) -> NotAHub:
    """A gateway, a proxy or a login page answers; or `--hub` names what never was a hub."""
    request = response.request
    server = response.headers.get("Server")
    seen = (
        f"{response.status_code}, Server: {printable(server, 60)}"
        if server
        else str(response.status_code)
    )
    who = which(host_of(request.url), asked.host, *_role(request)).removeprefix("The hub at ")
    allow = (
        f"{asked.host} (for huggingface.co also *.hf.co, its hosts for files)"
        if request.extensions["role"] == "hub"
        else f"{request.extensions['cdn']} (huggingface.co's hosts for files are *.hf.co)"
    )
    return NotAHub(
        f"{who} answers for {asked.repo} with {what} ({seen}), not as a hub does: a gateway, a "
        f"proxy or a login page stands in between. Have it allow {allow}, or log in to this "
        "network, or check --hub (HF_ENDPOINT); then run again."
    )


def _signature(
    error: SignatureRefused, asked: HubRequest, gave_up: RetriesExhausted | None
) -> PrepError:
    """Every try had a fresh signature, and one of them asked for no range."""
    if error.page:
        return _no_hub(error.response, "a web page", asked)
    said = sentence_of(error.response)
    return HubBusy(
        f"{_who(error, asked)} refused the signed address of {asked.repo} "
        f"({error.response.status_code}){_times(gave_up)}, each with a fresh signature"
        f"{f': {chr(34)}{said}{chr(34)}' if said else ''}. What came so far is kept; run again "
        "later. If it stays: check this machine's clock, and whether a proxy or gateway allows "
        "that host."
    )


def _quoting(error: PrepError, answer: HfHubHTTPError, asked: HubRequest) -> PrepError:
    """The same, with the server's own sentence at its end."""
    if not (said := sentence_of(answer.response)):
        return error
    return type(error)(f'{error} {_host(answer, asked)} says: "{said}"')


def _refused(error: HfHubHTTPError, asked: HubRequest) -> PrepError:
    """The answer is no, and trying again would not change it."""
    code, host, repo = error.response.status_code, _host(error, asked), asked.repo
    said = sentence_of(error.response).lower()
    if error.response.request.extensions["role"] == "bytes":
        return HubRefused(
            f"{_who(error, asked)} answered {code} for {repo}, which running again will not "
            "change. Ask the hub's keeper."
        )
    if code == 407:
        return HubRefused(f"The proxy to {host} wants to know who asks (407). {_for_proxy('407')}")
    if isinstance(error, DisabledRepoError) or "is disabled" in said:
        return HubRefused(
            f"{repo} is disabled at {host} ({code}), and no token changes that. Choose another "
            "model, or ask who keeps it."
        )
    if "fine-grained token" in said:
        return HubRefused(
            f"{host} refused the token for {repo} ({code}): it is a fine-grained one without the "
            f"permission. Give it the permission at {asked.endpoint}/settings/tokens, or pass "
            "another one in HF_TOKEN."
        )
    if isinstance(error, GatedRepoError) and "awaiting a review" in said:
        return HubRefused(
            f"{repo} is gated, and the access that this token's account asked for was not granted "
            f"yet. Its authors review it; {asked.endpoint}/{repo} shows when they did."
        )
    if isinstance(error, GatedRepoError):
        who = "this token has no access to it" if asked.has_token else "no token was given"
        return HubRefused(
            f"{repo} is gated, and {who}. Ask for access at {asked.endpoint}/{repo}, then pass a "
            "token of that account in HF_TOKEN."
        )
    if isinstance(error, RevisionNotFoundError):
        return HubRefused(
            f"{repo} has no revision {asked.revision or 'of that name'} at {host} (404). Correct "
            "the revision in the catalogue, then pytest --relock."
        )
    if asked.has_token and (code in (401, 403) or isinstance(error, RepositoryNotFoundError)):
        return HubRefused(_rejected(code, asked))
    if isinstance(error, RepositoryNotFoundError):
        return HubRefused(
            f"{host} knows no repository {repo}, or shows it only with a token ({code}). Check the "
            "repo in the catalogue; for a private or gated one pass HF_TOKEN."
        )
    if isinstance(error, EntryNotFoundError):
        path = error.response.url.path.rpartition(f"/{asked.revision}/")[2]
        return HubRefused(
            f"{repo} has no file {path} at revision {asked.revision} (404). The lock names it: "
            "pytest --relock and review the diff."
        )
    if code in (401, 403):
        return HubRefused(
            f"{host} refused {repo} ({code}), and no token was given. If it is private or gated, "
            "pass a token that may read it in HF_TOKEN."
        )
    return HubRefused(f"{host} answered {code} for {repo}, which running again will not change.")


def _rejected(code: int, asked: HubRequest) -> str:
    """With a token it is refused: what the hub shows without one says where the fault lies."""
    host, repo = asked.host, asked.repo
    head = f"{host} refused the token for {repo} ({code})"
    shown = asked.shown()
    if shown == "public":
        return (
            f"{head}; the repository is public without it: the token was rejected. Unset HF_TOKEN "
            f"(or the hub's token file), or renew it at {asked.endpoint}/settings/tokens."
        )
    if shown == "gated":
        return (
            f"{head}; the repository is gated. Ask for access at {asked.endpoint}/{repo}, then "
            "pass a valid token of that account in HF_TOKEN."
        )
    if shown == "hidden":
        return (
            f"{head}, and shows nothing of that name without it: it is private, or not there. "
            "Check the repo in the catalogue, and pass a token that may read it in HF_TOKEN."
        )
    return f"{head}. Renew HF_TOKEN, or unset it if the model is public."


def _host(error: BaseException, asked: HubRequest) -> str:
    url = url_of(error)
    return asked.host if url is None else host_of(url)


def _role(request: httpx.Request | None) -> tuple[str, str | None]:
    """What the host was asked as, and to whom the hub had sent for the bytes."""
    if request is None:
        return "hub", None
    return request.extensions.get("role", "hub"), request.extensions.get("cdn")


def _which(error: BaseException, asked: HubRequest) -> str:
    return which(_host(error, asked), asked.host, *_role(_request(error)))


def _who(error: BaseException, asked: HubRequest) -> str:
    return _which(error, asked).removeprefix("The hub at ")


def _times(gave_up: RetriesExhausted | None) -> str:
    return f", {gave_up.tries} times in a row" if gave_up and gave_up.tries > 1 else ""


def _broke_off(error: BaseException) -> bool:
    broken = httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError | httpx.CloseError
    return isinstance(error, broken)


def _untrusted(error: BaseException | None) -> bool:
    """httpx hides the error of the TLS library behind two of its own."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _verdict(error: BaseException | None) -> str:
    """What the TLS library says is wrong with the certificate."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return "not verified"


def _reason(error: BaseException) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    text = str(error)
    if isinstance(error, httpx.ProxyError):
        return f"the proxy says: {text}"
    for known, words in (
        ("Connection refused", "connection refused"),
        ("Name or service not known", "its name cannot be resolved"),
        ("Temporary failure in name resolution", "its name cannot be resolved"),
        ("No address associated", "its name cannot be resolved"),
        ("Network is unreachable", "network is unreachable"),
        ("No route to host", "no route to it"),
    ):
        if known in text:
            return words
    return type(error).__name__
