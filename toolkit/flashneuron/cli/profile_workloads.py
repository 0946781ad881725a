"""What `flashneuron profile` computes and where, by its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flashneuron.errors import InputError
from flashneuron.package.manifest import Package
from flashneuron.profile.run_file import Workload
from flashneuron.profile.text import TextCodec
from flashneuron.profile.workload import make_workload, prompt_of
from flashneuron.profile.workload_file import read_workload

WORKLOAD = ("prompt", "text", "prompt_tokens", "max_new_tokens", "workload")  # the options that say what is computed


def workloads_of(options: Mapping[str, Any], package: Package, say: Callable[[str], None]) -> list[Workload]:
    """What to compute, by the options of `workload_options`; `say` is told what was cut. Errors: InputError."""
    file: Path | None = options["workload"]
    if file and (given := [name for name, value in options.items() if value is not None and name != "workload"]):
        flags = ", ".join("-p" if name == "prompt" else "--" + name.replace("_", "-") for name in given)
        raise InputError(f"the workload file says prompts and lengths itself; leave out {flags}, or --workload")
    lengths = options["prompt_tokens"], options["max_new_tokens"]
    prompts = read_workload(file) if file else [prompt_of(options["prompt"], options["text"], *lengths)]
    codec, context = TextCodec.of(package), package.manifest.model.max_context
    found = []
    for prompt in prompts:
        try:
            workload, cut = make_workload(prompt, codec, context)
        except InputError as error:
            raise InputError(f"{prompt.source}: {error}") if file else error from None
        found.append(workload)
        if cut:
            say(cut)
    return found


def devices_of(given: Sequence[str]) -> list[str]:
    """Errors: InputError."""
    found = [name.strip() for text in given for name in text.split(",")]
    if "" in found:
        raise InputError("--device: expected a device, or several with commas between them")
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise InputError(f"--device {twice[0]} is there twice; a device does one run at a time")
    return found
