"""Attention on the NPU, end to end on an emulated phone: Qualcomm's Hexagon emulator computes what the chip would."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SAMPLE
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

import flashneuron
from flashneuron import qnn
from flashneuron.cli.package_summary import describe
from flashneuron.device import npu
from flashneuron.device.phones import RunningPhone
from flashneuron.device.runtime import RUNNER, find_runtime
from flashneuron.emulator.phone import start_phone, stop_phone
from flashneuron.errors import InputError, RunnerError
from flashneuron.export.pipeline import export_model
from flashneuron.export.recipe import ExportRecipe
from flashneuron.package.manifest import Package
from flashneuron.package.records import records_folder
from flashneuron.profile.etdump import generate
from flashneuron.profile.session import Session, open_session
from flashneuron.profile.settings import RunSettings
from flashneuron.progress import SilentProgress
from flashneuron.report.operator_report import render_operators

LAYERS, CHUNK, CONTEXTS, NEW_TOKENS = 2, 8, (16, 48), 24
PROMPTS = ("In the beginning God created the heaven", "To be, or not to be: that is", "And the king said")
CONTEXT_MARK = 0x5678ABCD.to_bytes(4, "little")  # ExecuTorch's, before 16 bytes of header and QNN's context
ON_NPU = RunSettings(backend="qnn", max_new_tokens=NEW_TOKENS, ignore_eos=True)
ON_CPU = RunSettings(backend="xnnpack", max_new_tokens=NEW_TOKENS, ignore_eos=True)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample model's first layers."""
    folder = tmp_path_factory.mktemp("npu") / "short"
    shutil.copytree(SAMPLE, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": LAYERS}))
    beyond = tuple(f"model.decoder.layers.{layer}." for layer in range(LAYERS, config["num_hidden_layers"]))
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: weight for name, weight in weights.items() if not name.startswith(beyond)},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    return folder


@pytest.fixture(scope="module")
def package(model_folder: Path) -> Package:
    recipe = ExportRecipe(
        backends=("xnnpack", "qnn"), soc="SM8650", contexts=CONTEXTS, weight_sharing=False, max_chunk=CHUNK,
        dtype="fp32", predictor="none", etrecord=True,
    )  # fmt: skip
    return export_model(model_folder, model_folder.with_name("short.fnpkg"), recipe, SilentProgress())


@pytest.fixture(scope="module")
def npu_phone() -> Iterator[RunningPhone]:
    started = start_phone("oneplus-12", SilentProgress(), name="test-npu")
    yield started
    stop_phone(started.name, wipe=True)


@pytest.fixture(scope="module")
def session(npu_phone: RunningPhone, package: Package) -> Iterator[Session]:
    with open_session(package, npu_phone.device, SilentProgress()) as opened:
        yield opened


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(SAMPLE / "tokenizer.json"))
    return [tokenizer.encode(prompt).ids for prompt in PROMPTS]


def test_everything_is_delegated_and_near_fp32(package: Package) -> None:
    found = describe(package)["lowering"]["qnn-sm8650"]
    assert found["outside"] == found["head"]["outside"] == {}
    assert found["delegated"]["aten.matmul"] == found["delegated"]["aten.linear"] == 2
    assert sorted(found["errors"]) == ["0", "1", "head"]
    assert 0 < max(error for errors in found["errors"].values() for error in errors.values()) < 5e-3


def test_tokens_are_the_cpus_across_contexts(session: Session, model_folder: Path, prompts: list[list[int]]) -> None:
    """Or part where the model can hardly tell its two likeliest tokens apart. Prompts are cut into chunks, the last one
    not full, and the text outgrows the smaller context.
    """
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    for prompt in prompts:
        on_npu, on_cpu = session.generate(ON_NPU, prompt), session.generate(ON_CPU, prompt)
        assert on_npu.ready.settings["backend"] == "qnn-sm8650"
        assert on_cpu.ready.settings["backend"] == "xnnpack"
        assert on_npu.ready.attention_loaded_bytes
        assert (on_npu.ready.kv_in_place, on_cpu.ready.kv_in_place) == (False, None)  # an emulator shares no memory
        assert len(prompt) < CONTEXTS[0] < len(prompt) + NEW_TOKENS
        ours, theirs = on_npu.result.token_ids, on_cpu.result.token_ids
        same = next((i for i in range(NEW_TOKENS) if ours[i] != theirs[i]), None)
        if same is not None:
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *theirs[:same]]])).logits[0, -1]
            first, second = logits.topk(2).values.tolist()
            assert first - second < 5e-3 * logits.abs().max().item(), f"token {same}"


def test_likelihoods_are_near_the_cpus(session: Session, prompts: list[list[int]]) -> None:
    found = [session.score(settings, prompts, lambda _: None) for settings in (ON_NPU, ON_CPU)]
    assert found[0].nll == pytest.approx(found[1].nll, rel=1e-3)


def test_the_choice_is_never_silent(session: Session, prompts: list[list[int]]) -> None:
    auto = RunSettings(max_new_tokens=1)
    assert session.generate(auto, prompts[0]).ready.backend_why == "the device has this NPU"
    small = session.generate(
        RunSettings(max_new_tokens=1, ram=64 << 20), prompts[0]
    ).ready  # the libraries alone are more
    assert small.settings["backend"] == "xnnpack"
    assert "ram" in str(small.backend_why)
    assert any(warning.startswith("the NPU is not used: ") for warning in small.warnings)
    for asked, reason in (({"kv": "fp32"}, "kv=fp16"), ({"context": 100}, "context of 48 tokens")):
        fallen = session.generate(RunSettings(max_new_tokens=1, **asked), prompts[0]).ready
        assert fallen.settings["backend"] == "xnnpack"
        assert reason in str(fallen.backend_why)
        with pytest.raises(RunnerError, match=reason) as refused:
            session.generate(RunSettings(max_new_tokens=1, backend="qnn", **asked), prompts[0])
        assert refused.value.code == "unsupported"


@pytest.mark.parametrize(
    ("settings", "place", "outside"),
    [(ON_NPU, "NPU", {"between operators", "around the NPU's work"}), (ON_CPU, "XNNPACK", {"between operators"})],
)
def test_a_profile_names_the_models_operators(
    session: Session,
    package: Package,
    prompts: list[list[int]],
    tmp_path: Path,
    settings: RunSettings,
    place: str,
    outside: set[str],
) -> None:
    short, folder, seen = dataclasses.replace(settings, max_new_tokens=3), tmp_path / "operators", list[int]()
    made = generate(session, short, prompts[0], lambda token: seen.append(token.id), folder)
    assert seen == made.result.token_ids == session.generate(short, prompts[0]).result.token_ids
    assert "etdump slows the run down" in made.ready.warnings[-1]
    assert session.link is not None
    assert b"etdump" not in session.link.shell(["ls", str(session.link.root / "tmp")]).stdout
    assert [path.name for path in tmp_path.iterdir()] == ["operators"]

    found = json.loads(render_operators(folder, records_folder(package.folder), "json"))
    assert [phase["phase"] for phase in found["phases"]] == ["prefill", "decode"]
    chunks = -(-len(prompts[0]) // CHUNK)
    for phase, layer_calls, head_calls in zip(found["phases"], (chunks * LAYERS, 2 * LAYERS), (0, 3), strict=True):
        rows = {(row["operator"], row["module"]): row for row in phase["rows"]}
        assert rows["linear", "o"]["calls"] == layer_calls
        assert rows["linear", "o"]["place"] == place
        assert {"attn_norm", "ffn_norm", "o"} <= {module for _, module in rows}
        assert rows.get(("linear", "projections.0"), {"calls": 0})["calls"] == head_calls
        assert outside <= {operator for operator, _ in rows}
        assert phase["total_us"] == pytest.approx(sum(row["total_us"] for row in phase["rows"]))
        assert 0 < phase["total_us"] < 60e6
    if place == "NPU":
        assert any("its times mean nothing" in remark for remark in found["remarks"])

    page = render_operators(folder, records_folder(package.folder), "html")
    assert "attn_norm" in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    unnamed = render_operators(folder, None, "md")
    assert "attn_norm" not in unnamed
    assert "without --etrecord" in unnamed


def test_a_profile_that_fails_leaves_nothing(session: Session, prompts: list[list[int]], tmp_path: Path) -> None:
    too_small = dataclasses.replace(ON_NPU, ram=1 << 20)
    with pytest.raises(RunnerError, match="ram"):
        generate(session, too_small, prompts[0], lambda _: None, tmp_path / "operators")
    assert list(tmp_path.iterdir()) == []


def test_a_host_without_the_libraries(
    npu_phone: RunningPhone, package: Package, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> qnn.QnnSdk:
        raise InputError("QNN's libraries are missing; pip install 'flashneuron[qnn]'")

    monkeypatch.setattr(npu, "find_qnn", missing)
    with open_session(package, npu_phone.device, SilentProgress()) as opened:
        fallen = opened.generate(RunSettings(max_new_tokens=1), prompts[0]).ready
        assert fallen.settings["backend"] == "xnnpack"
        assert "pip install 'flashneuron[qnn]'" in str(fallen.backend_why)
        with pytest.raises(RunnerError, match="pip install"):
            opened.generate(RunSettings(max_new_tokens=1, backend="qnn"), prompts[0])


def run_here(package: Path, libraries: Path, backend: str) -> tuple[int, dict[str, Any]]:
    """Exit status and first event of the runner on this machine, which says it is an SM8650."""
    keys = {"version": flashneuron.__version__, "package": package, "soc": "sm8650", "npu_libraries": libraries}
    words = [f"{key}={value}" for key, value in (keys | {"backend": backend, "max_new_tokens": 1}).items()]
    runner = find_runtime("x86_64") / RUNNER
    done = subprocess.run([runner, "generate", *words], input=b"2 100 200", capture_output=True, check=False)
    return done.returncode, json.loads(done.stdout.splitlines()[0])


def test_programs_that_the_npu_refuses(package: Package, tmp_path: Path) -> None:
    """A context whose version is beyond what the libraries know, and one with shared weights on the emulator."""
    libraries, changed = tmp_path / "libraries", tmp_path / "changed"
    libraries.mkdir()
    for name, path in qnn.device_libraries(qnn.find_qnn(), "x86_64", "SM8650").items():
        (libraries / name).symlink_to(path)
    shutil.copytree(package.folder, changed)
    program = next((changed / "attention/qnn-sm8650").glob("*.pte"))
    content = bytearray(program.read_bytes())
    mark = content.index(CONTEXT_MARK)
    version = next(at for at in range(mark + 20, len(content)) if content[at])  # after zeros, the first that it says
    content[version : version + 4] = b"\xff\xff\xff\x7f"
    program.write_bytes(content)

    status, event = run_here(changed, libraries, "qnn")
    assert status == 2
    assert "QNN SDK 2.49.40 compiled it" in event["message"]
    status, event = run_here(changed, libraries, "auto")
    assert (status, event["settings"]["backend"]) == (0, "xnnpack")
    assert "QNN SDK 2.49.40 compiled it" in event["backend_why"]

    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["attention"][1]["weight_sharing"] = True
    (changed / "manifest.json").write_text(json.dumps(manifest))
    status, event = run_here(changed, libraries, "qnn")
    assert status == 2
    assert "--no-weight-sharing" in event["message"]
