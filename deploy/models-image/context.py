#!/usr/bin/env python3
"""What an image of a home is built from: no library, Python 3.8 or newer.

    python context.py /models CONTEXT [NAME…]

Writes into the folder CONTEXT a Dockerfile, a tar for each model, one of the records, `ready.py`.
The build runs `ready.py` on the files that it copies, and gives an image of these files alone,
below /models, with a layer for each model: the same model gives the same layer. Nothing is written
of a home that is not ready. Exit 0: written. 1: not ready, or not written. 2: the command is wrong.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

import bundle
import ready

GATE = "docker.io/library/python:3.11-slim"
RECORDS = "_records.tar"  # no model has such a name


def main(argv=None):
    """Write the context; gives the exit code."""
    given = _arguments(argv)
    home = os.path.realpath(given.home)
    if code := bundle.refused(home, given.names, given.context):
        return code
    models = ready._manifest(home)
    names = given.names or sorted(models)
    try:
        os.makedirs(given.context, exist_ok=True)
        for name in names:
            paths = bundle.members(home, [name], records=())
            bundle.write_layer(home, paths, os.path.join(given.context, name + ".tar"))
        records = bundle.members(home, [])
        bundle.write_layer(home, records, os.path.join(given.context, RECORDS))
        shutil.copyfile(ready.__file__, os.path.join(given.context, "ready.py"))
        with open(os.path.join(given.context, "Dockerfile"), "w", encoding="utf-8") as file:
            file.write(_dockerfile({name: models[name] for name in names}))
    except OSError as error:
        sys.stdout.write("%s was not written: %s\n" % (given.context, error))
        return 1
    sys.stdout.write("wrote %s: %d models\n" % (given.context, len(names)))
    return 0


def _dockerfile(models):
    """Two stages: the gate, which must pass, and the files."""
    tars = [name + ".tar" for name in models]
    lines = [
        "# Written by deploy/models-image/context.py.",
        "ARG GATE=%s" % GATE,
        "ARG BASE=scratch",
        "FROM ${GATE} AS gate",
        "USER 0",
        *("ADD %s /" % tar for tar in [*tars, RECORDS]),
        "COPY ready.py /ready.py",
        "RUN python /ready.py /models --deep %s" % " ".join(models),
        "FROM ${BASE}",
        *("LABEL %s=%s" % (key, json.dumps(value)) for key, value in _labels(models).items()),
        *("ADD %s /" % tar for tar in tars),
        # From the gate, so that no builder leaves that stage out.
        "COPY --from=gate /models/model-prep /models/model-prep",
    ]
    return "\n".join(lines) + "\n"


def _labels(models):
    entries = "".join("%s %s\n" % (name, models[name]["entry"]) for name in sorted(models))
    versions = sorted(
        {(models[name].get("model-prep") or {}).get("version") or "" for name in models}
    )
    return {
        "org.opencontainers.image.title": "models",
        "org.opencontainers.image.version": " ".join(versions),
        "model-prep.lock": hashlib.sha256(entries.encode()).hexdigest(),
        "model-prep.verdict": ",".join("%s=%s" % (name, models[name]["status"]) for name in models),
    }


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="context.py", description="What an image of a home that is ready is built from."
    )
    parser.add_argument("home", metavar="HOME", help="the home that a run proved")
    parser.add_argument("context", metavar="CONTEXT", help="the folder to write")
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these models")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
