"""Prepares every model of a catalogue, and proves that the cache is usable offline.

From base to top; a package imports only packages that stand before it:

errors      what can go wrong: permanent and transient, each class says who must act
files       bytes: bounded readers, checked fields, checksums, appended lines, unsafe content
machine     disk space and memory
process     child processes, numbered orders and answers, progress events
tasks       everything that is known of a kind of model, a module each
catalogue   models.toml, models.lock.toml, goldens, what a new pin means
home        layout, receipts, ledger, file locks
verify      checksums, links, modes, unlocked files
sandbox     import server, network cut, mounts and users, the probe
fetch       the only package that talks to a hub; convert: OpenVINO and content checks
settings    options, environment and files; stages: plan, preflight, fetched to loaded
commands    relock, dry run, cleanup; report: verdict, summary, page; plugin: pytest
"""

__version__ = "0.2.0"
