"""The endpoints of files: uploaded training data, and what the training of a job has written. They lie in a folder of the service."""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile

from openai_service.bodies import Wire
from openai_service.callers import Store

MAX_UPLOAD = 100_000_000  # bytes

router = APIRouter(prefix="/v1/files")


@router.post("")
async def upload_file(store: Store, request: Request) -> Wire:
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise HTTPException(411, "The length of the upload is missing.")
    if int(length) > MAX_UPLOAD:
        raise HTTPException(413, f"The upload has more than {MAX_UPLOAD} bytes.")
    async with request.form(max_files=1) as form:
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile) or not isinstance(purpose, str):
            raise HTTPException(400, "An upload has a file and a purpose.")
        folder = folder_of(request.app.state.files, store.organization_id or "")
        path, description = new_file(folder, file.filename or "file", purpose)
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target)
    return describe(path, description)


@router.get("/{id}")
def get_file(store: Store, request: Request, id: str) -> Wire:
    path = found(request, store, id)
    return describe(path, json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))


@router.get("/{id}/content")
def get_content(store: Store, request: Request, id: str) -> FileResponse:
    return FileResponse(found(request, store, id), media_type="application/octet-stream")


def found(request: Request, store: Store, id: str) -> Path:
    path = folder_of(request.app.state.files, store.organization_id or "") / id
    if not (re.fullmatch(r"file-[0-9a-zA-Z]{1,64}", id) and path.is_file()):
        raise HTTPException(400, f"No such File object: {id}")
    return path


def folder_of(files: Path, organization: str) -> Path:
    """Return the folder of an organization's files."""
    return files / quote(organization, safe="").replace(".", "%2E")


def new_file(folder: Path, filename: str, purpose: str) -> tuple[Path, Wire]:
    """Return the path of a new file, named for its id, and what is known about it, which is stored beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"file-{uuid.uuid4().hex}"
    description = {"created_at": int(time.time()), "filename": filename, "purpose": purpose}
    path.with_suffix(".json").write_text(json.dumps(description), encoding="utf-8")
    return path, description


def describe(path: Path, description: Wire) -> Wire:
    """Return the file as an object of the API."""
    return {"id": path.name, "object": "file", "bytes": path.stat().st_size, "status": "processed", **description}
