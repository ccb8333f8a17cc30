"""Starts the probe cut off from the network: in this interpreter, or in another that is named.

The kernel's cut holds for whatever this process becomes, so the other interpreter needs only the
packed probe.
"""

import json
import os
import sys

from prep.process.child import GREETING, die_with_parent
from prep.sandbox import network_cut


def main() -> None:
    """Cut, report the tier, and serve; the arguments ``PYTHON PROBE`` name another interpreter."""
    die_with_parent()
    tier = network_cut.cut()
    answers = os.dup(1)
    os.dup2(2, 1)
    os.write(answers, json.dumps({"order": GREETING, "result": {"cut": tier}}).encode() + b"\n")
    if len(sys.argv) == 1:
        from prep.sandbox.probe.serve import serve

        serve(answers)
        return
    python, probe = sys.argv[1:]
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):  # ours
        os.environ.pop(name, None)
    os.set_inheritable(answers, True)
    os.execv(python, [python, probe, str(answers)])


if __name__ == "__main__":
    main()
