//! Handing out the work of a save, and gathering what comes back.
//!
//! One thread decides: it takes units from the stat record where that knows
//! them, and hands out all others as the budget has room for their bytes; so a
//! slow store or disk holds back reading instead of filling the memory. What only
//! the index can decide waits in a [`Lookup`].

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, select, unbounded};

use super::cut::{Contents, Cutter, Event, Job, Large, PIECE, Piece};
use super::lookup::Lookup;
use super::recall::RecalledUnits;
use crate::budget::Permit;
use crate::chunking::Unit;
use crate::format::EntryIndex;
use crate::ids::ChunkId;
use crate::index::Presence;
use crate::upload::ChunkSender;

/// Hands out work and gathers what comes back.
pub(super) struct Dispatch<'c, 'a> {
    cutter: &'c Cutter<'a>,
    chunks: ChunkSender,
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// Jobs that go before the next unit of the plan.
    first: VecDeque<Job>,
    next_unit: usize,
    recalled: RecalledUnits,
    lookup: Lookup,
    running: usize,
    pieces: Vec<Vec<DonePiece>>,
    contents: Contents,
}

/// The chunks of one piece of a unit, with attempt and number.
type DonePiece = ((u32, u32), Vec<(ChunkId, u32)>);

impl<'c, 'a: 'c> Dispatch<'c, 'a> {
    pub(super) fn new(
        cutter: &'c Cutter<'a>,
        chunks: ChunkSender,
        recalled: RecalledUnits,
    ) -> Self {
        let (sender, events) = unbounded();
        Self {
            cutter,
            chunks,
            sender,
            events,
            first: VecDeque::new(),
            next_unit: 0,
            recalled,
            lookup: Lookup::default(),
            running: 0,
            pieces: vec![vec![]; cutter.plan.units.len()],
            contents: Contents::default(),
        }
    }

    pub(super) fn run<'scope, 'env>(
        mut self,
        tasks: &rayon::Scope<'c>,
        threads: &'scope std::thread::Scope<'scope, 'env>,
    ) -> Contents
    where
        'c: 'scope,
        'a: 'scope,
    {
        if self.cutter.known.needs_index() && !self.cutter.plan.units.is_empty() {
            self.lookup.prefetch(self.cutter, &self.sender, threads);
        }
        while self.cutter.goes_on() {
            self.take_all(None);
            let next = self.next_job_len();
            let permit = next.and_then(|len| self.cutter.budget.try_take(len));
            // After both: the first finds units that the index decides on.
            let nothing_else = permit.is_none() && self.running == 0;
            self.lookup.start_if_due(nothing_else, self.cutter, &self.sender, threads);
            match permit {
                Some(permit) => self.hand_out(tasks, permit),
                None if next.is_none() && self.running == 0 && self.lookup.is_idle() => break,
                // Pieces that wait for the index hold permits: waiting for
                // permits alone would never end.
                None => select! {
                    recv(self.events) -> event => self.take_all(event.ok()),
                    recv(self.cutter.budget.news()) -> _ => {}
                },
            }
        }
        self.finish()
    }

    /// Bytes that the next job will hold, if there is one to hand out.
    fn next_job_len(&mut self) -> Option<usize> {
        while self.first.is_empty() && self.next_unit < self.cutter.plan.units.len() {
            let unit = self.next_unit;
            self.next_unit += 1;
            if !self.recall(unit) {
                self.first.push_back(self.job(unit));
            }
        }
        self.first.front().map(|job| match job {
            Job::Bundle { files, .. } => {
                let tree = &self.cutter.walked.tree;
                let lens = self.cutter.plan.small[files.clone()].iter();
                let len: u64 = lens.map(|&entry| tree.data_len(entry)).sum();
                usize::try_from(len).unwrap_or(usize::MAX)
            }
            Job::Large(_) => PIECE,
            // Already holds its permit.
            Job::Store(_) => 0,
        })
    }

    fn job(&self, unit: usize) -> Job {
        match self.cutter.plan.units.get(unit) {
            Some(Unit::Bundle(files)) => Job::Bundle { unit, files: files.clone() },
            Some(Unit::Large(entry)) => self.large(unit, *entry),
            None => self.large(unit, self.contents.grown[unit - self.cutter.plan.units.len()]),
        }
    }

    fn large(&self, unit: usize, entry: EntryIndex) -> Job {
        Job::Large(Large { unit, entry, attempt: 0, number: 0, reader: None, rest: vec![] })
    }

    /// Takes a unit's chunks from the stat record, if the store has them.
    /// `true` if there is nothing to do for it now.
    fn recall(&mut self, unit: usize) -> bool {
        let Some(chunks) = &self.recalled[unit] else {
            return false;
        };
        let presence = |(id, len): &(ChunkId, u32)| self.cutter.known.presence(id, *len);
        // `Presence` is ordered from the best to the worst.
        match chunks.iter().map(presence).max() {
            Some(Presence::Absent) => return false,
            Some(Presence::Unknown) => {
                let unknown = chunks.iter().filter(|chunk| presence(chunk) == Presence::Unknown);
                self.lookup.unit(unit, unknown.map(|(id, _)| *id));
            }
            Some(Presence::Present) | None => {
                let (files, bytes) = self.size(unit);
                self.cutter.context.progress.advance(files, bytes);
                let chunks = self.recalled[unit].take().unwrap_or_default();
                self.pieces[unit] = vec![((0, 0), chunks)];
            }
        }
        true
    }

    fn size(&self, unit: usize) -> (u64, u64) {
        let tree = &self.cutter.walked.tree;
        match &self.cutter.plan.units[unit] {
            Unit::Bundle(files) => {
                let entries = &self.cutter.plan.small[files.clone()];
                (entries.len() as u64, entries.iter().map(|&entry| tree.data_len(entry)).sum())
            }
            Unit::Large(entry) => (1, tree.data_len(*entry)),
        }
    }

    fn hand_out(&mut self, tasks: &rayon::Scope<'c>, permit: Permit) {
        let Some(job) = self.first.pop_front() else {
            return;
        };
        self.contents.files_read += match &job {
            Job::Bundle { files, .. } => files.len() as u64,
            Job::Large(large) if large.number == 0 && large.attempt == 0 => 1,
            _ => 0,
        };
        self.running += 1;
        let (cutter, events, chunks) = (self.cutter, self.sender.clone(), self.chunks.clone());
        tasks.spawn(move |_| cutter.work(job, Arc::new(permit), &events, &chunks));
    }

    fn take_all(&mut self, first: Option<Event>) {
        first.into_iter().for_each(|event| self.take(event));
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::More(large) => self.first.push_back(Job::Large(large)),
            Event::Changed(changed) => self.contents.changed.push(changed),
            Event::Grown(entry) => {
                let unit = self.pieces.len();
                self.pieces.push(vec![]);
                self.contents.grown.push(entry);
                self.first.push_back(self.job(unit));
            }
            Event::Nothing => self.running -= 1,
            Event::Wait(piece) => {
                self.running -= 1;
                self.wait(piece);
            }
            Event::Done { unit, attempt, number, chunks } => {
                self.running -= 1;
                self.pieces[unit].push(((attempt, number), chunks));
            }
            Event::LookedUp => {
                let (pieces, units) = self.lookup.take_all();
                pieces.into_iter().for_each(|piece| self.wait(piece));
                for unit in units {
                    if !self.recall(unit) {
                        let job = self.job(unit);
                        self.first.push_back(job);
                    }
                }
            }
        }
    }

    /// Has a piece wait for the index, as long as that has to tell of it.
    fn wait(&mut self, piece: Piece) {
        if let Some(piece) = self.lookup.piece(piece, self.cutter.known) {
            // These go first: they hold the permits that others wait for.
            self.first.push_front(Job::Store(piece));
        }
    }

    fn finish(self) -> Contents {
        let mut contents = self.contents;
        for mut pieces in self.pieces {
            pieces.sort_unstable_by_key(|(order, _)| *order);
            // A file that changed was read again: only the last attempt counts.
            let last = pieces.last().map_or(0, |((attempt, _), _)| *attempt);
            pieces.retain(|((attempt, _), _)| *attempt == last);
            contents.units.push(pieces.into_iter().flat_map(|(_, chunks)| chunks).collect());
        }
        contents
    }
}
