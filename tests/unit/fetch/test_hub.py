"""The environment of the child that talks to a hub."""

from pathlib import Path

import pytest

from prep.fetch.hub import Network


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
