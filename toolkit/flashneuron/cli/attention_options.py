"""Options that say what a package's attention programs are made for."""

from __future__ import annotations

import click

ATTENTION_OPTIONS = (
    click.option(
        "--backend",
        metavar="B[,B]",
        default="xnnpack",
        show_default=True,
        help="Attention for: xnnpack (the CPU), qnn (Qualcomm's NPU), or both: the device takes what it has.",
    ),
    click.option("--soc", metavar="CHIP", help="Of the backend qnn, for instance SM8650 (getprop ro.soc.model)."),
    click.option(
        "--contexts", metavar="N[,N]", help="Cache rows of the NPU's graphs. Default: 256,1024,2048,4096 and less."
    ),
    click.option(
        "--weight-sharing/--no-weight-sharing",
        default=True,
        show_default=True,
        help="Store a layer's weights once for all graphs of the NPU; Qualcomm's emulator needs them apart.",
    ),
    click.option("--etrecord", is_flag=True, help="Also write PKG.etrecord/, which names operators in run --etdump."),
    click.option("--onnx", is_flag=True, help="Also write attention, head and predictors as ONNX, to PKG.onnx/."),
    click.option(
        "--attention",
        type=click.Choice(["fp32", "fp16", "int8", "int4"]),
        default="fp16",
        show_default=True,
        help="Of attention and head.",
    ),
)
