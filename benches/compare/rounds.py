"""The scenarios, and the order in which contenders go through them.

A round takes every contender through one scenario before the next scenario
begins. So the figures that are divided by each other were taken within the
same minute, and whatever else the machine does then meets all of them.
"""

import os
import sys
from dataclasses import dataclass

from contenders import Runner
from measure import copy, remove, run, weigh
from verify import differences

# scenario → what the tables call it, in the order in which they run.
SCENARIOS = {
    "first": "first save",
    "unchanged": "save, unchanged",
    "restore": "restore, empty",
    "intact": "restore, intact",
    "update": "save, updated",
}
# The update is restored too, to be verified; nobody compares how long that takes.
CHECKED = {**SCENARIOS, "updated": "restore, updated"}
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Record:
    """One measured command; `report` is what the tool said about it, if anything."""

    tree: str
    medium: str
    contender: str
    run: int
    scenario: str
    seconds: float
    peak_rss_bytes: int
    cpu_seconds: float
    report: object
    # What went over the network, and who worked for it, where there is one.
    traffic: object = None


@dataclass(frozen=True)
class Weight:
    """What one contender put into its store in one run."""

    tree: str
    medium: str
    contender: str
    run: int
    objects: int
    stored_bytes: int
    added_bytes: int


class Files:
    """A medium: a file system, on which trees, stores and targets lie."""

    def __init__(self, name):
        self.name = name

    def create(self, contender, place, number):
        """A store for one contender and round."""
        store = place / "store"
        store.mkdir()
        return store

    def weigh(self, store):
        """Count what is in a store."""
        return weigh(store)

    def settle(self):
        """What was written to a disk before must not be paid for by the next command."""
        if self.name == "disk":
            os.sync()

    def watch(self, contender):
        """Nothing is counted here beside what every command costs."""
        return lambda: None


class Seat:
    """Where one contender works during one round."""

    def __init__(self, contender, place, medium, number):
        self.contender = contender
        self.medium = medium
        self.place = place / contender.name
        self.place.mkdir(parents=True)
        self.store = medium.create(contender, self.place, number)
        self.target = self.place / "target"
        self.first_runner = self.new_runner("runner-first")
        self.initial = (0, 0)
        self.first = (0, 0)

    def new_runner(self, name):
        """A machine that has never run this tool."""
        return Runner(self.place / name).create()

    def run(self, command):
        """Run one command with nothing but its own environment; say what it cost."""
        base = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.medium.settle()
        traffic = self.medium.watch(self.contender)
        sample = run(command, base, self.place)
        return sample, traffic()

    def weigh(self):
        """Count the objects in the store, and their bytes."""
        return self.medium.weigh(self.store)


class Bench:
    """One tree on one medium, with every contender."""

    def __init__(self, tree, medium, place, contenders):
        self.tree, self.medium, self.contenders = tree, medium, contenders
        self.place = place
        self.records, self.weights, self.faults = [], [], []
        self.number = 0

    def measure(self, runs):
        """A warm-up, in which results are verified but not counted, then the rounds."""
        steps = (self._first_save, self._unchanged_save, self._restores, self._update)
        self._copy_trees()
        self._round(steps)
        self.records.clear()
        self.weights.clear()
        for self.number in range(1, runs + 1):
            self._round(steps)

    def measure_once(self):
        """Only a first save and restores, verified, of a tree made in place already."""
        self._round((self._first_save, self._restores))

    def _verifying(self, seat):
        """Verification reads every file again: it stays out of the counted rounds.

        Where requests fail, each round meets other failures, and each counts.
        """
        return self.number == 0 or seat.contender.suffers

    def _copy_trees(self):
        """Copy both states to the medium, so that reading them costs what it does there."""
        for parent, state in ((self.tree.before, BEFORE), (self.tree.after, AFTER)):
            (self.place / state).mkdir(parents=True)
            copy(parent / self.tree.name, self.place / state / self.tree.name)

    def _round(self, steps):
        print(f"{self.tree.kind} on {self.medium.name}: round {self.number}", file=sys.stderr)
        # Nobody always comes first, or always after the same neighbour's writes.
        turn = self.number % len(self.contenders)
        order = self.contenders[turn:] + self.contenders[:turn]
        place = self.place / "seats"
        seats = [Seat(contender, place, self.medium, self.number) for contender in order]
        for step in steps:
            for seat in seats:
                step(seat)
        remove(self.place / "seats")

    def _first_save(self, seat):
        """Save into a new store; creating the store is not part of the time."""
        init = seat.contender.init(seat.store, seat.first_runner)
        if init:
            seat.run(init)
        seat.initial = seat.weigh()
        self._save(seat, "first", seat.first_runner, BEFORE, BEFORE)
        seat.first = seat.weigh()

    def _unchanged_save(self, seat):
        """Save the same tree on the same machine, where a tool may remember it."""
        if not seat.contender.remembers:
            return
        key = BEFORE if seat.contender.overwrites else f"{BEFORE}-again"
        self._save(seat, "unchanged", seat.first_runner, BEFORE, key)

    def _restores(self, seat):
        """Restore on a new machine into an empty directory, then once more over it."""
        runner = seat.new_runner("runner-restore")
        self._restore(seat, "restore", runner, BEFORE)
        if seat.contender.refreshes:
            self._restore(seat, "intact", runner, BEFORE)
        remove(seat.target)

    def _update(self, seat):
        """Save the updated tree from a new machine, where nothing is remembered."""
        _, stored_before = seat.weigh()
        self._save(seat, "update", seat.new_runner("runner-update"), AFTER, AFTER)
        self._note_weight(seat, seat.weigh()[1] - stored_before)
        if self._verifying(seat):
            self._restore(seat, "updated", seat.new_runner("runner-verify"), AFTER)
            remove(seat.target)

    def _save(self, seat, scenario, runner, state, key):
        parent = self.place / state
        command = seat.contender.save(seat.store, runner, parent, self.tree.name, key)
        self._note(seat, scenario, *seat.run(command))

    def _restore(self, seat, scenario, runner, key):
        seat.target.mkdir(exist_ok=True)
        command = seat.contender.restore(seat.store, runner, seat.target, self.tree.name, key)
        self._note(seat, scenario, *seat.run(command))
        if self._verifying(seat):
            self._verify(seat, scenario, key)

    def _verify(self, seat, scenario, state):
        found = differences(self.place / state / self.tree.name, seat.target / self.tree.name)
        label = f"{seat.contender.name}: {self.tree.kind} {state}, {CHECKED[scenario]}"
        self.faults += [f"{label}: {difference}" for difference in found]

    def _note(self, seat, scenario, sample, traffic):
        where = (self.tree.kind, self.medium.name, seat.contender.name, self.number)
        cost = (sample.seconds, sample.peak_rss_bytes, sample.cpu_seconds)
        report = seat.contender.report(sample.stdout)
        self.records.append(Record(*where, scenario, *cost, report, traffic))

    def _note_weight(self, seat, added):
        where = (self.tree.kind, self.medium.name, seat.contender.name, self.number)
        objects, stored = (now - then for now, then in zip(seat.first, seat.initial))
        self.weights.append(Weight(*where, objects, stored, added))
