"""What is asked of the hub, and the answers of the public one, as they were captured in 2026.

A small file is answered with a relative redirect to a cache of the hub's own, a large one with an
absolute redirect to a signed address of the CDN. What a client has to know of the file stands on
each of the hub's answers for it, and on none of the CDN's.
"""

import re
import time
import uuid
from dataclasses import replace
from hashlib import sha1
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from sample_hub import cdn
from sample_hub.connection import Connection, Refusal
from sample_hub.model_info import item_of, model_info
from sample_hub.served import File, ServedRepo, describe, files_of, listing_of

if TYPE_CHECKING:
    from sample_hub.server import Hub

WINDOW = 300  # seconds, of the hub's rate limits; nothing is refused for them without a fault
ALLOWED = {"api": 500, "resolvers": 3000}  # requests in a window, for somebody without a token
OLD_NAME = re.compile(r"(?:/api/models)?/([^/]+/[^/]+)(?:/|$)")


class Protocol(Connection):
    """What is asked of the hub or of its CDN, and the answer."""

    def __init__(self, hub: "Hub", *args: Any) -> None:
        self.hub = hub
        super().__init__(*args)

    def route(self, parts: list[str]) -> None:
        """Answer, or raise a Refusal."""
        match parts:
            case ["cdn", digest, org, name, *path]:
                self._storage(digest, f"{org}/{name}", "/".join(path))
                return
        for part in self.hub.below:
            if parts[:1] != [part]:
                raise Refusal(404, message="Not found")
            parts = parts[1:]
        if self.server.storage:
            raise Refusal(404, message="Not found")
        self._know(self._token())
        if there := self._new_place("/" + "/".join(parts)):
            self._redirect(307, "Temporary Redirect", {"Location": there})
            return
        match parts:
            case ["api", "models", org, name]:
                self._info(self._repo(org, name, "main"))
            case ["api", "models", org, name, "revision", revision]:
                self._info(self._repo(org, name, revision))
            case ["api", "models", org, name, "refs"]:
                self._refs(self._repo(org, name, "main"))
            case ["api", "models", org, name, "tree", revision, *path]:
                self._tree(self._repo(org, name, revision), "/".join(path))
            case ["api", "models", org, name, "paths-info", revision]:
                listing = listing_of(files_of(self._repo(org, name, revision).folder))
                asked = [path for path in self.form.get("paths", ()) if path in listing]
                self.answer_json([item_of(path, listing[path]) for path in asked])
            case ["api", "resolve-cache", "models", org, name, revision, *path]:
                self._cached(self._repo(org, name, revision), "/".join(path))
            case [org, name, "resolve", revision, *path]:
                self._resolve(self._repo(org, name, revision), "/".join(path))
            case _:
                raise Refusal(404, message="Not found")

    def standing(self) -> dict[str, str]:
        """Every client learns how much of its rate limit is left, and names the request."""
        if self.kind == "cdn" or self.server.storage:
            return {"Via": "1.1 cdn (CloudFront)", "X-Cache": "Miss from cloudfront"}
        limit = "api" if self.kind == "api" else "resolvers"
        allowed, left = ALLOWED[limit], WINDOW - int(time.time()) % WINDOW
        return {
            "X-Powered-By": "huggingface-moon",
            "X-Request-Id": f"Root=1-{uuid.uuid4().hex[:24]}",
            "RateLimit": f'"{limit}";r={max(1, allowed - len(self.hub.requests))};t={left}',
            "RateLimit-Policy": f'"fixed window";"{limit}";q={allowed};w={WINDOW}',
        }

    def login(self) -> str:
        """Where somebody on the way would ask for a login: on another host than the hub's."""
        return f"{self.hub.storage}/login"

    def refuse(self, refusal: Refusal) -> None:
        """The hub says why in its own headers; the CDN knows nothing of them."""
        if self.kind == "cdn" or self.server.storage:
            self.answer_text(refusal.status, refusal.text, refusal.more)
        else:
            super().refuse(refusal)

    def _repo(self, org: str, name: str, revision: str) -> ServedRepo:
        """The commit that is meant; the hub takes an id in any case."""
        asked = f"{org}/{name}".casefold()
        commits = [repo for repo in self.hub.repos if repo.repo.casefold() == asked]
        token = self._token()
        if not commits or (commits[0].private and token not in commits[0].readers):
            if token:
                raise Refusal(404, "RepoNotFound", "Repository not found")
            raise Refusal(401, "RepoNotFound", "Invalid username or password.")
        for repo in reversed(commits):
            if revision in ("main", repo.commit, *repo.tags):
                return repo
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {quote(revision)}")

    def _refs(self, main: ServedRepo) -> None:
        """Branches and tags, and the pull requests where they are asked for."""
        self._let_in(main)
        found: dict[str, list[dict[str, str]]] = {"tags": [], "branches": [], "converts": []}
        names = [(main, "refs/heads/main")]
        for repo in self.hub.repos:
            if repo.repo == main.repo:
                names += [
                    (repo, tag if tag.startswith("refs/") else f"refs/tags/{tag}")
                    for tag in sorted(repo.tags)
                ]
        for repo, ref in names:
            kind = {"refs/heads": "branches", "refs/tags": "tags"}.get(ref.rpartition("/")[0])
            line = {"name": ref.rpartition("/")[2], "ref": ref, "targetCommit": repo.commit}
            if kind or self.query.get("include_prs") == "1":
                found.setdefault(kind or "pullRequests", []).append(line)
        if self.query.get("include_prs") == "1":
            found.setdefault("pullRequests", [])
        self.answer_json(found)

    def _new_place(self, path: str) -> str | None:
        """Where a client is sent on to that asks for a repository by its old name."""
        old = OLD_NAME.match(path)
        for repo in self.hub.repos:
            if old and old[1] in repo.formerly:
                there = self.raw_path.replace(f"/{old[1]}", f"/{repo.repo}", 1)
                query = self.path.partition("?")[2]
                return there if self.fault.drop_query or not query else f"{there}?{query}"
        return None

    def _token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def _know(self, token: str | None) -> None:
        """As the hub does: a wrong token is refused even where none is needed."""
        if token is not None and self.hub.tokens is not None and token not in self.hub.tokens:
            raise Refusal(401, message="Invalid credentials in Authorization header")

    def _let_in(self, repo: ServedRepo) -> None:
        if not repo.gated or (token := self._token()) in repo.readers:
            return
        sentence = f"Access to model {repo.repo} is restricted"
        if token is None:
            more = "You must have access to it and be authenticated to access it. Please log in."
            raise Refusal(401, "GatedRepo", f"{sentence}. {more}")
        more = f"Visit {self.hub.url}/{repo.repo} to ask for access."
        raise Refusal(
            403, "GatedRepo", f"{sentence} and you are not in the authorized list. {more}"
        )

    def _info(self, repo: ServedRepo) -> None:
        self.answer_json(
            model_info(repo, blobs=self.is_set("blobs") and not self.fault.ignore_query)
        )

    def _tree(self, repo: ServedRepo, top: str) -> None:
        listing = listing_of(files_of(repo.folder))
        if top and (top not in listing or top in listing[top]):
            raise Refusal(404, "EntryNotFound", f"{quote(top)} does not exist")
        paths = [path for path in listing if not top or path.startswith(f"{top}/")]
        if not self.is_set("recursive"):
            paths = [path for path in paths if path.rpartition("/")[0] == top]
        start = int(self.query.get("cursor", 0))
        stop = start + max(1, int(self.query.get("limit", 1000)))
        headers = {}
        if stop < len(paths):
            following = urlencode(self.query | {"cursor": str(stop)})
            headers["Link"] = f'<{self.origin()}{self.raw_path}?{following}>; rel="next"'
        hidden = repo.gated and self._token() not in repo.readers
        page = [item_of(path, listing[path], hidden=hidden) for path in paths[start:stop]]
        self.answer_json(page, headers=headers)

    def _file(self, repo: ServedRepo, path: str) -> File:
        self._let_in(repo)
        file = files_of(repo.folder).get(path)
        if file is None:
            # With the commit: the client remembers that this revision has no such file.
            raise Refusal(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": repo.commit})
        return describe(path, file)

    def _resolve(self, repo: ServedRepo, path: str) -> None:
        """Where the bytes of a file are."""
        known = self._file(repo, path)
        commit = {"X-Repo-Commit": repo.commit}
        if self.fault.direct:
            self.own = False
            self._send(known, self._etag(known.sha256 or known.oid), commit)
        elif known.sha256 is None:
            there = "/".join(
                ("", *self.hub.below, "api/resolve-cache/models", repo.repo, repo.commit)
            )
            query = urlencode({self.raw_path: "", "etag": f'"{known.oid}"'})
            headers = self._linked(known) | {"Location": f"{there}/{quote(path)}?{query}"}
            self._redirect(307, "Temporary Redirect", headers | commit)
        else:
            origin = self.fault.elsewhere or self.hub.storage
            xet = cdn.xet_hash(known.sha256)
            auth = f"{self.hub.url}/api/models/{repo.repo}/xet-read-token/{repo.commit}"
            headers = self._linked(known) | {
                "Location": f"{origin}{cdn.signed(f'/cdn/{known.sha256}/{repo.repo}/{path}')}",
                "Cache-Control": "no-store",
                "X-Xet-Hash": xet,
                "Link": f'<{auth}>; rel="xet-auth", <{cdn.RECONSTRUCTION}{xet}>; '
                'rel="xet-reconstruction-info"',
            }
            self._redirect(302, "Found", headers | commit)

    def _redirect(self, status: int, word: str, headers: dict[str, str]) -> None:
        text = f"{word}. Redirecting to {headers['Location']}"
        self.answer_text(status, text, {"Accept-Ranges": "bytes", **headers})

    def _linked(self, known: File) -> dict[str, str]:
        """What a redirect says of the file to which it leads."""
        etag = self._etag(known.sha256 or known.oid)
        return {"X-Linked-ETag": etag, "X-Linked-Size": str(known.size)}

    def _etag(self, digest: str) -> str:
        return self.fault.etag(digest) if self.fault.etag else f'"{digest}"'

    def _cached(self, repo: ServedRepo, path: str) -> None:
        """The bytes of a small file."""
        known = self._file(repo, path)
        if known.sha256 is not None:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        self._send(
            known, self._etag(known.oid), self._linked(known) | {"X-Repo-Commit": repo.commit}
        )

    def _storage(self, digest: str, repo: str, path: str) -> None:
        """The bytes of a large file, for whoever has an address that the hub signed."""
        signed = "/".join(("/cdn", digest, repo, path))
        token = "Authorization" in self.headers
        if refused := cdn.refusal(signed, self.query, token=token):
            raise Refusal(refused[0], message=refused[1])
        for served in [served for served in self.hub.repos if served.repo == repo]:
            file = files_of(served.folder).get(path)
            if file is not None and (known := describe(path, file)).sha256 == digest:
                # Not the hub's ETag, as with a real CDN: a client that mixes them up is to be seen.
                self._send(
                    known, self._etag(digest[:32]), {"Cache-Control": "public, max-age=604800"}
                )
                return
        raise Refusal(404, message="Not found")

    def _send(self, known: File, etag: str, headers: dict[str, str]) -> None:
        new = self.fault.content
        if new is not None:
            known, etag = replace(known, size=len(new)), f'"{sha1(new).hexdigest()}"'
        headers |= {"ETag": etag, "Accept-Ranges": "bytes"}
        part = self.part(headers["ETag"], known.size)
        if part is not None and not part:
            raise Refusal(416, headers={"Content-Range": f"bytes */{known.size}"})
        if part:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{known.size}"
        headers["Content-Type"] = "application/octet-stream"
        with known.file.open("rb") if new is None else BytesIO(new) as body:
            span = part or range(known.size)
            self.answer(206 if part else 200, headers, body, span, size=known.size)
