"""Golden bytes: what a released version sent is read for ever, and written the same."""

from __future__ import annotations

import hashlib
import re
import runpy
from pathlib import Path

import msgpack
import numpy as np
import pytest

import protocols as p

HERE = Path(__file__).parent
MAKE = runpy.run_path(str(HERE / "golden" / "make.py"))
V1 = HERE / "golden" / "v1"
MESSAGES = MAKE["messages"]()


def read(kind: str) -> list[bytes]:
    return MAKE["split"]((V1 / f"{kind}.bin").read_bytes())


def test_every_kind_has_a_golden_file():
    assert tuple(MESSAGES) == p.KINDS
    assert {path.name for path in V1.iterdir()} == set(MAKE["files"]())


@pytest.mark.parametrize("kind", p.KINDS)
def test_golden_bytes_decode_to_the_known_message(kind):
    assert p.decode(read(kind)) == MESSAGES[kind]


@pytest.mark.parametrize("kind", p.KINDS)
def test_known_message_encodes_to_the_golden_bytes(kind):
    assert p.encode(*MESSAGES[kind]) == read(kind)


def test_canonical_prompts_and_digest_are_the_golden_ones():
    golden = (V1 / "_canonical_prompts.bin").read_bytes()
    assert p.canonical_prompts(MAKE["bank"]().prompts) == golden
    assert MAKE["bank"]().digest == hashlib.sha256(golden).hexdigest()
    assert MAKE["bank"]().digest == "296f6f0675e79b6ee7e5c45b90301db0c87e03199f90591a4ca0665d2d84ed9a"
    assert p.PromptBank.empty("any").digest == hashlib.sha256(b"\x90").hexdigest()


def test_canonical_prompts_are_sorted_at_every_level():
    prompts = msgpack.unpackb((V1 / "_canonical_prompts.bin").read_bytes())
    assert [prompt["prompt_id"] for prompt in prompts] == ["a.bare", "p-1"]
    assert all(list(prompt) == sorted(prompt) for prompt in prompts)
    assert list(prompts[1]["chips"][0]) == ["box_xyxy", "jpeg", "scale"]


def test_golden_bank_change_unpacks_and_applies():
    change = p.unpack_change((V1 / "_bank_change.bin").read_bytes())
    assert p.apply_change(p.PromptBank.empty("epoch-1"), change) == MAKE["bank"]()


def test_golden_bank_change_with_the_fields_that_came_later_reads_and_is_written_the_same():
    golden = (V1 / "_later_bank_change.bin").read_bytes()
    later = MAKE["later_bank"]()
    assert p.apply_change(MAKE["bank"](), p.unpack_change(golden)) == later
    assert p.pack_change(p.diff_banks(None, later)) == golden


@pytest.mark.parametrize("name", ["_later_welcome.bin", "_later_hello.bin", "_later_case_offer.bin"])
def test_golden_message_with_what_came_later_reads_and_is_written_the_same(name):
    golden = (V1 / name).read_bytes()
    message, blob = p.decode(MAKE["split"](golden))
    assert MAKE["join"](p.encode(message, blob)) == golden
    plain = [(MAKE["later_welcome"](), b""), (MAKE["later_hello"](), b"")]
    assert (message, blob) in [*plain, (p.CaseOffer(case=MAKE["case"]()), bytes(range(32)))]


def test_golden_raw_image_decodes():
    image = p.decode_image((V1 / "_image.raw").read_bytes(), "application/x-skyloop-raw")
    np.testing.assert_array_equal(image, np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 5)


def test_readme_shows_the_golden_bytes():
    readme = (Path(p.__file__).parent / "README.md").read_text(encoding="utf-8")
    vectors = dict(re.findall(r"`golden/v1/(\w+)\.bin`[^`]*```hex\n(.*?)```", readme, flags=re.DOTALL))
    assert len(vectors) == 2
    for kind, text in vectors.items():
        assert bytes.fromhex(text) == (V1 / f"{kind}.bin").read_bytes()


def test_readme_names_every_kind_code_and_field():
    readme = (Path(p.__file__).parent / "README.md").read_text(encoding="utf-8")
    models = [type(message) for message, _ in MESSAGES.values()]
    models += [
        p.Case,
        p.CasePart,
        p.FrameHeader,
        p.FrameRef,
        p.Pose,
        p.Detection,
        p.Interpretation,
        p.Prompt,
        p.Chip,
        p.Vectors,
    ]
    fields = {field for model in models for field in model.model_fields}
    missing = [name for name in fields | set(p.KINDS) | set(p.PROBLEM_CODES) if f"`{name}`" not in readme]
    assert missing == []


def test_readme_example_runs():
    readme = (Path(p.__file__).parent / "README.md").read_text(encoding="utf-8")
    for example in re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL):
        exec(compile(example, "README.md", "exec"), {})


def test_golden_question_about_a_target_and_its_answer_decode():
    question, _ = p.decode(read("_target_case"))
    answer, _ = p.decode(read("_target_interpretation"))
    assert question == p.CaseOffer(case=MAKE["target_case"]())
    assert answer == p.InterpretationMessage(interpretation=MAKE["target_interpretation"]())


def test_golden_case_with_parts_decodes():
    parts, _ = p.decode(read("_parts_case"))
    assert parts == p.CaseOffer(case=MAKE["parts_case"]())


def test_golden_refined_case_and_its_answer_decode():
    refined, _ = p.decode(read("_refined_case"))
    answer, _ = p.decode(read("_refined_interpretation"))
    assert refined == p.CaseOffer(case=MAKE["refined_case"]())
    assert answer == p.InterpretationMessage(interpretation=MAKE["refined_interpretation"]())
