"""The ``pfedsam`` command: a table of commands, one module each, imported only when it is used."""

import argparse
import difflib
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..contract.text import printable
from ..errors import PfedsamError
from .terminal import take_everything

FULL_OR_BROKEN = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
COMMANDS = {
    "demo": ("demo", "A short federation of phantom hospitals on this machine, with table and picture"),
    "phantoms": ("phantoms", "Write phantom hospitals: site folders with images, masks and a sites.toml"),
    "prepare": ("prepare", "Turn a public collection, as it unpacks, into site folders"),
    "check-data": ("check_data", "Is a site's data fit: facts, findings with remedies, a contact sheet"),
    "site": ("site", "At a hospital: run its SuperNode, allow what may run, pause, see what left"),
    "doctor": ("doctor", "Is this machine fit to start, as a site or as coordinator; if not, what to do"),
    "rehearse": ("rehearse", "Run a federation on this machine with Flower's real processes, one per site"),
    "simulate": ("simulate", "The same on Flower's simulation engine (needs the extra 'simulation')"),
    "status": ("status", "Where a run stands, from its history"),
    "report": ("report", "Table and curves of a run, from its history"),
    "compare": ("compare", "Many methods on the same folds of the same sites, with tests, tables and plots"),
    "onboard": ("onboard", "At a new hospital: fit its own part to what others have trained"),
    "predict": ("predict", "Masks of a trained run, or what a backbone marks for boxes and points"),
    "certs": ("certs", "Certificates for TLS: the federation's authority and the SuperLink's"),
    "site-key": ("site_key", "At a site: make the key pair that its SuperNode is known by"),
    "words": ("words", "A public key or certificate as ten words, to compare it on the phone"),
    "enrol": ("enrol", "Admit a site's key, after its words were compared; list the sites"),
    "revoke": ("revoke", "Shut a site out"),
}

PAGE = """\
pFedSAM on Flower: hospitals fine-tune SAM together, each keeping its own experts.

usage: pfedsam COMMAND [OPTIONS]

commands:
{commands}

examples:
  pfedsam demo
  pfedsam phantoms hospitals --sites 4
  pfedsam rehearse --sites hospitals/sites.toml --set rounds=3
  pfedsam report rehearsal/runs/phantoms

'pfedsam COMMAND --help' tells more about one. Exit status: 0 all went well, 1 it did not,
2 the command line is wrong, 3 warnings to look at (check-data, doctor, enrol), 130 interrupted.
Federations between hospitals are run with Flower's own commands: flower-superlink,
flower-supernode, flwr run.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command line ``argv`` (without the program's name)."""
    take_everything()
    try:
        status = _status(list(sys.argv[1:] if argv is None else argv))
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except PfedsamError as error:
        print(printable(error.local(), keep="\n\t"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; what was started has been ended", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _write_no_more()
        return 1
    except OSError as error:
        if error.filename is None and error.errno not in FULL_OR_BROKEN:
            raise
        where = error.filename or "what this command prints or writes"
        print(f"{error.strerror}\n  where: {where}\n  hint: check its rights and the disk", file=sys.stderr)
        if error.filename is None:
            _write_no_more()
        return 1


def _status(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(page(), end="")
        return 0
    if words[0] in ("-V", "--version"):
        print(f"pfedsam {__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        hint = f"Did you mean '{close[0]}'?" if close else f"There are: {', '.join(COMMANDS)}."
        print(f"pfedsam: no such command: '{name}'. {hint}", file=sys.stderr)
        return 2
    module_name, sentence = COMMANDS[name]
    module = importlib.import_module(f"pfedsam_flower.cli.{module_name}")
    parser = argparse.ArgumentParser(f"pfedsam {name}", description=f"{sentence}.", allow_abbrev=False)
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(rest)))
    except SystemExit as leave:  # argparse has said why; a signal has said which
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)


def page() -> str:
    """The help page."""
    return PAGE.format(commands="\n".join(f"  {n:<10} {sentence}" for n, (_, sentence) in COMMANDS.items()))


def _write_no_more() -> None:
    """What is still to be printed goes nowhere, so that Python does not fail on it when it ends."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
