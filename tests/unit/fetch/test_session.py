"""A refusal with its own message, a web page, a hub's answer; and which host gets the token."""

import httpx
import pytest

from prep.fetch.session import Hosts, Session, host_of, is_page, read_message
from prep.fetch.timer import ProgressTimer
from tests.support.fault_play import TOKEN

S3 = """<?xml version="1.0"?>
<Error><Code>SignatureDoesNotMatch</Code>
<Message>The signature we calculated does not match.</Message>
<AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId><StringToSign>GET\n\n\n1790000000\n/x</StringToSign>
<SignatureProvided>bm90IGEgc2lnbmF0dXJl</SignatureProvided></Error>"""


def answer(
    body: str = "", *, role: str = "hub", path: str = "/x", status: int = 403, **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx.Request("GET", f"http://hub.example{path}", extensions={"role": role})
    return httpx.Response(status, text=body, headers=named, request=request)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (answer("other", X_Error_Message="Access is disabled."), "Access is disabled."),
        (answer('{"error": "Repository not found"}'), "Repository not found"),
        (answer('{"errors": [{"status": 403, "message": "Forbidden"}]}'), "Forbidden"),
        (answer('"Forbidden"'), '"Forbidden"'),
        (answer("[1, 2]"), "[1, 2]"),
        (answer("SignatureError\n"), "SignatureError"),
        (answer(S3), "The signature we calculated does not match."),
        (answer("<h1>no</h1>"), ""),
        (answer("<h1>no</h1>", Content_Type="text/html"), ""),
        (answer(), ""),
        (answer(f"token {TOKEN} is wrong"), "token … is wrong"),
        (answer("see https://h/x?Expires=1&Signature=abc now"), "see https://h/x?… now"),
        (answer("a" * 100 + " b"), "… b"),
        (answer("no " * 200), "no " * 100 + "…"),
        (answer("one\x1b[31mtwo"), "one [31mtwo"),
    ],
)
def test_servers_message_is_one_line_without_secrets(
    response: httpx.Response, message: str
) -> None:
    assert read_message(response) == message


@pytest.mark.parametrize(
    ("response", "page"),
    [
        (answer(Content_Type="text/html; charset=utf-8"), True),
        (answer(Content_Type="application/xhtml+xml"), True),
        (answer(Content_Type="TEXT/HTML"), True),
        (answer(Content_Type="text/plain"), False),
        (answer(), False),
        (answer(Content_Type="text/html", X_Request_Id="Root=1"), False),
        (answer(Content_Type="text/html", X_Request_Id="Root=1", role="bytes"), True),
        (answer(Content_Type="text/html", path="/org/name/resolve/main/card.html"), False),
    ],
)
def test_web_page_is_distinguished_from_a_hubs_answer(response: httpx.Response, page: bool) -> None:
    assert is_page(response) is page


@pytest.mark.parametrize(
    ("endpoint", "hosts", "line"),
    [
        ("http://a.example", ["http://a.example", "https://a.example"], ""),
        ("https://a.example", ["https://a.example", "http://a.example"], ", which gets no token"),
        ("http://a.example", ["http://a.example", "https://b.example"], ", which gets no token"),
        (
            "http://a.example",
            ["http://a.example", "https://a.example:8443"],
            ", which gets no token",
        ),
    ],
)
def test_only_the_host_that_the_user_named_gets_the_token(
    endpoint: str, hosts: list[str], line: str
) -> None:
    said: list[str] = []
    timer = ProgressTimer(1, None, lambda event: None)
    session = Session(endpoint, TOKEN, timer, Hosts(lambda event: None), said.append)
    urls = [httpx.URL(f"{host}/x") for host in hosts]
    session._report_redirect(urls)
    request = session._request("GET", urls[-1], "hub", None, {}, token=True)
    assert ("Authorization" in request.headers) == (line == "")
    [here, there] = hosts
    if host_of(urls[0]) != host_of(urls[1]):
        here, there = host_of(urls[0]), host_of(urls[1])
    assert said == [f"network: {here} redirects to {there}{line}"]
