"""Goldens that would compare nothing are refused, with the place."""

from pathlib import Path

import pytest

from prep.errors import Misread
from prep.goldens import read_goldens

HEAD = 'goldens-version = 1\nrepo = "org/name"\n'
ALL = "{ fp32 = 1, fp16 = 1, int8 = 1 }"
VECTOR = 'id = "a"\ntext = "b"\nnormalized = true\nexpected = [1.0]\nsource = "c"\n'


def refusal(folder: Path, text: str) -> list[str]:
    (folder / "name.toml").write_text(text)
    with pytest.raises(Misread) as caught:
        read_goldens(folder, "name", "org/name")
    return list(caught.value.problems)


def test_none_are_none(tmp_path: Path) -> None:
    assert read_goldens(tmp_path, "name", "org/name") is None


def test_right_ones_are_read(tmp_path: Path) -> None:
    text = f"{HEAD}dimension = 1\n[[vectors]]\n{VECTOR}tolerance = {ALL}\n"
    (tmp_path / "name.toml").write_text(text)
    goldens = read_goldens(tmp_path, "name", "org/name")
    assert goldens is not None
    assert (goldens.facts, goldens.texts) == ({"dimension": 1}, ("b",))


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (HEAD, ["holds no answer at all: give vectors, tokens or similarities"]),
        (
            f"{HEAD}poolng = 1\n[[vectors]]\n{VECTOR}tolerance = {ALL}\n",
            ["in 'poolng': is not a key that is known here"],
        ),
        (
            f"{HEAD}[[vectors]]\n{VECTOR}tolerence = {ALL}\n",
            [
                "in 'vectors[0]': tolerence is not known",
                "in 'vectors[0]': lacks tolerance or least-cosine",
            ],
        ),
        (
            f"{HEAD}[[vectors]]\n{VECTOR}tolerance = {{ fp32 = 1, fp16 = 1 }}\n",
            ["in 'vectors[0]': must bound int8"],
        ),
        (
            HEAD.replace("org/name", "org/other") + '[[tokens]]\nid = "a"\n',
            [
                "in 'repo': these goldens are of 'org/other', not of 'org/name'",
                "in 'tokens[0]': lacks text",
                "in 'tokens[0]': lacks expected",
                "in 'tokens[0]': lacks source",
            ],
        ),
    ],
)
def test_what_would_compare_nothing_is_refused(
    tmp_path: Path, text: str, problems: list[str]
) -> None:
    assert refusal(tmp_path, text) == problems
