"""golden.json: what the runtime must compute, from the weights as the package stores them, in fp32.

Embedding and FFN come from the package's own files, attention and head from the checkpoint rounded to their element,
so a wrong record, a swapped layer or a misread header shows as a difference from the runtime's numbers only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from flashneuron.model.blocks import AttentionBlock, Block, BlockDtype, HeadBlock
from flashneuron.model.ffn import Ffn
from flashneuron.model.spec import ModelSpec, Weights
from flashneuron.package.atomic import atomic_write
from flashneuron.package.elements import decode
from flashneuron.package.ffn_file import FfnShard
from flashneuron.package.layout import numpy_dtype, row_scales, scale_dtype
from flashneuron.package.neuron_lists import read_places
from flashneuron.package.schema import EmbeddingFacts, FfnFacts
from flashneuron.progress import Progress

GOLDEN = "golden.json"
PROMPT = "In the beginning"
NEW_TOKENS, NEW_TOKENS_STREAMED = 64, 1  # the latter where each token reads the model again
RESIDENT_BYTES = 512 << 20  # a model of at most this size in fp32 is held in memory
# Largest difference of a layer's number, as a share of the layer's largest magnitude, by the programs' element.
TOLERANCE: dict[BlockDtype, float] = {"fp32": 1e-3, "fp16": 2e-2, "int8": 5e-2, "int4": 5e-2}

NPU_TOLERANCE: dict[BlockDtype, float] = {"fp16": 2e-2, "int8": 1e-1, "int4": 5e-1}  # computed in 16 bits throughout


Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class StoredModel:
    """The model as `folder` stores it (capture.Parts), read layer by layer."""

    spec: ModelSpec
    weights: Weights
    folder: Path
    embedding: EmbeddingFacts
    ffn_facts: FfnFacts
    attention: BlockDtype

    def embeddings(self, sequences: Sequence[Array]) -> Iterator[torch.Tensor]:
        return (self.embed(ids.tolist(), 0) for ids in sequences)

    def embed(self, ids: list[int], position: int) -> torch.Tensor:
        """Input of layer 0, fp32 [len(ids), d]."""
        rows, width = self.spec.vocab_size + self.spec.position_rows, self.spec.hidden_size
        dtype = numpy_dtype(self.embedding.dtype)
        table = np.memmap(self.folder / self.embedding.file, dtype, "r", shape=(rows, width))
        tokens = decode(table[ids], None, self.embedding.dtype, width)
        if self.spec.position_rows:
            first = self.spec.vocab_size + position
            tokens += decode(table[first : first + len(ids)], None, self.embedding.dtype, width)
        return torch.from_numpy(tokens)

    def block(self, index: int) -> Block:
        return self._rounded(AttentionBlock(self.spec, index, self.weights))

    def layer(self, index: int) -> tuple[Block, Ffn]:
        return self.block(index), self.ffn(index)

    def head(self) -> Block:
        return self._rounded(HeadBlock(self.spec, self.weights))

    def _rounded(self, block: Block) -> Block:
        block.set_dtype(self.attention)
        block.set_dtype("fp32")
        return block

    def ffn(self, index: int) -> Ffn:
        facts, width, neurons = self.ffn_facts, self.spec.hidden_size, self.spec.ffn_size
        variant = facts.variants[0]
        parts = []
        for shards in variant.layers[index].parts(variant.layout).values():
            parts.append(np.concatenate([FfnShard.open(self.folder / name).records() for name in shards]))
        records = np.concatenate(parts, axis=1)
        if variant.places is not None:
            records = records[read_places(self.folder / variant.places[index])]
        names = (["gate"] if self.spec.gated else []) + ["up", "down"]
        scales: list[Array | None] = [None] * len(names)
        if facts.scales is not None:
            stored = np.fromfile(self.folder / facts.scales[index], scale_dtype(facts.dtype))
            scales = list(stored.reshape(len(names), neurons, row_scales(facts.dtype, width)))
        vectors = zip(names, np.split(records, len(names), axis=1), scales, strict=True)
        tensors = {name: torch.from_numpy(decode(rows, scale, facts.dtype, width)) for name, rows, scale in vectors}
        bias = torch.from_numpy(np.fromfile(self.folder / facts.bias[index], "<f4"))
        tensors |= {"down": tensors["down"].T, "up_bias": bias[:neurons], "down_bias": bias[neurons:]}
        return Ffn.of(self.spec, index, tensors)


def write_golden(model: StoredModel, tokenizer_json: bytes, backends: Sequence[str], progress: Progress) -> None:
    path = model.folder / GOLDEN
    if path.exists():
        return
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    text = tokenizer.encode(PROMPT, add_special_tokens=False).ids[: model.spec.max_context // 2]
    prompt_ids = [*model.spec.prompt_prefix_ids, *text]
    resident = model_bytes(model.spec) <= RESIDENT_BYTES
    count = min(NEW_TOKENS if resident else NEW_TOKENS_STREAMED, model.spec.max_context - len(prompt_ids))
    token_ids, layers = greedy(model, prompt_ids, count, resident, progress)
    kinds = [TOLERANCE if name == "xnnpack" else NPU_TOLERANCE for name in backends]
    golden = {
        "prompt": PROMPT,
        "prompt_ids": prompt_ids,
        "token_ids": token_ids,
        "layers": layers,
        "weights": "stored",
        "tolerance": {name: tolerances[model.attention] for name, tolerances in zip(backends, kinds, strict=True)},
    }
    atomic_write(path, json.dumps(golden).encode())


def model_bytes(spec: ModelSpec) -> int:
    """fp32 bytes of layers and head, roughly (biases and norms left out)."""
    d, kv = spec.hidden_size, spec.kv_heads * spec.head_size
    layer = 2 * d * spec.heads * spec.head_size + 2 * d * kv + (3 if spec.gated else 2) * d * spec.ffn_size
    return 4 * (spec.layers * layer + spec.vocab_size * d)


@torch.inference_mode()
def greedy(
    model: StoredModel, prompt_ids: list[int], count: int, resident: bool, progress: Progress
) -> tuple[list[int], list[list[float]]]:
    """`count` greedy ids after the prompt (none is treated as an end), and the layers' outputs at its last token."""
    spec = model.spec
    load = lru_cache(maxsize=spec.layers if resident else 1)(model.layer)
    head = model.head()
    row_bytes = 4 * spec.kv_heads * spec.head_size
    caches = torch.zeros(spec.layers, 2, len(prompt_ids) + count, row_bytes, dtype=torch.uint8)  # keys, values
    ids, found, outputs, position = prompt_ids, list[int](), list[list[float]](), 0
    with progress.step("golden tokens", count, "tokens") as advance:
        while len(found) < count:
            residual, ffn_out = model.embed(ids, position), torch.zeros(len(ids), spec.hidden_size)
            at = torch.tensor([position])
            for index in range(spec.layers):
                block, ffn = load(index)
                residual, ffn_input, k, v = block(residual, ffn_out, caches[index, 0], caches[index, 1], at)
                for cache, new in zip(caches[index], (k, v), strict=True):
                    cache[position : position + len(ids)] = new.contiguous().view(torch.uint8)
                ffn_out = ffn(ffn_input)
                if not found:
                    outputs.append((residual + ffn_out)[-1].tolist())
            position += len(ids)
            ids = [int(head(residual[-1:], ffn_out[-1:]).argmax())]
            found += ids
            advance(1)
    return found, outputs
