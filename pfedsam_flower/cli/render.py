"""What a person sees: live progress, one line per event where there is no terminal, the final table."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from ..contract.text import harmless, printable
from ..reports import influence, preflight, tables
from ..reports.history import PARTS, Event, History, Site, metric
from ..settings.sources import differing_text

Show = Callable[[Event], None]
MODELS = ("alone", "global", "personal")
PLAIN_WIDTH = 140


def console() -> Console:
    """Standard output; wide enough for the table when it is not a terminal."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def say(text: str) -> None:
    """Prints a text, as it is but for what could steer the terminal."""
    console().print(printable(text, keep="\n\t"), markup=False, soft_wrap=True)


@contextmanager
def progress(history: History) -> Iterator[Show]:
    """Yields a function that shows an event that was added to ``history``: a live table, or a plain line."""
    out = console()
    if not out.is_terminal:
        yield lambda event: say(line) if (line := event_line(event)) else None
        return
    with Live(get_renderable=lambda: live_view(history), console=out, refresh_per_second=4):
        yield lambda event: None


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that shows (number, of how many) as a bar; silent where there is no terminal."""
    out = Console(stderr=True)
    if not out.is_terminal:
        yield lambda number, n: None
        return
    with Progress(console=out, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda number, n: bar.update(task, completed=number, total=n)


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table of texts; the first column to the left, the others to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell, keep="\n\t")) for cell in row))
    console().print(table)


def event_line(event: Event) -> str | None:
    """One event as a sentence for a log; None for kinds that a reader need not see."""
    event = harmless(event)
    kind, site, number = event["event"], event.get("site"), event.get("round")
    if kind == "start":
        rounds = f"rounds {event.get('first_round')} to {event.get('rounds')}"
        return (
            f"run of federation {event.get('federation')}: method {event.get('method')}, "
            f"{rounds if event.get('rounds') else 'preflight only'}, "
            f"{tables.bytes_text(event.get('bytes_per_message', 0))} per message" + _chosen(event, "; ")
        )
    if kind == "site":
        return f"{site} joined: {_patients(event)} patients to train, validate, test"
    if kind == "preflight":
        found = preflight.findings_text(event.get("facts", {}))
        return f"{site} looked through its data: {'no findings' if found == 'none' else found}"
    if kind == "round-start":
        return f"{_round_name(event)} begins: {', '.join(event.get('sites', ()))}"
    if kind == "reply":
        dice = ", ".join(f"{m} {_dice(metric(event, f'validation.dice.{m}'))}" for m in MODELS)
        waited = f"answered after {event.get('wait_s', 0):.1f} s"
        norm = (
            f"; norm {event.get('delta_norm', 0):.3g}, weight {event['weight']}" if "weight" in event else ""
        )
        return f"{_round_name(event)}: {site} {waited}{norm}; validation Dice {dice}"
    if kind == "round-end":
        return f"{_round_name(event)} ends after {event.get('seconds', 0):.1f} s"
    if kind == "filtered":
        keys = event.get("keys", ())
        count = event.get("n", len(keys) if isinstance(keys, list | tuple) else keys)
        where = f"round {number}: " if number else ""
        return f"{where}{site} sent {count} personal key(s); they were removed"
    if kind == "dropped":
        where = f"round {number}: " if number else ""
        names = ", ".join(map(str, event.get("names", ())))
        return f"{where}{site} sent {event.get('n')} thing(s) that are not agreed on; dropped: {names}"
    if kind in ("refused", "left-out", "lost"):
        where = f"round {number}: " if number else ""
        return f"{where}{site} {kind.replace('-', ' ')}: {event.get('text') or event.get('reason')}"
    if kind in ("conspicuous", "heavy"):
        return f"round {number}: look at {site}: {event.get('text')}"
    if kind == "late":
        return f"round {number}: {site} answered too late, {event.get('seconds', 0):.0f} s after it was asked"
    if kind == "below-quorum":
        where = f"round {number}: " if number else ""
        missing = ", ".join(event.get("missing", ())) or "not named"
        return f"{where}too few sites: {event.get('text')}; missing: {missing}"
    return f"run {event.get('status')}" if kind == "end" else None


def _chosen(start: Event, before: str = "") -> str:
    """The run's settings that are not the defaults, as a sentence; "" where they were not written down."""
    settings = start.get("settings")
    return before + differing_text(settings) if isinstance(settings, dict) else ""


def _round_name(event: Event) -> str:
    return "closing round" if event.get("kind") == "close" else f"round {event.get('round')}"


def _patients(event: Event) -> str:
    return ", ".join(str(event.get(f"n_{part}_patients", "?")) for part in PARTS)


def _dice(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def live_view(history: History) -> Group:
    """The state of every site, and below it the settings and what went wrong so far."""
    lines = map(Text, filter(None, [_chosen(history.start), *troubles(history)]))
    return Group(Text(headline(history), style="bold"), site_table(history), *lines)


def troubles(history: History) -> list[str]:
    """One line per site that was refused, left out or lost, with the reason."""
    how = "had refused when the run ended" if history.end else "refused"
    lines = [f"{site.name} {how}: {site.refused}" for site in history.sites.values() if site.refused]
    for r in history.rounds:
        name = _round_name({"kind": r.kind, "round": r.number})
        lines += [f"{name}: {site} left out: {reason}" for site, reason in r.missing.items()]
        lines += [f"{name}: look at {site}: {what}" for site, what in r.noted.items()]
    return lines


def headline(history: History) -> str:
    """The state of the run in one line."""
    if not history.start:
        return "waiting for the coordinator to begin"
    name, rounds = history.start.get("federation"), history.start.get("rounds")
    now = history.rounds[-1] if history.rounds else None
    if history.end:
        where = history.status if rounds else f"preflight {history.status}"
    elif now is None:
        where = "waiting for the sites"
    else:
        where = "closing round" if now.kind == "close" else f"round {now.number} of {rounds}"
    return f"{name}: {where}"


def site_table(history: History) -> Table:
    """One row per site: state, last round answered, newest validation Dice, seconds, bytes both ways."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Site", "State"):
        table.add_column(heading, no_wrap=True, min_width=12 if heading == "State" else 5)
    for heading in ("Round", "Alone", "Global", "Personalised", "Seconds", "Bytes"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=5)
    for row in progress_rows(history):
        table.add_row(*(Text(cell) for cell in row))
    return table


def progress_rows(history: History) -> list[tuple[str, ...]]:
    """The cells of ``site_table``."""
    rows = []
    for name, site in history.sites.items():
        answers = [r.replies[name] for r in history.rounds if name in r.replies]
        newest = [
            next((v for a in reversed(answers) if (v := metric(a, f"validation.dice.{m}")) is not None), None)
            for m in MODELS
        ]
        seconds = f"{sum(answers[-1].get('seconds', {}).values()):.1f}" if answers else "–"
        size = tables.bytes_text(sum(a.get("bytes_up", 0) + a.get("bytes_down", 0) for a in answers))
        number = str(answers[-1].get("round", "–")) if answers else "–"
        rows.append((name, state(history, site), number, *map(_dice, newest), seconds, size))
    return rows


def state(history: History, site: Site) -> str:
    """What a site is doing, in a word or two, as far as the coordinator knows."""
    now = history.rounds[-1] if history.rounds else None
    if site.refused:
        return "refused"
    if history.end:
        return _at_the_end(history, site)
    if not site.here:
        return "not here" if site.patients else "not here yet"
    if now is None or site.name not in now.sites:
        return "waiting"
    if site.name in now.missing:
        return "left out"
    if site.name in now.replies:
        return "answered"
    return "closing" if now.kind == "close" else "working"


def _at_the_end(history: History, site: Site) -> str:
    """What a site was doing when the run ended; finished is who has done all that there was."""
    now = history.rounds[-1] if history.rounds else None
    if not site.here:
        return "absent"
    if history.status == "completed" and (now is None or site.name in now.replies):
        return "finished"
    if now is not None and site.name in now.replies:
        return "answered"
    return "left out" if now is not None and site.name in now.missing else "stopped"


def final_table(history: History) -> Table:
    """Dice on the test patients: one row per site, and the mean; fits into 80 columns."""
    rows = tables.site_rows(history)
    title = "Dice on the test patients (patients: train/validation/test)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    site, *_ = tables.HEADINGS
    for heading in (site, "Patients", *tables.HEADINGS[4:]):
        side: Literal["left", "right"] = "left" if heading in (site, "Mix") else "right"
        whole = heading in (site, "Patients", "Mix", "Gain")
        table.add_column(heading, justify=side, no_wrap=whole, min_width=len(heading))
    for row in [*rows, tables.mean_row(rows)]:
        name, train, validation, test, *dice = tables.cells(row, len(rows))
        cells = (name, f"{train}/{validation}/{test}", *dice)
        table.add_row(*(Text(cell) for cell in cells), style="bold" if row.of else "")
    return table


def facts_table(history: History) -> Table:
    """What the sites said of their data: one column per site, so that it fits 80 columns."""
    title = "What the sites said of their data (<5: one to four; – : not said)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    answers = preflight.rows(history.facts, history.start.get("classes", ()))
    table.add_column("", style="bold", no_wrap=True)
    for site, *_ in answers:
        table.add_column(site)
    for place, heading in enumerate(preflight.HEADINGS[1:], 1):
        table.add_row(heading, *(Text(row[place]) for row in answers))
    return table


def show_report(history: History) -> None:
    """Prints what the settings and the data are like, the final table and its sentences."""
    if chosen := _chosen(history.start):
        say(chosen)
    if history.facts:
        console().print(facts_table(history))
        say("")
    if history.start.get("rounds") == 0:
        for line in troubles(history):
            say(line)
        return
    console().print(final_table(history))
    counted = influence.rows(history)
    if counted:
        say(f"\n{influence.TITLE}")
        show_table(influence.HEADINGS, counted)
        say("")
    for sentence in tables.sentences(history):
        say(sentence)


def show_status(history: History) -> None:
    """Prints where the run stands."""
    say(headline(history))
    if chosen := _chosen(history.start):
        say(chosen)
    if history.facts and not history.rounds:
        console().print(facts_table(history))
    console().print(site_table(history))
    for line in troubles(history):
        say(line)
    if history.status == "failed" and history.end:
        say(f"reason: {history.end.get('text')}")
