"""Every fault of the network: the class and message it ends in, and what is kept of the download.

`test_network_faults.py` plays each row by the fetch stage with the real client, `make faults` by a
whole run of pytest; `python -m tools.pages` writes them into docs/operations.md.
"""

from collections.abc import Callable
from typing import Any

from prep.errors import (
    ChecksumMismatch,
    ConnectionMisconfigured,
    HubBusy,
    HubRefused,
    HubUnreachable,
    NotAHub,
    PrepError,
    TimedOut,
)
from sample_hub import flows
from sample_hub.faults import Fault
from tests.support.fault_play import (
    BODY,
    CLOSED,
    OTHER,
    TOKEN,
    Faults,
    Row,
    always,
    bytes_only,
    elsewhere,
    metadata_only,
)

FINE = Fault()
RESUMED = "Received bytes are kept; run again to resume."
STORAGE_HOST = "{storage} (storage host of {host})"
STALLED = (
    "{file}: no progress for {timeout} s (less than 1024 bytes a second counts as none). Received "
    "bytes are kept; run again, or give a longer --download-timeout."
)
NOT_FOUND = (
    "ORG/NAME not found at {{host}}, or shown only with a token ({}). Check the repo in the "
    "catalogue; for a private or gated one pass HF_TOKEN."
)
ALLOW_HUB = "{host} (for huggingface.co also *.hf.co, its hosts for files)"
ALLOW_CDN = "{storage} (huggingface.co's hosts for files are *.hf.co)"
KNOWN: dict[str, Any] = {"token": TOKEN, "known": (TOKEN,)}  # a token that the hub accepts

# Faults that several rows are about.
REFUSES = "hub or storage host: connection refused"
SILENT = "connection accepted, no answer"
CLOSES = "connection closed or reset during a transfer"
STALLS = "every transfer stalls, or stays below 1 KiB a second"
WRONG = "wrong content or size"
USELESS = "private or gated model, token without access"
NO_TOKEN = "the same without a token"
NOTHING_THERE = "no such repository, revision or file"
GATEWAY = "a gateway answers with a web page"
MOVED = "a mirror redirects to another hub"


def again(words: str, number: str = "2 of 5", why: str = "") -> str:
    return f"network: {words}, trying again in 2 s{why} ({number})"


def unreachable(who: str, reason: str = "connection refused") -> str:
    return (
        f"{who}: {reason}. Check the network, the proxy settings and --hub (HF_ENDPOINT), then run "
        "again. A prepared home is checked without network by `pytest --offline`, and `make demo` "
        "shows the whole suite without any."
    )


def silent(who: str) -> str:
    return (
        f"{who} accepted the connection, and gave no answer within --download-timeout. Run again, "
        "or give a longer one: a mirror that has to fetch a file first is silent meanwhile."
    )


def size(got: int, where: str) -> str:
    return (
        f"{{file}} has {got} bytes {where}, expected {{size}} (lock). The hub does not serve the "
        "locked file; ask its operator, or --relock and review the diff."
    )


def page(who: str, seen: str, allow: str) -> str:
    return (
        f"{who} answers for ORG/NAME with a web page ({seen}, Server: gateway): probably a "
        f"gateway, a proxy or a login page. Have it allow {allow}, or log in to this network, or "
        "check --hub (HF_ENDPOINT); then run again."
    )


def says(message: str | None) -> str:
    """What the hub's own message adds to a sentence."""
    return f' {{host}} says: "{message}"'


def _fine(
    id: str,
    fault: str,
    faults: Callable[[str], Faults] | None = None,
    sentence: str = "",
    **more: Any,
) -> Row:
    """The run goes on, and may say a sentence."""
    return Row(id=id, fault=fault, faults=faults, sentence=sentence, kept="whole", **more)


def _ends(
    id: str,
    fault: str,
    error: type[PrepError],
    faults: Callable[[str], Faults] | None,
    sentence: str,
    **more: Any,
) -> Row:
    """The run ends with that error."""
    return Row(id=id, fault=fault, error=error, faults=faults, sentence=sentence, **more)


ROWS = (
    _ends("refused", REFUSES, HubUnreachable, None, unreachable("{host}"), endpoint=CLOSED),
    _ends("no-such-name", "name not resolved", HubUnreachable, None,
        unreachable("{host}", "name cannot be resolved"), endpoint="http://hub.invalid"),
    _ends("silent", SILENT, HubUnreachable, always(Fault(wait=300)), silent("{host}"),
        network={"timeout": 4}),
    _ends("silent-cdn", SILENT, HubUnreachable, bytes_only(Fault(wait=300)), silent(STORAGE_HOST),
        network={"timeout": 4}),
    _fine("late", "a slow first byte", bytes_only(Fault(wait=5)),
        network={"timeout": 9}),
    _fine("hub-restarts", "the hub is down for seconds",
        bytes_only(Fault(refuse=4), then=FINE), again("connection refused", "3 of 5")),
    _ends("bytes-elsewhere-refused", REFUSES, HubUnreachable, elsewhere(),
        unreachable("{cdn} (storage host of {host})")),
    _fine("signature-refused-once", "one signed URL is refused (403)",
        bytes_only(flows.SIGNATURE, then=FINE), again("403 from {storage}", "2 of 3")),
    _ends("signature-refused", "every signed URL is refused (403)", HubBusy,
        bytes_only(flows.SIGNATURE),
        f"{STORAGE_HOST} refused the signed URL of ORG/NAME (403), 3 times in a row, each with a "
        f'fresh signature: "SignatureError". {RESUMED} If it stays: check this machine\'s clock, '
        "and whether a proxy or gateway allows that host."),
    _fine("range-refused", "Range refused",
        bytes_only(flows.INVALID_RANGE), again("403 from {storage}", "2 of 3"),
        left=BODY[:100_000]),
    _fine("busy-once", "one 408, 429 or 5xx", bytes_only(Fault(status=503), then=FINE),
        again("503")),
    _ends("busy", "only 408, 429 or 5xx, after some bytes", HubBusy,
        bytes_only(Fault(cut=50_000), Fault(status=503)),
        f"{STORAGE_HOST} answered 503 for ORG/NAME, 5 times in a row. {RESUMED}", kept="part"),
    _ends("asked-to-wait", "rate limit: a wait of an hour", HubBusy,
        always(Fault(status=429, headers={"Retry-After": "3600"})),
        "{host} answered 429 for ORG/NAME and asks to wait 3600 s, longer than the 330 s that a "
        "run waits without progress when it is asked to. Received bytes are kept; run again after "
        "that time. A token in HF_TOKEN may have higher limits."),
    _fine("asked-to-wait-a-little", "rate limit: a wait of 330 s or less",
        metadata_only(flows.limited(seconds=5), flows.limited(seconds=5), then=FINE),
        again("429", why=", as the hub asks"), network={"timeout": 3}),
    _fine("cut", CLOSES, bytes_only(Fault(cut=50_000), then=FINE), again("truncated answer")),
    _fine("reset", CLOSES, bytes_only(Fault(cut=50_000, reset=True), then=FINE),
        again("truncated answer")),
    _ends("cut-for-ever", "every transfer ends before its first byte", HubBusy,
        bytes_only(Fault(cut=0)),
        f"{STORAGE_HOST} closed the connection in the middle of an answer, 5 times in a row. "
        f"{RESUMED}"),
    _ends("stalled", STALLS, TimedOut,
        bytes_only(Fault(stall=300, stall_at=50_000), Fault(stall=300)), STALLED,
        kept="part", network={"timeout": 6}),
    _ends("drip", STALLS, TimedOut, bytes_only(Fault(drip=200)), STALLED,
        kept="part", network={"timeout": 4}),
    _ends("deadline", "`--download-deadline` has passed", TimedOut,
        bytes_only(Fault(drip=5_000)),
        "fetching ORG/NAME: not done within the {deadline} s of --download-deadline. " + RESUMED,
        kept="part", network={"deadline": 8}),
    _fine("range-ignored", "Range ignored when a download resumes",
        bytes_only(Fault(ignore_range=True)), left=BODY[:100_000]),
    _fine("part-damaged", "corrupt partial file", left=b"\0" * 100_000),
    _fine("packed", "unrequested compression, or no Content-Length", bytes_only(Fault(gzip=True))),
    _ends("wrong-bytes", WRONG, ChecksumMismatch, bytes_only(Fault(content=OTHER)),
        "{file} has sha256 {got}, expected {sha256} (lock). The file was discarded and is never "
        "retried: the hub, a mirror or a proxy serves other bytes. Ask its operator, or --relock "
        "and review the diff."),
    _ends("another-size", WRONG, ChecksumMismatch,
        always(Fault(content=b"short", headers={"X-Linked-Size": "5"})), size(5, "on the hub")),
    _ends("grown", "changed on the server between two requests", ChecksumMismatch,
        bytes_only(Fault(cut=50_000), Fault(content=BODY + b"grown")),
        size(len(BODY) + 5, "at the storage host {storage}")),
    _ends("token-rejected", "public model, invalid token (401)", HubRefused, None,
        "{host} does not accept the token for ORG/NAME (401); the repository is public without "
        "it. Unset HF_TOKEN (or the hub's token file), or renew it at {endpoint}/settings/tokens."
        + says("Invalid credentials in Authorization header"),
        token=TOKEN, known=("hf_another",)),
    _ends("token-useless", USELESS, HubRefused, None,
        "{host} does not accept the token for ORG/NAME (404), and shows nothing of that name "
        "without it: it is private, or does not exist. Check the repo in the catalogue, and pass "
        "a token that may read it in HF_TOKEN." + says("Repository not found"),
        repo={"private": True}, **KNOWN),
    _ends("private", NO_TOKEN, HubRefused, None,
        NOT_FOUND.format(401) + says("Invalid username or password."), repo={"private": True}),
    _ends("gated", NO_TOKEN, HubRefused, None,
        "ORG/NAME is gated, and no token was given. Ask for access at {endpoint}/ORG/NAME, then "
        "pass a token of that account in HF_TOKEN."
        + says("Access to model ORG/NAME is restricted. You must have access to it and be "
            "authenticated to access it. Please log in."),
        repo={"gated": True}),
    _ends("gated-without-access", USELESS, HubRefused, None,
        "ORG/NAME is gated, and this token has no access to it. Ask for access at "
        "{endpoint}/ORG/NAME, then pass a token of that account in HF_TOKEN."
        + says("Access to model ORG/NAME is restricted and you are not in the authorized list. "
            "Visit {endpoint}/ORG/NAME to ask for access."),
        repo={"gated": True}, **KNOWN),
    _ends("no-repository", NOTHING_THERE, HubRefused,
        always(Fault(status=404, code="RepoNotFound", message="Repository not found")),
        NOT_FOUND.format(404) + says("Repository not found")),
    _ends("no-revision", NOTHING_THERE, HubRefused,
        always(Fault(status=404, code="RevisionNotFound", message="Invalid rev id")),
        "ORG/NAME has no revision {commit} at {host} (404). Correct the revision in the "
        "catalogue, then pytest --relock." + says("Invalid rev id")),
    _ends("no-file", NOTHING_THERE, HubRefused,
        always(Fault(status=404, code="EntryNotFound", message="Entry not found")),
        "ORG/NAME has no file model.safetensors at revision {commit} (404). The lock names it: "
        "pytest --relock and review the diff." + says("Entry not found")),
    _ends("other-commit", "a mirror answers with another commit", HubRefused,
        always(Fault(headers={"X-Repo-Commit": "0" * 40})),
        "ORG/NAME: the hub answers for commit 0000000000000000000000000000000000000000, expected "
        "{commit} (lock). A mirror that does not keep commits cannot be used; see --hub."),
    _ends("login-page", "an answer without a commit, as of a proxy", NotAHub,
        always(Fault(status=200)),
        "{host} answers for ORG/NAME without naming a commit. Check --hub (HF_ENDPOINT), the "
        "proxy, or whether this network wants a login first."),
    _ends("gateway", GATEWAY, NotAHub, always(flows.page(403)), page("{host}", "403", ALLOW_HUB)),
    _ends("login", "a captive portal's login page", NotAHub,
        metadata_only(flows.page(302)),
        page("{storage} (redirected to by {host})", "200", ALLOW_HUB)),
    _ends("gateway-at-the-bytes", GATEWAY, NotAHub, bytes_only(flows.page(200, length=False)),
        page(STORAGE_HOST, "200", ALLOW_CDN)),
    _ends("gateway-refuses-the-bytes", GATEWAY, NotAHub, bytes_only(flows.page(403)),
        page(STORAGE_HOST, "403", ALLOW_CDN)),
    _fine("another-hub", MOVED, None, "network: {host} redirects to {cdn}", moved=True),
    _fine("another-hub-with-a-token", MOVED, None,
        "network: {host} redirects to {cdn}, which gets no token", moved=True, token=TOKEN),
    _fine("renamed", "a renamed repository, or another spelling", None,
        "ORG/NAME is ORG/NEW at the hub; the home keeps the catalogue's name, ORG/NAME",
        repo={"repo": "ORG/NEW", "formerly": frozenset({"ORG/NAME"})}),
    _ends("no-box", "a fine-grained token without the permission", HubRefused,
        always(flows.NO_BOX),
        "{host} does not accept the token for ORG/NAME (403): it is a fine-grained one without "
        "the permission. Give it the permission at {endpoint}/settings/tokens, or pass another "
        "one in HF_TOKEN." + says(flows.NO_BOX.message), **KNOWN),
    _ends("pending", "gated model, access not yet granted", HubRefused,
        always(flows.PENDING),
        "ORG/NAME is gated, and access for this token's account is requested but not granted yet. "
        "Its authors review it; {endpoint}/ORG/NAME shows when they did."
        + says(flows.PENDING.message), **KNOWN),
    _ends("disabled", "a disabled repository", HubRefused, always(flows.DISABLED),
        "ORG/NAME is disabled at {host} (403), and no token changes that. Choose another model, "
        "or ask its owner." + says(flows.DISABLED.message), **KNOWN),
    _ends("tls", "untrusted TLS certificate", ConnectionMisconfigured, None,
        "the TLS certificate of {host} is not trusted (unable to get local issuer certificate). "
        "Name the file of the CA that signed it in SSL_CERT_FILE (REQUESTS_CA_BUNDLE is read as "
        "well), and check this machine's clock. Nothing was fetched.", tls=True),
)  # fmt: skip


def table() -> str:
    """The list of docs/operations.md: faults that end in an error, a line for each outcome."""
    alike: dict[str, list[str]] = {}
    for row in ROWS:
        if row.error:
            kept = "" if row.kept == "nothing" else f", {row.kept}"
            alike.setdefault(f"`{row.error.__name__}` ({row.code}{kept})", []).append(row.fault)
    lines = (
        f"- {outcome}: {'; '.join(dict.fromkeys(faults))}" for outcome, faults in alike.items()
    )
    return "\n".join(lines)
