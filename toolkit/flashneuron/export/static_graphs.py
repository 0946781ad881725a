"""What a compiler of fixed shapes is asked for: for each layer a graph by number of tokens and of cache rows, and the
layers in files of consecutive ones. Pure.

The FFN between two layers is the CPU's, so a graph is one layer: the shortest step that there can be. Files hold as
many layers as keep a compiled context far below what one session of a Hexagon may hold (3.75 GB), and the compiler's
memory within a desktop's. It has all graphs of a file at once: 8 of a layer of 128 MiB took more than 14 GB, 48 of a
layer of 4.5 MiB took 17 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flashneuron.errors import InputError
from flashneuron.model.spec import ModelSpec

CONTEXTS = (256, 1024, 2048, 4096)  # cache rows of the graphs, where the model goes that far
FILE_BYTES = 128 << 20  # of weights in one file, if a layer is not larger: a layer of a 7B model in fp16
FILE_GRAPHS = 16  # in one file, if a layer has no more
# Of keys or values in fp16 that heads take at once: the compiler keeps them whole in the NPU's own memory (8 MiB on an
# SM8650, where 16 MiB were refused).
TILE_BYTES = 4 << 20


@dataclass(frozen=True)
class StaticGraph:
    tokens: int
    cached: int  # rows of the cache that it attends to

    def method(self, layer: int) -> str:
        """FORMAT.md, "Attention programs"."""
        return f"layer_{layer:03d}_t{self.tokens}_c{self.cached}"


def choose_contexts(asked: Sequence[int] | None, max_context: int) -> tuple[int, ...]:
    """Ascending numbers of cache rows. Errors: InputError."""
    if asked is None:
        return tuple(sorted({min(rows, max_context) for rows in CONTEXTS}))
    for rows in asked:
        if not 2 <= rows <= max_context:
            raise InputError(f"--contexts {rows} is not possible with this model; choose 2 to {max_context}")
    return tuple(sorted(set(asked)))


def graphs_of(chunk: int, contexts: Sequence[int]) -> list[StaticGraph]:
    """Decode and prefill for each context."""
    return [StaticGraph(tokens, rows) for rows in contexts for tokens in (1, chunk)]


def kv_heads_at_once(kv_heads: int, head_size: int, cached: int) -> int:
    """Of a graph with `cached` rows."""
    return min(kv_heads, max(1, TILE_BYTES // (2 * head_size * cached)))


def group_layers(spec: ModelSpec, weight_bits: int, graphs: int) -> list[range]:
    """Consecutive layers by file, of `graphs` each."""
    q, kv, d = spec.heads * spec.head_size, spec.kv_heads * spec.head_size, spec.hidden_size
    layer_bytes = d * (2 * q + 2 * kv) * weight_bits // 8
    count = max(1, min(FILE_BYTES // layer_bytes, FILE_GRAPHS // graphs))
    return [range(start, min(start + count, spec.layers)) for start in range(0, spec.layers, count)]
