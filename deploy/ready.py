#!/usr/bin/env python3
"""Is this home ready? One file for a service's init container: no library, Python 3.8 or newer.

    python ready.py /models [NAME…] [--deep] [--lock models.lock.toml]

A run of model-prep that ended green left in `<home>/model-prep/ready.json` what it proved: every
file with size, time and sha256. This looks whether all of it is still there, for the models named,
or else for all that the lock or the home names. A file with another time than then (a copy, a
touch) is digested; what has the same size and time is believed, unless `--deep` digests it as well.

It prints one line a model and writes nothing. Exit 0: every model is ready. 1: one is not, its line
says why and what to do. 2: the command is wrong.
"""

import argparse
import errno
import hashlib
import json
import os
import re
import stat
import sys
from fnmatch import fnmatchcase

VERSIONS = (1, 2)
BLOCK = 1 << 20
SHOWN = 3  # problems that a line names; of more it gives the number
GREEN = ("ready", "repaired", "healed")  # the last is version 1's word for repaired
MANIFEST = os.path.join("model-prep", "ready.json")
LONGEST, NAMED = 4000, 200  # letters of a line, and of a name in it
MOST_BYTES = 1 << 28  # of a file that is read whole
# What rises where a file is of another form than the one that a run writes.
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Unfit(Exception):
    """Why a model, or the whole home, is not ready: one sentence."""


def main(argv=None):
    """Judge the home; gives the exit code."""
    given = _arguments(argv)
    home = os.path.abspath(given.home)
    try:
        models = _manifest(home)
        locked = _lock(given.lock) if given.lock else None
    except Unfit as why:
        _write("NOT READY: %s" % why)
        return 1
    names = given.names or list(models if locked is None else locked)
    if not names:
        _write("NOT READY: no model was ever proven in %s" % home)
        return 1
    fit = True
    for name in names:
        model, name = models.get(name), name[:NAMED]
        try:
            verdict = "ready, " + _judge(home, name, model, locked, given.deep)
        except (Unfit, *MALFORMED) as error:
            fit = False
            if not isinstance(error, Unfit):
                path = os.path.join(home, MANIFEST)
                error = "what %s says of it is not as a run writes it" % path
            again = "Prepare it again: pytest --models %s --model-home=%s" % (name, home)
            verdict = "NOT READY: %s. %s" % (error, again)
        _write("%s: %s" % (name, verdict))
    return 0 if fit else 1


def _write(line):
    """One line, whatever is in the names: nothing in it is obeyed, or cannot be written."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line[:LONGEST])
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(shown.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _judge(home, name, model, locked, deep):
    """What a good model's line says; raises `Unfit`."""
    if model is None:
        raise Unfit("no run has ever proven it in this home")
    if locked is not None and name not in locked:
        raise Unfit("the lock does not name it")
    if locked is not None and locked[name] != model["entry"]:
        raise Unfit(
            "proven for another lock entry (%.12s, the lock has %.12s)"
            % (model["entry"], locked[name])
        )
    if model["status"] not in GREEN:
        raise Unfit("its last verdict is %s (%s)" % (model["status"], model["at"]))
    problems, doubted = _ref(home, model["ref"]), {}
    count = size = 0
    for folder in model["folders"]:
        found, unsure = _look(home, folder, deep)
        problems += found
        doubted.update(unsure)
        count += len(folder["files"])
        size += sum(file["size"] for file in folder["files"])
    problems += _digests(home, doubted)
    if problems:
        more = "; and %d more" % (len(problems) - SHOWN) if len(problems) > SHOWN else ""
        raise Unfit("; ".join(problems[:SHOWN]) + more)
    return "proven %s: %s at %.12s, %d files, %.1f MB, %d digested now" % (
        model["at"],
        " + ".join(["original"] + model["precisions"]),
        model["commit"],
        count,
        size / 1e6,
        len(doubted),
    )


def _look(home, folder, deep):
    """Problems of one folder, and which files have to be digested: path -> what was proven."""
    problems, doubted = [], {}
    inside = os.path.realpath(home) + os.sep
    for file in folder["files"]:
        shown = "%s/%s" % (folder["path"], file["path"])
        path = os.path.join(home, shown)
        if not os.path.realpath(path).startswith(inside):
            problems.append("%s leads out of the home" % shown)
            continue
        try:
            # Opened, and not only looked at: a consumer must be let in. A pipe would block.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            problems.append("%s: %s" % (shown, error.strerror))
            continue
        try:
            now = os.fstat(handle)
        finally:
            os.close(handle)
        if not stat.S_ISREG(now.st_mode):
            problems.append("%s is not a file" % shown)
        elif now.st_size != file["size"]:
            problems.append("%s has %d bytes, proven %d" % (shown, now.st_size, file["size"]))
        elif deep or now.st_mtime_ns != file["mtime-ns"]:
            doubted[shown] = file["sha256"]
    if not os.path.realpath(os.path.join(home, folder["path"])).startswith(inside):
        return problems or ["%s leads out of the home" % folder["path"]], doubted
    known = {file["path"] for file in folder["files"]} | set(folder["harmless"])
    problems += [
        "%s/%s is new, and a loader would take it" % (folder["path"], path)
        for path in sorted(_walk(os.path.join(home, folder["path"])))
        if path not in known and _matches(path, folder["taken"])
    ]
    return problems, doubted


def _ref(home, ref):
    """What is wrong with refs/main, by which a name leads to its commit: the hub strips nothing."""
    path = os.path.join(home, ref["path"])
    if not os.path.realpath(path).startswith(os.path.realpath(home) + os.sep):
        return ["%s leads out of the home" % ref["path"]]
    try:
        text = _contents(path, 200, whole=False).decode("utf-8", "replace")
    except OSError as error:
        return ["%s: %s" % (ref["path"], error.strerror)]
    return [] if text == ref["text"] else ["%s is %r, proven %r" % (ref["path"], text, ref["text"])]


def _digests(home, doubted):
    """Digest files side by side, on all cores: hashing lets go of the interpreter lock."""
    if not doubted:
        return []
    from concurrent.futures import ThreadPoolExecutor  # takes its time: only where it is needed

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        got = list(pool.map(lambda shown: _digest(os.path.join(home, shown)), doubted))
    return [
        "%s %s" % (shown, "has sha256 %.12s…, proven %.12s…" % (found, wanted))
        if len(found) == 64
        else "%s: %s" % (shown, found)
        for (shown, wanted), found in zip(doubted.items(), got)
        if found != wanted
    ]


def _digest(path):
    """The file's sha256 in hex, or why it cannot be read."""
    hasher, block = hashlib.sha256(), memoryview(bytearray(BLOCK))
    try:
        with open(path, "rb", buffering=0) as file:
            while True:
                count = file.readinto(block)
                if not count:
                    return hasher.hexdigest()
                hasher.update(block[:count])
    except OSError as error:
        return error.strerror or "cannot be read"


def _walk(folder):
    """Files below, as paths with slashes; of a link to a folder, the files directly in it."""
    for top, folders, names in os.walk(folder):
        for name in folders:
            path = os.path.join(top, name)
            if os.path.islink(path) and os.path.isdir(path):
                names += [name + "/" + inner for inner in os.listdir(path)]
        for name in names:
            yield os.path.relpath(os.path.join(top, name), folder).replace(os.sep, "/")


def _matches(path, globs):
    """As the suite reads its globs: a star stops at a slash."""
    parts = path.split("/")
    return any(
        len(parts) == len(glob.split("/")) and all(map(fnmatchcase, parts, glob.split("/")))
        for glob in globs
    )


def _contents(path, most, whole=True):
    """The first bytes of a file. A pipe, which would block, is none; nor is one of more bytes."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        now = os.fstat(handle)
        if not stat.S_ISREG(now.st_mode):
            raise OSError(errno.EINVAL, "not a file", path)
        if whole and now.st_size > most:
            raise OSError(errno.EFBIG, "too large", path)
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(min(most, now.st_size))
    finally:
        os.close(handle)


def _manifest(home):
    """The models of ready.json, by name."""
    path = os.path.join(home, MANIFEST)
    try:
        data = json.loads(_contents(path, MOST_BYTES).decode("utf-8"))
    except OSError as error:
        raise Unfit(
            "%s: %s. No run of model-prep has ended green in this home: is it the right one, and "
            "mounted? Else: pytest --model-home=%s" % (path, error.strerror, home)
        )
    except MALFORMED:
        raise Unfit("%s cannot be read: run pytest --model-home=%s again" % (path, home))
    if not isinstance(data, dict) or data.get("ready-version") not in VERSIONS:
        known = " or ".join(map(str, VERSIONS))
        raise Unfit("%s is not of version %s: take the ready.py of its release" % (path, known))
    try:
        body = json.dumps(data.get("models"), sort_keys=True, separators=(",", ":"))
    except MALFORMED:
        body = ""
    if not isinstance(data.get("models"), dict) or hashlib.sha256(
        body.encode()
    ).hexdigest() != data.get("seal"):
        raise Unfit("%s was changed after it was written: run pytest again" % path)
    return data["models"]


def _lock(path):
    """Each model of a lock with the sha256 of its entry, as `--relock` writes them."""
    try:
        blocks = _contents(path, MOST_BYTES).decode("utf-8")
        blocks = blocks.replace("\r\n", "\n").split("[[models]]\n")[1:]
    except (OSError, ValueError) as error:
        raise Unfit("the lock %s cannot be read: %s" % (path, error))
    entries = {}
    for block in blocks:
        name = re.match(r'name = "([^"]+)"\n', block)
        if name is None:
            raise Unfit("the lock %s is not as pytest --relock writes it" % path)
        text = "[[models]]\n" + block.rstrip("\n") + "\n"
        entries[name.group(1)] = hashlib.sha256(text.encode()).hexdigest()
    if not entries:
        raise Unfit("the lock %s names no model" % path)
    return entries


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="ready.py", description="Whether a home that model-prep proved is still as it was."
    )
    parser.add_argument("home", metavar="HOME", help="the home, HF_HOME of the service")
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these models")
    parser.add_argument("--deep", action="store_true", help="digest every file, whatever its time")
    parser.add_argument("--lock", metavar="FILE", help="must have been proven at this lock")
    return parser.parse_intermixed_args(argv)


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has gone: nobody takes that for ready
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
