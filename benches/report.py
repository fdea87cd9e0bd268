"""The table of figures, and the targets that they are held against.

- In: figures by name, each with what its round took. Out: Markdown, and which targets are missed.
- The targets are those of issue 2; where they compare, the other program was measured in the same run.
"""

import datetime
import os
import sys
from dataclasses import dataclass

from measure import CORES, QUIET, ROUNDS, Taken


@dataclass
class Line:
    what: str
    figure: float | str
    unit: str
    taken: Taken | None
    command: str
    target: str = ""
    met: bool | None = None


class Results:
    """The lines of the table, and the figures by name, for targets that compare two of them."""

    def __init__(self):
        self.lines, self.figures = [], {}

    def add(self, what, figure, unit, command="", taken=None):
        self.figures[what] = figure
        self.lines.append(Line(what, figure, unit, taken, command))
        print(f"  {what}: {shown(figure)} {unit}", file=sys.stderr, flush=True)

    def not_measured(self, what, why, command=""):
        self.lines.append(Line(what, f"not measured: {why}", "", None, command))
        print(f"  {what}: not measured: {why}", file=sys.stderr, flush=True)

    def target(self, what, words, limit, at_least):
        """Judges a figure; `limit` may be a function of the figures, and is not judged when one is missing."""
        line = next((line for line in self.lines if line.what == what and what in self.figures), None)
        if line is None:
            return
        try:
            limit = limit(self.figures) if callable(limit) else limit
        except KeyError:
            line.target += f"{'; ' if line.target else ''}{words} (not measured)"
            return
        met = line.figure >= limit if at_least else line.figure <= limit
        words = f"{words}: {'≥' if at_least else '≤'} {shown(limit)}{'' if met else ' **missed**'}"
        line.target += f"{'; ' if line.target else ''}{words}"
        line.met = met and line.met is not False


def shown(figure):
    if isinstance(figure, str):
        return figure
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def judge(results, sizes):
    for size in sizes:
        for kind in ("maildir", "mbox"):
            for times, name in ((4, "Python pipeline"), (10, "mu"), (40, "notmuch")):
                if name != "notmuch" or size == "6k":
                    results.target(f"dkc {kind} {size}", f"{times} × {name}",
                                   lambda f, times=times, name=name: times * f[f"{name}, {size}"], True)
            results.target(f"dkc {kind} {size}", "mail-parser alone / 3",
                           lambda f: f["mail-parser alone"] / 3, True)
            results.target(f"dkc {kind} {size}, peak memory", "bound", 400, False)
        results.target(f"dkc maildir {size}, searchable too, peak memory", "bound", 400, False)
        results.target(f"lake of {size} mails, originals in it", "gzipped one by one",
                       lambda f: f[f"{size} mails gzipped one by one"], False)
    for kind in ("maildir", "mbox"):
        large = f"dkc {kind} 60k, peak memory"
        results.target(large, "1.3 × that of 6k",
                       lambda f: 1.3 * f[f"dkc {kind} 6k, peak memory"], False)
        results.target(large, "12 % of mu's", lambda f: 0.12 * f["mu, 60k, peak memory"], False)
    results.target("dkc maildir 60k, nothing new", "bound", 1, False)
    results.target("dkc imap", "bound", 2_500, True)
    results.target("dkc imap", "3 × mbsync", lambda f: 3 * f["mbsync"], True)
    results.target("dkc imap, peak memory", "bound", 400, False)
    results.target("dkc imap, four changes", "bound", 1, False)


def table(results, quick):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    out = [
        "# What it takes",
        "",
        f"{datetime.date.today()}, {CORES} cores, {memory:.0f} GiB of memory; `make bench"
        f"{' QUICK=1' if quick else ''}` writes this file.",
        "",
        "6k: the 6,046 mails of the SpamAssassin corpus, 32 MB, in five folders. 60k: ten copies that differ.",
        f"Each figure is the fastest of {ROUNDS} rounds with a warm page cache; memory is the maximum resident set",
        "of the largest process, the highest of all rounds. CPU counts all cores, and a server's too. \"Others\" is",
        "the share of the machine that was busy with something else in that round: the figure would be better",
        "without. dkc is the program of `make demo`. Once a run is durable, dkc makes an index of words and meanings",
        "for search, unless it has `--no-index`; mu and notmuch make one of words.",
        "",
        "| what | figure | unit | target | CPU, s | others | command |",
        "|---|--:|---|---|--:|--:|---|",
    ]
    for line in results.lines:
        taken = f"{line.taken.cpu:.2f} | {line.taken.others:.0%}" if line.taken else "|"
        command = f"`{line.command}`" if line.command else ""
        cells = (line.what, shown(line.figure), line.unit, line.target, taken, command)
        out.append(f"| {' | '.join(cells)} |")
    busy = sum(1 for line in results.lines if line.taken and line.taken.others > QUIET)
    missed = [line for line in results.lines if line.met is False]
    out += ["", f"Measured while others used more than {QUIET:.0%} of the machine: {busy} lines.",
            f"Targets missed: {len(missed)}."]
    out += [f"- {line.what}: {shown(line.figure)} {line.unit}; {line.target}" for line in missed]
    return "\n".join(out) + "\n", missed
