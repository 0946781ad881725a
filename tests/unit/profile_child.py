"""What `profile` starts for each device, made up: `--device` says what it does.

good       leaves a run file, whose name it prints
bad        fails in one line
endless    goes on until it is interrupted, and then says so
stubborn   goes on even then
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from runs import make_run

from flashneuron.profile.run_file import write_run

options = dict(word.split("=", 1) for word in sys.argv if word.startswith("--") and "=" in word)
device, folder = options["--device"], Path(options["--output"])


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


say(f"profile of {device}")
if device == "bad":
    say("flashneuron: bad does not answer")
    sys.exit(1)
if device.startswith("good"):
    for repeat in range(2):
        path = folder / f"{repeat}.json"
        write_run(make_run(repeat=repeat).model_copy(update={"device": device}), path)
        sys.stdout.write(f"{path}\n")
    sys.exit(0)
if device == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    say("begun")
    while True:
        signal.pause()
except KeyboardInterrupt:
    say("flashneuron: interrupted")
    sys.exit(130)
