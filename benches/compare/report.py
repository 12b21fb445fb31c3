"""Turning records into tables: medians, ratios, and the bounds larder has to keep."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from rounds import SCENARIOS

MIB = 1024 * 1024


class Figures:
    """The records of one tree on one medium, asked for by contender and scenario.

    An answer is None where nothing was measured: a contender was left out, or
    has no such scenario. Arithmetic with None gives None.
    """

    def __init__(self, records, weights, contenders):
        self.records, self.weights, self.contenders = records, weights, contenders

    def times(self, contender, scenario):
        """Every time measured, in the order of the runs."""
        return [r.seconds for r in self._records(contender, scenario)]

    def seconds(self, contender, scenario):
        """The median time."""
        return _median(self.times(contender, scenario))

    def cpu(self, contender, scenario):
        """The median of the processor time that the tool itself took."""
        return _median([r.cpu_seconds for r in self._records(contender, scenario)])

    def peak(self, contender, *scenarios):
        """The largest peak of memory over all runs: a bound has to hold in each."""
        peaks = [r.peak_rss_bytes for s in scenarios for r in self._records(contender, s)]
        return max(peaks, default=None)

    def weight(self, contender, field):
        """The median of one field of Weight."""
        return _median([getattr(w, field) for w in self.weights if w.contender == contender])

    def traffic(self, contender, scenario, field):
        """The median of one figure of what went over the network."""
        return _median(self._traffic(contender, scenario, field))

    def total(self, contender, scenario, field):
        """The sum of one such figure over all runs."""
        found = self._traffic(contender, scenario, field)
        return sum(found) if found else None

    def requests(self, contender, scenario):
        """The requests of each run by kind, as larder counts them."""
        return [r.report["requests"]["sent"] for r in self._records(contender, scenario)]

    def _traffic(self, contender, scenario, field):
        # A counter that never counted is not there.
        return [r.traffic.get(field, 0) for r in self._records(contender, scenario)]

    def _records(self, contender, scenario):
        wanted = (contender, scenario)
        return [r for r in self.records if (r.contender, r.scenario) == wanted]


@dataclass(frozen=True)
class Bound:
    """A promise: the figure must be at most the limit."""

    text: str
    limit: float
    unit: str
    figure: Callable[[Figures], float | None]


def time_ratio(mine, theirs, contender="tar"):
    """larder's median time for one scenario over another tool's for another."""

    def figure(figures):
        return ratio(figures.seconds("larder", mine), figures.seconds(contender, theirs))

    return figure


def weight_ratio(field):
    """larder's bytes over restic's."""

    def figure(figures):
        return ratio(figures.weight("larder", field), figures.weight("restic", field))

    return figure


def peak_mib(figures):
    """The memory that larder needs to save a tree for the first time and to restore it."""
    return ratio(figures.peak("larder", "first", "restore"), MIB)


def objects(figures):
    """How many objects larder's first save creates."""
    return figures.weight("larder", "objects")


BOUNDS = (
    Bound("first save / tar+zstd", 0.75, "", time_ratio("first", "first")),
    Bound("save after update, not remembered / tar+zstd", 0.45, "", time_ratio("update", "update")),
    Bound("unchanged save, remembered / tar+zstd", 0.10, "", time_ratio("unchanged", "first")),
    Bound("restore, empty / zstd+tar", 0.18, "", time_ratio("restore", "restore")),
    Bound("restore, empty / restic", 0.08, "", time_ratio("restore", "restore", "restic")),
    Bound("restore, intact / zstd+tar, empty", 0.08, "", time_ratio("intact", "restore")),
    Bound("stored by first save / restic", 0.95, "", weight_ratio("stored_bytes")),
    Bound("added by update / restic", 1.00, "", weight_ratio("added_bytes")),
    Bound("objects written by first save", 12, "", objects),
    Bound("peak memory, first save and restore", 300, " MiB", peak_mib),
)

MILLION_BOUNDS = (
    Bound("peak memory, first save and restore of a million files", 1024, " MiB", peak_mib),
)


def times_table(figures):
    """Median seconds with the span of the runs, and the ratio to tar+zstd's."""
    rows = []
    for contender in figures.contenders:
        rows.append([contender] + [_time_cell(figures, contender, s) for s in SCENARIOS])
    return table(["seconds: median (min–max) ×tar", *SCENARIOS.values()], rows)


def _time_cell(figures, contender, scenario):
    times = figures.times(contender, scenario)
    if not times:
        return "–"
    cell = f"{median(times):.2f} ({min(times):.2f}–{max(times):.2f})"
    # tar remembers nothing: for it these are the scenarios they stand beside.
    yardstick = {"unchanged": "first", "intact": "restore"}.get(scenario, scenario)
    factor = ratio(median(times), figures.seconds("tar", yardstick))
    return cell if factor is None else f"{cell} ×{factor:.2f}"


def weights_table(figures):
    """Bytes, objects and memory of each contender."""
    head = ["MB of 10⁶ bytes", "stored", "added by update", "objects"]
    head += ["× restic stored", "× restic added", "peak MiB save", "peak MiB restore"]
    rows = []
    for name in figures.contenders:
        stored, added = (figures.weight(name, f) for f in ("stored_bytes", "added_bytes"))
        rows.append(
            [
                name,
                number(ratio(stored, 1e6), 1),
                number(ratio(added, 1e6), 1),
                number(figures.weight(name, "objects"), 0),
                number(ratio(stored, figures.weight("restic", "stored_bytes")), 2),
                number(ratio(added, figures.weight("restic", "added_bytes")), 2),
                number(ratio(figures.peak(name, "first"), MIB), 0),
                number(ratio(figures.peak(name, "restore"), MIB), 0),
            ]
        )
    return table(head, rows)


def judge(bounds, figures):
    """Each bound with its figure and whether it holds (None: not measured)."""
    verdicts = []
    for bound in bounds:
        value = bound.figure(figures)
        verdicts.append((bound, value, None if value is None else value <= bound.limit))
    return verdicts


def bounds_table(verdicts):
    """The bounds as a table."""
    words = {True: "pass", False: "**FAIL**", None: "not measured"}
    rows = []
    for bound, value, kept in verdicts:
        digits = 0 if bound.limit >= 10 or isinstance(value, int) else 3
        limit = f"{bound.limit:g}{bound.unit}"
        rows.append([bound.text, f"≤ {limit}", number(value, digits) + bound.unit, words[kept]])
    return table(["bound", "limit", "measured", ""], rows)


def table(head, rows):
    """A table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _median(values):
    return median(values) if values else None


def ratio(value, base):
    """A quotient, or None where a part of it was not measured."""
    return None if value is None or not base else value / base


def number(value, digits):
    """A number for a table."""
    return "–" if value is None else f"{value:.{digits}f}"
