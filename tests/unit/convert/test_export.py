"""The exporter is changed by name: a version without that name is noticed."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from prep.convert.export import _replace


def test_what_a_library_no_longer_has_is_not_replaced_silently() -> None:
    module = cast("Any", SimpleNamespace(__name__="library", save_model=1))
    _replace(module, "save_model", 2)
    assert module.save_model == 2
    with pytest.raises(AttributeError):
        _replace(module, "save_models", 2)
