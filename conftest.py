"""Names the plugin; all logic lives in `prep.plugin.hooks`."""

import pytest

pytest.register_assert_rewrite("model_tests.checks")
pytest_plugins = ["prep.plugin"]
