"""A small Hugging Face Hub over HTTP, for the real huggingface_hub client; repositories, commits and files on disk.

In a test, take the fixture `hub` of ``tests/hub_fixtures.py``: a running server with an empty cache, to which this
process's huggingface_hub is pointed. Other processes get there by ``hub.environment`` (``HF_ENDPOINT`` and so on).

    hub.put("ada/net", {"config.json": b"{}"})          a commit, made without HTTP; gives its hash
    hub.files("ada/net")                                 {path: bytes} of a revision
    hub.commits("ada/net")                               commit records, newest first
    hub.requests                                         (method, path) of every request so far
    hub.settings("ada/net", private=True)                also gated=True, moved_to="ada/other"
    hub.fail("resolve/.*safetensors", status=500)        answer that, the next `times` times (always where None)
    hub.cut("resolve/.*safetensors", after=1000)         break the connection after so many bytes of the file
    hub.garble("resolve/.*safetensors")                  send as many bytes, but not those
    hub.stop()                                           the network is gone; `hub.start()` brings it back

Whoever sends the token ``hf_<name>`` is the user <name>, and owns what lies under that name and under the
organisations that ``hub.organizations[name]`` lists. Without a token one is nobody, and may read what is public.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hub_handler import Handler
from hub_store import Store, is_large


@dataclass
class Fault:
    """What happens to requests that match, so many times."""

    pattern: str
    kind: str
    times: int | None
    status: int = 500
    after: int = 0
    method: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class HubServer:
    """The server, and what a test does to it; see the module's docstring.

    Args:
        root: folder that holds all repositories; what an earlier server left there is served again.
        cache: ``HF_HOME`` of the clients.
    """

    def __init__(self, root: Path, cache: Path) -> None:
        self.store = Store(root)
        self.cache = cache
        self.requests: list[tuple[str, str]] = []
        self.organizations: dict[str, list[str]] = {}
        self.faults: list[Fault] = []
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """What another process needs to find this server and none else."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.cache),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": "hf_ada",
        }

    def start(self) -> None:
        server = type("Server", (ThreadingHTTPServer,), {"daemon_threads": True, "hub": self, "request_queue_size": 64})
        self._server = server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def put(
        self,
        name: str,
        files: Mapping[str, bytes | str | Path],
        *,
        revision: str = "main",
        tag: str = "",
        kind="models",
    ) -> str:
        """Commit files to a repository, which is made where it is missing; gives the commit's hash."""
        owner = name.split("/", maxsplit=1)[0]
        if not self.store.exists(kind, name):
            self.store.create(kind, name, owner)
        entries = {}
        for path, given in files.items():
            content = (
                given.read_bytes() if isinstance(given, Path) else given.encode() if isinstance(given, str) else given
            )
            entries[path] = self.store.keep(content, is_large(path, len(content)))
        oid = self.store.commit(kind, name, revision, owner, "put", "", entries)
        if tag:
            state = self.store.read(kind, name)
            state["tags"][tag] = oid
            self.store.write(kind, name, state)
        return oid

    def files(self, name: str, revision: str = "main", kind: str = "models") -> dict[str, bytes]:
        record = self.store.record(kind, name, self.store.resolve(kind, name, revision))
        return {path: self.store.content(entry) for path, entry in record["files"].items()}

    def commits(self, name: str, revision: str = "main", kind: str = "models") -> list[dict[str, Any]]:
        """The records of a revision's commits, newest first; the first one of all is the repository's making."""
        records = []
        oid: str | None = self.store.resolve(kind, name, revision)
        while oid:
            records.append(self.store.record(kind, name, oid))
            oid = records[-1]["parent"]
        return records

    def tags(self, name: str, kind: str = "models") -> dict[str, str]:
        return self.store.read(kind, name)["tags"]

    def settings(self, name: str, kind: str = "models", **settings: Any) -> None:
        with self.store.lock:
            self.store.write(kind, name, self.store.read(kind, name) | settings)

    def fail(
        self, pattern: str, *, status: int = 500, times: int | None = 1, method: str = "", headers: Any = None
    ) -> None:
        self.faults.append(Fault(pattern, "fail", times, status=status, method=method, headers=headers or {}))

    def cut(self, pattern: str, *, after: int, times: int | None = 1) -> None:
        self.faults.append(Fault(pattern, "cut", times, after=after, method="GET"))

    def garble(self, pattern: str, *, times: int | None = 1) -> None:
        self.faults.append(Fault(pattern, "garble", times, method="GET"))

    def fault(self, kind: str, method: str, path: str) -> Fault | None:
        """The next fault of a kind that this request runs into, counted down."""
        with self.store.lock:
            for fault in self.faults:
                if (fault.kind, fault.method or method) != (kind, method) or fault.times == 0:
                    continue
                if re.search(fault.pattern, path):
                    fault.times = fault.times and fault.times - 1
                    return fault
        return None
