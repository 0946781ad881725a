"""Feeds a fixed sequence of tokens to llama.cpp one by one and prints how long each took, as one line of JSON.

Usage: run_llamacpp.py MODEL.gguf THREADS WARM_UP TOKENS [CGROUP_PROCS]
The weights stay in the file's mapping: nothing is repacked into memory of the process, which half of the model's size
could not hold.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
from pathlib import Path


def read_bytes() -> int:
    """What this process has had read from the disk, page faults of mapped files included."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("read_bytes")))


def machine_cpu_s() -> tuple[float, float]:
    """Seconds since the start of the machine, summed over its processors: busy, and all."""
    times = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(times) - times[3] - times[4]) / os.sysconf("SC_CLK_TCK"), sum(times) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    model_path, threads, warm_up, tokens = sys.argv[1], *map(int, sys.argv[2:5])
    for procs in sys.argv[5:]:
        Path(procs).write_text("0")
    import llama_cpp  # within the group, whose memory it counts to

    llama_cpp.llama_backend_init()
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, None)
    model_parameters = llama_cpp.llama_model_default_params()
    model_parameters.use_mmap, model_parameters.use_mlock, model_parameters.n_gpu_layers = True, False, 0
    model_parameters.use_extra_bufts = False
    start, read_at_start = time.monotonic(), read_bytes()
    model = llama_cpp.llama_model_load_from_file(model_path.encode(), model_parameters)
    if not model:
        raise SystemExit(f"run_llamacpp: {model_path} cannot be loaded")
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = 512
    parameters.n_threads = parameters.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, parameters)
    if not context:
        raise SystemExit("run_llamacpp: no context; is there too little memory?")
    load_s = time.monotonic() - start

    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    choose, seconds, read_before = random.Random(1), list[float](), 0
    own_before, (busy_before, all_before) = 0.0, (0.0, 0.0)
    for index in range(warm_up + tokens):
        if index == warm_up:
            read_before, own_before, (busy_before, all_before) = read_bytes(), time.process_time(), machine_cpu_s()
        ids = (llama_cpp.llama_token * 1)(choose.randrange(vocabulary))
        start = time.monotonic()
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(ids, 1)):
            raise SystemExit("run_llamacpp: llama_decode failed")
        seconds.append(time.monotonic() - start)
    timed = seconds[warm_up:]
    own_s, (busy_s, all_s) = time.process_time() - own_before, machine_cpu_s()
    others_s = max(0.0, busy_s - busy_before - own_s)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "tokens_per_s": len(timed) / sum(timed),
        "token_us": [round(each * 1e6) for each in timed],
        # Its threads wait for each other by spinning: what others take of the machine costs it many times as much.
        "others_cpu_share": others_s / max(all_s - all_before, 1e-9),
        "load_us": round(load_s * 1e6),
        "read_bytes": read_bytes() - read_before,
        "read_bytes_with_load": read_bytes() - read_at_start,
        "peak_rss_bytes": usage.ru_maxrss * 1024,
        "major_faults": usage.ru_majflt,
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
