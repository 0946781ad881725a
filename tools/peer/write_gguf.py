"""Writes a Llama-shaped GGUF of about a given size in Q8_0 with random blocks, a tensor at a time: layers, width and
vocabulary are OPT-2.7B's, the head is the embedding (tied), and the FFN is as wide as the size asks for. The text that
it generates means nothing; it has no tokenizer.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

LAYERS, WIDTH, HEADS, VOCAB, CONTEXT = 32, 2560, 32, 50272, 2048
BLOCK, BLOCK_BYTES = 32, 34  # Q8_0: an fp16 scale, then 32 int8
SCALE = 0.02 / 74  # weights with a standard deviation of 0.02


def shapes(ffn: int) -> Iterator[tuple[str, int, int]]:
    """Matrices: name, rows, columns."""
    yield "token_embd.weight", VOCAB, WIDTH
    for layer in range(LAYERS):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{part}.weight", WIDTH, WIDTH
        for part, rows, columns in (("gate", ffn, WIDTH), ("up", ffn, WIDTH), ("down", WIDTH, ffn)):
            yield f"blk.{layer}.ffn_{part}.weight", rows, columns


def norms() -> Iterator[str]:
    yield "output_norm.weight"
    for layer in range(LAYERS):
        yield f"blk.{layer}.attn_norm.weight"
        yield f"blk.{layer}.ffn_norm.weight"


def ffn_for(total_bytes: int) -> int:
    """The FFN's width, in whole blocks, whose file comes nearest to `total_bytes`."""

    def size(ffn: int) -> int:
        return sum(rows * columns for _, rows, columns in shapes(ffn)) // BLOCK * BLOCK_BYTES

    per_block = size(2 * BLOCK) - size(BLOCK)
    ffn = BLOCK * round((total_bytes - size(0)) / per_block)
    if ffn < BLOCK:
        raise SystemExit(f"write_gguf: --bytes {total_bytes} is less than the model takes without an FFN ({size(0)})")
    return ffn


def random_blocks(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    blocks = np.frombuffer(bytearray(random.bytes(rows * columns // BLOCK * BLOCK_BYTES)), np.uint8).reshape(
        rows, columns // BLOCK, BLOCK_BYTES
    )
    blocks[:, :, :2] = np.frombuffer(np.float16(SCALE).tobytes(), np.uint8)
    return blocks.reshape(rows, -1)


def write(path: Path, ffn: int) -> None:
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("none")
    for name in norms():
        writer.add_tensor_info(name, (WIDTH,), np.dtype(np.float32), 4 * WIDTH)
    for name, rows, columns in shapes(ffn):
        row_bytes = columns // BLOCK * BLOCK_BYTES
        q8 = GGMLQuantizationType.Q8_0
        writer.add_tensor_info(name, (rows, row_bytes), np.dtype(np.uint8), rows * row_bytes, q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(20231212)
    for _ in norms():
        writer.write_tensor_data(np.ones(WIDTH, np.float32))
    for _, rows, columns in shapes(ffn):
        writer.write_tensor_data(random_blocks(random, rows, columns))
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    temporary = arguments.output.with_suffix(".tmp")
    write(temporary, ffn_for(arguments.bytes))
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.rename(arguments.output)


if __name__ == "__main__":
    main()
