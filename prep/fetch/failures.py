"""What a hub's failure means: whether it can pass by itself, and what a person should do.

Sentences are ours and never hold a URL's query or a token; the client's own texts may.
"""

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from prep.errors import HubBusy, HubRefused, HubUnreachable, PrepError
from prep.storage import storage_error

PASSING = frozenset({408, 429, 500, 502, 503, 504})


@contextlib.contextmanager
def hub_errors(endpoint: str, repo: str, revision: str) -> Iterator[None]:
    """Turn what the client and the disk raise into our errors, with host and repository named."""
    try:
        yield
    except PrepError:
        raise
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise meaning(error, endpoint, repo, revision) from error


def meaning(error: Exception, endpoint: str, repo: str, revision: str) -> PrepError:
    """The error of ours that says what happened."""
    host = urlsplit(endpoint).netloc or endpoint
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        return meaning(error.__cause__, endpoint, repo, revision)  # the client wraps what it met
    if isinstance(error, HfHubHTTPError):
        return _answered(error, host, repo, revision)
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return HubBusy(f"{host} broke off in the middle of an answer. Run again to go on.")
    if isinstance(error, httpx.HTTPError):
        return HubUnreachable(unreachable(host, _reason(error)))
    if isinstance(error, OSError) and (known := storage_error(error)):
        return known
    if isinstance(error, LocalEntryNotFoundError):
        return HubUnreachable(unreachable(host, "no answer"))
    raise error


def unreachable(host: str, reason: str) -> str:
    """The one sentence for a hub that cannot be reached."""
    return (
        f"The hub at {host} cannot be reached ({reason}). Check the network, the proxy settings "
        "and --hub (HF_ENDPOINT), then run again. A prepared home is checked without network by "
        "`pytest --offline`, and `make demo` shows the whole suite without any."
    )


def _answered(error: HfHubHTTPError, host: str, repo: str, revision: str) -> PrepError:
    code = error.response.status_code
    if code in PASSING:
        asked = error.response.headers.get("Retry-After")
        wait = f" It asks to wait {asked} s." if asked else ""
        return HubBusy(f"{host} answered {code} for {repo}.{wait} Run again later.")
    if isinstance(error, GatedRepoError):
        return HubRefused(
            f"{repo} is gated and this token has no access (or none was given). Ask for access at "
            f"https://{host}/{repo}, then pass the token in HF_TOKEN."
        )
    if isinstance(error, RevisionNotFoundError):
        return HubRefused(
            f"{repo} has no revision {revision or 'of that name'} at {host} (404). Correct the "
            "revision in the catalogue, then pytest --relock."
        )
    if isinstance(error, RepositoryNotFoundError):
        return HubRefused(
            f"{host} knows no repository {repo}, or shows it only with a token ({code}). Check the "
            "repo in the catalogue; for a private or gated one pass HF_TOKEN."
        )
    if isinstance(error, EntryNotFoundError):
        path = error.response.url.path.rpartition(f"/resolve/{revision}/")[2]
        return HubRefused(
            f"{repo} has no file {path} at revision {revision} (404). The lock names it: "
            "pytest --relock and review the diff."
        )
    if code in (401, 403):
        return HubRefused(
            f"{host} refused the token for {repo} ({code}). Renew HF_TOKEN, or unset it if the "
            "model is public."
        )
    return HubRefused(f"{host} answered {code} for {repo}, which running again will not change.")


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    text = str(error)
    for known, words in (
        ("Connection refused", "connection refused"),
        ("Name or service not known", "its name cannot be resolved"),
        ("Temporary failure in name resolution", "its name cannot be resolved"),
        ("No address associated", "its name cannot be resolved"),
        ("Network is unreachable", "network is unreachable"),
        ("CERTIFICATE_VERIFY_FAILED", "its TLS certificate is not trusted"),
    ):
        if known in text:
            return words
    return type(error).__name__
