"""Requests by rules of our own: which host gets the token, and what a redirect leads to.

A hub says what a file is (commit, ETag, size) in its own answers, and redirects for the bytes to
another host, by a signed URL. Other hubs, gateways and login pages redirect too. So redirects are
followed here, one by one, and what an answer means depends on the redirects before it.
"""

import contextlib
import copy
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from huggingface_hub import hf_raise_for_status
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented

from prep.fetch.connections import Transport
from prep.fetch.timer import ProgressTimer
from prep.files.reader import parse_json, printable
from prep.process.child import Emit

TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
SIGNATURE_REFUSED_STATUSES = frozenset({400, 401, 403})  # S3 says 400 for one that expired
MAX_REDIRECTS = 10
ERROR_BODY_MAX = 4096  # bytes of a refusal's or a redirect's body
MESSAGE_MAX = 300
BODY_MAX = 64 << 20  # bytes of an answer that is kept in memory, unpacked
COUNT = re.compile("[0-9]{1,40}")
PAGE_TYPES = ("text/html", "application/xhtml+xml")
# A hub's own answer has one of these, whatever else it is.
HUB_HEADERS = ("X-Request-Id", "X-Repo-Commit", "X-Linked-Etag", "X-Error-Code", "X-Error-Message")
KEPT_HEADERS = frozenset({b"x-error-code", b"x-error-message", b"server", b"content-type"})
Role = Literal["hub", "bytes"]


class AnswerError(Exception):
    """An answer that cannot be used."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class ServerUnavailable(AnswerError):
    """An answer with one of `TRANSIENT_STATUSES`."""


class TruncatedBody(AnswerError):
    """A body ended early, without an error of the connection."""


class UnexpectedAnswer(AnswerError):
    """An answer that no hub gives; `what` it is, in words."""

    def __init__(self, response: httpx.Response, what: str) -> None:
        super().__init__(response)
        self.what = what


class SignatureRefused(AnswerError):
    """The storage host refuses the URL that the hub signed."""


class Hosts:
    """The hosts of this child's requests; each step of a host is an event for the parent."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._seen: set[tuple[str, str]] = set()

    def has_answered(self, url: httpx.URL) -> bool:
        """Whether that host ever answered."""
        return ("answered", host_of(url)) in self._seen

    def record(self, event: str, url: httpx.URL, role: Role) -> None:
        """One event for each host: it is asked, accepted the connection, answered."""
        host = host_of(url)
        with self._lock:
            if (event, host) not in self._seen:
                self._seen.add((event, host))
                self._emit({"event": event, "host": host, "role": role})


@dataclass(slots=True, kw_only=True)
class Answer:
    """The answer behind all redirects, and what the hub's answers on the way said of the file.

    `size` in bytes is what the hub says (``X-Linked-Size``), never a length of some body.
    """

    response: httpx.Response = field(init=False)
    commit: str | None = None
    etag: str | None = None
    size: int | None = None

    def read_headers(self, response: httpx.Response) -> bool:
        """Take what one of the hub's answers says of the file; gives whether it says anything."""
        headers = response.headers
        commit, linked = headers.get("X-Repo-Commit"), headers.get("X-Linked-Etag")
        self.commit = self.commit or commit
        if tag := linked or (headers.get("ETag") if commit else None):
            self.etag = tag.removeprefix("W/").strip('"')
        if (size := count_of(headers.get("X-Linked-Size", ""))) is not None:
            self.size = size
        return bool(commit or linked)


class Session:
    """Requests to the hub at `endpoint`, and to hosts that it redirects to.

    `say` takes lines for people.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | None,
        timer: ProgressTimer,
        hosts: Hosts,
        say: Callable[[str], object],
    ) -> None:
        self.hosts = hosts
        self._endpoint, self._token = httpx.URL(endpoint), token
        self._timer, self._say = timer, say
        self._headers: dict[str, str] = build_hf_headers(token=False)
        self._client = httpx.Client(transport=Transport(), timeout=None, trust_env=False)
        self._said: set[str] = set()

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        token: bool = True,
        accept: Collection[int] = (),
        follow_download: bool = True,
    ) -> Iterator[Answer]:
        """Send a request, and follow redirects to the final answer; its body is still to be read.

        Its status is 200, 206 or one of `accept`. Without `follow_download`, a redirect in which
        the hub says what the file is is final. Raises `AnswerError`, the errors of huggingface_hub,
        and those of httpx.
        """
        answer, at, cdn = Answer(), httpx.URL(url), None
        role: Role = "hub"
        moved = [at]
        for _ in range(MAX_REDIRECTS):
            request = self._request(method, at, role, cdn, headers or {}, token)
            with self._sent(request) as response:
                answer.response = response
                describes_file = role == "hub" and answer.read_headers(response)
                redirected = 300 <= response.status_code < 400 and "Location" in response.headers
                if not redirected or (describes_file and not follow_download):
                    if not redirected:
                        _check(response, accept)
                    if len(moved) > 1 and response.status_code < 400:
                        self._report_redirect(moved)
                    yield answer
                    return
                target = target_of(at, response.headers["Location"])
                _drain(response)
            self._timer.alive()
            self._report_rename(httpx.URL(url), target)
            if _origin(target) != _origin(at):
                if describes_file:
                    role, cdn = "bytes", host_of(target)
                elif role == "hub":
                    moved.append(target)
            at = target
        raise httpx.TooManyRedirects("", request=request)

    def of(self, timer: ProgressTimer, say: Callable[[str], object]) -> "Session":
        """The same, with its connections, for one repository of several."""
        own = copy.copy(self)
        own._timer, own._say = timer, say
        return own

    def blocks(self, response: httpx.Response) -> Iterator[bytes]:
        """A body as it comes; `TimedOut` where it comes too slowly."""
        for block in response.iter_bytes():
            self._timer.received(len(block))
            yield block

    def whole(self, response: httpx.Response) -> bytes:
        """A body that is kept in memory, of bounded size: some bytes can be packed thousands of."""
        body = bytearray()
        for block in self.blocks(response):
            body += block
            if len(body) > BODY_MAX:
                raise UnexpectedAnswer(response, f"more than {BODY_MAX} bytes")
        return bytes(body)

    def json(self, url: str, *, token: bool = True) -> tuple[Any, httpx.Headers]:
        """What the hub's API answers, and that answer's headers."""
        with self.open("GET", url, token=token) as answer:
            try:
                return parse_json(self.whole(answer.response)), answer.response.headers
            except ValueError:
                raise UnexpectedAnswer(answer.response, "something that is not JSON") from None

    def unexpected(self, url: str, what: str) -> UnexpectedAnswer:
        """The error for an answer whose form is right and whose content is not."""
        request = self._client.build_request("GET", url, extensions={"role": "hub", "cdn": None})
        return UnexpectedAnswer(httpx.Response(200, request=request), what)

    def say_once(self, text: str) -> None:
        """One line, however many files meet the same."""
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def _request(
        self,
        method: str,
        url: httpx.URL,
        role: Role,
        cdn: str | None,
        headers: Mapping[str, str],
        token: bool,
    ) -> httpx.Request:
        ours = {**self._headers, **headers}
        if token and self._token and self._gets_token(url):
            ours["Authorization"] = f"Bearer {self._token}"
        request = self._client.build_request(
            method,
            url,
            headers=ours,
            timeout=self._timer.request_timeout(),
            extensions={"role": role},
        )
        # The first byte may take as long as --download-timeout says, once the connection was
        # accepted: a mirror that fetches a file first is silent meanwhile. Between bytes, silence
        # means that the connection is dead, and there must be time to ask again.
        timeouts = request.extensions["timeout"]
        between_bytes = timeouts["read"]
        timeouts["read"] = max(between_bytes, self._timer.remaining())
        through_proxy = False  # CONNECT is the proxy's to answer, and says nothing of the host

        def trace(event: str, info: Mapping[str, Any]) -> None:
            nonlocal through_proxy
            if event == "http11.send_request_headers.started":
                if not (through_proxy := info["request"].method == b"CONNECT"):
                    self.hosts.record("connected", url, role)
            elif event == "http11.receive_response_headers.complete" and not through_proxy:
                timeouts["read"] = between_bytes

        request.extensions |= {"trace": trace, "cdn": cdn}
        return request

    def _gets_token(self, url: httpx.URL) -> bool:
        """Whether the user named this host as the hub: the token is for no other."""
        named, asked = _origin(self._endpoint), _origin(url)
        upgraded = (named[0], named[2], asked[0], asked[2]) == ("http", 80, "https", 443)
        return named == asked or (upgraded and named[1] == asked[1])

    @contextlib.contextmanager
    def _sent(self, request: httpx.Request) -> Iterator[httpx.Response]:
        role = request.extensions["role"]
        self.hosts.record("asking", request.url, role)
        try:
            response = self._client.send(request, stream=True)
        except httpx.RemoteProtocolError as error:  # httpx looks at redirects it does not follow
            if "Invalid URL in location header" in str(error):
                raise httpx.InvalidURL(str(error)) from error
            raise
        try:
            self.hosts.record("answered", request.url, role)
            if response.status_code in TRANSIENT_STATUSES:
                raise ServerUnavailable(response)
            yield response
        finally:
            response.close()

    def _report_redirect(self, moved: list[httpx.URL]) -> None:
        more = ", which gets no token" if self._token and not self._gets_token(moved[-1]) else ""
        here, there = host_of(moved[0]), host_of(moved[-1])
        if here == there:  # from http to https, most often
            here, there = f"{moved[0].scheme}://{here}", f"{moved[-1].scheme}://{there}"
        self.say_once(f"network: {here} redirects to {there}{more}")

    def _report_rename(self, asked: httpx.URL, target: httpx.URL) -> None:
        """A repository that was renamed, or is spelled otherwise, is redirected to."""
        here, there = _repo(asked), _repo(target)
        if here and there and here != there:
            self.say_once(renamed(here, there))


def target_of(at: httpx.URL, place: str) -> httpx.URL:
    """Where `place` leads from there; `httpx.InvalidURL` where no connection can be made to it."""
    url = at.join(place)
    try:
        url.raw_host.decode().encode("idna")  # as the system's resolver does, outside of `OSError`
    except UnicodeError as error:
        raise httpx.InvalidURL(str(error)) from error
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) >= 1 << 16:
        raise httpx.InvalidURL("no address of a host")
    return url


def count_of(text: str) -> int | None:
    """A header's count of bytes; None for what is none, as is much that ``isdigit`` takes."""
    return int(text) if COUNT.fullmatch(text) else None


def renamed(here: str, there: str) -> str:
    """The line for a repository that has another name at the hub."""
    return f"{here} is {printable(there)} at the hub; the home keeps the catalogue's name, {here}"


def server_message(response: httpx.Response) -> str:
    """The server's own message with a refusal, in one line; "" where it has none.

    Never more than its message: S3 answers a wrong signature with all that it was made of.
    """
    return str(response.extensions.get("message", ""))


def read_message(response: httpx.Response) -> str:
    """The same, of an answer whose body was not read yet."""
    if message := response.headers.get("X-Error-Message"):
        return _one_line(message)
    if is_page(response):
        return ""
    try:
        body = _drain(response).decode(errors="replace")
    except httpx.HTTPError:
        return ""
    try:
        data = parse_json(body)
        errors = data.get("errors") or [{}]
        return _one_line(data.get("error") or data.get("message") or errors[0].get("message") or "")
    except (ValueError, AttributeError, TypeError, LookupError):
        pass
    if body.lstrip().startswith("<"):
        found = re.search(r"<Message>([^<]*)</Message>", body)
        return _one_line(found[1]) if found else ""
    return _one_line(body)


def is_page(response: httpx.Response) -> bool:
    """Whether it is for a browser, as a gateway, a proxy or a login answers, and no hub."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in PAGE_TYPES or response.request.url.path.endswith((".html", ".htm")):
        return False
    role = response.request.extensions["role"]
    return role == "bytes" or not any(name in response.headers for name in HUB_HEADERS)


def host_of(url: httpx.URL) -> str:
    """Host and port, as a person would write them."""
    return url.netloc.decode()


def _check(response: httpx.Response, accept: Collection[int]) -> None:
    """Raise unless the answer is what was asked for."""
    code, role = response.status_code, response.request.extensions["role"]
    if code in accept:
        return
    page = is_page(response)
    if code in (200, 206) and not page:
        return
    kept = httpx.Response(
        code,
        # Bytes: httpx reads what is not ASCII, and would not write it.
        headers=[
            (key, value) for key, value in response.headers.raw if key.lower() in KEPT_HEADERS
        ],
        request=response.request,
        extensions={"message": read_message(response)},
    )
    if role == "bytes" and code in SIGNATURE_REFUSED_STATUSES:
        raise SignatureRefused(kept)
    if page:
        raise UnexpectedAnswer(kept, "a web page")
    hf_raise_for_status(kept)  # its classes distinguish the refusals
    raise UnexpectedAnswer(kept, "what is neither a file nor a refusal")


def _drain(response: httpx.Response) -> bytes:
    """The beginning of a body, and all of a short one: then the connection can be used again."""
    body = b""
    for block in response.iter_bytes():
        body += block
        if len(body) > ERROR_BODY_MAX:
            break
    return body[:ERROR_BODY_MAX]


def _one_line(text: object) -> str:
    """As text to be quoted: no control characters, and nothing that could be a secret."""
    words = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    words = re.sub(r"\?\S*=\S*", "?…", words)  # an address's query may sign it
    words = re.sub(r"\b(hf_\w{8,}|[\w+/=~-]{48,})", "…", words)
    return words if len(words) <= MESSAGE_MAX else f"{words[:MESSAGE_MAX]}…"


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _repo(url: httpx.URL) -> str | None:
    """The repository of which an address asks something."""
    found = re.search(r"/api/models/([^/]+/[^/]+)|([^/]+/[^/]+)/resolve/", url.path)
    return (found[1] or found[2]) if found else None
