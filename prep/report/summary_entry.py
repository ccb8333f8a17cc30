"""What one model's entry in `summary.json` looks like: as `docs/summary.schema.json` has it.

The schema is for other people's programs, and the library that reads it is not among those that
this suite needs; a test holds the two together.
"""

import re
from typing import get_args

from prep.files.fields import (
    COMMIT,
    SHA256,
    Shape,
    either,
    is_count,
    is_flag,
    is_number,
    is_seconds,
    is_text,
    is_time,
    like,
    listed,
    mapped,
    maybe,
    one_of,
    record,
)
from prep.report.page import STAGES
from prep.report.verdict import Status
from prep.sandbox.network_cut import GUARD_ONLY, NAMESPACE, SECCOMP
from prep.tasks.precisions import PRECISIONS
from prep.tasks.registry import TASKS

_precision = one_of(*PRECISIONS)
_texts = listed(is_text)
_stretch = record(
    {"stage": one_of(*STAGES), "which": is_text, "at": is_seconds, "seconds": is_seconds}
)
_made = record(
    {
        "path": is_text,
        "made": is_flag,
        "seconds": is_seconds,
        "bytes": maybe(is_count),
        "peak-bytes": maybe(is_count),
        "agreement": maybe(is_number),
        "tools-differ": _texts,
        "agreement-bound": is_number,
    }
)
_load = either(
    record({"seconds": is_seconds, "latency": is_seconds, "peak-bytes": is_count}),
    record({"seconds": is_seconds, "peak-bytes": is_count}),  # of an access check
    record({"not-tried": is_text}),
)
_interpreter = record(
    {"python": is_text, "versions": mapped(is_text), "not-tried": mapped(is_text)}
)

is_build: Shape = record({"version": is_text, "commit": maybe(like(COMMIT))})
"""Whether a value names a version of model-prep as `prep.machine.build` does."""

is_entry: Shape = record(
    {
        "status": one_of(*get_args(Status)),
        "at": is_time,
        "model-prep": maybe(is_build),
        "entry": maybe(like(SHA256)),
        "home": is_text,
        "wanted-precisions": listed(_precision),
        "wanted-consumers": maybe(_texts),
        "repo": like(re.compile(r"[^/]+/[^/]+")),
        "task": one_of(*TASKS),
        "why": is_text,
        "commit": maybe(like(COMMIT)),
        "license": maybe(is_text),
        "files": is_count,
        "bytes": is_count,
        "fetched-bytes": is_count,
        "adopted-bytes": is_count,
        "seconds": maybe(is_seconds),
        "timeline": maybe(record({"began": is_time, "stretches": listed(_stretch)})),
        "precisions": mapped(_made, _precision),
        "loads": mapped(_load),
        "answers": mapped(
            listed(either(is_text, listed(maybe(is_number)))), one_of("original", *PRECISIONS)
        ),
        "network-cut": maybe(one_of(NAMESPACE, SECCOMP, GUARD_ONLY)),
        "interpreters": mapped(_interpreter),
        "cpu-inference-default": maybe(is_text),
        "goldens": maybe(is_flag),
        "versions": mapped(is_text),
        "repaired": _texts,
        "moved-ref": maybe(listed(is_text, 2)),
        "unused-files": _texts,
        "tests": record(dict.fromkeys(("passed", "failed", "not-reached", "not-tried"), is_count)),
        "problems": _texts,
    }
)
"""Whether an entry of the summary is as this version writes it."""
