"""What an export is told to make, and the folder in which it is made until it is whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from flashneuron.errors import InputError
from flashneuron.package.atomic import TEMPORARY_SUFFIX, atomic_write, sync_path
from flashneuron.package.layout import DType
from flashneuron.package.schema import Layout, Order

RECIPE = "recipe.json"
PARTIAL_SUFFIX = ".partial"


class ExportRecipe(BaseModel):
    """Names and meanings are those of the command's options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: DType = "fp16"  # of FFN records; embedding and predictors follow (package/layout.py)
    backends: Annotated[tuple[Literal["xnnpack", "qnn"], ...], Field(min_length=1)] = ("xnnpack",)
    soc: str | None = None  # of the backend qnn
    contexts: tuple[int, ...] | None = None  # cache rows of static graphs; None: chosen
    weight_sharing: bool = True  # among static graphs of a layer
    etrecord: bool = False  # what names the operators of a profile (package/records.py)
    onnx: bool = False  # attention, head and predictors as ONNX too
    attention: Literal["fp32", "fp16", "int8", "int4"] = "fp16"
    layouts: Annotated[tuple[Layout, ...], Field(min_length=1)] = ("bundled",)
    orders: Annotated[tuple[Order, ...], Field(min_length=1)] = ("none",)
    predictor: Literal["lowrank", "none"] = "lowrank"
    predictors_from: str | None = None  # a folder; "train": made here; None: the checkpoint's if it has some, else that
    fit_thresholds: bool = False  # of predictors that were given, to `recall`
    sparsity: Annotated[float, Field(ge=0, lt=1)] | None = None  # of dense SwiGLU models: share of silent neurons
    threshold_on: Literal["gate", "product"] = "gate"
    recall: Annotated[float, Field(gt=0, lt=1)] = 0.99
    rank: Annotated[int, Field(ge=1, le=65536)] | None = None  # None: chosen per layer
    texts: tuple[Path, ...] = ()  # calibration; none: the model folder's, else the one that comes with flashneuron
    max_chunk: Annotated[int, Field(ge=2, le=4096)] = 64


class PartialPackage:
    """`<output>.partial`: what interrupted work of the same recipe finished is kept, another's is thrown away."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(output.name + PARTIAL_SUFFIX)

    def begin(self, recipe: BaseModel, fingerprint: str) -> bool:
        """Makes the folder. True: an earlier, interrupted export goes on. Precondition: the output does not exist."""
        key = json.dumps({"recipe": json.loads(recipe.model_dump_json()), "inputs": fingerprint}, indent=1).encode()
        path = self.folder / RECIPE
        if path.is_file() and path.read_bytes() == key:
            for left_over in self.folder.rglob("*" + TEMPORARY_SUFFIX):
                left_over.unlink()
            return True
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        atomic_write(path, key)
        return False

    def finish(self, names: set[str]) -> None:
        """The folder becomes the output with just these files: all of them on the disk, then one rename."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
                else:
                    sync_path(path)
            elif path.relative_to(self.folder).as_posix() not in names:
                path.unlink()
        sync_path(self.folder)
        refuse_existing(self.output)
        self.folder.rename(self.output)
        sync_path(self.output.parent)


def refuse_existing(output: Path) -> None:
    if output.exists() or output.is_symlink():
        raise InputError(f"{output} exists; choose another output folder or remove it")
