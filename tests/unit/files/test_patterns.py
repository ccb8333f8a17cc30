"""What a file's name says."""

import pytest

from prep.files.patterns import PICKLES, is_pickle, is_weights, matches


@pytest.mark.parametrize(
    ("path", "glob", "matching"),
    [
        ("config.json", "*.json", True),
        ("1_Pooling/config.json", "*.json", False),
        ("1_Pooling/config.json", "*/config.json", True),
        ("a/b/config.json", "*/config.json", False),
        ("Config.JSON", "*.json", False),
    ],
)
def test_a_star_stops_at_a_slash(path: str, glob: str, matching: bool) -> None:
    assert matches(path, ("other", glob)) is matching


def test_a_pickle_is_recognised_in_any_folder_and_case() -> None:
    for pattern in PICKLES:
        assert is_pickle(f"a/MODEL{pattern[1:].upper()}")
    assert not is_pickle("model.safetensors") and not is_pickle("model.bin.json")
    assert is_weights("model.safetensors") and is_weights("model.safetensors.index.json")
