"""Answers that were seen in the world, by name: of the public hub, of mirrors, and on the way.

Each makes what `Hub(faults=...)` takes; `python -m sample_hub.server --flow NAME` replays it by
hand. What needs a second hub (`moved`) or another repository (`ServedRepo.formerly`) has no name.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha1
from itertools import count, product

from sample_hub.faults import Fault
from sample_hub.listener import Kind, kind_of

Faults = Callable[[str, str], Fault | None]
# Where the answer is another one: at the hub, at one kind of its addresses, or at the CDN alone.
PLACES: Mapping[str, tuple[Kind, ...]] = {
    "hub": ("api", "resolve", "resolve-cache"),
    "info": ("api",),
    "metadata": ("resolve",),
    "small": ("resolve-cache",),
    "cdn": ("cdn",),
}


def at(place: str, *faults: Fault, then: Fault | None = None, method: str | None = None) -> Faults:
    """These faults in turn for the requests of a place; afterwards the last again, or `then`."""
    left = list(faults)

    def choose(asked: str, path: str) -> Fault | None:
        if kind_of(path) not in PLACES[place] or method not in (None, asked):
            return None
        if len(left) == 1 and then is None:
            return left[0]
        return left.pop(0) if left else then

    return choose


def page(status: int, *, length: bool = True, server: str = "gateway") -> Fault:
    """A web page in place of the answer; 302 leads to a login page on another host."""
    return Fault(page=True, status=status, chunked=not length, headers={"Server": server})


def moved(endpoint: str) -> Faults:
    """As of hf-mirror.com outside of China: all of it is at another hub, without a word."""
    return lambda method, path: Fault(moved=endpoint)


def limited(left: int = 0, seconds: int = 172, retry_after: str | None = None) -> Fault:
    """429 in the words and with the headers of the public hub, which sends no Retry-After."""
    headers = {
        "RateLimit": f'"resolvers";r={left};t={seconds}',
        "RateLimit-Policy": '"fixed window";"resolvers";q=3000;w=300',
    }
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    message = "We had to rate limit your IP. To continue using our service, create a HF account."
    return Fault(status=429, headers=headers, message=message)


def slow(place: str, seconds: float = 25) -> Faults:
    """The connection is made at once, the first byte comes late: a cold mirror."""
    return at(place, Fault(wait=seconds))


def changing() -> Callable[[str], str]:
    """Another ETag at every answer, as of a mirror whose workers do not agree."""
    numbers = count()
    return lambda digest: f'"{sha1(f"{digest} {next(numbers)}".encode()).hexdigest()}"'


def foreign(digest: str) -> str:
    """A server's own digest, as Artifactory has it: a sha1, and no quotes."""
    return sha1(digest.encode()).hexdigest()


UNSIZED = Fault(without=frozenset({"content-length", "x-linked-size"}))
NO_LINKED_SIZE = Fault(without=frozenset({"x-linked-size"}))
PACKED_LENGTH = Fault(gzip=True, without=frozenset({"x-linked-size"}))
ARTIFACTORY = Fault(direct=True, etag=foreign, ignore_range=True)
NO_BOX = Fault(
    status=403,
    message="Please enable access to public gated repositories in your fine-grained token settings "
    "to view this repository.",
)
PENDING = Fault(
    status=403,
    code="GatedRepo",
    message="Your request to access model ORG/NAME is awaiting a review from the repo authors.",
)
DISABLED = Fault(status=403, message="Access to this resource is disabled.")
BLOCKED = Fault(status=451, message="Unavailable For Legal Reasons")
INVALID_RANGE = Fault(status=403, message="Auth failed: invalid range", with_range=True)
SIGNATURE = Fault(status=403, message="SignatureError")

FLOWS: Mapping[str, Callable[[], Faults]] = {
    **{
        f"page-{status}-{place}{'' if length else '-unsized'}": partial(
            at, place, page(status, length=length)
        )
        for status, place, length in product((200, 302, 403), PLACES, (True, False))
    },
    "page-502": lambda: at("hub", page(502)),
    "limited": lambda: at("hub", limited()),
    "limited-with-some-left": lambda: at("hub", limited(left=12)),
    "limited-retry-after": lambda: at("hub", limited(retry_after="172")),
    "head-unsized": lambda: at("small", UNSIZED, method="HEAD"),
    "head-packed": lambda: at("small", PACKED_LENGTH, method="HEAD"),
    "no-linked-size": lambda: at("metadata", NO_LINKED_SIZE),
    "no-blobs": lambda: at("info", Fault(ignore_query=True)),
    "query-dropped": lambda: at("hub", Fault(drop_query=True)),
    "no-box": lambda: at("metadata", NO_BOX),
    "pending": lambda: at("metadata", PENDING),
    "disabled": lambda: at("hub", DISABLED),
    "blocked": lambda: at("hub", BLOCKED),
    "cdn-range": lambda: at("cdn", INVALID_RANGE),
    "cdn-signature": lambda: at("cdn", SIGNATURE),
    "cdn-signature-twice": lambda: at("cdn", SIGNATURE, SIGNATURE, then=Fault()),
    "cdn-empty": lambda: at("cdn", Fault(empty=True)),
    "cdn-empty-once": lambda: at("cdn", Fault(empty=True), then=Fault()),
    "hub-slow": lambda: slow("hub"),
    "cdn-slow": lambda: slow("cdn"),
    "etag-changes": lambda: at("hub", Fault(etag=changing())),
    "etag-unquoted": lambda: at("hub", Fault(etag=str)),
    "etag-weak": lambda: at("hub", Fault(etag='W/"{}"'.format)),
    "etag-foreign": lambda: at("hub", Fault(etag=foreign)),
    "direct": lambda: at("metadata", Fault(direct=True)),
    "artifactory": lambda: at("metadata", ARTIFACTORY),
    "artifactory-cold": lambda: at("metadata", replace(ARTIFACTORY, wait=25)),
    "range-ignored": lambda: at("cdn", Fault(ignore_range=True)),
    "packed": lambda: at("cdn", Fault(gzip=True)),
    "head-405": lambda: at("metadata", Fault(status=405), method="HEAD"),
}
