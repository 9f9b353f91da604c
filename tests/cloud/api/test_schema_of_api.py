"""The API keeps to its own OpenAPI description, whatever is sent: schemathesis makes it up."""

import pytest
import schemathesis
from api_parts import client_for, keep_case, prompt_of, service_of
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.parameters import ParameterLocation

from cloud.api import add_api
from cloud.store import CaseStore, Review
from protocols.messages import TrackTarget

EXAMPLES = 6
"""For each operation and mode in the default run; forty times as many in the slow one."""

CALM = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None, "derandomize": True}

# What a schema cannot say: a box lies in the picture, a prompt's label is one of the boxes', a cursor is one of ours.
MEANT = ("positive_data_acceptance",)


def operations():
    """(method, path) of everything in the description; no store is needed to make it."""
    app = FastAPI()
    app.state.backend = app.state.doorman = None
    paths = add_api(app).openapi()["paths"]
    return sorted((method.upper(), path) for path, methods in paths.items() for method in methods)


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """The schema, headers of an operator, and some of what is asked for."""
    store = CaseStore(tmp_path_factory.mktemp("api") / "data")
    for name in ("uav", "sat"):
        store.enroll(name, name[0] * 40)
    cases = [keep_case(store, craft) for craft in ("uav", "sat", "uav")]
    bank = store.bank("uav")
    store.save_bank("uav", bank.model_copy(update={"revision": 1, "prompts": (prompt_of("p1", cases[0].case_id),)}))
    order = TrackTarget(target_key="ab" * 6, action="start", label="boat", box_xyxy=(0, 0, 90, 90))
    store.add_target("uav", order, by="ann", now_s=1.0, expires_at_s=1e10)
    number = store.add_review(Review("uav", cases[0].case_id, "Debris", (), "craft", "ann", 3.0))
    rollout = store.add_rollout("student-7", percent=10, crafts=(), by="ann", now_s=5.0)
    there = {
        "case_id": [case.case_id for case in cases],
        "craft": ["uav", "sat"],
        "key": ["ab" * 6],
        "prompt_id": ["p1"],
        "review_id": [number],
        "rollout_id": [rollout.rollout_id],
    }
    service = service_of(store)
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", service.app)
    yield schema, dict(client_for(service, "operator").headers), there
    store.close()


def check(api, method, path, mode, settings_):
    """Send what schemathesis makes up, and check every answer."""
    schema, headers, there = api
    operation = schema[path][method]
    excluded = [CHECKS.get_one(name) for name in MEANT]

    @settings_
    @given(operation.as_strategy(generation_mode=mode), st.data())
    def run(case, data):
        for name in case.path_parameters if mode is GenerationMode.POSITIVE else ():
            if name in there and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(there[name]))
        part = case.meta.components.get(ParameterLocation.HEADER)
        is_without = part is not None and part.mode is GenerationMode.NEGATIVE  # its own header is what is wrong
        own = {} if is_without else {"Authorization": headers["authorization"]}
        case.call_and_validate(headers=own, excluded_checks=excluded, timeout=30)

    run()


@pytest.mark.parametrize(("method", "path"), operations())
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_operation_keeps_to_the_schema(api, method, path, mode):
    check(api, method, path, mode, settings(max_examples=EXAMPLES, phases=[Phase.generate], **CALM))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), operations())
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_operation_keeps_to_the_schema_at_length(api, method, path, mode):
    check(api, method, path, mode, settings(max_examples=40 * EXAMPLES, **CALM))
