#!/usr/bin/env python3
"""One tar of a home that is ready, to be carried over an air gap: no library, Python 3.8 or newer.

    python bundle.py /models models.tar [NAME…]

Every file is digested first, and nothing is packed unless `ready.py` beside this file says that all
models are ready. The tar holds `models/`, the home with what a run proved and no other file of it
(no token, nothing unfinished), `ready.py`, and SHA256SUMS of them all; models.tar.sha256 comes
beside it. The same home gives the same bytes. Exit 0: written. 1: not ready, or not written. 2: the
command is wrong.
"""

import argparse
import hashlib
import io
import os
import sys
import tarfile

import ready

RECORDS = (
    "ready.json",
    "ready.json.sig",
    "summary.json",
    "consumer.env",
    "report.html",
    "verdict.xml",
    "metrics.prom",
    "bom.cdx.json",
)
FOLDER = "models"
SUMS = "SHA256SUMS"


def main(argv=None):
    """Pack the home; gives the exit code."""
    given = _arguments(argv)
    home = os.path.realpath(given.home)
    if code := refused(home, given.names, given.out):
        return code
    try:
        size, digest = _write(home, given.names, given.out)
    except OSError as error:
        sys.stdout.write("%s was not written: %s\n" % (given.out, error))
        return 1
    sys.stdout.write("wrote %s: %.1f MB, sha256 %s\n" % (given.out, size / 1e6, digest))
    return 0


def refused(home, names, out):
    """The exit code where these models cannot be packed into `out`, 0 where they can; says why."""
    if (os.path.realpath(out) + os.sep).startswith(home + os.sep):
        sys.stdout.write("%s is in the home: choose another place\n" % out)
        return 2
    return 1 if ready.main([home, "--deep", *names]) else 0


def members(home, names=None, records=RECORDS):
    """Files, links and folders of these models (None: all), sorted, as paths below the home.

    Of a file that is reached by links, each link of the way and the file.
    """
    models = ready._manifest(home)
    paths = {"model-prep/" + name for name in records}
    for name in models if names is None else names:
        paths.add(models[name]["ref"]["path"])
        for folder in models[name]["folders"]:
            paths |= {"%s/%s" % (folder["path"], file["path"]) for file in folder["files"]}
    found = set()
    for path in paths:
        if os.path.lexists(os.path.join(home, path)):
            _follow(home, path, found)
    return sorted(found)


def _follow(home, path, found):
    """Add every folder, link and file on the way of a path."""
    way, parts = "", path.split("/")
    while parts:
        way = os.path.normpath(os.path.join(way, parts.pop(0)))
        found.add(way)
        if os.path.islink(os.path.join(home, way)):
            target = os.readlink(os.path.join(home, way))
            way = os.path.normpath(os.path.join(os.path.dirname(way), target))
            parts, way = way.split("/") + parts, ""


def _write(home, names, out):
    """Write the tar beside its place and rename it; gives its size and sha256 in hex."""
    partial = out + ".partial"
    try:
        with open(partial, "wb") as file:
            hashing = _Hashing(file)
            with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                _fill(tar, home, names)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        digest = hashing.sha256.hexdigest()
        with open(out + ".sha256", "w", encoding="utf-8") as file:
            file.write("%s  %s\n" % (digest, os.path.basename(out)))
        os.replace(partial, out)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    return size, digest


def _fill(tar, home, names):
    gate = os.path.abspath(ready.__file__)
    entries = [*_entries(home, members(home, names or None)), ("ready.py", gate)]
    sums = ["%s  %s\n" % (digest, name) for name, digest in add(tar, entries)]
    text = "".join(sums).encode()
    entry = tarfile.TarInfo(SUMS)
    entry.size, entry.mode = len(text), 0o644
    tar.addfile(entry, io.BytesIO(text))


def write_layer(home, paths, out):
    """A tar of these paths of a home that depends on nothing else: files have no times either."""
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, _entries(home, paths), times=False)


def _entries(home, paths):
    """Names in the tar, and the paths of what has them."""
    return [(FOLDER, home)] + [
        ("%s/%s" % (FOLDER, path), os.path.join(home, path)) for path in paths
    ]


def add(tar, entries, times=True):
    """Add them without owners, open to all; gives name and sha256 of each file."""
    digests = []
    for name, path in entries:
        entry = tar.gettarinfo(path, name)
        if entry.islnk():  # a hard link: each name has the whole file
            entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", os.path.getsize(path)
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o644 if entry.isreg() else 0o755
        entry.mtime = int(entry.mtime) if times and entry.isreg() else 0
        if not entry.isreg():
            tar.addfile(entry)
            continue
        with open(path, "rb") as file:
            hashing = _Hashing(file)
            tar.addfile(entry, hashing)
        digests.append((name, hashing.sha256.hexdigest()))
    return digests


class _Hashing:
    """A file whose bytes are digested on the way."""

    def __init__(self, file):
        self.file, self.sha256 = file, hashlib.sha256()

    def read(self, size=-1):
        block = self.file.read(size)
        self.sha256.update(block)
        return block

    def write(self, block):
        self.sha256.update(block)
        return self.file.write(block)


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="bundle.py", description="One tar of a home that is ready."
    )
    parser.add_argument("home", metavar="HOME", help="the home that a run proved")
    parser.add_argument("out", metavar="OUT", help="the tar to write; OUT.sha256 comes beside it")
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these models")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
