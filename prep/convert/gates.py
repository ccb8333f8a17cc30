"""What the exporter says of an architecture, before anything is fetched.

``python -m prep.convert.gates``, one order on stdin: optimum-intel is imported, nothing is loaded.
"""

from typing import Any

from prep.process.child import Emit, Event, serve_one
from prep.tasks.registry import TASKS


def main(order: Event, emit: Emit) -> Event:
    """For each ``[model type, task]`` of ``order["types"]``: whether it is exported, and
    whether the version of transformers that is here is too new for that.
    """
    import optimum.exporters.openvino.model_configs  # noqa: F401  # registers what it exports
    import transformers
    from optimum.exporters.tasks import TasksManager
    from packaging.version import Version

    found: dict[str, Any] = {}
    for kind, task in order["types"]:
        try:
            known = TasksManager.get_supported_tasks_for_model_type(
                kind, exporter="openvino", library_name="transformers"
            )
            config = known[TASKS[task].export_task]
        except KeyError:
            found[f"{kind} {task}"] = {"exported": False, "too-new": False}
            continue
        config = getattr(config, "func", config)
        most = getattr(config, "MAX_TRANSFORMERS_VERSION", None)
        newer = most is not None and Version(transformers.__version__) > Version(str(most))
        found[f"{kind} {task}"] = {"exported": True, "too-new": newer}
    return {"types": found}


if __name__ == "__main__":
    serve_one(main)
