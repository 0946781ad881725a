"""Model folders against transformers' own tensors, in every form, and every way in which a folder can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_opt
import torch
from safetensors.torch import load_file, save_file
from transformers import OPTForCausalLM

from flashneuron.errors import ModelError
from flashneuron.model.folder import ModelFolder, open_model


def canonical(model: OPTForCausalLM) -> dict[str, torch.Tensor]:
    """What spec.Weights promises, taken from transformers' attributes rather than from names on disk."""
    decoder = model.model.decoder
    tensors = {
        "embed.tokens": decoder.embed_tokens.weight,
        "embed.positions": decoder.embed_positions.weight[2:],
        "head.weight": model.lm_head.weight,
    }
    if decoder.project_in is not None:
        tensors |= {"embed.project_in": decoder.project_in.weight, "head.project_out": decoder.project_out.weight}
    modules = {}
    for i, layer in enumerate(decoder.layers):
        attention = layer.self_attn
        modules |= {
            f"layers.{i}.attn_norm": layer.self_attn_layer_norm,
            f"layers.{i}.attn.q": attention.q_proj,
            f"layers.{i}.attn.k": attention.k_proj,
            f"layers.{i}.attn.v": attention.v_proj,
            f"layers.{i}.attn.o": attention.out_proj,
            f"layers.{i}.ffn_norm": layer.final_layer_norm,
            f"layers.{i}.ffn.up": layer.fc1,
            f"layers.{i}.ffn.down": layer.fc2,
        }
    if decoder.final_layer_norm is not None:
        modules["final_norm"] = decoder.final_layer_norm
    for name, module in modules.items():
        tensors |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    return tensors


def assert_same(folder: ModelFolder, model: OPTForCausalLM) -> None:
    expected = canonical(model)
    for name, tensor in expected.items():
        assert torch.equal(folder.weights[name], tensor), name
    for name in ("embed.project_in", "head.project_out", "final_norm.weight"):
        assert (name in folder.weights) == (name in expected)


VARIANTS = {
    "pre-norm": {},
    "post-norm": {"do_layer_norm_before": False},
    "projected": {"word_embed_proj_dim": 16, "do_layer_norm_before": False},
    "no-final-norm": {"_remove_final_layer_norm": True},
    "untied": {"tie_word_embeddings": False},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("shard", ["1GB", "20KB"])
def test_safetensors(changes: dict[str, object], shard: str, tmp_path: Path) -> None:
    model = tiny_opt.make_model(**changes)
    tiny_opt.save_safetensors(model, tmp_path, shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) == 1) == (shard == "1GB")
    folder = open_model(tmp_path)
    assert_same(folder, model)
    assert folder.spec.norm == ("post" if "do_layer_norm_before" in changes else "pre")
    assert (folder.spec.head_size, folder.spec.position_rows, folder.spec.prompt_prefix_ids) == (8, 40, (2,))


@pytest.mark.parametrize("prefix", ["model.decoder.", "decoder."])
@pytest.mark.parametrize("shards", [1, 3])
def test_bin(prefix: str, shards: int, tmp_path: Path) -> None:
    model = tiny_opt.make_model()
    assert_same(open_model(tiny_opt.save_bin(model, tmp_path / "m", prefix, shards)), model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_stored_dtype_is_kept(dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny_opt.make_model().to(dtype)
    folder = open_model(tiny_opt.save_safetensors(model, tmp_path))
    assert folder.weights["layers.0.ffn.up.weight"].dtype == dtype
    assert_same(folder, model)


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    folder = tiny_opt.save_safetensors(tiny_opt.make_model(), tmp_path / "m")
    before = open_model(folder).fingerprint()
    assert open_model(folder).fingerprint() == before
    tiny_opt.edit_config(folder, _comment=1)
    assert open_model(folder).fingerprint() != before


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_opt.save_safetensors(tiny_opt.make_model(), tmp_path_factory.mktemp("models") / "sound", "20KB")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return tiny_opt.copy(sound, tmp_path / "model")


def refuse(folder: Path, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        open_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_not_a_model_folder(folder: Path, tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere", "is not a folder")
    refuse(folder / "config.json", "is not a folder")
    (folder / "config.json").unlink()
    refuse(folder, "has no config.json")


def test_config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    refuse(folder, "config.json cannot be read as JSON")


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    refuse(folder, "has no tokenizer", "vocab.json and merges.txt")


def test_broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    refuse(folder, "tokenizer.json is not a tokenizer")


def test_no_weights(folder: Path) -> None:
    for path in folder.glob("*safetensors*"):
        path.unlink()
    refuse(folder, "has no weights")


def test_missing_shard(folder: Path) -> None:
    next(folder.glob("*-00002-of-*.safetensors")).unlink()
    refuse(folder, "00002-of-", "is missing")


def test_truncated_shard(folder: Path) -> None:
    path = next(folder.glob("*-00002-of-*.safetensors"))
    path.write_bytes(path.read_bytes()[:-100])
    refuse(folder, path.name, "truncated")


def test_truncated_bin(tmp_path: Path) -> None:
    folder = tiny_opt.save_bin(tiny_opt.make_model(), tmp_path / "m")
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-5000])
    refuse(folder, "pytorch_model.bin cannot be read")


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    folder = tiny_opt.save_bin(tiny_opt.make_model(), tmp_path / "m")
    torch.save({"x": Path("/")}, folder / "pytorch_model.bin")
    refuse(folder, "pytorch_model.bin cannot be read", "more than plain tensors")


def test_unsupported_models(folder: Path) -> None:
    for changes, words in (
        ({"model_type": "gpt2"}, ["'gpt2'", "supported: opt"]),
        ({"activation_function": "gelu"}, ["'gelu'", "supported: relu"]),
        ({"enable_bias": False}, ["enable_bias=False"]),
        ({"layer_norm_elementwise_affine": False}, ["layer_norm_elementwise_affine=False"]),
        ({"quantization_config": {}}, ["quantised"]),
    ):
        before = (folder / "config.json").read_text()
        tiny_opt.edit_config(folder, **changes)
        refuse(folder, *words)
        (folder / "config.json").write_text(before)


def test_config_that_does_not_fit_the_weights(folder: Path) -> None:
    tiny_opt.edit_config(folder, ffn_dim=64)
    refuse(folder, "fc1.weight has shape [48, 32]", "implies [64, 32]")
    tiny_opt.edit_config(folder, ffn_dim=48, num_hidden_layers=3)
    refuse(folder, "lack model.decoder.layers.2.self_attn_layer_norm.weight")
    tiny_opt.edit_config(folder, num_hidden_layers=0)
    refuse(folder, "num_hidden_layers is 0")


def test_a_vocabulary_smaller_than_the_tokenizer(folder: Path) -> None:
    tiny_opt.edit_config(folder, vocab_size=200)
    refuse(folder, "the tokenizer has id 259")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_named_by_tensor(value: float, folder: Path) -> None:
    path = next(p for p in folder.glob("*.safetensors") if "model.decoder.layers.1.fc1.weight" in load_file(p))
    tensors = load_file(path)
    tensors["model.decoder.layers.1.fc1.weight"][3, 4] = value
    save_file(tensors, path)
    weights = open_model(folder).weights
    with pytest.raises(ModelError, match=r"layers\.1\.fc1\.weight holds NaN or infinite"):
        weights["layers.1.ffn.up.weight"]
