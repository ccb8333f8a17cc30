"""A load that cannot be made is a failure of this environment, never left out in silence."""

from pathlib import Path

import pytest

from prep.errors import UnsuitableInterpreter
from tests.support.real_loads import load, stages_of

TASK = "embedding"
BY_NAME, BY_ITSELF = "sentence-transformers:name", "transformers:name"


def test_consumer_that_our_own_environment_lacks_is_no_skip(prepared: Path, tmp_path: Path) -> None:
    """Else `ready` would rest on the other consumers, and nobody had looked at this one."""
    with stages_of(prepared, tmp_path) as made:
        lacking = made.context.server.ready()["not-tried"][TASK]
        lacking["sentence-transformers"] = "not installed: sentence_transformers"
        with pytest.raises(UnsuitableInterpreter) as caught:
            load(made, TASK, BY_NAME)
        assert str(caught.value) == (
            "tiny-embedding: this environment cannot be the consumer sentence-transformers: not "
            "installed: sentence_transformers. Install what requirements.txt names, or name the "
            "consumers that count in the catalogue."
        )
        assert load(made, TASK, BY_ITSELF).facts
