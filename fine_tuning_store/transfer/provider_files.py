"""Files of a provider, copied into a folder with a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openai

MANIFEST = "manifest.jsonl"


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
            lines = (self._folder / MANIFEST).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:  # the last line of a run that was killed
                continue
            path = self._path(entry["id"])
            if "sha256" in entry and path.is_file() and path.stat().st_size == entry["bytes"]:
                self.copied.add(entry["id"])

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
            part.unlink(missing_ok=True)
            self.gone.add(id)
            self._note({"id": id, "missing": f"the provider says {error.status_code}"})
            return
        part.replace(path)
        self.copied.add(id)
        names = {name: about.get(name) for name in ("filename", "purpose", "created_at")}
        self._note({"id": id, "file": path.name, **names, "bytes": size, "sha256": digest.hexdigest()})

    def _path(self, id: str) -> Path:
        return self._folder / quote(id, safe="").replace(".", "%2E")

    def _note(self, entry: dict[str, Any]) -> None:
        with (self._folder / MANIFEST).open("a", encoding="utf-8") as manifest:
            manifest.write(json.dumps(entry) + "\n")
