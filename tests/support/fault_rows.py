"""Every fault of the network: the class and message it ends in, and what is kept of the download.

`test_network_faults.py` plays each row by the fetch stage with the real client, `make faults` by a
whole run of pytest; `python -m tools.pages` writes them into docs/operations.md.
"""

from prep.errors import (
    ChecksumMismatch,
    ConnectionMisconfigured,
    HubBusy,
    HubRefused,
    HubUnreachable,
    NotAHub,
    TimedOut,
)
from sample_hub import flows
from sample_hub.faults import Fault
from tests.support.fault_play import (
    BODY,
    CLOSED,
    OTHER,
    TOKEN,
    Row,
    always,
    bytes_only,
    elsewhere,
    metadata_only,
)

AGAIN = "network: {words}, trying again in 2 s (2 of 5)"
FINE = Fault()
UNREACHABLE = (
    "{who}: {reason}. Check the network, the proxy settings and --hub (HF_ENDPOINT), then run "
    "again. A prepared home is checked without network by `pytest --offline`, and `make demo` "
    "shows the whole suite without any."
)
STALLED = (
    "{file}: no progress for {timeout} s (less than 1024 bytes a second counts as none). Received "
    "bytes are kept; run again, or give a longer --download-timeout."
)
ASKED = (
    "{host} answered 429 for ORG/NAME and asks to wait 3600 s, longer than the 330 s that a run "
    "waits without progress when it is asked to. Received bytes are kept; run again after that "
    "time. A token in HF_TOKEN may have higher limits."
)
SILENT = (
    "{who} accepted the connection, and gave no answer within --download-timeout. Run again, or "
    "give a longer one: a mirror that has to fetch a file first is silent meanwhile."
)
SAYS = ' {host} says: "{said}"'
PAGE = (
    "{who} answers for ORG/NAME with a web page ({seen}): probably a gateway, a proxy or a login "
    "page. Have it allow {allow}, or log in to this network, or check --hub (HF_ENDPOINT); then "
    "run again."
)
ALLOW_HUB = "{host} (for huggingface.co also *.hf.co, its hosts for files)"
ALLOW_CDN = "{storage} (huggingface.co's hosts for files are *.hf.co)"
SIZE = (
    "{file} has {got} bytes {where}, expected {size} (lock). The hub does not serve the locked "
    "file; ask its operator, or --relock and review the diff."
)
DOWNLOAD_HOST = "{storage} (download host of {host})"
RESUMED = "Received bytes are kept; run again to resume."


def page(**names: str) -> str:
    """The sentence for a web page."""
    text = PAGE
    for name, words in names.items():
        text = text.replace(f"{{{name}}}", words)
    return text


ROWS = (
    Row(
        id="refused",
        fault="the hub or the download host refuses the connection",
        sentence=UNREACHABLE.replace("{who}", "{host}").replace("{reason}", "connection refused"),
        error=HubUnreachable,
        endpoint=CLOSED,
    ),
    Row(
        id="no-such-name",
        fault="the hub's name cannot be resolved",
        sentence=UNREACHABLE.replace("{who}", "{host}").replace(
            "{reason}", "name cannot be resolved"
        ),
        error=HubUnreachable,
        endpoint="http://hub.invalid",
    ),
    Row(
        id="silent",
        fault="the hub or the download host accepts the connection and never answers",
        sentence=SILENT.replace("{who}", "{host}"),
        error=HubUnreachable,
        faults=always(Fault(wait=300)),
        network={"timeout": 4},
    ),
    Row(
        id="silent-cdn",
        fault="the hub or the download host accepts the connection and never answers",
        sentence=SILENT.replace("{who}", DOWNLOAD_HOST),
        error=HubUnreachable,
        faults=bytes_only(Fault(wait=300)),
        network={"timeout": 4},
    ),
    Row(
        id="late",
        fault="a slow first byte, within `--download-timeout`",
        sentence="",
        kept="whole",
        faults=bytes_only(Fault(wait=5)),
        network={"timeout": 9},
    ),
    Row(
        id="hub-restarts",
        fault="the hub is down for some seconds",
        sentence=AGAIN.format(words="connection refused").replace("2 of 5", "3 of 5"),
        kept="whole",
        faults=bytes_only(Fault(refuse=4), then=FINE),
    ),
    Row(
        id="bytes-elsewhere-refused",
        fault="the hub or the download host refuses the connection",
        sentence=UNREACHABLE.replace("{who}", "{cdn} (download host of {host})").replace(
            "{reason}", "connection refused"
        ),
        error=HubUnreachable,
        faults=elsewhere(),
    ),
    Row(
        id="signature-refused-once",
        fault="one signed URL is refused (403)",
        sentence="network: 403 from {storage}, trying again in 2 s (2 of 3)",
        kept="whole",
        faults=bytes_only(flows.SIGNATURE, then=FINE),
    ),
    Row(
        id="signature-refused",
        fault="every signed URL is refused (403)",
        sentence=(
            f"{DOWNLOAD_HOST} refused the signed URL of ORG/NAME (403), 3 times in a row, each "
            f'with a fresh signature: "SignatureError". {RESUMED} If it stays: check this '
            "machine's clock, and whether a proxy or gateway allows that host."
        ),
        error=HubBusy,
        faults=bytes_only(flows.SIGNATURE),
    ),
    Row(
        id="range-refused",
        fault="the download host refuses Range requests",
        sentence="network: 403 from {storage}, trying again in 2 s (2 of 3)",
        kept="whole",
        faults=bytes_only(flows.INVALID_RANGE),
        left=BODY[:100_000],
    ),
    Row(
        id="busy-once",
        fault="a single 408, 429 or 5xx",
        sentence=AGAIN.format(words="503"),
        kept="whole",
        faults=bytes_only(Fault(status=503), then=FINE),
    ),
    Row(
        id="busy",
        fault="only 408, 429 or 5xx, after some bytes",
        sentence=(f"{DOWNLOAD_HOST} answered 503 for ORG/NAME, 5 times in a row. {RESUMED}"),
        error=HubBusy,
        kept="part",
        faults=bytes_only(Fault(cut=50_000), Fault(status=503)),
    ),
    Row(
        id="asked-to-wait",
        fault="rate limit: the hub asks for a wait of one hour",
        sentence=ASKED,
        error=HubBusy,
        faults=always(Fault(status=429, headers={"Retry-After": "3600"})),
    ),
    Row(
        id="asked-to-wait-a-little",
        fault="rate limit: the hub asks for a wait of 330 s or less",
        sentence="network: 429, trying again in 2 s, as the hub asks (2 of 5)",
        kept="whole",
        faults=metadata_only(flows.limited(seconds=5), flows.limited(seconds=5), then=FINE),
        network={"timeout": 3},
    ),
    Row(
        id="cut",
        fault="the connection is closed or reset during a transfer",
        sentence=AGAIN.format(words="truncated answer"),
        kept="whole",
        faults=bytes_only(Fault(cut=50_000), then=FINE),
    ),
    Row(
        id="reset",
        fault="the connection is closed or reset during a transfer",
        sentence=AGAIN.format(words="truncated answer"),
        kept="whole",
        faults=bytes_only(Fault(cut=50_000, reset=True), then=FINE),
    ),
    Row(
        id="cut-for-ever",
        fault="every transfer ends before its first byte",
        sentence=(
            f"{DOWNLOAD_HOST} closed the connection in the middle of an answer, 5 times in a row. "
            f"{RESUMED}"
        ),
        error=HubBusy,
        faults=bytes_only(Fault(cut=0)),
    ),
    Row(
        id="stalled",
        fault="every transfer stalls, or stays below 1 KiB a second",
        sentence=STALLED,
        error=TimedOut,
        kept="part",
        faults=bytes_only(Fault(stall=300, stall_at=50_000), Fault(stall=300)),
        network={"timeout": 6},
    ),
    Row(
        id="drip",
        fault="every transfer stalls, or stays below 1 KiB a second",
        sentence=STALLED,
        error=TimedOut,
        kept="part",
        faults=bytes_only(Fault(drip=200)),
        network={"timeout": 4},
    ),
    Row(
        id="deadline",
        fault="the download takes longer than `--download-deadline`",
        sentence=(
            "fetching ORG/NAME: not done within the {deadline} s of --download-deadline. " + RESUMED
        ),
        error=TimedOut,
        kept="part",
        faults=bytes_only(Fault(drip=5_000)),
        network={"deadline": 8},
    ),
    Row(
        id="range-ignored",
        fault="the server ignores Range when a download resumes",
        sentence="",
        kept="whole",
        faults=bytes_only(Fault(ignore_range=True)),
        left=BODY[:100_000],
    ),
    Row(
        id="part-damaged",
        fault="the partial file is corrupt",
        sentence="",
        kept="whole",
        left=b"\0" * 100_000,
    ),
    Row(
        id="packed",
        fault="unrequested compression, or no Content-Length",
        sentence="",
        kept="whole",
        faults=bytes_only(Fault(gzip=True)),
    ),
    Row(
        id="wrong-bytes",
        fault="wrong content or size",
        sentence=(
            "{file} has sha256 {got}, expected {sha256} (lock). The file was discarded and is "
            "never retried: the hub, a mirror or a proxy serves other bytes. Ask its operator, or "
            "--relock and review the diff."
        ),
        error=ChecksumMismatch,
        faults=bytes_only(Fault(content=OTHER)),
    ),
    Row(
        id="another-size",
        fault="wrong content or size",
        sentence=SIZE.replace("{got}", "5").replace("{where}", "on the hub"),
        error=ChecksumMismatch,
        faults=always(Fault(content=b"short", headers={"X-Linked-Size": "5"})),
    ),
    Row(
        id="grown",
        fault="the file changed on the server between two requests",
        sentence=SIZE.replace("{got}", str(len(BODY) + 5)).replace(
            "{where}", "at the download host {storage}"
        ),
        error=ChecksumMismatch,
        faults=bytes_only(Fault(cut=50_000), Fault(content=BODY + b"grown")),
    ),
    Row(
        id="token-rejected",
        fault="public model, invalid token (401)",
        sentence=(
            "{host} does not accept the token for ORG/NAME (401); the repository is public without "
            "it. Unset HF_TOKEN (or the hub's token file), or renew it at "
            "{endpoint}/settings/tokens."
        )
        + SAYS.replace("{said}", "Invalid credentials in Authorization header"),
        error=HubRefused,
        token=TOKEN,
        known=("hf_another",),
    ),
    Row(
        id="token-useless",
        fault="private or gated model, token without access",
        sentence=(
            "{host} does not accept the token for ORG/NAME (404), and shows nothing of that name "
            "without it: it is private, or does not exist. Check the repo in the catalogue, and "
            "pass a token that may read it in HF_TOKEN."
        )
        + SAYS.replace("{said}", "Repository not found"),
        error=HubRefused,
        token=TOKEN,
        known=(TOKEN,),
        repo={"private": True},
    ),
    Row(
        id="private",
        fault="private or gated model, no token",
        sentence=(
            "ORG/NAME not found at {host}, or shown only with a token (401). Check the "
            "repo in the catalogue; for a private or gated one pass HF_TOKEN."
        )
        + SAYS.replace("{said}", "Invalid username or password."),
        error=HubRefused,
        repo={"private": True},
    ),
    Row(
        id="gated",
        fault="private or gated model, no token",
        sentence=(
            "ORG/NAME is gated, and no token was given. Ask for access at {endpoint}/ORG/NAME, "
            "then pass a token of that account in HF_TOKEN."
        )
        + SAYS.replace(
            "{said}",
            "Access to model ORG/NAME is restricted. You must have access to it and be "
            "authenticated to access it. Please log in.",
        ),
        error=HubRefused,
        repo={"gated": True},
    ),
    Row(
        id="gated-without-access",
        fault="private or gated model, token without access",
        sentence=(
            "ORG/NAME is gated, and this token has no access to it. Ask for access at "
            "{endpoint}/ORG/NAME, then pass a token of that account in HF_TOKEN."
        )
        + SAYS.replace(
            "{said}",
            "Access to model ORG/NAME is restricted and you are not in the authorized list. Visit "
            "{endpoint}/ORG/NAME to ask for access.",
        ),
        error=HubRefused,
        token=TOKEN,
        known=(TOKEN,),
        repo={"gated": True},
    ),
    Row(
        id="no-repository",
        fault="no such repository, revision or file (404)",
        sentence=(
            "ORG/NAME not found at {host}, or shown only with a token (404). Check the "
            "repo in the catalogue; for a private or gated one pass HF_TOKEN."
        )
        + SAYS.replace("{said}", "Repository not found"),
        error=HubRefused,
        faults=always(Fault(status=404, code="RepoNotFound", message="Repository not found")),
    ),
    Row(
        id="no-revision",
        fault="no such repository, revision or file (404)",
        sentence=(
            "ORG/NAME has no revision {commit} at {host} (404). Correct the revision in the "
            "catalogue, then pytest --relock."
        )
        + SAYS.replace("{said}", "Invalid rev id"),
        error=HubRefused,
        faults=always(Fault(status=404, code="RevisionNotFound", message="Invalid rev id")),
    ),
    Row(
        id="no-file",
        fault="no such repository, revision or file (404)",
        sentence=(
            "ORG/NAME has no file model.safetensors at revision {commit} (404). The lock names it: "
            "pytest --relock and review the diff."
        )
        + SAYS.replace("{said}", "Entry not found"),
        error=HubRefused,
        faults=always(Fault(status=404, code="EntryNotFound", message="Entry not found")),
    ),
    Row(
        id="other-commit",
        fault="a mirror answers with another commit",
        sentence=(
            "ORG/NAME: the hub answers for commit 0000000000000000000000000000000000000000, "
            "expected {commit} (lock). A mirror that does not keep commits cannot be used; see "
            "--hub."
        ),
        error=HubRefused,
        faults=always(Fault(headers={"X-Repo-Commit": "0" * 40})),
    ),
    Row(
        id="login-page",
        fault="an answer that names no commit, as of a proxy",
        sentence=(
            "{host} answers for ORG/NAME without naming a commit. Check --hub (HF_ENDPOINT), the "
            "proxy, or whether this network wants a login first."
        ),
        error=NotAHub,
        faults=always(Fault(status=200)),
    ),
    Row(
        id="gateway",
        fault="a gateway answers with a web page, for the hub or the download host",
        sentence=page(who="{host}", seen="403, Server: gateway", allow=ALLOW_HUB),
        error=NotAHub,
        faults=always(flows.page(403)),
    ),
    Row(
        id="login",
        fault="a captive portal redirects to its login page",
        sentence=page(
            who="{storage} (redirected to by {host})",
            seen="200, Server: gateway",
            allow=ALLOW_HUB,
        ),
        error=NotAHub,
        faults=metadata_only(flows.page(302)),
    ),
    Row(
        id="gateway-at-the-bytes",
        fault="a gateway answers with a web page, for the hub or the download host",
        sentence=page(
            who=DOWNLOAD_HOST,
            seen="200, Server: gateway",
            allow=ALLOW_CDN,
        ),
        error=NotAHub,
        faults=bytes_only(flows.page(200, length=False)),
    ),
    Row(
        id="gateway-refuses-the-bytes",
        fault="a gateway answers with a web page, for the hub or the download host",
        sentence=page(
            who=DOWNLOAD_HOST,
            seen="403, Server: gateway",
            allow=ALLOW_CDN,
        ),
        error=NotAHub,
        faults=bytes_only(flows.page(403)),
    ),
    Row(
        id="another-hub",
        fault="a mirror redirects to another hub (no token is sent there)",
        sentence="network: {host} redirects to {cdn}",
        kept="whole",
        moved=True,
    ),
    Row(
        id="another-hub-with-a-token",
        fault="a mirror redirects to another hub (no token is sent there)",
        sentence="network: {host} redirects to {cdn}, which gets no token",
        kept="whole",
        moved=True,
        token=TOKEN,
    ),
    Row(
        id="renamed",
        fault="the repository was renamed, or is spelled differently",
        sentence=("ORG/NAME is ORG/NEW at the hub; the home keeps the catalogue's name, ORG/NAME"),
        kept="whole",
        repo={"repo": "ORG/NEW", "formerly": frozenset({"ORG/NAME"})},
    ),
    Row(
        id="no-box",
        fault="a fine-grained token without the permission",
        sentence=(
            "{host} does not accept the token for ORG/NAME (403): it is a fine-grained one without "
            "the permission. Give it the permission at {endpoint}/settings/tokens, or pass another "
            "one in HF_TOKEN."
        )
        + SAYS.replace("{said}", str(flows.NO_BOX.message)),
        error=HubRefused,
        token=TOKEN,
        known=(TOKEN,),
        faults=always(flows.NO_BOX),
    ),
    Row(
        id="pending",
        fault="gated model, access requested but not yet granted",
        sentence=(
            "ORG/NAME is gated, and access for this token's account is requested but not granted "
            "yet. Its authors review it; {endpoint}/ORG/NAME shows when they did."
        )
        + SAYS.replace("{said}", str(flows.PENDING.message)),
        error=HubRefused,
        token=TOKEN,
        known=(TOKEN,),
        faults=always(flows.PENDING),
    ),
    Row(
        id="disabled",
        fault="the repository is disabled",
        sentence=(
            "ORG/NAME is disabled at {host} (403), and no token changes that. Choose another "
            "model, or ask its owner."
        )
        + SAYS.replace("{said}", str(flows.DISABLED.message)),
        error=HubRefused,
        token=TOKEN,
        known=(TOKEN,),
        faults=always(flows.DISABLED),
    ),
    Row(
        id="tls",
        fault="untrusted TLS certificate",
        sentence=(
            "the TLS certificate of {host} is not trusted (unable to get local issuer "
            "certificate). Name the file of the CA that signed it in SSL_CERT_FILE "
            "(REQUESTS_CA_BUNDLE is read as well), and check this machine's clock. Nothing was "
            "fetched."
        ),
        error=ConnectionMisconfigured,
        tls=True,
    ),
)


def table() -> str:
    """The table of docs/operations.md: faults of one outcome in one row."""
    alike: dict[tuple[str, int, str], list[str]] = {}
    for row in ROWS:
        error = f"`{row.error.__name__}`" if row.error else "—"
        alike.setdefault((error, row.code, row.kept), []).append(row.fault)
    lines = ["| fault | class | exit | kept |", "|---|---|---|---|"]
    for (error, code, kept), faults in alike.items():
        lines.append(f"| {'<br>'.join(dict.fromkeys(faults))} | {error} | {code} | {kept} |")
    return "\n".join(lines)
