"""What the tests' Hub answers to each request of a client; `hub_server` starts it, `hub_store` keeps its files."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_cards import SDKS, card_errors, metadata, new_space
from hub_store import Refusal, git_blob, is_large

TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}


class Handler(BaseHTTPRequestHandler):
    """One request after another on one connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self) -> None:
        self.hub = self.server.hub
        self.store = self.hub.store
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        self.parts = [unquote(part) for part in url.path.strip("/").split("/")]
        self.hub.requests.append((self.command, unquote(self.path)))
        body = self._body()
        try:
            fault = self.hub.fault("fail", self.command, self.path)
            if fault:
                raise Refusal(fault.status, "injected fault", **fault.headers)
            self._route(body)
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message, **refusal.headers}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            self._send(refusal.status, json.dumps({"error": refusal.message}).encode(), **headers)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        sent = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
        for name, value in sent.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.hub.fault("cut", self.command, self.path) if status in (200, 206) else None
        if cut:
            self.wfile.write(content[: cut.after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        if status in (200, 206) and self.hub.fault("garble", self.command, self.path):
            content = bytes(byte ^ 0x55 for byte in content)
        self.wfile.write(content)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode())

    # -- who, where ---------------------------------------------------------------------------------------------------

    @property
    def user(self) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return token.removeprefix("hf_") if token else None

    def _may_write(self, owner: str) -> None:
        if self.user is None:
            raise Refusal(401, "Invalid username or password.")
        if owner != self.user and owner not in self.hub.organizations.get(self.user, []):
            raise Refusal(403, f"You don't have the rights to write under the namespace {owner}")

    def _may_read(self, kind: str, name: str, *, files: bool = False) -> None:
        """Insist on a repository that is there, under this name, for this user."""
        owner = name.split("/", maxsplit=1)[0]
        mine = self.user is not None and (owner == self.user or owner in self.hub.organizations.get(self.user, []))
        if not self.store.exists(kind, name) or (self.store.read(kind, name)["private"] and not mine):
            if self.user is None:
                raise Refusal(401, "Invalid username or password.")
            raise Refusal(404, "Repository not found", "RepoNotFound")
        state = self.store.read(kind, name)
        if state.get("moved_to"):
            raise Refusal(307, "moved", Location=self.path.replace(name, state["moved_to"], 1))
        if files and state["gated"] and not mine and self.user not in state["granted"]:
            raise Refusal(401 if self.user is None else 403, f"Access to model {name} is restricted.", "GatedRepo")

    def _route(self, body: bytes) -> None:
        parts = self.parts
        if parts[0] == "lfs":
            return self._lfs_object(parts[1:], body)
        if parts[0] == "api" and parts[1] in TYPES:
            return self._repository(parts[1], "/".join(parts[2:4]), parts[4:], body)
        if parts[0] == "api":
            return self._account(parts[1:], body)
        kind = parts.pop(0) if parts[0] in TYPES else "models"
        name = "/".join(parts[:2])
        if name.endswith(".git") and parts[2:] == ["info", "lfs", "objects", "batch"]:
            return self._lfs_batch(kind, name.removesuffix(".git"), json.loads(body))
        if len(parts) > 4 and parts[2] == "resolve":
            return self._file(kind, name, parts[3], "/".join(parts[4:]))
        raise Refusal(404, "Sorry, we can't find the page you are looking for.")

    def _account(self, parts: list[str], body: bytes) -> None:
        if parts == ["whoami-v2"]:
            if self.user is None:
                raise Refusal(401, "Invalid username or password.")
            orgs = [{"name": name, "type": "org"} for name in self.hub.organizations.get(self.user, [])]
            auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
            return self._json({"type": "user", "name": self.user, "orgs": orgs, "auth": auth})
        given = json.loads(body or b"{}")
        if parts == ["validate-yaml"]:
            errors = [{"message": text} for text in card_errors(given["content"], given["repoType"])]
            return self._json({"errors": errors, "warnings": []}, 400 if errors else 200)
        if parts[0] != "repos":
            raise Refusal(404, "Not found")
        if parts[1] == "move":
            return self._move(f"{given.get('type', 'model')}s", given["fromRepo"], given["toRepo"])
        owner = given.get("organization") or self.user or ""
        self._may_write(owner)
        kind, name = f"{given.get('type') or 'model'}s", f"{owner}/{given['name']}"
        if parts[1] == "delete":
            self._may_read(kind, name)
            (self.store.folder(kind, name) / "repository.json").unlink()
            return self._json({})
        if kind == "spaces" and given.get("sdk") not in SDKS:
            raise Refusal(400, '"sdk" must be one of ' + ", ".join(SDKS))
        with self.store.lock:
            url = f"{self.hub.endpoint}/{'' if kind == 'models' else f'{kind}/'}{name}"
            if self.store.exists(kind, name):
                self._json({"error": "You already created this model repo", "url": url}, 409)
                return None
            private = given.get("private") or given.get("visibility") == "private"
            self.store.create(kind, name, self.user or "", bool(private))
            if kind == "spaces":
                self.hub.put(name, {"README.md": new_space(name, given["sdk"])}, kind=kind)
        return self._json({"url": url, "name": name, "id": name})

    def _move(self, kind: str, before: str, after: str) -> None:
        self._may_write(before.split("/")[0])
        self.store.folder(kind, before).rename(self.store.folder(kind, after))
        self.store.write(kind, before, {"private": False, "gated": False, "moved_to": after, "granted": []})
        self._json({})

    # -- a repository -------------------------------------------------------------------------------------------------

    def _repository(self, kind: str, name: str, rest: list[str], body: bytes) -> None:
        self._may_read(kind, name)
        action, argument = (rest or [""])[0], "/".join(rest[1:])
        writes = self.command in ("POST", "PUT", "DELETE") and action != "paths-info"
        if writes:
            self._may_write(name.split("/")[0])
        if action in ("", "revision"):
            return self._json(self._info(kind, name, argument or "main"))
        if action == "tree":
            return self._json(self._tree(kind, name, *argument.partition("/")[::2]))
        if action == "paths-info":
            return self._json(self._paths_info(kind, name, argument, body))
        if action == "refs":
            return self._json(self._refs(kind, name))
        if action == "commits":
            shown = [
                {
                    "id": c["id"],
                    "authors": [{"user": c["user"]}],
                    **{key: c[key] for key in ("date", "title", "message")},
                }
                for c in self.hub.commits(name, argument, kind)
            ]
            return self._json(shown)
        if action == "preupload":
            return self._json(self._preupload(kind, name, argument, json.loads(body)))
        if action == "commit":
            return self._commit(kind, name, argument, body)
        if action in ("tag", "branch"):
            return self._reference(kind, name, action, argument, json.loads(body or b"{}"))
        if action == "settings":
            given = json.loads(body)
            private = {"private": given["visibility"] == "private"} if "visibility" in given else {}
            self.hub.settings(
                name, kind, **private, **{key: given[key] for key in ("private", "gated") if key in given}
            )
            return self._json({})
        raise Refusal(404, "Not found")

    def _info(self, kind: str, name: str, revision: str) -> dict[str, Any]:
        commit = self.store.resolve(kind, name, revision)
        record, state = self.store.record(kind, name, commit), self.store.read(kind, name)
        siblings: list[dict[str, Any]] = [{"rfilename": path} for path in record["files"]]
        if "blobs" in self.query:
            for sibling in siblings:
                entry = record["files"][sibling["rfilename"]]
                sibling |= {"size": entry["size"], "blobId": entry["oid"]}
                if "sha256" in entry:
                    sibling["lfs"] = {key: entry[key] for key in ("sha256", "size", "pointerSize")}
        readme = record["files"].get("README.md")
        card = metadata(self.store.content(readme).decode()) if readme else {}
        card = card if isinstance(card, dict) else {}
        tags = [*card.get("tags", []), *([f"license:{card['license']}"] if "license" in card else [])]
        return {
            "id": name, "modelId": name, "sha": commit, "author": name.split("/")[0], "siblings": siblings,
            "tags": tags, "cardData": card, "lastModified": record["date"], "createdAt": record["date"],
            "private": state["private"], "gated": "auto" if state["gated"] else False, "disabled": False,
            "downloads": 0, "likes": 0, "library_name": card.get("library_name"),
            "pipeline_tag": card.get("pipeline_tag"),
        }  # fmt: skip

    def _entry(self, path: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        shown = {"type": "file", "path": path, "oid": entry["oid"], "size": entry["size"]}
        if "sha256" in entry:
            lfs = {"oid": entry["sha256"], "size": entry["size"], "pointerSize": entry["pointerSize"]}
            shown["lfs"] = lfs
        return shown

    def _tree(self, kind: str, name: str, revision: str, folder: str) -> list[dict[str, Any]]:
        files = self.store.record(kind, name, self.store.resolve(kind, name, revision))["files"]
        prefix = f"{folder}/" if folder else ""
        inside = {path: entry for path, entry in files.items() if path.startswith(prefix)}
        if folder and not inside:
            raise Refusal(404, f"{folder} does not exist", "EntryNotFound")
        recursive = self.query.get("recursive", "false").lower() in ("true", "1")
        shown: dict[str, dict[str, Any]] = {}
        for path, entry in inside.items():
            *above, _ = path.removeprefix(prefix).split("/")
            for depth in range(1, len(above) + 1) if recursive else range(1, min(len(above), 1) + 1):
                parent = prefix + "/".join(above[:depth])
                shown[parent] = {"type": "directory", "path": parent, "oid": git_blob(parent.encode()), "size": 0}
            if recursive or not above:
                shown[path] = self._entry(path, entry)
        return list(shown.values())

    def _paths_info(self, kind: str, name: str, revision: str, body: bytes) -> list[dict[str, Any]]:
        files = self.store.record(kind, name, self.store.resolve(kind, name, revision))["files"]
        is_json = "json" in self.headers.get("Content-Type", "")
        asked = json.loads(body)["paths"] if is_json else parse_qs(body.decode()).get("paths", [])
        return [self._entry(path, files[path]) for path in asked if path in files]

    def _refs(self, kind: str, name: str) -> dict[str, Any]:
        state = self.store.read(kind, name)
        listed = {
            group: [
                {"name": ref, "ref": f"refs/{place}/{ref}", "targetCommit": oid} for ref, oid in state[group].items()
            ]
            for group, place in (("branches", "heads"), ("tags", "tags"))
        }
        return {**listed, "converts": [], "pullRequests": []}

    def _reference(self, kind: str, name: str, group: str, argument: str, given: dict[str, Any]) -> None:
        group = {"tag": "tags", "branch": "branches"}[group]
        with self.store.lock:
            state = self.store.read(kind, name)
            if self.command == "DELETE":
                if argument not in state[group]:
                    raise Refusal(404, f"{argument} does not exist", "RevisionNotFound")
                del state[group][argument]
            else:
                ref, start = (given["tag"], argument) if group == "tags" else (argument, given.get("startingPoint"))
                if ref in state[group]:
                    raise Refusal(409, f"Reference {ref} already exists")
                state[group][ref] = self.store.resolve(kind, name, start or "main")
            self.store.write(kind, name, state)
        self._json({})

    # -- sending files ------------------------------------------------------------------------------------------------

    def _preupload(self, kind: str, name: str, revision: str, given: dict[str, Any]) -> dict[str, Any]:
        known = self.store.record(kind, name, self.store.resolve(kind, name, revision))["files"]
        answers = []
        for file in given["files"]:
            large = is_large(file["path"], file["size"])
            old = known.get(file["path"])
            oid = old and old.get("sha256" if large else "oid")
            mode = "lfs" if large else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": answers}

    def _lfs_batch(self, kind: str, name: str, given: dict[str, Any]) -> None:
        self._may_read(kind, name)
        self._may_write(name.split("/")[0])
        objects = []
        for wanted in given["objects"]:
            answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if not (self.store.root / "objects" / wanted["oid"]).is_file():
                href = f"{self.hub.endpoint}/lfs/{wanted['oid']}"
                answer["actions"] = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
            objects.append(answer)
        self._json({"transfer": "basic", "objects": objects})

    def _lfs_object(self, parts: list[str], body: bytes) -> None:
        target = self.store.root / "objects" / parts[0]
        if self.command == "PUT":
            if hashlib.sha256(body).hexdigest() != parts[0]:
                raise Refusal(400, "The content does not have the SHA-256 that was announced")
            target.write_bytes(body)
        elif not target.is_file() or target.stat().st_size != json.loads(body)["size"]:
            raise Refusal(404, "The object is not there, or has another size")
        self._json({})

    def _commit(self, kind: str, name: str, branch: str, body: bytes) -> None:
        header: dict[str, Any] = {}
        files: dict[str, dict[str, Any] | None] = {}
        for line in body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                header = value
            elif key == "file":
                files[value["path"]] = self.store.keep(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                stored = self.store.root / "objects" / value["oid"]
                if not stored.is_file():
                    raise Refusal(400, f"LFS object {value['oid']} was not uploaded")
                files[value["path"]] = self.store.described(value["oid"], stored.stat().st_size)
            else:
                files[value["path"] + ("/" if key == "deletedFolder" else "")] = None
        with self.store.lock:
            head = self.store.resolve(kind, name, branch)
            if branch not in self.store.read(kind, name)["branches"]:
                raise Refusal(404, f"{branch} is no branch", "RevisionNotFound")
            if header.get("parentCommit") and not head.startswith(header["parentCommit"]):
                raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            user, message = self.user or "", header.get("description", "")
            oid = self.store.commit(kind, name, branch, user, header["summary"], message, files)
        self._json({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.endpoint}/{name}/commit/{oid}"})

    # -- fetching files -----------------------------------------------------------------------------------------------

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        self._may_read(kind, name, files=True)
        commit = self.store.resolve(kind, name, revision)
        entry = self.store.record(kind, name, commit)["files"].get(path)
        if entry is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": commit})
        content = self.store.content(entry)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{entry.get("sha256", entry["oid"])}"', "Accept-Ranges": "bytes"}
        if "sha256" in entry:
            headers |= {"X-Linked-Etag": f'"{entry["sha256"]}"', "X-Linked-Size": str(entry["size"])}
        headers["Content-Type"] = "application/octet-stream"
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return self._send(200, content, **headers)
        first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
        if first >= len(content):
            raise Refusal(416, "Range not satisfiable", **{"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return self._send(206, content[first : last + 1], **headers)
