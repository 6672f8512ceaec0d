"""A backbone as the frozen start of prompt-free fine-tuning: LoRA, decoder and L-MoE, a small fixed budget.

    python -m benchmarks.prompt_free --lgg FOLDER --nuclei FOLDER --output results.jsonl ...

One site holds the pooled patients. Half the budget is 50 global and 25 local steps of 4 images, the full
budget twice that, in two rounds as a federation of one site would have them. Dice per test patient, its
slices together. A run that stands in the output already is not done again, so the command can be stopped.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from pfedsam_flower.data.cases import CaseData, samples_of
from pfedsam_flower.data.fitting import InputRule, input_rule
from pfedsam_flower.data.transforms import augment
from pfedsam_flower.evaluation.score import tally
from pfedsam_flower.learning.batches import batches
from pfedsam_flower.learning.phases import global_phase, local_phase
from pfedsam_flower.learning.seeds import derive
from pfedsam_flower.model.build import Built, build
from pfedsam_flower.model.sam.backbones import BACKBONES
from pfedsam_flower.model.sam.modules import untrained
from pfedsam_flower.prediction.predictor import predict_logits
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.sources import findings

from .datasets import COLLECTIONS, Pooled, load, some_patients

ROUNDS, GLOBAL_STEPS, LOCAL_STEPS = 2, 50, 25
PATIENTS = (5, 10, None)


def settings(backbone: str, seed: int, size: int | None = None) -> RunSettings:
    """The project's defaults but for the budget; at the backbone's native size unless another is given."""
    flat = {
        "seed": seed,
        "classes": "target",
        "backbone.name": backbone,
        "image.size": size or BACKBONES[backbone].native_size,
        "training.global-steps": GLOBAL_STEPS,
        "training.local-steps": LOCAL_STEPS,
    }
    run, problems = findings(RunSettings, flat)
    assert isinstance(run, RunSettings), problems
    return run


def one_run(
    run: RunSettings, checkpoint: str, data: Pooled, by_site: bool, patients: int | None, device: str
) -> list[dict]:
    """Train and test after each of the two rounds."""
    built = build(run, checkpoint, device)
    train = some_patients(data.train, patients, run.seed)
    rule = input_rule(run.image, built.model.pixels.stretch)
    samples = [sample for case in train for sample in samples_of(case, rule)]
    moments: dict = {}
    lines = []
    for number in range(1, ROUNDS + 1):
        started = time.monotonic()

        def drawn(phase: str, steps: int, number: int = number):
            seed = derive(run.seed, number, "benchmark", phase)
            return batches(
                samples,
                steps,
                run.training.batch_size,
                seed,
                built.model.logits_size,
                augment,
                built.model.device,
            )

        global_phase(built.model, built.roles, drawn("global", GLOBAL_STEPS), run.training)
        result = local_phase(
            built.model,
            built.roles,
            drawn("local", LOCAL_STEPS),
            run.training,
            run.distillation.weight,
            run.distillation.temperature,
            moments,
        )
        moments = result.optimiser
        seconds = time.monotonic() - started
        scores = {
            name: round(test(built, data, rule, by_site, personal), 4)
            for name, personal in (("global", False), ("personalised", True))
        }
        lines.append(
            {"budget": number / ROUNDS, "images": len(samples), **scores, "seconds": round(seconds, 1)}
        )
    return lines


def test(built: Built, data: Pooled, rule: InputRule, by_site: bool, personal: bool) -> float:
    """Mean Dice over the test patients; with ``by_site``, within each site first."""
    found: dict[str, list[CaseData]] = defaultdict(list)
    for case in data.test:
        found[data.site_of[case.case.id] if by_site else ""].append(case)
    means = []
    for cases in found.values():
        logits = (
            predict_logits(built.model, case.image, rule, case.spacing_mm, personal=personal)
            for case in cases
        )
        overlaps = tally(cases, logits).overlaps
        defined = [d for d in (one.dice for one in overlaps.values()) if d is not None]
        means.append(np.mean(defined))
    return float(np.mean(means))


def main() -> None:
    """Run what is missing in the output; print each line as it is written."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prompt_free")
    parser.add_argument("--lgg", type=Path)
    parser.add_argument("--nuclei", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="JSON lines, appended")
    parser.add_argument(
        "--row", action="append", required=True, help="vit_tiny, random, NAME=FILE, lite_medsam=FILE"
    )
    parser.add_argument("--patients", type=int, action="append", help="5 or 10, 0 for all; default: each")
    parser.add_argument("--seed", type=int, action="append", help="default: 0, 1 and 2")
    parser.add_argument("--device", default="cpu")
    words = parser.parse_args()
    torch.set_num_threads(1)
    done = set()
    if words.output.is_file():
        for line in words.output.read_text().splitlines():
            one = json.loads(line)
            done.add((one["data"], one["row"], one["patients"], one["seed"]))
    for name in (n for n in COLLECTIONS if getattr(words, n)):
        data = load(name, getattr(words, name))
        for count in words.patients or [p or 0 for p in PATIENTS]:
            for seed in words.seed or [0, 1, 2]:
                for row in words.row:
                    title, _, checkpoint = row.partition("=")
                    if (name, title, count, seed) in done:
                        continue
                    if title == "random":
                        checkpoint = str(words.output.with_name(f"random-{seed}.safetensors"))
                        save_file(untrained(BACKBONES["vit_tiny"], 224, seed).state_dict(), checkpoint)
                    run = settings(title if title in BACKBONES else "vit_tiny", seed)
                    by_site = COLLECTIONS[name].by_site
                    for line in one_run(run, checkpoint, data, by_site, count or None, words.device):
                        text = json.dumps(
                            {"data": name, "row": title, "patients": count, "seed": seed, **line}
                        )
                        with words.output.open("a") as file:
                            file.write(text + "\n")
                        print(text, flush=True)


if __name__ == "__main__":
    main()
