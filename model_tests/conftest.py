"""Says so where the plugin is not loaded: without it, no test here has a model."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Refuse to run: an ini file says ``-p no:model-prep``, or plugins are not loaded at all."""
    if not config.pluginmanager.hasplugin("prep.plugin"):
        raise pytest.UsageError("model_tests needs the plugin of model-prep: add `-p model-prep`.")
