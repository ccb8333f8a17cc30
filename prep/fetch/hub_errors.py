"""The errors of the client, the network and the disk as ours, with what a person should do.

Messages are ours and never hold a URL's query or a token; the client's own texts may.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

from prep.errors import (
    ConnectionMisconfigured,
    HubBusy,
    HubRefused,
    HubUnreachable,
    NotAHub,
    PrepError,
)
from prep.fetch.connections import ProxyUnreachable
from prep.fetch.host_watch import named, unreachable
from prep.fetch.retry import (
    RETRY_AFTER_MAX,
    TRUNCATED,
    RetriesExhausted,
    certificate,
    reason,
    request_of,
)
from prep.fetch.session import (
    AnswerError,
    ServerUnavailable,
    SignatureRefused,
    UnexpectedAnswer,
    host_of,
    is_page,
    server_message,
)
from prep.files.reader import printable
from prep.machine.disk import storage_error

Visibility = Literal["public", "gated", "hidden", "unknown"]
RESUME = "Received bytes are kept; run again to resume."
PROXY_PASSWORD = (
    "Give its user and password in HTTPS_PROXY, as in http://USER:PASSWORD@HOST:PORT, or have it "
    "let this machine through."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRequest:
    """What was asked of which hub, for messages.

    `visibility` finds out what the hub shows of the repository without a token.
    """

    endpoint: str
    repo: str
    revision: str
    has_token: bool
    visibility: Callable[[], Visibility]

    @property
    def host(self) -> str:
        """The hub's host, and its port where it is not the usual one."""
        return host_of(httpx.URL(self.endpoint))


@contextlib.contextmanager
def hub_errors(request: HubRequest) -> Iterator[None]:
    """Raise what the client and the disk raise as our errors, with host and repository named."""
    try:
        yield
    except (RetriesExhausted, AnswerError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise our_error(error, request) from error


def our_error(
    error: BaseException, request: HubRequest, exhausted: RetriesExhausted | None = None
) -> PrepError:
    """The error of ours that says what happened."""
    if isinstance(error, RetriesExhausted):
        return our_error(error.cause, request, error)
    if isinstance(error, ServerUnavailable):
        return _unavailable(error, request, exhausted)
    if isinstance(error, UnexpectedAnswer):
        return _not_a_hub(error.response, error.what, request)
    if isinstance(error, SignatureRefused):
        return _signature_refused(error, request, exhausted)
    if isinstance(error, HfHubHTTPError):
        ours, message = _refused(error, request), server_message(error.response)
        return type(ours)(f'{ours} {_host(error, request)} says: "{message}"') if message else ours
    if isinstance(error, httpx.TooManyRedirects | httpx.InvalidURL | httpx.UnsupportedProtocol):
        how = "in a loop" if isinstance(error, httpx.TooManyRedirects) else "to an invalid URL"
        return NotAHub(
            f"{request.host} redirects {how} for {request.repo}. Check --hub (HF_ENDPOINT), the "
            "proxy, or whether this network wants a login first."
        )
    if isinstance(error, TRUNCATED):
        return HubBusy(
            f"{_named(error, request)} closed the connection in the middle of an "
            f"answer{_times(exhausted)}. {RESUME}"
        )
    if isinstance(error, httpx.HTTPError):
        return _no_answer(error, request)
    if isinstance(error, OSError) and (known := storage_error(error)):
        return known
    raise error


def _no_answer(error: httpx.HTTPError, request: HubRequest) -> PrepError:
    host, name = _host(error, request), _named(error, request)
    if problem := certificate(error):
        return ConnectionMisconfigured(
            f"the TLS certificate of {host} is not trusted ({problem}). Name the file of the CA "
            "that signed it in SSL_CERT_FILE (REQUESTS_CA_BUNDLE is read as well), and check this "
            "machine's clock. Nothing was fetched."
        )
    if isinstance(error, ProxyUnreachable):
        return HubUnreachable(
            f"{host}: no connection to its proxy {error.proxy} ({reason(error)}). Check "
            "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY, or name the host in NO_PROXY if no proxy is "
            "needed for it, then run again. Nothing was fetched."
        )
    if isinstance(error, httpx.ReadTimeout):
        return HubUnreachable(
            f"{name} accepted the connection, and gave no answer within --download-timeout. Run "
            "again, or give a longer one: a mirror that has to fetch a file first is silent "
            "meanwhile."
        )
    if isinstance(error, httpx.ProxyError):
        remedy = (
            PROXY_PASSWORD
            if str(error).startswith("407")
            else "Have it allow that host, or name the host in NO_PROXY if no proxy is needed for "
            "it."
        )
        return HubUnreachable(
            f"{name}: the proxy refuses to connect to it ({error}). {remedy} Nothing was fetched."
        )
    return HubUnreachable(unreachable(name, reason(error)))


def _unavailable(
    error: ServerUnavailable, request: HubRequest, exhausted: RetriesExhausted | None
) -> PrepError:
    head = f"{_named(error, request)} answered {error.response.status_code} for {request.repo}"
    if exhausted is None or exhausted.retry_after is None:
        return HubBusy(f"{head}{_times(exhausted)}. {RESUME}")
    limit = (
        "is left of --download-deadline"
        if exhausted.by_deadline
        else f"the {RETRY_AFTER_MAX:.0f} s that a run waits without progress when it is asked to"
    )
    wait = f"{exhausted.retry_after:.0f} s"
    if not exhausted.by_deadline and exhausted.retry_after <= RETRY_AFTER_MAX:
        wait += f" more, {exhausted.total_wait:.0f} s in all"
    hint = "" if request.has_token else " A token in HF_TOKEN may have higher limits."
    return HubBusy(
        f"{head} and asks to wait {wait}, longer than {limit}. Received bytes are kept; run again "
        f"after that time.{hint}"
    )


def _not_a_hub(response: httpx.Response, what: str, request: HubRequest) -> NotAHub:
    """A gateway, a proxy or a login page answers; or `--hub` names what never was a hub."""
    server = response.headers.get("Server")
    seen = f"{response.status_code}" + (f", Server: {printable(server, 60)}" if server else "")
    role, cdn = _role(response.request)
    allow = (
        f"{request.host} (for huggingface.co also *.hf.co, its hosts for files)"
        if role == "hub"
        else f"{cdn} (huggingface.co's hosts for files are *.hf.co)"
    )
    return NotAHub(
        f"{named(host_of(response.request.url), request.host, role, cdn)} answers for "
        f"{request.repo} with {what} ({seen}): probably a gateway, a proxy or a login page. Have "
        f"it allow {allow}, or log in to this network, or check --hub (HF_ENDPOINT); then run "
        "again."
    )


def _signature_refused(
    error: SignatureRefused, request: HubRequest, exhausted: RetriesExhausted | None
) -> PrepError:
    """Every try had a fresh signature, and one of them asked for no range."""
    if is_page(error.response):
        return _not_a_hub(error.response, "a web page", request)
    message = server_message(error.response)
    quoted = f': "{message}"' if message else ""
    return HubBusy(
        f"{_named(error, request)} refused the signed URL of {request.repo} "
        f"({error.response.status_code}){_times(exhausted)}, each with a fresh signature{quoted}. "
        f"{RESUME} If it stays: check this machine's clock, and whether a proxy or gateway allows "
        "that host."
    )


def _refused(error: HfHubHTTPError, request: HubRequest) -> PrepError:
    """The answer is no, and trying again would not change it."""
    code, host, repo = error.response.status_code, _host(error, request), request.repo
    page = f"{request.endpoint}/{repo}"
    message = server_message(error.response).lower()
    if _role(error.response.request)[0] == "bytes":
        return HubRefused(
            f"{_named(error, request)} answered {code} for {repo}, which running again will not "
            "change. Ask the hub's operator."
        )
    if code == 407:
        return ConnectionMisconfigured(
            f"the proxy to {host} asks for a password (407). {PROXY_PASSWORD}"
        )
    if isinstance(error, DisabledRepoError) or "is disabled" in message:
        return HubRefused(
            f"{repo} is disabled at {host} ({code}), and no token changes that. Choose another "
            "model, or ask its owner."
        )
    if "fine-grained token" in message:
        return HubRefused(
            f"{host} does not accept the token for {repo} ({code}): it is a fine-grained one "
            f"without the permission. Give it the permission at {request.endpoint}/settings/tokens,"
            " or pass another one in HF_TOKEN."
        )
    if isinstance(error, GatedRepoError) and "awaiting a review" in message:
        return HubRefused(
            f"{repo} is gated, and access for this token's account is requested but not granted "
            f"yet. Its authors review it; {page} shows when they did."
        )
    if isinstance(error, GatedRepoError):
        why = "this token has no access to it" if request.has_token else "no token was given"
        return HubRefused(
            f"{repo} is gated, and {why}. Ask for access at {page}, then pass a token of that "
            "account in HF_TOKEN."
        )
    if isinstance(error, RevisionNotFoundError):
        return HubRefused(
            f"{repo} has no revision {request.revision or 'of that name'} at {host} (404). Correct "
            "the revision in the catalogue, then pytest --relock."
        )
    if request.has_token and (code in (401, 403) or isinstance(error, RepositoryNotFoundError)):
        return HubRefused(
            f"{host} does not accept the token for {repo} ({code}){_token_remedy(request)}"
        )
    if isinstance(error, RepositoryNotFoundError):
        return HubRefused(
            f"{repo} not found at {host}, or shown only with a token ({code}). Check the repo in "
            "the catalogue; for a private or gated one pass HF_TOKEN."
        )
    if isinstance(error, EntryNotFoundError):
        path = error.response.url.path.rpartition(f"/{request.revision}/")[2]
        return HubRefused(
            f"{repo} has no file {path} at revision {request.revision} (404). The lock names it: "
            "pytest --relock and review the diff."
        )
    if code in (401, 403):
        return HubRefused(
            f"{host} answered {code} for {repo}, and no token was given. If it is private or "
            "gated, pass a token that may read it in HF_TOKEN."
        )
    return HubRefused(f"{host} answered {code} for {repo}, which running again will not change.")


def _token_remedy(request: HubRequest) -> str:
    """What the hub shows without the token says where the fault lies."""
    visibility = request.visibility()
    if visibility == "public":
        return (
            "; the repository is public without it. Unset HF_TOKEN (or the hub's token file), or "
            f"renew it at {request.endpoint}/settings/tokens."
        )
    if visibility == "gated":
        return (
            f"; the repository is gated. Ask for access at {request.endpoint}/{request.repo}, then "
            "pass a valid token of that account in HF_TOKEN."
        )
    if visibility == "hidden":
        return (
            ", and shows nothing of that name without it: it is private, or does not exist. Check "
            "the repo in the catalogue, and pass a token that may read it in HF_TOKEN."
        )
    return ". Renew HF_TOKEN, or unset it if the model is public."


def _host(error: BaseException, request: HubRequest) -> str:
    failed = request_of(error)
    return request.host if failed is None else host_of(failed.url)


def _role(failed: httpx.Request | None) -> tuple[str, str | None]:
    """What the host was asked as, and to whom the hub had redirected for the bytes."""
    if failed is None:
        return "hub", None
    return failed.extensions.get("role", "hub"), failed.extensions.get("cdn")


def _named(error: BaseException, request: HubRequest) -> str:
    return named(_host(error, request), request.host, *_role(request_of(error)))


def _times(exhausted: RetriesExhausted | None) -> str:
    return f", {exhausted.tries} times in a row" if exhausted and exhausted.tries > 1 else ""
