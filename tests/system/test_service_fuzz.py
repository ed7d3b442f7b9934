"""Fuzz the example service as a running process with hundreds of requests that no client would send."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fine_tuning_store import FineTuningStore
from fine_tuning_store.domain.job_validation import JobRequest
from tests.support.databases import Database
from tests.support.service import KEYS, Response, Service, running
from tests.support.strategies import FRACTIONS, WHOLE, broken_values, json_values, mutations, texts

METHODS = ("GET", "GET", "GET", "POST", "POST", "POST", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "NONSENSE")
REQUEST = {"model": "gpt-4o-mini", "training_file": "file-abc"}
KEY = next(iter(KEYS))


@dataclass(frozen=True)
class Target:
    """A service with a job that has an event, a checkpoint and a permission."""

    service: Service
    ids: Mapping[str, str]
    """Values of the placeholders `<job>` etc. in paths and queries, which are drawn before the rows exist."""

    def filled_in(self, text: str) -> str:
        for name, id in self.ids.items():
            text = text.replace(f"<{name}>", id)
        return text


@pytest.fixture(scope="module")
def target(database: Database) -> Iterator[Target]:
    with database.empty() as url, running(url) as [service]:
        with FineTuningStore.from_url(url) as store:
            organization = store.for_organization(KEYS[KEY])
            id = organization.jobs.create(model="gpt-4o-mini", training_file="file-abc").id
            event = organization.events.append(id, "One")
            checkpoint = organization.checkpoints.create(id, step_number=1, fine_tuned_model_checkpoint="ft:model")
            [permission] = organization.checkpoint_permissions.create("ft:model", ["proj_1"])
        ids = {"job": id, "event": event.id, "checkpoint": checkpoint.id, "permission": permission.id, "model": "ft:model"}
        yield Target(service, ids)


def percent_encoded(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


IDS = ("<job>", "<event>", "<checkpoint>", "<permission>", "<model>")
ODD = ("%00", "%FF%FE", "%ED%A0%80", "%", "%zz", "..", "%2F", "a" * 300, "9" * 5000, "%F0%9F%98%80", "null")
words = st.sampled_from([*IDS, *ODD]) | texts(300).map(percent_encoded)


@st.composite
def paths(draw: st.DrawFn) -> str:
    """Paths of the service with arbitrary ids, and sometimes an arbitrary name."""
    job = f"/v1/fine_tuning/jobs/{draw(st.just('<job>') | words)}"
    model = f"/v1/fine_tuning/checkpoints/{draw(st.just('<model>') | words)}/permissions"
    known = ["/v1/fine_tuning/jobs", "/v1/fine_tuning/jobs", "/v1/fine_tuning/jobs", job, model, f"{model}/{draw(words)}"]
    known += [f"{job}/{verb}" for verb in ("cancel", "pause", "resume", "events", "events", "checkpoints", draw(words))]
    return draw(st.sampled_from([*known, "/", "//", f"/v1/{draw(words)}", f"{job}/", f"{model}/"]))


names = st.sampled_from(["limit", "after", "order", "project_id", "metadata", "metadata[k]", "metadata[]", "metadata[", "metadata[k][]"])
numbers = st.sampled_from(["0", "-1", "1", "1000", "1001", "1e3", "1.0", " 5", "0x10", "", "true", "\u0663", str(2**63), "9" * 5000])
values = words | numbers | st.sampled_from(["null", "ascending", "descending", "asc"])
queries = st.lists(st.tuples(names.map(quote_plus) | words, values.map(lambda value: quote_plus(value, safe="%<>"))), max_size=3).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)


@st.composite
def create_requests(draw: st.DrawFn) -> Any:
    """Requests for a job with an invalid member, at the top level or nested."""
    type = draw(st.sampled_from(["supervised", "dpo", "reinforcement"]))
    hyperparameters = draw(st.dictionaries(st.sampled_from([*WHOLE, *FRACTIONS, "reasoning_effort", "odd"]), broken_values(), max_size=2))
    members = {"hyperparameters": hyperparameters, draw(st.sampled_from(["grader", "response_format", "odd"])): draw(broken_values())}
    invalid: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"hyperparameters": hyperparameters},
                {"method": {"type": type, type: members}},
                {"integrations": [{"type": "wandb", "wandb": {"project": "p", "tags": draw(broken_values())}}, draw(broken_values())]},
                {"metadata": {draw(st.sampled_from(["k", "\ud800", "\0", "a" * 65])): draw(broken_values() | texts())}},
                {draw(st.sampled_from([*JobRequest.__annotations__, "\udfff", "project_ids"])): draw(broken_values())},
            ]
        )
    )
    recorded = {name: value for name, value in draw(mutations("jobs")).items() if name in JobRequest.__annotations__}
    return draw(st.sampled_from([{**REQUEST, **invalid}, recorded, {"project_ids": draw(broken_values())}]))


def encoded(value: Any, *, ascii: bool) -> bytes:
    """Encode a value as JSON. NaN and lone surrogates result in invalid JSON, bytes in their repr."""
    return json.dumps(value, ensure_ascii=ascii, default=repr).encode("utf-8", "surrogatepass")


#: Bytes, and how often they are repeated.
RAW = [(piece, 1) for piece in (b"", b"{", b"\0", b"\xff\xfe\xfd", b"null")]
RAW += [(b"[", 50_000), (b'{"a":', 10_000), (b"9", 5000)]  # the server may close the connection while a longer body is sent
bodies = (
    st.none()
    | st.sampled_from(RAW)
    | st.tuples(st.binary(max_size=50), st.just(1))
    | st.tuples(st.builds(encoded, create_requests() | json_values(), ascii=st.booleans()), st.just(1))
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_categories=["Cc"]), max_size=30)
headers = st.dictionaries(
    st.sampled_from(["Content-Type", "Content-Encoding", "Accept", "Idempotency-Key", "X-Forwarded-For", "Cookie", "Origin"]),
    st.sampled_from(["gzip", "multipart/form-data", "text/plain; charset=utf-16", "application/x-www-form-urlencoded"]) | header_values,
    max_size=2,
) | header_values.map(lambda value: {"Authorization": value})


def assert_proper(response: Response, method: str) -> None:
    """Assert that the response is no server error, and that an error has the format of the API."""
    assert response.status < 500
    if response.status < 400 or method == "HEAD":
        return
    assert response.content_type == "application/json"
    payload = json.loads(response.body)
    assert list(payload) == ["error"]
    error = payload["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert all(error[name] is None or isinstance(error[name], str) for name in ("param", "code"))


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(method=st.sampled_from(METHODS), path=paths(), query=queries, body=bodies, headers=headers)
def test_no_request_gets_a_server_error(
    target: Target, *, method: str, path: str, query: str, body: tuple[bytes, int] | None, headers: dict[str, str]
) -> None:
    url = target.filled_in(f"{path}?{query}" if query else path)

    assert_proper(target.service.request(method, url, None if body is None else body[0] * body[1], headers), method)


@settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(request=create_requests(), ascii=st.booleans())
def test_no_create_request_gets_a_server_error(target: Target, *, request: Any, ascii: bool) -> None:
    assert_proper(target.service.request("POST", "/v1/fine_tuning/jobs", encoded(request, ascii=ascii)), "POST")
