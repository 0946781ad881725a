"""A GGUF file is the model folder that it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import tiny_opt
import torch
from gguf import GGUFWriter
from torch import Tensor

from flashneuron.errors import ModelError
from flashneuron.model import gguf
from flashneuron.model.folder import open_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "flashneuron" / "gguf"


def write(model: Any, path: Path) -> Path:
    """As llama.cpp's converter does: its own names, rows of queries and keys in pairs, fp16 matrices, fp32 norms."""
    config, writer = model.config, GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(config.vocab_size)
    tokens = list(tiny_opt.tokenizer().get_vocab(with_added_tokens=True).items())
    names = [token for token, _ in sorted(tokens, key=lambda item: item[1])]
    names += ["ab", "<|endoftext|>"]  # a merge; what transformers would add for itself
    names += [f"<unused{i}>" for i in range(config.vocab_size - len(names))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(names)
    writer.add_token_types([3] * 4 + [1] * (len(names) - 4))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(2)

    def add(name: str, tensor: Tensor, heads: int | None = None) -> None:
        if heads is not None:
            tensor = tensor.reshape(heads, 2, -1, tensor.shape[1]).transpose(1, 2).reshape(tensor.shape)
        element = np.float32 if tensor.dim() == 1 else np.float16
        writer.add_tensor(f"{name}.weight", np.ascontiguousarray(tensor.detach().numpy().astype(element)))

    add("token_embd", model.model.embed_tokens.weight)
    add("output_norm", model.model.norm.weight)
    add("output", model.lm_head.weight)
    for number, layer in enumerate(model.model.layers):
        block, attention, mlp = f"blk.{number}", layer.self_attn, layer.mlp
        add(f"{block}.attn_norm", layer.input_layernorm.weight)
        add(f"{block}.ffn_norm", layer.post_attention_layernorm.weight)
        add(f"{block}.attn_q", attention.q_proj.weight, config.num_attention_heads)
        add(f"{block}.attn_k", attention.k_proj.weight, config.num_key_value_heads)
        add(f"{block}.attn_v", attention.v_proj.weight)
        add(f"{block}.attn_output", attention.o_proj.weight)
        for part in ("gate", "up", "down"):
            add(f"{block}.ffn_{part}", getattr(mlp, f"{part}_proj").weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_is_its_model(tmp_path: Path, cache: Path) -> None:
    model = tiny_families.make("llama")
    path = write(model, tmp_path / "small.gguf")
    found, same = open_model(path), open_model(tiny_families.save(model, tmp_path / "folder"))
    assert found.name == "small"
    for name in ("family", "activation", "layers", "heads", "kv_heads", "head_size", "ffn_size", "vocab_size", "rope"):
        assert getattr(found.spec, name) == getattr(same.spec, name), name
    for name in ("embed.tokens", "head.weight", "layers.0.attn.q.weight", "layers.1.attn.k.weight",
                 "layers.1.ffn.gate.weight", "layers.0.ffn.down.weight", "final_norm.weight"):  # fmt: skip
        torch.testing.assert_close(found.weights[name].float(), same.weights[name], rtol=1e-3, atol=1e-4)
    made = found.path.stat().st_mtime_ns
    assert open_model(path).path.stat().st_mtime_ns == made
    assert [entry.name for entry in found.path.parent.iterdir()] == ["small"]


def test_what_is_no_gguf_file_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(ModelError, match="cannot be read as GGUF") as caught:
        open_model(path)
    assert "\n" not in str(caught.value)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.gguf"
    path.touch()
    monkeypatch.setattr(gguf.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"need transformers; install the extra: pip install 'flashneuron\[gguf\]'"):
        open_model(path)
