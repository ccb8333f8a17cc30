"""What a revision of a repository is: its commit, license and files with their checksums.

`--relock` writes it into the lock. A file in LFS has its sha256 in the hub's answer and is checked
in parts, where it stays; every other file is read whole.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx
from huggingface_hub import ModelInfo, constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

from prep.catalogue.pin_change import is_compared
from prep.errors import ChecksumMismatch, HubRefused, listing
from prep.fetch.client import Client, api_url
from prep.fetch.download import read_part, read_small
from prep.fetch.session import Session, UnexpectedAnswer, host_of, renamed, target_of
from prep.files import unsafe
from prep.files.fields import COMMIT, SHA256, is_count, is_text, like, listed, maybe, shown
from prep.files.patterns import matches
from prep.files.reader import is_path, printable
from prep.process.child import Event

WEIGHTS = ".safetensors"
REFS = "include_prs=1"
REQUEST = re.compile(r"refs/pr/[0-9]{1,9}")
MAX_REQUESTS = 100  # pull requests that are looked at, the oldest first
MAX_PAGES = 200  # of a tree's listing, with up to 1000 files each
HEADER_BYTES = 16 * 1024  # of weights, requested at once: most headers fit
NOTHING_LOCKED = (
    "Nothing was locked: ask the operator of that hub or mirror, or give another HF_ENDPOINT."
)
Listing = dict[str, tuple[int, str | None, str | None]]  # path: size, git's oid, sha256 of LFS


def describe(repo: str, revision: str, globs: Sequence[str], client: Client) -> Event:
    """A `prep.fetch.hub.RemoteModel`, for one model of the order "ask"."""
    session, retry = client.session, client.retry
    info = retry(repo, lambda: _info(session, repo, revision))
    if info.id != repo:  # the hub takes other spellings, and says here which is its own
        session.say_once(renamed(repo, info.id))
    client.timer.step()
    assert info.sha is not None
    files = retry(repo, lambda: _listing(client, repo, info))
    wanted = [path for path in files if matches(path, tuple(globs))]
    license = _license(info)
    if problems := list(invalid_answers(license, {path: files[path] for path in wanted})):
        endpoint = client.request(repo, "").endpoint
        raise HubRefused(
            f"{listing(f'invalid answers of {endpoint} for {repo}', problems)}\n{NOTHING_LOCKED}"
        )
    head = info.sha
    described = [_file(client, repo, head, path, files[path], wanted) for path in wanted]
    pickled = not any(path.endswith(WEIGHTS) for path in wanted)
    if revision == head:  # pinned to a commit: where would the name alone lead to now?
        head = retry(repo, lambda: _info(session, repo, None)).sha or head
    return {
        "commit": info.sha,
        "head": head,
        "license": license,
        "files": described,
        "others": [path for path in files if path not in wanted],
        "requests": _requests_with_weights(client, repo, globs) if pickled else [],
    }


def _requests_with_weights(client: Client, repo: str, globs: Sequence[str]) -> list[str]:
    """The pull requests that hold wanted safetensors, as revisions; none where a hub lists none."""
    try:
        refs, _ = client.retry(repo, lambda: client.session.json(f"{api_url(repo)}/refs?{REFS}"))
        names = [line["ref"] for line in refs["pullRequests"]]
        numbers = sorted(int(name.rpartition("/")[2]) for name in filter(REQUEST.fullmatch, names))
    except (HfHubHTTPError, UnexpectedAnswer, KeyError, TypeError):
        return []
    found: list[str] = []
    for number in numbers[:MAX_REQUESTS]:
        name = f"refs/pr/{number}"
        try:
            info = client.retry(repo, partial(_info, client.session, repo, name))
        except (HfHubHTTPError, UnexpectedAnswer):
            continue
        client.timer.step()
        paths = [sibling.rfilename for sibling in info.siblings or []]
        if any(path.endswith(WEIGHTS) and matches(path, tuple(globs)) for path in paths):
            found.append(name)
    return found


def _file(
    client: Client,
    repo: str,
    commit: str,
    path: str,
    entry: tuple[int, str | None, str | None],
    wanted: list[str],
) -> Event:
    """A `prep.fetch.hub.RemoteFile`."""
    size, oid, sha256 = entry
    url, what = hf_hub_url(repo, path, revision=commit), f"{repo}: {path}"
    text = None
    if sha256 is not None:
        read = remote_reader(url, what, size, client)
    else:
        body = client.retry(what, partial(read_small, url, client.session))
        client.timer.step()
        _check_oid(what, body, size, oid)
        sha256 = hashlib.sha256(body).hexdigest()
        read = partial(lambda body, start, count: body[start : start + count], body)
        text = body.decode(errors="replace") if is_compared(path) else None
    finding = unsafe.of_file(path, size, read, wanted)
    return {
        "path": path,
        "size": size,
        "sha256": sha256,
        "text": text,
        "unsafe": finding.detail if finding else None,
    }


def _license(info: ModelInfo) -> str:
    tagged = [tag.partition(":")[2] for tag in info.tags or [] if tag.startswith("license:")]
    return str(getattr(info.card_data, "license", None) or (tagged[0] if tagged else "unknown"))


def invalid_answers(license: str, files: Listing) -> Iterator[str]:
    """What a lock cannot hold of the hub's answer; the files' content is checked elsewhere."""
    if not is_path(license) or printable(license) != license:
        yield f"the license is {shown(license)}"
    for path, (size, oid, sha256) in files.items():
        if not is_path(path) or not {"", ".", ".."}.isdisjoint(path.split("/")):
            yield f"a file is named {shown(path)}"
        if not is_count(size):
            yield f"{shown(path)} has {shown(size)} bytes"
        if sha256 is not None and not like(SHA256)(sha256):
            yield f"{shown(path)} has the sha256 {shown(sha256)}"
        if sha256 is None and not like(COMMIT)(oid):
            yield f"{shown(path)} has the git oid {shown(oid)}"


def _info(session: Session, repo: str, revision: str | None) -> ModelInfo:
    """What the hub's API says of a model."""
    at = f"/revision/{quote(revision, '')}" if revision else ""
    url = f"{api_url(repo)}{at}?blobs=true"
    data, _ = session.json(url)
    try:
        info = ModelInfo(**data)  # type: ignore[no-untyped-call]  # the client's own
        is_model = _is_described(info)
    except (TypeError, KeyError, AttributeError, ValueError):
        is_model = False
    if not is_model:
        raise session.unexpected(url, "JSON that describes no model")
    return info


def _is_described(info: ModelInfo) -> bool:
    """Whether the parts that are used are of the types that a hub gives them."""
    names = [sibling.rfilename for sibling in info.siblings or []]
    return (
        like(COMMIT)(info.sha)
        and is_text(info.id)
        and maybe(listed(is_text))(info.tags)
        and listed(is_text)(names)
    )


def _listing(client: Client, repo: str, info: ModelInfo) -> Listing:
    """The files of a commit with their checksums; by the tree where the model's info has none."""
    files: Listing = {}
    for sibling in info.siblings or []:
        sha256 = _lower(sibling.lfs.sha256) if sibling.lfs else None
        size = sibling.lfs.size if sibling.lfs else sibling.size
        if size is None or not (sha256 or sibling.blob_id):
            return _tree(client, repo, str(info.sha))
        files[sibling.rfilename] = (size, sibling.blob_id, sha256)
    return files


def _lower(sha256: Any) -> Any:
    """A checksum as the lock writes it; some servers write capitals. Anything else stays."""
    return sha256.lower() if isinstance(sha256, str) else sha256


def _tree(client: Client, repo: str, commit: str) -> Listing:
    """The same from the listing of folders, which some mirrors pass on as it is."""
    files: Listing = {}
    host = host_of(httpx.URL(constants.ENDPOINT))
    url: str | None = f"{api_url(repo)}/tree/{quote(commit, '')}?recursive=true"
    asked: set[str] = set()
    try:
        while url is not None:
            if url in asked:
                raise HubRefused(
                    f"{host} lists the files of {repo} in a loop, and so not all of them. "
                    f"{NOTHING_LOCKED}"
                )
            if len(asked) == MAX_PAGES:
                raise HubRefused(
                    f"{host} lists the files of {repo} on more than {MAX_PAGES} pages, which no "
                    f"model has. {NOTHING_LOCKED}"
                )
            asked.add(url)
            page, headers = client.session.json(url)
            for entry in page:
                if entry["type"] == "file":
                    lfs = entry.get("lfs") or {}
                    sha256 = _lower(lfs.get("oid")) if lfs else None
                    files[entry["path"]] = (lfs.get("size", entry["size"]), entry["oid"], sha256)
            client.timer.step()
            following = httpx.Response(200, headers=headers).links.get("next")
            url = str(target_of(httpx.URL(url), following["url"])) if following else None
    except (HfHubHTTPError, UnexpectedAnswer, KeyError, TypeError, ValueError, AttributeError):
        raise HubRefused(
            f"{host} lists no checksums for {repo}, neither with the model nor in its tree. Lock "
            "at a hub that does (pytest --relock --hub=https://huggingface.co), and fetch from "
            "here."
        ) from None
    return files


def remote_reader(url: str, what: str, size: int, client: Client) -> unsafe.Read:
    """Reads parts of a large file that stays on the hub; its beginning is requested once."""
    beginning = b""

    def get(start: int, count: int) -> bytes:
        part = client.retry(what, lambda: read_part(url, client.session, start, count, size))
        client.timer.step()
        return part

    def read(start: int, count: int) -> bytes:
        nonlocal beginning
        beginning = beginning or get(0, min(HEADER_BYTES, size))
        body = beginning[start : start + count]
        missing = min(count, size - start) - len(body)
        return body if missing <= 0 else body + get(start + len(body), missing)

    return read


def _check_oid(what: str, body: bytes, size: int | None, oid: str | None) -> None:
    """A file outside LFS is named by git: sha1 over a header and the bytes."""
    header = f"blob {len(body)}\0".encode()
    digest = hashlib.sha1(header + body, usedforsecurity=False).hexdigest()
    if size != len(body) or oid != digest:
        raise ChecksumMismatch(
            f"{what} has {len(body)} bytes with git oid {digest}, expected {size} bytes with {oid} "
            "(the hub's own list). Nothing was locked; run again, or ask the hub's operator."
        )
