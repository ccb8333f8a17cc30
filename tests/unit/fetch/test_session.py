"""What an answer is taken for: a refusal with its own words, a web page, a hub's."""

import httpx
import pytest

from prep.fetch.session import is_page, own_sentence, renamed
from tests.support.fault_play import TOKEN

S3 = """<?xml version="1.0"?>
<Error><Code>SignatureDoesNotMatch</Code>
<Message>The signature we calculated does not match.</Message>
<AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId><StringToSign>GET\n\n\n1790000000\n/x</StringToSign>
<SignatureProvided>bm90IGEgc2lnbmF0dXJl</SignatureProvided></Error>"""


def answer(
    body: str = "", *, role: str = "hub", path: str = "/x", status: int = 403, **headers: str
) -> httpx.Response:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx.Request("GET", f"http://hub.example{path}", extensions={"role": role})
    return httpx.Response(status, text=body, headers=told, request=request)


@pytest.mark.parametrize(
    ("response", "said"),
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
def test_servers_own_words_are_one_line_without_secrets(
    response: httpx.Response, said: str
) -> None:
    assert own_sentence(response) == said


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
def test_web_page_is_told_from_a_hubs_answer(response: httpx.Response, page: bool) -> None:
    assert is_page(response) is page


def test_renamed_repository_is_one_line() -> None:
    assert renamed("org/old", "org/new") == (
        "org/old is org/new at the hub; the home keeps the catalogue's name, org/old"
    )
