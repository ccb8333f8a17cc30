"""One conversion to 8 bits, by this project or by optimum-cli; imports are not counted.

    python -m benchmarks.converting ours|optimum-cli TASK SOURCE FOLDER

Prints one line of JSON: seconds, and the process's peak memory in bytes. `FOLDER` must not exist.
The check of the content is not part of either.
"""

import json
import resource
import sys
import time
from importlib import import_module
from pathlib import Path

from prep.convert.conversion import OPTIONS
from prep.convert.export import make
from prep.sandbox.probe.consumers import import_libraries

EXPORT_TASKS = {
    "embedding": "feature-extraction",
    "reranker": "text-classification",
    "seq2seq": "text2text-generation-with-past",
}


def main(who: str, task: str, source: Path, folder: Path) -> None:
    """Import, convert, tell."""
    import_libraries()
    for library in ("nncf", "openvino_tokenizers"):  # which both import only when they need them
        import_module(library)
    from optimum.commands.optimum_cli import main as optimum_cli

    began = time.monotonic()
    if who == "ours":
        files = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
        folder.mkdir()
        make(
            {
                "source": str(source),
                "files": files,
                "folder": str(folder),
                "task": task,
                "options": dict(OPTIONS["int8"]),
            }
        )
    else:
        named = ["--task", EXPORT_TASKS[task], "--weight-format", "int8"]
        sys.argv = ["optimum-cli", "export", "openvino", "-m", str(source), *named, str(folder)]
        optimum_cli()
    took = {
        "seconds": time.monotonic() - began,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    sys.stdout.write(f"{json.dumps(took)}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
