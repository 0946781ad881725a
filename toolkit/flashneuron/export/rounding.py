"""From checkpoint tensors to the arrays that files store."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from flashneuron.errors import ModelError
from flashneuron.package.layout import DType

_TORCH = {"fp32": torch.float32, "fp16": torch.float16}


def rounded(tensor: torch.Tensor, dtype: DType, name: str) -> np.ndarray[Any, Any]:
    """A contiguous array of `dtype`. Errors: ModelError where fp16 cannot hold a value (finite ones stay finite)."""
    array: np.ndarray[Any, Any] = tensor.to(_TORCH[dtype]).contiguous().numpy()
    if dtype == "fp16" and tensor.dtype != torch.float16 and not np.isfinite(array).all():
        raise ModelError(f"{name} holds values over fp16's 65504; export with --dtype fp32")
    return array
