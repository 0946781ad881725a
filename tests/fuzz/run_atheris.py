"""python run_atheris.py TARGET [libFuzzer's arguments]: one target under atheris. See tools/fuzz."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["flashneuron"]):
    import targets

target = targets.TARGETS[sys.argv[1]]
atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
atheris.Fuzz()
