"""Which failures of a request are transient, and how long the hub asks to wait."""

import contextlib
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented
    parse_ratelimit_headers,
)

from prep.fetch.session import (
    AnswerError,
    ServerUnavailable,
    SignatureRefused,
    TruncatedBody,
    count_of,
    host_of,
)

TRUNCATED = (
    *(TruncatedBody, httpx.DecodingError),
    *(httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError),
)


def is_transient(error: BaseException) -> bool:
    """Whether it may pass by itself, so that the request is repeated."""
    if isinstance(error, httpx.TransportError):
        return not isinstance(error, httpx.UnsupportedProtocol) and certificate(error) is None
    return isinstance(error, (ServerUnavailable, SignatureRefused, *TRUNCATED))


def summary(error: BaseException) -> str:
    """A few words for a line of progress."""
    if isinstance(error, ServerUnavailable):
        return str(error.response.status_code)
    if isinstance(error, SignatureRefused):
        return f"{error.response.status_code} from {host_of(error.response.request.url)}"
    return "truncated answer" if isinstance(error, TRUNCATED) else reason(error)


def reason(error: BaseException) -> str:
    """Why no answer came, in a few words."""
    if isinstance(error, httpx.TimeoutException):
        return "timed out"
    text = str(error)
    if isinstance(error, httpx.ProxyError):
        return f"the proxy answered {text}"
    for known, words in (
        ("Connection refused", "connection refused"),
        ("Name or service not known", "name cannot be resolved"),
        ("Temporary failure in name resolution", "name cannot be resolved"),
        ("No address associated", "name cannot be resolved"),
        ("Network is unreachable", "network is unreachable"),
        ("No route to host", "no route to host"),
    ):
        if known in text:
            return words
    return type(error).__name__


def certificate(error: BaseException | None) -> str | None:
    """What the TLS library says is wrong with a certificate, None where that is not the error.

    httpx hides the error of the TLS library behind two of its own.
    """
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def retry_after(error: BaseException) -> float | None:
    """How many seconds the hub asks to wait, None where it does not ask.

    ``Retry-After`` in seconds or as a date, which is compared with the hub's own clock; else when
    the limit of ``RateLimit`` is renewed, as the hub's client reads it.
    """
    if not isinstance(error, ServerUnavailable):
        return None
    headers = error.response.headers
    value = headers.get("Retry-After", "").strip()
    if (seconds := count_of(value)) is not None:
        return float(seconds)
    with contextlib.suppress(ValueError, OverflowError):
        now = _date(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (_date(value) - now).total_seconds())
    with contextlib.suppress(ValueError, OverflowError):
        limit = parse_ratelimit_headers(headers)
        return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None
    return None


def _date(text: str) -> datetime:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def request_of(error: BaseException) -> httpx.Request | None:
    """Which request failed; behind a redirect that is not the hub's own."""
    if isinstance(error, AnswerError | HfHubHTTPError):
        return error.response.request
    if isinstance(error, httpx.RequestError):
        with contextlib.suppress(RuntimeError):
            return error.request
    return None
