"""A Hub to talk to, with an empty cache, for this process and those that it starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import constants


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A running Hub server; see ``tests/hub_server.py``. This process is the user ada, with an empty cache."""
    server = HubServer(tmp_path / "hub", tmp_path / "hf_home")
    point_client_at(server, monkeypatch)
    yield server
    server.stop()


def point_client_at(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give huggingface_hub, which reads its environment as it is imported, the values of this server."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HOME", str(server.cache))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(server.cache / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
