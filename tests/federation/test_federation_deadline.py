"""A message that hangs ends its process, in time and with a name in the site's log."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HANGS = """
import sys, threading
from pathlib import Path
from flwr.app import Context, Message, RecordDict
from pfedsam_flower.contract.messages import HelloRequest, PreflightRequest, RoundRequest
from pfedsam_flower.federation.client import build_client_app
from pfedsam_flower.federation.in_process import _identify
from pfedsam_flower.federation.records import content
from pfedsam_flower.site import hello, preflight, work

def hangs(*args, **options):
    threading.Event().wait(300)

hello.answer_hello = preflight.answer_preflight = work.answer_round = hangs
kind, state = sys.argv[1:]
_identify(1)
words = {
    "query": HelloRequest(software="1", settings={}, deadline_s=0.5),
    "query.preflight": PreflightRequest(settings={}, deadline_s=0.5),
    "train": RoundRequest(kind="train", round=1, contract="", settings={}, deadline_s=0.5, broadcast=""),
}[kind]
site = {"site": "north", "data": state, "state": state}
import numpy as np
message = Message(content(words, np.zeros(3, np.float32)), dst_node_id=5, message_type=kind)
build_client_app()(message, Context(1, 5, site, RecordDict(), {}))
"""


@pytest.mark.parametrize(
    ("kind", "named"), [("query", "hello"), ("query.preflight", "preflight"), ("train", "train")]
)
def test_every_message_has_a_deadline_that_ends_the_process(tmp_path: Path, kind: str, named: str) -> None:
    alone = {k: v for k, v in os.environ.items() if not k.startswith("PFEDSAM_")}
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", HANGS, kind, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env=alone | {"PYTHONPATH": root},
        check=False,
    )
    assert done.returncode == 1
    said = f"PFS-511 north: {named} was not answered within 0.5 s, so this process ends"
    assert said in done.stdout + done.stderr
    assert "in hangs" in done.stderr  # where it waited
