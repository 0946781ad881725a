"""manifest.json as checked types. FORMAT.md is the specification; names are its names.

A Manifest that exists is consistent in itself: every reference is listed in `files`, with the role and the size that
its place implies. Whether the files are there is Package.open's question, what they hold verify's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from flashneuron.package.ffn_file import MAX_SHARD_BYTES, FfnGeometry, Part
from flashneuron.package.layout import DType, FloatDType, PredictorInput, bias_bytes, element_bytes, scales_bytes

FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 4 << 20
MAX_CHAT_TEMPLATE = 1 << 18  # characters
MAX_FP32 = 3.4028234663852886e38

Layout = Literal["bundled", "split"]
Order = Literal["none", "coactivation"]
Role = Literal[
    "attention", "head", "ffn", "ffn_bias", "ffn_scales", "ffn_places", "ffn_frequency", "predictor", "embedding",
    "tokenizer", "golden", "statistics", "trace",
]  # fmt: skip
Size = Annotated[int, Field(ge=1, lt=1 << 24)]


def _package_path(path: str) -> str:
    if path == "manifest.json" or any(part in {".", ".."} for part in path.split("/")):
        raise ValueError("is not a path inside the package")
    return path


PackagePath = Annotated[
    str,
    Field(max_length=512, pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$"),
    AfterValidator(_package_path),
]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Thresholds(_Strict):
    """What a neuron must exceed to fire, by layer; read as fp32."""

    on: Literal["gate", "product"]
    layers: tuple[Annotated[float, Field(ge=0, le=MAX_FP32)], ...]


class ModelFacts(_Strict):
    family: Literal["opt", "falcon", "llama", "mistral", "qwen2", "qwen3", "minicpm", "bamboo"]
    activation: Literal["relu", "fatrelu", "drelu", "silu"]
    gated: bool
    thresholds: Thresholds | None = None  # of fatrelu and silu
    layers: Annotated[int, Field(ge=1, le=1024)]
    hidden_size: Size
    ffn_size: Size
    heads: Size
    kv_heads: Size
    head_size: Size
    vocab_size: Size
    max_context: Size
    prompt_prefix_ids: tuple[int, ...]
    eos_token_ids: tuple[int, ...]

    @model_validator(mode="after")
    def _consistent(self) -> ModelFacts:
        if self.activation != "relu" and not self.gated:
            raise ValueError(f"gated is false, but {self.activation} needs a gate")
        if (self.thresholds is not None) != (self.activation in {"fatrelu", "silu"}):
            raise ValueError(f"thresholds are {'there' if self.thresholds else 'missing'}, with {self.activation}")
        if self.thresholds is not None and len(self.thresholds.layers) != self.layers:
            raise ValueError(f"thresholds has {len(self.thresholds.layers)} items for {self.layers} layers")
        if self.activation == "fatrelu" and self.thresholds is not None and self.thresholds.on != "gate":
            raise ValueError("thresholds of fatrelu must be on gate")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.heads * self.head_size >= 1 << 24:
            raise ValueError(f"heads {self.heads} × head_size {self.head_size} is over the limit")
        for name in ("prompt_prefix_ids", "eos_token_ids"):
            if any(not 0 <= token < self.vocab_size for token in getattr(self, name)):
                raise ValueError(f"{name} has an id outside the vocabulary of {self.vocab_size}")
        return self


class EmbeddingFacts(_Strict):
    file: PackagePath
    dtype: FloatDType
    position_rows: Annotated[int, Field(ge=0, lt=1 << 24)]


class AttentionFacts(_Strict):
    backend: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=64)]
    dtype: Annotated[str, Field(max_length=16)]
    max_chunk: Size
    layers: tuple[PackagePath, ...]  # by layer; neighbours may share a file
    head: PackagePath
    contexts: tuple[Size, ...] | None = None  # of static graphs: ascending numbers of cache rows
    weight_sharing: bool | None = None
    sdk: Annotated[str, Field(max_length=64)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> AttentionFacts:
        if (self.contexts is not None) != self.backend.startswith("qnn-"):
            raise ValueError(f"contexts are {'missing' if self.contexts is None else 'there'}, with {self.backend}")
        if self.contexts is not None and not (self.contexts and list(self.contexts) == sorted(set(self.contexts))):
            raise ValueError(f"contexts of {self.backend} do not ascend")
        if self.contexts is None and len(set(self.layers)) < len(self.layers):
            raise ValueError(f"two layers of {self.backend} have the same file")
        return self


class FfnLayerFiles(_Strict):
    """Shards of one layer in order of places: `bundle` in the bundled layout, (`gate`,) `up` and `down` in split."""

    bundle: tuple[PackagePath, ...] | None = None
    gate: tuple[PackagePath, ...] | None = None
    up: tuple[PackagePath, ...] | None = None
    down: tuple[PackagePath, ...] | None = None

    def parts(self, layout: Layout) -> dict[Part, tuple[str, ...]]:
        if layout == "bundled":
            return {Part.BUNDLE: self.bundle or ()}
        gate = {} if self.gate is None else {Part.GATE: self.gate}
        return {**gate, Part.UP: self.up or (), Part.DOWN: self.down or ()}


class FfnVariant(_Strict):
    layout: Layout
    order: Order
    neurons_per_shard: Size
    layers: tuple[FfnLayerFiles, ...]
    places: tuple[PackagePath, ...] | None = None  # None: each neuron lies at its index

    @model_validator(mode="after")
    def _consistent(self) -> FfnVariant:
        if (self.places is None) != (self.order == "none"):
            raise ValueError(f"order {self.order} has {'no ' if self.places is None else ''}places")
        return self


class FfnFacts(_Strict):
    dtype: DType
    bias: tuple[PackagePath, ...]
    scales: tuple[PackagePath, ...] | None = None  # of int8 and int4
    frequency: tuple[PackagePath, ...] | None = None
    variants: Annotated[tuple[FfnVariant, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> FfnFacts:
        if (self.scales is not None) != (self.dtype in {"int8", "int4"}):
            raise ValueError(f"scales are {'missing' if self.scales is None else 'there'}, with dtype {self.dtype}")
        if len({(variant.layout, variant.order) for variant in self.variants}) < len(self.variants):
            raise ValueError("two variants have the same layout and order")
        return self


class PredictorLayer(_Strict):
    file: PackagePath
    rank: Annotated[int, Field(ge=1, le=65536)]
    density: Annotated[float, Field(ge=0, le=1)]


class PredictorFacts(_Strict):
    kind: Literal["lowrank"]
    input: PredictorInput
    layers: tuple[PredictorLayer, ...]


class ChatFacts(_Strict):
    """How a conversation is written for the model, as a Jinja template; the runtime knows nothing of it."""

    template: Annotated[str, Field(min_length=1, max_length=MAX_CHAT_TEMPLATE)]
    bos_token: Annotated[str, Field(max_length=256)]
    eos_token: Annotated[str, Field(max_length=256)]


class FileEntry(_Strict):
    path: PackagePath
    bytes: Annotated[int, Field(ge=0, lt=1 << 48)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    role: Role


class Manifest(_Strict):
    format: Literal["flashneuron-package"] = "flashneuron-package"
    format_version: Annotated[int, Field(ge=1, le=FORMAT_VERSION)] = FORMAT_VERSION
    name: Annotated[str, Field(min_length=1, max_length=200)]
    created_by: str
    synthetic: bool
    model: ModelFacts
    embedding: EmbeddingFacts
    attention: Annotated[tuple[AttentionFacts, ...], Field(min_length=1)]
    ffn: FfnFacts
    predictors: tuple[PredictorFacts, ...]
    chat: ChatFacts | None = None
    files: tuple[FileEntry, ...]

    def geometry(self, variant: FfnVariant, part: Part) -> FfnGeometry:
        model, rows = self.model, part.rows(self.model.gated)
        return FfnGeometry(part, self.ffn.dtype, model.hidden_size, model.ffn_size, variant.neurons_per_shard, rows)

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if 0 < self.embedding.position_rows < self.model.max_context:
            raise ValueError(f"position_rows {self.embedding.position_rows} are fewer than max_context")
        files = {entry.path: entry for entry in self.files}
        if len(files) != len(self.files):
            paths = [entry.path for entry in self.files]
            raise ValueError(f"files names {next(path for path in paths if paths.count(path) > 1)} twice")
        if len({programs.backend for programs in self.attention}) < len(self.attention):
            raise ValueError("two entries of attention have the same backend")
        self._check_lengths()
        used: set[str] = set()
        for path, role, size in self._references():
            if path not in files:
                raise ValueError(f"{path} is used but not listed in files")
            if path in used:
                raise ValueError(f"{path} is used twice")
            used.add(path)
            entry = files[path]
            if entry.role != role:
                raise ValueError(f"{path} has role {entry.role}, expected {role}")
            if size is not None and entry.bytes != size:
                raise ValueError(f"{path} is listed with {entry.bytes} bytes, its shape needs {size}")
        if sum(entry.role == "tokenizer" for entry in self.files) != 1:
            raise ValueError("files must hold exactly one file of role tokenizer")
        return self

    def _check_lengths(self) -> None:
        """Every per-layer list has one item a layer, every layer its number of shards."""
        lists = {"ffn.bias": len(self.ffn.bias)}
        lists |= {"ffn.scales": len(self.ffn.scales)} if self.ffn.scales is not None else {}
        lists |= {f"attention.{a.backend}.layers": len(a.layers) for a in self.attention}
        lists |= {f"predictors.{p.kind}.layers": len(p.layers) for p in self.predictors}
        lists |= {f"ffn.variants.{v.layout}.layers": len(v.layers) for v in self.ffn.variants}
        lists |= {f"ffn.variants.{v.layout}.places": len(v.places) for v in self.ffn.variants if v.places is not None}
        if self.ffn.frequency is not None:
            lists["ffn.frequency"] = len(self.ffn.frequency)
        for name, length in lists.items():
            if length != self.model.layers:
                raise ValueError(f"{name} has {length} items for {self.model.layers} layers")
        for variant in self.ffn.variants:
            for number, layer in enumerate(variant.layers):
                if variant.layout == "split" and (layer.gate is not None) != self.model.gated:
                    raise ValueError(f"split layer {number} has {'no ' if self.model.gated else ''}shards of a gate")
                for part, shards in layer.parts(variant.layout).items():
                    geometry = self.geometry(variant, part)
                    if len(shards) != geometry.shard_count:
                        what = f"{variant.layout} layer {number} {part.name.lower()}"
                        raise ValueError(f"{what} has {len(shards)} shards, expected {geometry.shard_count}")
                    if geometry.shard_bytes(0) > MAX_SHARD_BYTES:
                        raise ValueError(f"neurons_per_shard makes shards of more than {MAX_SHARD_BYTES} bytes")

    def _references(self) -> list[tuple[str, str, int | None]]:
        """Every file that the manifest uses: path, role, and its size where the shape gives it."""
        model, found = self.model, list[tuple[str, str, int | None]]()
        rows = model.vocab_size + self.embedding.position_rows
        found.append((self.embedding.file, "embedding", rows * model.hidden_size * element_bytes(self.embedding.dtype)))
        for programs in self.attention:
            found += [(path, "attention", None) for path in dict.fromkeys(programs.layers)]
            found.append((programs.head, "head", None))
        found += [(path, "ffn_bias", bias_bytes(model.hidden_size, model.ffn_size)) for path in self.ffn.bias]
        found += [(path, "ffn_frequency", 4 * model.ffn_size) for path in self.ffn.frequency or ()]
        scales = scales_bytes(self.ffn.dtype, model.hidden_size, model.ffn_size, model.gated)
        found += [(path, "ffn_scales", scales) for path in self.ffn.scales or ()]
        for variant in self.ffn.variants:
            found += [(path, "ffn_places", 4 * model.ffn_size) for path in variant.places or ()]
            for layer in variant.layers:
                for part, shards in layer.parts(variant.layout).items():
                    geometry = self.geometry(variant, part)
                    found += [(path, "ffn", geometry.shard_bytes(i)) for i, path in enumerate(shards)]
        found += [(layer.file, "predictor", None) for kind in self.predictors for layer in kind.layers]
        return found
