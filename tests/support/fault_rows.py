"""The table of docs/operations.md, row by row; run as a module, it writes the table anew.

`test_network_faults.py` plays each by the fetch stage with the real client, `make faults` by a
whole run of pytest.
"""

import re

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
from tests.support.paths import ROOT

OPERATIONS = ROOT / "docs" / "operations.md"
# What the document says of each: what lies in the home afterwards.
KEPT = {
    "nothing": "nothing came",
    "part": "the bytes that came",
    "whole": "the file, whole and in its place",
}


AGAIN = "network: {words}, trying again in 2 s (2 of 5)"
FINE = Fault()
UNREACHABLE = (
    "The hub at {host} cannot be reached ({reason}). Check the network, the proxy settings and "
    "--hub (HF_ENDPOINT), then run again. A prepared home is checked without network by `pytest "
    "--offline`, and `make demo` shows the whole suite without any."
)
STILL = (
    "{file}: no progress for {timeout} s (a drip below 1024 bytes a second is none). What came so "
    "far is kept; run again, or give a longer --download-timeout."
)
ASKED = (
    "{host} answered 429 for ORG/NAME and asks to wait 3600 s, longer than the 330 s that a run "
    "waits without progress when it is asked to. What came so far is kept; run again after that "
    "time. A token in HF_TOKEN may have higher limits."
)
SILENT = (
    "{who} took the connection, and gave no answer within --download-timeout. Run again, or give a "
    "longer one: a mirror that has to fetch a file first is silent meanwhile."
)
SAYS = ' {host} says: "{said}"'
PAGE = (
    "{who} answers for ORG/NAME with a web page ({seen}), not as a hub does: a gateway, a proxy or "
    "a login page stands in between. Have it allow {allow}, or log in to this network, or check "
    "--hub (HF_ENDPOINT); then run again."
)
ALLOW_HUB = "{host} (for huggingface.co also *.hf.co, its hosts for files)"
ALLOW_CDN = "{storage} (huggingface.co's hosts for files are *.hf.co)"
SIZE = (
    "{file} has {got} bytes on the hub, {size} in the lock. The hub does not serve the locked "
    "bytes; ask its keeper, or --relock and review."
)


def page(**names: str) -> str:
    """The sentence for a web page."""
    text = PAGE
    for name, words in names.items():
        text = text.replace(f"{{{name}}}", words)
    return text


ROWS = (
    Row(
        id="refused",
        fault="nobody listens at the hub's address",
        sentence=UNREACHABLE.replace("{reason}", "connection refused"),
        code=75,
        endpoint=CLOSED,
    ),
    Row(
        id="no-such-name",
        fault="the hub's name cannot be resolved",
        sentence=UNREACHABLE.replace("{reason}", "its name cannot be resolved"),
        code=75,
        endpoint="http://hub.invalid",
    ),
    Row(
        id="silent",
        fault="the host takes the connection and never answers",
        sentence=SILENT.replace("{who}", "The hub at {host}"),
        code=75,
        faults=always(Fault(wait=300)),
        network={"timeout": 4},
    ),
    Row(
        id="silent-cdn",
        fault="the same, of the host to which the hub sends for the bytes",
        sentence=SILENT.replace("{who}", "{storage}, where {host} sends for the bytes,"),
        code=75,
        faults=bytes_only(Fault(wait=300)),
        network={"timeout": 4},
    ),
    Row(
        id="late",
        fault="the first byte comes late, within `--download-timeout`: a mirror fetches it first",
        sentence="",
        code=0,
        kept="whole",
        faults=bytes_only(Fault(wait=5)),
        network={"timeout": 9},
    ),
    Row(
        id="hub-restarts",
        fault="the hub is gone for some seconds",
        sentence=AGAIN.format(words="connection refused").replace("2 of 5", "3 of 5"),
        code=0,
        kept="whole",
        faults=bytes_only(Fault(refuse=4), then=FINE),
    ),
    Row(
        id="bytes-elsewhere-refused",
        fault="the host to which the hub sends for the bytes cannot be reached",
        sentence=UNREACHABLE.replace(
            "The hub at {host} cannot", "{cdn}, where {host} sends for the bytes, cannot"
        ).replace("{reason}", "connection refused"),
        code=75,
        faults=elsewhere(),
    ),
    Row(
        id="signature-refused-once",
        fault="that host refuses the signed address, and takes the next one",
        sentence="network: 403 from {storage}, trying again in 2 s (2 of 3)",
        code=0,
        kept="whole",
        faults=bytes_only(flows.SIGNATURE, then=FINE),
    ),
    Row(
        id="signature-refused",
        fault="that host refuses every signed address",
        sentence=(
            "{storage}, where {host} sends for the bytes, refused the signed address of ORG/NAME "
            '(403), 3 times in a row, each with a fresh signature: "SignatureError". What came so '
            "far is kept; run again later. If it stays: check this machine's clock, and whether a "
            "proxy or gateway allows that host."
        ),
        code=75,
        faults=bytes_only(flows.SIGNATURE),
    ),
    Row(
        id="range-refused",
        fault="a part is there, and that host refuses every Range: it is asked for the whole file",
        sentence="network: 403 from {storage}, trying again in 2 s (2 of 3)",
        code=0,
        kept="whole",
        faults=bytes_only(flows.INVALID_RANGE),
        left=BODY[:100_000],
    ),
    Row(
        id="busy-once",
        fault="one answer of 408, 429, 500, 502, 503 or 504",
        sentence=AGAIN.format(words="503"),
        code=0,
        kept="whole",
        faults=bytes_only(Fault(status=503), then=FINE),
    ),
    Row(
        id="busy",
        fault="nothing but such answers, after some bytes",
        sentence=(
            "{storage}, where {host} sends for the bytes, answered 503 for ORG/NAME, 5 times in a "
            "row. What came so far is kept; run again later to go on."
        ),
        code=75,
        kept="part",
        faults=bytes_only(Fault(cut=50_000), Fault(status=503)),
    ),
    Row(
        id="asked-to-wait",
        fault="the hub asks to wait for an hour (`Retry-After`, or its rate limit's headers)",
        sentence=ASKED,
        code=75,
        faults=always(Fault(status=429, headers={"Retry-After": "3600"})),
    ),
    Row(
        id="asked-to-wait-a-little",
        fault="the hub asks to wait, for 330 s at most, whatever `--download-timeout` says",
        sentence="network: 429, trying again in 2 s, as the hub asks (2 of 5)",
        code=0,
        kept="whole",
        faults=metadata_only(flows.limited(seconds=5), flows.limited(seconds=5), then=FINE),
        network={"timeout": 3},
    ),
    Row(
        id="cut",
        fault="the connection ends in the middle of a body",
        sentence=AGAIN.format(words="the answer broke off"),
        code=0,
        kept="whole",
        faults=bytes_only(Fault(cut=50_000), then=FINE),
    ),
    Row(
        id="reset",
        fault="the connection is reset in the middle of a body",
        sentence=AGAIN.format(words="the answer broke off"),
        code=0,
        kept="whole",
        faults=bytes_only(Fault(cut=50_000, reset=True), then=FINE),
    ),
    Row(
        id="cut-for-ever",
        fault="every answer is cut before it brings a byte",
        sentence=(
            "{storage}, where {host} sends for the bytes, broke off in the middle of an answer, 5 "
            "times in a row. What came so far is kept; run again to go on from there."
        ),
        code=75,
        faults=bytes_only(Fault(cut=0)),
    ),
    Row(
        id="stalled",
        fault="a body stands still, and so does each that is asked for after it",
        sentence=STILL,
        code=75,
        kept="part",
        faults=bytes_only(Fault(stall=300, stall_at=50_000), Fault(stall=300)),
        network={"timeout": 6},
    ),
    Row(
        id="drip",
        fault="a body drips at less than 1 KiB a second",
        sentence=STILL,
        code=75,
        kept="part",
        faults=bytes_only(Fault(drip=200)),
        network={"timeout": 4},
    ),
    Row(
        id="deadline",
        fault="all is well, but slower than `--download-deadline` allows",
        sentence=(
            "fetching ORG/NAME: not done within the {deadline} s of --download-deadline. What came "
            "so far is kept; run again to go on from there."
        ),
        code=75,
        kept="part",
        faults=bytes_only(Fault(drip=5_000)),
        network={"deadline": 8},
    ),
    Row(
        id="range-ignored",
        fault="a part is there, and the server ignores Range",
        sentence="",
        code=0,
        kept="whole",
        faults=bytes_only(Fault(ignore_range=True)),
        left=BODY[:100_000],
    ),
    Row(
        id="part-damaged",
        fault="the part that is there is damaged",
        sentence="",
        code=0,
        kept="whole",
        left=b"\0" * 100_000,
    ),
    Row(
        id="packed",
        fault="bodies come compressed or without a length, though nobody asked for that",
        sentence="",
        code=0,
        kept="whole",
        faults=bytes_only(Fault(gzip=True)),
    ),
    Row(
        id="wrong-bytes",
        fault="right size, wrong bytes",
        sentence=(
            "{file} came with sha256 {got}, the lock names {sha256}. It was thrown away and is "
            "never retried into acceptance: the hub, a mirror or a proxy serves other bytes. Ask "
            "its keeper, or --relock and review the diff."
        ),
        code=1,
        faults=bytes_only(Fault(content=OTHER)),
    ),
    Row(
        id="another-size",
        fault="the hub's file has another size than the locked one",
        sentence=SIZE.replace("{got}", "5"),
        code=1,
        faults=always(Fault(content=b"short", headers={"X-Linked-Size": "5"})),
    ),
    Row(
        id="grown",
        fault="the file changed on the server between two requests",
        sentence=SIZE.replace("{got}", str(len(BODY) + 5)).replace(
            "on the hub", "at {storage}, where the hub sends for them"
        ),
        code=1,
        faults=bytes_only(Fault(cut=50_000), Fault(content=BODY + b"grown")),
    ),
    Row(
        id="token-rejected",
        fault="401 for a public model: the token is wrong",
        sentence=(
            "{host} refused the token for ORG/NAME (401); the repository is public without it: "
            "the token was rejected. Unset HF_TOKEN (or the hub's token file), or renew it at "
            "{endpoint}/settings/tokens."
        )
        + SAYS.replace("{said}", "Invalid credentials in Authorization header"),
        code=1,
        token=TOKEN,
        known=("hf_another",),
    ),
    Row(
        id="token-useless",
        fault="a private model, and a token that may not read it",
        sentence=(
            "{host} refused the token for ORG/NAME (404), and shows nothing of that name without "
            "it: it is private, or not there. Check the repo in the catalogue, and pass a token "
            "that may read it in HF_TOKEN."
        )
        + SAYS.replace("{said}", "Repository not found"),
        code=1,
        token=TOKEN,
        known=(TOKEN,),
        repo={"private": True},
    ),
    Row(
        id="private",
        fault="a private model, and no token",
        sentence=(
            "{host} knows no repository ORG/NAME, or shows it only with a token (401). Check the "
            "repo in the catalogue; for a private or gated one pass HF_TOKEN."
        )
        + SAYS.replace("{said}", "Invalid username or password."),
        code=1,
        repo={"private": True},
    ),
    Row(
        id="gated",
        fault="a gated model, and no token",
        sentence=(
            "ORG/NAME is gated, and no token was given. Ask for access at {endpoint}/ORG/NAME, "
            "then pass a token of that account in HF_TOKEN."
        )
        + SAYS.replace(
            "{said}",
            "Access to model ORG/NAME is restricted. You must have access to it and be "
            "authenticated to access it. Please log in.",
        ),
        code=1,
        repo={"gated": True},
    ),
    Row(
        id="gated-without-access",
        fault="a gated model, and a token whose account was given no access",
        sentence=(
            "ORG/NAME is gated, and this token has no access to it. Ask for access at "
            "{endpoint}/ORG/NAME, then pass a token of that account in HF_TOKEN."
        )
        + SAYS.replace(
            "{said}",
            "Access to model ORG/NAME is restricted and you are not in the authorized list. Visit "
            "{endpoint}/ORG/NAME to ask for access.",
        ),
        code=1,
        token=TOKEN,
        known=(TOKEN,),
        repo={"gated": True},
    ),
    Row(
        id="no-repository",
        fault="404: no such repository",
        sentence=(
            "{host} knows no repository ORG/NAME, or shows it only with a token (404). Check the "
            "repo in the catalogue; for a private or gated one pass HF_TOKEN."
        )
        + SAYS.replace("{said}", "Repository not found"),
        code=1,
        faults=always(Fault(status=404, code="RepoNotFound", message="Repository not found")),
    ),
    Row(
        id="no-revision",
        fault="404: no such revision",
        sentence=(
            "ORG/NAME has no revision {commit} at {host} (404). Correct the revision in the "
            "catalogue, then pytest --relock."
        )
        + SAYS.replace("{said}", "Invalid rev id"),
        code=1,
        faults=always(Fault(status=404, code="RevisionNotFound", message="Invalid rev id")),
    ),
    Row(
        id="no-file",
        fault="404: no such file",
        sentence=(
            "ORG/NAME has no file model.safetensors at revision {commit} (404). The lock names it: "
            "pytest --relock and review the diff."
        )
        + SAYS.replace("{said}", "Entry not found"),
        code=1,
        faults=always(Fault(status=404, code="EntryNotFound", message="Entry not found")),
    ),
    Row(
        id="other-commit",
        fault="a mirror answers with another commit",
        sentence=(
            "ORG/NAME: the hub answers for commit 0000000000000000000000000000000000000000, the "
            "lock names {commit}. A mirror that does not keep commits cannot be used; see --hub."
        ),
        code=1,
        faults=always(Fault(headers={"X-Repo-Commit": "0" * 40})),
    ),
    Row(
        id="login-page",
        fault="something else answers: a network's login page, a proxy",
        sentence=(
            "{host} answers for ORG/NAME, but not as a hub does: it names no commit. Check --hub "
            "(HF_ENDPOINT), the proxy, or whether this network wants a login first."
        ),
        code=1,
        faults=always(Fault(status=200)),
    ),
    Row(
        id="gateway",
        fault="a gateway answers with a web page in the hub's place, whatever its status",
        sentence=page(who="{host}", seen="403, Server: gateway", allow=ALLOW_HUB),
        code=1,
        faults=always(flows.page(403)),
    ),
    Row(
        id="login",
        fault="a captive portal redirects to its login",
        sentence=page(
            who="{storage}, to which {host} redirects,",
            seen="200, Server: gateway",
            allow=ALLOW_HUB,
        ),
        code=1,
        faults=metadata_only(flows.page(302)),
    ),
    Row(
        id="gateway-at-the-bytes",
        fault="the same at the host of the bytes alone",
        sentence=page(
            who="{storage}, where {host} sends for the bytes,",
            seen="200, Server: gateway",
            allow=ALLOW_CDN,
        ),
        code=1,
        faults=bytes_only(flows.page(200, length=False)),
    ),
    Row(
        id="gateway-refuses-the-bytes",
        fault="the same, with 403",
        sentence=page(
            who="{storage}, where {host} sends for the bytes,",
            seen="403, Server: gateway",
            allow=ALLOW_CDN,
        ),
        code=1,
        faults=bytes_only(flows.page(403)),
    ),
    Row(
        id="another-hub",
        fault="a mirror redirects to another hub",
        sentence="network: {host} redirects to {cdn}",
        code=0,
        kept="whole",
        moved=True,
    ),
    Row(
        id="another-hub-with-a-token",
        fault="the same, and a token is set: it is for the hub that was named",
        sentence="network: {host} redirects to {cdn}, which gets no token",
        code=0,
        kept="whole",
        moved=True,
        token=TOKEN,
    ),
    Row(
        id="renamed",
        fault="the repository was renamed, or is spelled otherwise",
        sentence=("ORG/NAME is ORG/NEW at the hub; the home keeps the catalogue's name, ORG/NAME"),
        code=0,
        kept="whole",
        repo={"repo": "ORG/NEW", "formerly": frozenset({"ORG/NAME"})},
    ),
    Row(
        id="no-box",
        fault="a fine-grained token without the permission",
        sentence=(
            "{host} refused the token for ORG/NAME (403): it is a fine-grained one without the "
            "permission. Give it the permission at {endpoint}/settings/tokens, or pass another one "
            "in HF_TOKEN."
        )
        + SAYS.replace("{said}", str(flows.NO_BOX.message)),
        code=1,
        token=TOKEN,
        known=(TOKEN,),
        faults=always(flows.NO_BOX),
    ),
    Row(
        id="pending",
        fault="access was asked for, and its authors did not say yet",
        sentence=(
            "ORG/NAME is gated, and the access that this token's account asked for was not granted "
            "yet. Its authors review it; {endpoint}/ORG/NAME shows when they did."
        )
        + SAYS.replace("{said}", str(flows.PENDING.message)),
        code=1,
        token=TOKEN,
        known=(TOKEN,),
        faults=always(flows.PENDING),
    ),
    Row(
        id="disabled",
        fault="the repository is disabled",
        sentence=(
            "ORG/NAME is disabled at {host} (403), and no token changes that. Choose another "
            "model, or ask who keeps it."
        )
        + SAYS.replace("{said}", str(flows.DISABLED.message)),
        code=1,
        token=TOKEN,
        known=(TOKEN,),
        faults=always(flows.DISABLED),
    ),
    Row(
        id="tls",
        fault="the certificate is signed by a CA that this machine does not know",
        sentence=(
            "The TLS certificate of {host} is not trusted (unable to get local issuer "
            "certificate). Name the file of the CA that signed it in SSL_CERT_FILE "
            "(REQUESTS_CA_BUNDLE is read as well), and check this machine's clock. Nothing was "
            "fetched."
        ),
        code=1,
        tls=True,
    ),
)


def table() -> str:
    """The table of the document."""
    lines = ["| what goes wrong | exit | what is said | what is kept |", "|---|---|---|---|"]
    shown = {
        "host": "HOST",
        "endpoint": "https://HOST",
        "cdn": "OTHER",
        "storage": "OTHER",
        "commit": "COMMIT",
        "got": "GOT",
        "size": "SIZE",
        "sha256": "LOCKED",
        "timeout": "60",
        "deadline": "900",
    }
    for row in ROWS:
        said = row.worded(**shown).replace("|", "\\|")
        said = said.replace(str(len(BODY) + 5), "GOT").replace("has 5 bytes", "has GOT bytes")
        lines.append(f"| {row.fault} | {row.code} | {said or '—'} | {KEPT[row.kept]} |")
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """The document with this table, its first of the kind, as it should be."""
    old = re.compile(r"\| what goes wrong \|.*?\n(?=\n)", re.DOTALL)
    return old.sub(lambda _: table(), text, count=1)


if __name__ == "__main__":
    OPERATIONS.write_text(written(OPERATIONS.read_text(encoding="utf-8")), encoding="utf-8")
