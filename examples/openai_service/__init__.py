"""The fine-tuning endpoints of the OpenAI API on a SQL database, for the official `openai` clients.

pip install "fine-tuning-store[postgresql,service]"
FINE_TUNING_API_KEYS=my-key=org-mine uvicorn openai_service:app --app-dir examples

FINE_TUNING_STORE_URL    the URL of the database, by default sqlite:///fine_tuning_service.db
FINE_TUNING_API_KEYS     the accepted API keys: key=organization,key=organization
FINE_TUNING_FILES        the folder of uploaded and result files, by default fine_tuning_files
FINE_TUNING_DEMO_WORKER  1 (the default): a thread pretends to train the jobs that are created here; 0: they wait for a worker of yours
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from fine_tuning_store import FineTuningStore
from openai_service import errors, files, graders, jobs, permissions
from openai_service.callers import Callers
from openai_service.demo_worker import DemoWorker

logger = logging.getLogger("uvicorn.error")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Migrate the database, and keep the store open while the service runs."""
    keys = (pair.partition("=") for pair in os.environ.get("FINE_TUNING_API_KEYS", "").split(",") if pair.strip())
    app.state.organizations = {key.strip(): organization.strip() for key, _, organization in keys}
    if not app.state.organizations:
        logger.warning("FINE_TUNING_API_KEYS is not set, so every request is refused. Set it to key=organization pairs.")
    app.state.files = Path(os.environ.get("FINE_TUNING_FILES", "fine_tuning_files"))
    with FineTuningStore.from_url(os.environ.get("FINE_TUNING_STORE_URL", "sqlite:///fine_tuning_service.db")) as store:
        store.schema.upgrade()  # safe when several services start at once: one migrates, the others wait
        app.state.store = store
        app.state.demo_worker = None
        if os.environ.get("FINE_TUNING_DEMO_WORKER", "1") != "1":
            yield
            return
        app.state.demo_worker = DemoWorker(store, app.state.files)
        with app.state.demo_worker.running():
            yield


api = FastAPI(title="Fine-tuning", lifespan=lifespan)
routers = [module.router for module in (jobs, permissions, graders, files)]
for router in routers:
    api.include_router(router)
api.state.routes = [route for router in routers for route in router.routes]
errors.add_handlers(api)


@api.get("/health")
def health() -> dict[str, str]:
    """Read from the database: an error if it cannot be used."""
    store: FineTuningStore = api.state.store
    store.jobs.count(limit=1)
    return {"status": "ok"}


app = Callers(api)
