"""Small random OPTs written by transformers in every form that the Hub has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import OPTConfig, OPTForCausalLM

VOCAB = 300


def make_model(seed: int = 0, **changes: Any) -> OPTForCausalLM:
    """4 heads × 8, 2 layers, FFN 48, fp32; biases and norms are random too, so that none can go missing unseen."""
    torch.manual_seed(seed)
    facts: dict[str, Any] = {
        "vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "ffn_dim": 48, "num_attention_heads": 4,
        "max_position_embeddings": 40, "word_embed_proj_dim": 32, "dropout": 0.0,
    }  # fmt: skip
    model = OPTForCausalLM(OPTConfig(**(facts | changes))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.config.architectures = ["OPTForCausalLM"]
    return model


def save_safetensors(model: OPTForCausalLM, folder: Path, max_shard_size: str = "1GB") -> Path:
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    write_tokenizer(folder)
    return folder


def save_bin(model: OPTForCausalLM, folder: Path, prefix: str = "model.decoder.", shards: int = 1) -> Path:
    """As torch.save writes it; `decoder.` is the prefix of checkpoints from before transformers 4.19."""
    folder.mkdir(parents=True)
    model.config.save_pretrained(folder)
    tensors = {
        name.replace("model.decoder.", prefix): tensor.clone()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    names = list(tensors)
    if shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        weight_map = {}
        for number in range(shards):
            part = {name: tensors[name] for name in names[number::shards]}
            file = f"pytorch_model-{number + 1:05}-of-{shards:05}.bin"
            torch.save(part, folder / file)
            weight_map |= dict.fromkeys(part, file)
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    write_tokenizer(folder)
    return folder


def tokenizer(prefix: bool = True) -> Tokenizer:
    """Byte-level BPE without merges: 4 special tokens, then one id a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *alphabet]
    made = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    if prefix:
        made.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    return made


def write_tokenizer(folder: Path, prefix: bool = True) -> None:
    (folder / "tokenizer.json").write_text(tokenizer(prefix).to_str())


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
