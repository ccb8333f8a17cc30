"""The hub's client as it is without anybody's settings."""

import pytest
from huggingface_hub import constants


@pytest.fixture(autouse=True)
def clean_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token, proxy, offline mode or Xet, whatever the environment was when the client loaded."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
