"""Files of a provider, copied into a folder with a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openai

from fine_tuning_store.transfer.archives import end_line

MANIFEST = "manifest.jsonl"
#: The longest name of a file; a longer id is replaced by its SHA-256. File systems allow 255 bytes.
MAX_NAME = 200


class FileCopies:
    """Copies of files, each named for its id.

    A line of the manifest has the id, name, purpose, size and SHA-256 of one, or why it is missing.
    """

    def __init__(self, client: openai.OpenAI, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self.copied: set[str] = set()
        self.gone: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._read_manifest()

    def _read_manifest(self) -> None:
        try:
            lines = (self._folder / MANIFEST).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                entry = json.loads(line)
                id, size = entry["id"], entry["bytes"]
                path = self._path(id)
            except (ValueError, TypeError, KeyError, AttributeError):  # of a missing file, or cut off when a run was killed
                continue
            if "sha256" in entry and path.is_file() and path.stat().st_size == size:
                self.copied.add(id)

    def copy(self, ids: Iterable[str]) -> None:
        """Copy files, but those that are there already."""
        for id in ids:
            if id not in self.copied and id not in self.gone:
                self._copy(id)

    def _copy(self, id: str) -> None:
        path = self._path(id)
        part = path.with_name(f"{path.name}.part")
        digest, size = hashlib.sha256(), 0
        try:
            about = self._client.files.retrieve(id).to_dict()
            with self._client.files.with_streaming_response.content(id) as response, part.open("wb") as target:
                for chunk in response.iter_bytes():
                    target.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
        except (openai.NotFoundError, openai.BadRequestError, openai.PermissionDeniedError) as error:
            self._give_up(id, part, f"the provider says {error.status_code}")
            return
        except (ValueError, AttributeError) as error:  # an id that has no URL, or no description of a file
            self._give_up(id, part, str(error))
            return
        if about.get("bytes") not in (None, size):
            self._give_up(id, part, f"the provider sent {size} of {about['bytes']} bytes")
            return
        part.replace(path)
        self.copied.add(id)
        names = {name: about.get(name) for name in ("filename", "purpose", "created_at")}
        self._note({"id": id, "file": path.name, **names, "bytes": size, "sha256": digest.hexdigest()})

    def _give_up(self, id: str, part: Path, reason: str) -> None:
        part.unlink(missing_ok=True)
        self.gone.add(id)
        self._note({"id": id, "missing": reason})

    def _path(self, id: str) -> Path:
        name = quote(id, safe="").replace(".", "%2E")
        return self._folder / (name if len(name) <= MAX_NAME else hashlib.sha256(id.encode()).hexdigest())

    def _note(self, entry: dict[str, Any]) -> None:
        with (self._folder / MANIFEST).open("ab") as manifest:
            end_line(manifest)
            manifest.write(json.dumps(entry).encode() + b"\n")
