"""xdist: a model stays on one worker, and models are prepared side by side.

``--dist loadgroup`` would rename tests and, with pytest 9.2, split groups without a word.
"""

from xdist.scheduler.loadscope import LoadScopeScheduling

from prep.plugin.parameters import SEPARATOR


class ByModel(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types for it
    """The scope of a test is the model that its id begins with; other tests stand alone."""

    def _split_scope(self, nodeid: str) -> str:
        _, bracket, parameters = nodeid.partition("[")
        return parameters.rstrip("]").partition(SEPARATOR)[0] if bracket else nodeid
