"""The child that talks to a hub: its environment, and one for all models that are asked for."""

from pathlib import Path

import pytest

from prep.errors import HubRefused
from prep.fetch import hub as fetch_hub
from prep.fetch.hub import Network, ask, ask_all
from sample_hub.server import Hub, ServedRepo
from tests.support.small_homes import write_bytes


def test_many_models_are_described_by_one_child_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[str] = []
    run = fetch_hub.run

    def counted(*args: object, **more: object) -> object:
        children.append(str(more["doing"]))
        return run(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(fetch_hub, "run", counted)
    folder = write_bytes(tmp_path / "served" / "config.json", b"{}").parent
    names = [f"model-{number:02}" for number in range(20)]
    asked = {name: (f"org/{name}", "main", ("*",)) for name in names}
    seen: list[str] = []
    with Hub([ServedRepo.of(f"org/{name}", folder) for name in names]) as hub:
        network = Network(endpoint=hub.url)
        found = ask_all(
            network, asked, scratch=tmp_path, on_model=lambda name, model: seen.append(name)
        )
        alone = ask(network, "org/model-07", "main", ("*",), scratch=tmp_path)
    assert list(found) == seen == names
    assert found["model-07"] == alone
    assert children == ["asking about 20 repositories", "asking about org/model-07"]


def test_first_model_in_order_that_the_hub_lacks_is_told_and_those_before_it_are_given(
    tmp_path: Path,
) -> None:
    folder = write_bytes(tmp_path / "served" / "config.json", b"{}").parent
    names = [f"model-{number:02}" for number in range(12)]
    asked = {name: (f"org/{name}", "main", ("*",)) for name in names}
    served = [name for name in names if name not in ("model-05", "model-09")]
    seen: list[str] = []
    with (
        Hub([ServedRepo.of(f"org/{name}", folder) for name in served]) as hub,
        pytest.raises(HubRefused, match="org/model-05"),
    ):
        ask_all(
            Network(endpoint=hub.url),
            asked,
            scratch=tmp_path,
            on_model=lambda name, model: seen.append(name),
        )
    assert seen == names[:5]


def test_proxy_is_not_asked_for_this_machine_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "hub.example")
    names = "hub.example,127.0.0.1,localhost,::1"
    ours = Network(endpoint="http://localhost:8000").environment(tmp_path)
    assert (ours["NO_PROXY"], ours["no_proxy"]) == (names, names)
    assert Network(endpoint="http://a.example").environment(tmp_path)["NO_PROXY"] == "hub.example"


def test_token_is_given_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    network = Network(token="hf_secret")
    assert network.environment(tmp_path)["HF_TOKEN"] == "hf_secret"
    assert "HF_TOKEN" not in Network().environment(tmp_path)
    assert "secret" not in repr(network)


def test_the_clients_own_variable_for_certificates_has_precedence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/own.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/others.pem")
    assert Network().environment(tmp_path)["SSL_CERT_FILE"] == "/own.pem"
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert Network().environment(tmp_path)["SSL_CERT_DIR"] == str(tmp_path)
