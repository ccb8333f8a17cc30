"""What a revision of a repository is, as the lock holds it; a hub's invalid answers are listed."""

from dataclasses import replace
from pathlib import Path

from prep.fetch.describe import invalid_answers
from prep.fetch.hub import Network, ask
from sample_hub.server import Fault, Hub, ServedRepo
from tests.support.small_homes import safetensors, sha256, write_bytes


def test_commit_license_and_checksums_of_a_revision(tmp_path: Path) -> None:
    bodies = {"model.safetensors": safetensors(b"x" * 100), "config.json": b"{}"}
    for name, body in bodies.items():
        write_bytes(tmp_path / "served" / name, body)
    served = ServedRepo.of("org/name", tmp_path / "served", "mit")
    globs = ("*.safetensors", "config.json")
    with Hub([served]) as hub:
        found = ask(Network(endpoint=hub.url), "org/name", "main", globs, scratch=tmp_path / "s")
    assert (found.commit, found.license, found.others) == (served.commit, "mit", ())
    assert {file.path: (file.size, file.sha256) for file in found.files} == {
        name: (len(body), sha256(body)) for name, body in bodies.items()
    }


def test_pull_requests_with_the_weights_that_a_revision_lacks(tmp_path: Path) -> None:
    served = []
    for name, body in {"refs/pr/2": b"", "refs/pr/10": safetensors(b"x"), "main": b""}.items():
        folder = tmp_path / name.replace("/", "-")
        write_bytes(folder / ("model.safetensors" if body else "pytorch_model.bin"), body or b"p")
        write_bytes(folder / "config.json", name.encode())
        repo = ServedRepo.of("org/name", folder, "mit")
        served.append(replace(repo, tags=frozenset({name} - {"main"})))
    globs = ("*.safetensors", "config.json")
    with Hub(served) as hub:
        network = Network(endpoint=hub.url)
        lacking, having = (
            ask(network, "org/name", revision, globs, scratch=tmp_path / "s")
            for revision in ("main", "refs/pr/10")
        )
        asked = [request.path for request in hub.requests if "/refs" in request.path]
    assert (lacking.requests, having.requests) == (("refs/pr/10",), ())
    assert sum(path.endswith("/refs") for path in asked) == 1, "only where weights are missing"


def test_a_hub_that_lists_no_pull_requests_says_nothing_of_them(tmp_path: Path) -> None:
    write_bytes(tmp_path / "served" / "pytorch_model.bin", b"p")
    served = ServedRepo.of("org/name", tmp_path / "served", "mit")
    with Hub(
        [served], faults=lambda method, path: Fault(status=404) if "/refs" in path else None
    ) as hub:
        found = ask(Network(endpoint=hub.url), "org/name", "main", ("*",), scratch=tmp_path / "s")
    assert found.requests == ()


def test_every_part_of_the_hubs_answer_is_checked() -> None:
    oid, digest = "c" * 40, "d" * 64
    right = {"config.json": (7, oid, None), "model.safetensors": (9, None, digest)}
    assert list(invalid_answers("mit", right)) == []
    wrong = {
        "a": (-1, oid, None),
        "b": ("7", oid, None),
        "a\0": (7, oid, None),
        "../x": (7, oid, None),
        7: (7, oid, None),
        "c": (7, None, None),
        "d": (7, oid, "../x"),
    }
    assert list(invalid_answers("a\nb", wrong)) == [
        "the license is 'a\\nb'",
        "'a' has -1 bytes",
        "'b' has '7' bytes",
        "a file is named 'a\\x00'",
        "a file is named '../x'",
        "a file is named 7",
        "'c' has the git oid None",
        "'d' has the sha256 '../x'",
    ]
