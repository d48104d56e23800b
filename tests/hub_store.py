"""What the tests' Hub keeps on disk: repositories with their branches, tags and commits, and files by their hash."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LARGE = 10 * 2**20  # from this size on, and for these endings, a file is kept as LFS object, as .gitattributes says
LARGE_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".npz", ".parquet")
GITATTRIBUTES = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE_ENDINGS).encode()


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers


class Store:
    """Repositories on disk: ``objects/`` by hash, and for each repository its settings, refs and commits."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.RLock()
        (root / "objects").mkdir(parents=True, exist_ok=True)

    def folder(self, kind: str, name: str) -> Path:
        return self.root / kind / name.replace("/", "--")

    def exists(self, kind: str, name: str) -> bool:
        return (self.folder(kind, name) / "repository.json").is_file()

    def read(self, kind: str, name: str) -> dict[str, Any]:
        return json.loads((self.folder(kind, name) / "repository.json").read_text())

    def write(self, kind: str, name: str, state: dict[str, Any]) -> None:
        folder = self.folder(kind, name)
        (folder / "commits").mkdir(parents=True, exist_ok=True)
        (folder / "repository.json.new").write_text(json.dumps(state))
        (folder / "repository.json.new").replace(folder / "repository.json")

    def create(self, kind: str, name: str, user: str, private: bool = False) -> None:
        self.write(kind, name, {"branches": {}, "tags": {}, "private": private, "gated": False, "granted": []})
        self.commit(kind, name, "main", user, "initial commit", "", {".gitattributes": self.keep(GITATTRIBUTES)})

    def keep(self, content: bytes, large: bool = False) -> dict[str, Any]:
        """Store content, and describe it as a commit does."""
        oid = hashlib.sha256(content).hexdigest() if large else git_blob(content)
        (self.root / "objects" / oid).write_bytes(content)
        return self.described(oid, len(content))

    @staticmethod
    def described(oid: str, size: int) -> dict[str, Any]:
        if len(oid) == 40:
            return {"oid": oid, "size": size}
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()
        return {"oid": git_blob(pointer), "size": size, "sha256": oid, "pointerSize": len(pointer)}

    def content(self, entry: Mapping[str, Any]) -> bytes:
        return (self.root / "objects" / entry.get("sha256", entry["oid"])).read_bytes()

    def commit(
        self,
        kind: str,
        name: str,
        branch: str,
        user: str,
        title: str,
        message: str,
        files: Mapping[str, dict[str, Any] | None],
    ) -> str:
        """Add a commit to a branch: files by path, None to delete one, ``path/`` with None to delete a folder."""
        with self.lock:
            state = self.read(kind, name)
            parent = state["branches"].get(branch)
            tree = dict(self.record(kind, name, parent)["files"]) if parent else {}
            for path, entry in files.items():
                if entry is not None:
                    tree[path] = entry
                else:
                    gone = [known for known in tree if known == path or (path.endswith("/") and known.startswith(path))]
                    for known in gone:
                        del tree[known]
            date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
            record = {"parent": parent, "user": user, "title": title, "message": message, "date": date, "files": tree}
            text = json.dumps(record)
            oid = hashlib.sha1(text.encode()).hexdigest()
            (self.folder(kind, name) / "commits" / f"{oid}.json").write_text(text)
            state["branches"][branch] = oid
            self.write(kind, name, state)
            return oid

    def record(self, kind: str, name: str, oid: str) -> dict[str, Any]:
        return {"id": oid, **json.loads((self.folder(kind, name) / "commits" / f"{oid}.json").read_text())}

    def resolve(self, kind: str, name: str, revision: str) -> str:
        """The commit of a branch, a tag or a commit's hash."""
        state = self.read(kind, name)
        revision = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        known = state["branches"].get(revision) or state["tags"].get(revision)
        if known is None and re.fullmatch("[0-9a-f]{40}", revision):
            known = revision if (self.folder(kind, name) / "commits" / f"{revision}.json").is_file() else None
        if known is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return known


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str, size: int) -> bool:
    return size >= LARGE or path.endswith(LARGE_ENDINGS)
