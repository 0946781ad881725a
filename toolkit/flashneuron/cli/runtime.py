"""`flashneuron runtime`: the program that runs on the device."""

from __future__ import annotations

from pathlib import Path

import click

from flashneuron.cli.progress import make_progress
from flashneuron.device.android_build import android_target
from flashneuron.device.runtime_build import TARGETS, build_runtime

_FOLDER = click.Path(path_type=Path)


@click.group()
def command() -> None:
    """Build the runner, the program that runs models on the device."""


@command.command()
@click.option("--target", default="host", show_default=True, help=f"What to build for: {', '.join(TARGETS)}.")
@click.option("--ndk", metavar="DIR", type=_FOLDER, help="For android-arm64: Android's NDK, r28 or newer.")
@click.option("--executorch", metavar="DIR", type=_FOLDER, help="For android-arm64: ExecuTorch's sources.")
@click.option("--qnn-sdk", metavar="DIR", type=_FOLDER, help="For android-arm64: a QNN SDK, for the NPU.")
def build(target: str, ndk: Path | None, executorch: Path | None, qnn_sdk: Path | None) -> None:
    """Build the runner from this checkout and print its folder, where push finds it.

    host is this machine, and emulated phones like it. arm64-portable is for arm64 phones and boards: it brings its C
    library along and needs no NDK (tools/setup arm64). android-arm64 is for Android, by its NDK. Nothing happens if
    nothing has changed; what is missing is told by flashneuron doctor.

    \b
    Examples:
      flashneuron runtime build
      flashneuron runtime build --target arm64-portable
      flashneuron runtime build --target android-arm64 --ndk ~/android-ndk-r28c --executorch ~/executorch
    """
    click.echo(build_runtime(android_target(target, ndk, executorch, qnn_sdk), make_progress()))
