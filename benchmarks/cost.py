"""What a backbone costs to fine-tune here: seconds per step of each phase, peak memory, bytes that travel.

    python -m benchmarks.cost [--row vit_tiny --row lite_medsam --row vit_b ...] [--steps 5] [--threads 1] \
        [--device cuda:0]

Weights are random (they cost the same), images are noise at the row's default input; batch, LoRA, experts
and decoder are the project's defaults. Each row runs in a process of its own, so that its peak memory is
its own: of the process on the CPU, of the device (PyTorch's reserve, without the context) on a GPU. Beside
it stands what `pfedsam doctor` would have estimated.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from pfedsam_flower.data.cases import Sample
from pfedsam_flower.learning.batches import batches
from pfedsam_flower.learning.phases import global_phase, local_phase
from pfedsam_flower.model.build import build
from pfedsam_flower.model.sam.backbones import BACKBONES
from pfedsam_flower.model.sam.modules import untrained
from pfedsam_flower.site.estimates import training_bytes

from .prompt_free import settings

DEFAULT_SIZE = {"vit_b": 224, "vit_l": 224, "vit_h": 224}
"""Rows that people train smaller than their native size; 224 fills SAM's windows."""


def measure(name: str, steps: int, threads: int, device: str) -> dict[str, object]:
    """Medians over ``steps`` steps after one that is not counted."""
    torch.set_num_threads(threads)
    size = DEFAULT_SIZE.get(name, BACKBONES[name].native_size)
    run = settings(name, 0, size)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "random.safetensors"
        save_file(untrained(BACKBONES[name], size, 0).state_dict(), file)
        built = build(run, str(file), device)
    rng = np.random.default_rng(0)
    sample = Sample(
        rng.uniform(0, 255, (1, size, size)).astype(np.float32),
        (size, size),
        (rng.random((1, size, size)) > 0.5).astype(np.float16),
        np.array([True]),
        "patient",
    )
    on_gpu = device.startswith("cuda")
    before = _peak_mb()

    def one(phase: Callable[[object], object]) -> float:
        def step() -> float:
            drawn = batches(
                [sample], 1, run.training.batch_size, 0, built.model.logits_size, None, built.model.device
            )
            started = time.perf_counter()
            phase(drawn)
            if on_gpu:
                torch.cuda.synchronize(device)
            return time.perf_counter() - started

        step()
        return float(np.median([step() for _ in range(steps)]))

    training, kd = run.training, run.distillation
    seconds_global = one(lambda drawn: global_phase(built.model, built.roles, drawn, training))
    seconds_local = one(
        lambda drawn: local_phase(built.model, built.roles, drawn, training, kd.weight, kd.temperature, {})
    )
    return {
        "row": name,
        "size": size,
        "batch": training.batch_size,
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if on_gpu else device,
        "global_step_s": round(seconds_global, 3),
        "local_step_s": round(seconds_local, 3),
        "peak_mb": round(torch.cuda.max_memory_reserved(device) / 2**20 if on_gpu else _peak_mb()),
        "estimated_mb": round(training_bytes(run, on_gpu=on_gpu) / 2**20),
        "before_training_mb": round(before),
        "message_mb": round(4 * built.contract.n_values / 1e6, 1),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print one line of JSON per row, with its seconds as multiples of the first row's."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost")
    parser.add_argument("--row", action="append", choices=BACKBONES)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    rows = words.row or ["vit_tiny", "lite_medsam", "vit_b"]
    if words.inside:
        print(json.dumps(measure(rows[0], words.steps, words.threads, words.device)))
        return
    first: float | None = None
    for name in rows:
        command = [sys.executable, "-m", "benchmarks.cost", "--inside", "--row", name]
        command += ["--steps", str(words.steps), "--threads", str(words.threads), "--device", words.device]
        line = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        first = first or line["global_step_s"]
        print(json.dumps({**line, "times_first_row": round(line["global_step_s"] / first, 1)}), flush=True)


if __name__ == "__main__":
    main()
