"""Starts the probe cut off from the network: in this interpreter, or in another that is named.

The kernel's cut holds for whatever this process becomes, so the other interpreter needs nothing of
ours but the packed probe.
"""

import json
import os
import sys

from prep.children import die_with_parent
from prep.offline import netcut


def main() -> None:
    """Cut, tell how, and serve; ``PYTHON PROBE`` as arguments name another interpreter."""
    die_with_parent()
    tier = netcut.cut()
    os.write(1, json.dumps({"result": {"cut": tier}}).encode() + b"\n")
    if len(sys.argv) == 1:
        from prep.offline.probe.serve import serve

        serve()
        return
    python, probe = sys.argv[1:]
    for ours in ("PYTHONPATH", "VIRTUAL_ENV"):
        os.environ.pop(ours, None)
    os.execv(python, [python, probe])


if __name__ == "__main__":
    main()
