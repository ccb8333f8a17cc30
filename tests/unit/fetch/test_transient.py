"""Which failures are transient, and how long a hub asks to wait."""

import time
from collections.abc import Mapping
from email.utils import formatdate

import httpx
import pytest

from prep.fetch.session import ServerUnavailable, TruncatedBody
from prep.fetch.transient import is_transient, retry_after

REQUEST = httpx.Request("GET", "http://hub.invalid/x")
NOW = 1_790_000_000


def answer(status: int, headers: Mapping[str, str] | None = None) -> ServerUnavailable:
    return ServerUnavailable(httpx.Response(status, headers=headers, request=REQUEST))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 120 "}, 120),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": formatdate(NOW + 90, usegmt=True), "Date": formatdate(NOW)}, 90),
        ({"Retry-After": formatdate(NOW - 90, usegmt=True), "Date": formatdate(NOW)}, 0),
        (
            {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'},
            55,
        ),
        ({"RateLimit": '"api";r=3;t=55'}, None),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "9"}, 9),
    ],
    ids=lambda value: "-".join(f"{v}" for v in value.values()) if isinstance(value, dict) else None,
)
def test_wait_that_the_hub_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(answer(429, headers)) == seconds
    assert retry_after(answer(503, headers)) == seconds


def test_date_without_the_hubs_clock_is_compared_with_ours() -> None:
    asked = retry_after(answer(429, {"Retry-After": formatdate(time.time() + 100, usegmt=True)}))
    assert asked is not None and 60 < asked <= 100


def test_only_transient_errors_are_retried() -> None:
    for error in (
        *(httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.ReadError),
        *(httpx.RemoteProtocolError, httpx.ProxyError, httpx.PoolTimeout),
    ):
        assert is_transient(error("", request=REQUEST)), error
    assert is_transient(TruncatedBody(answer(200).response)) and is_transient(answer(503))
    for error in (httpx.TooManyRedirects, httpx.UnsupportedProtocol):
        assert not is_transient(error("", request=REQUEST)), error
    assert not is_transient(ValueError()) and not is_transient(OSError(28, "No space left"))
