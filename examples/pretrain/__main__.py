"""Make ``vit_tiny``'s weights: ``python -m examples.pretrain --help``."""

import argparse
import json
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save_file

from pfedsam_flower.model.sam.files import file_digest
from pfedsam_flower.model.sam.quantised import quantise

from .pictures import sample_sheet
from .sources import plain_cut
from .training import PRESETS, Training, train

SAVE_EVERY = 100


def main() -> None:
    """Parse the command line, train what is left, write the weights, their record and a picture."""
    parser = argparse.ArgumentParser(prog="python -m examples.pretrain", description=__doc__)
    parser.add_argument("--sources", type=Path, required=True, help="folder with the two unpacked packages")
    parser.add_argument("--output", type=Path, required=True, help="folder for weights, log and picture")
    parser.add_argument("--preset", choices=PRESETS, default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that generate images")
    words = parser.parse_args()
    words.output.mkdir(parents=True, exist_ok=True)
    preset, console = PRESETS[words.preset], Console()

    sam = plain_cut(words.sources)
    save_file(sam.state_dict(), words.output / "plain.safetensors")
    training = Training.start(sam, preset, words.seed, words.device)
    resume, log = words.output / "resume.pth", words.output / "log.jsonl"
    if resume.is_file():
        training.load(resume)
        console.print(f"going on after step {training.step} of {preset.steps}")
        kept = log.read_text().splitlines()[: training.step]
        log.write_text("".join(f"{line}\n" for line in kept))
    else:
        log.write_text("")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, log.open("a") as lines:
        bar = progress.add_task("training", total=preset.steps, completed=training.step)
        smooth: dict[str, float] = {}
        begun = time.monotonic()

        def report(step: int, parts: dict[str, float]) -> None:
            smooth.update({k: 0.98 * smooth.get(k, v) + 0.02 * v for k, v in parts.items()})
            seconds = round(time.monotonic() - begun, 1)
            lines.write(
                json.dumps({"step": step, "seconds": seconds, **{k: round(v, 4) for k, v in parts.items()}})
                + "\n"
            )
            words_now = " ".join(f"{k} {v:.2f}" for k, v in smooth.items())
            progress.update(bar, advance=1, description=words_now)
            if not progress.console.is_terminal and step % SAVE_EVERY == 0:
                console.print(f"step {step}: {words_now}")
            if step and step % SAVE_EVERY == 0:
                lines.flush()
                training.step += 1
                training.save(resume)
                training.step -= 1

        train(training, words.workers, report)

    weights = {name: value.cpu().contiguous() for name, value in sam.state_dict().items()}
    save_file(weights, words.output / "float32.safetensors")
    shipped = words.output / "vit_tiny.safetensors"
    save_file(quantise(weights), shipped)
    shipped.chmod(0o644)  # it is written for its owner alone
    sample_sheet(sam, words.seed, words.output / "samples.png")
    console.print(f"weights: {shipped}", soft_wrap=True)
    console.print(f"SHA-256: {file_digest(shipped)}", soft_wrap=True)
    console.print(f"picture: {words.output / 'samples.png'}", soft_wrap=True)


if __name__ == "__main__":
    main()
