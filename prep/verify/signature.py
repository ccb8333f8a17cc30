"""Whether somebody signed what lies in the home: model-signing on its ready.json, by a key.

``python -m prep.verify.signature``, one order on stdin: the library is imported in a child only.
ready.json names every file of the models that a run proved, with its checksum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prep.catalogue.lock import LockedModel
from prep.errors import SignatureInvalid, listing
from prep.files.checksum import digest_file
from prep.files.reader import Unreadable, read_json
from prep.home.layout import Home
from prep.home.receipt import NAME, read_receipt
from prep.process.child import Emit, Event, Watch, environment, run, serve_one

SECONDS = 120
SUFFIX = ".sig"
Digests = Mapping[str, str]
"""sha256 by path below the home."""


def main(order: Event, emit: Emit) -> Event:
    """Verify ``order["signature"]`` of ``order["file"]`` by the public key ``order["key"]``."""
    try:
        from model_signing import verifying
    except ImportError as error:
        return {"lacking": str(error)}
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=Path(order["key"]))
        config.verify(Path(order["file"]), Path(order["signature"]))
    except Exception as error:  # the library's own, ValueError, cryptography's
        return {"problem": f"{type(error).__name__}: {error}"}
    return {"problem": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedManifest:
    """What was signed: the files of each model by its name."""

    path: Path
    models: Mapping[str, Digests]

    def check(self, home: Home, locked: LockedModel, precisions: tuple[str, ...]) -> None:
        """Raise `SignatureInvalid` where lock and receipts name other bytes than were signed.

        Whether the files have the bytes that those name is seen by the checks of every run.
        """
        signed = self.models.get(locked.name)
        if signed is None:
            raise SignatureInvalid(
                f"{locked.name}: {self.path} is signed and does not name it. Prepare it, and have "
                "the home signed again."
            )
        found = dict(_source(home, locked))
        for precision in precisions:
            found |= _conversion(home, locked, precision)
        problems = [
            f"{path}  {'is not signed' if path not in signed else 'is not what was signed'}"
            for path, sha256 in sorted(found.items())
            if signed.get(path) != sha256
        ]
        if problems:
            head = f"{locked.name}: the home is not the one that was signed"
            raise SignatureInvalid(
                f"{listing(head, problems)}\nFind out who changed it; have it signed again only "
                "after a run that prepared it."
            )


def verify(home: Home, key: Path, scratch: Path) -> SignedManifest:
    """What the home's ready.json names, where its signature is that key's."""
    path = home.state / "ready.json"
    signature = path.with_name(path.name + SUFFIX)
    for needed in (path, signature):
        if not needed.is_file():
            raise SignatureInvalid(
                f"{needed} is not there: the home was never signed. docs/operations.md#signatures "
                "says how to."
            )
    order = {"file": str(path), "signature": str(signature), "key": str(key)}
    answer = run(
        "prep.verify.signature",
        order,
        environment(scratch, network=False),
        doing="verifying the signature",
        on_event=lambda event: None,
        watch=Watch(None, SECONDS),
    )
    if "lacking" in answer:
        raise SignatureInvalid(
            f"{path} cannot be verified: {answer['lacking']}. Install what does: pip install "
            "model-signing pyopenssl"
        )
    if answer["problem"]:
        problem = " ".join(answer["problem"].split())[:400].rstrip(".")
        raise SignatureInvalid(
            f"{path} is not signed by {key}: {problem}. Take the key of who signed it; if it is "
            "that one, the home was changed: copy it again."
        )
    return read_manifest(path)


def read_manifest(path: Path) -> SignedManifest:
    """What a ready.json names. Raises `SignatureInvalid` where it cannot be read."""
    try:
        models = read_json(path)["models"]
        return SignedManifest(
            path=path,
            models={name: _digests(model) for name, model in models.items() if "folders" in model},
        )
    except (OSError, Unreadable, LookupError, TypeError, AttributeError) as error:
        raise SignatureInvalid(
            f"{path} cannot be read ({error}): prepare the home again, and sign it."
        ) from None


def _digests(model: Mapping[str, Any]) -> Digests:
    return {
        f"{folder['path']}/{file['path']}": file["sha256"]
        for folder in model["folders"]
        for file in folder["files"]
    }


def _source(home: Home, locked: LockedModel) -> Digests:
    folder = home.shown(home.snapshot(locked.repo, locked.commit))
    return {f"{folder}/{file.path}": file.sha256 for file in locked.files}


def _conversion(home: Home, locked: LockedModel, precision: str) -> Digests:
    """None where there is no receipt that can be read: its own check says so."""
    stable = home.stable(locked.repo, precision)
    try:
        receipt = read_receipt(stable)
        digest = digest_file(stable / NAME).sha256
    except (OSError, Unreadable):
        return {}
    folder = home.shown(stable)
    files = {f"{folder}/{file.path}": file.sha256 for file in receipt.files}
    return {**files, f"{folder}/{NAME}": digest}


if __name__ == "__main__":
    serve_one(main)
