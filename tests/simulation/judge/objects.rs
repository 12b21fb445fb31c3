//! What is judged of processes that serve objects: what they put, and what they tell
//! their clients.
//!
//! A put says in the metadata of which step of which process it is, and its entity tag
//! which bytes it has. So a manifest is known whoever puts it, and however late.

use larder::error::Error;
use larder::format::{Annotation, Manifest};
use larder::ids::Key;
use larder::objects::{Details, ObjectError};
use larder::store::ObjectKey;

use super::{Judge, Lineage, Verdict, What};
use crate::actors::{Actor, GRACE, Role};
use crate::serve::{Deed, object_of, tag_of};
use crate::tally::Event;
use crate::trees;

/// What the scopes of uploads that are not complete begin with.
const UPLOADS: &str = "s3-upload:";

/// What is noted of an object, a part or an upload.
fn noted(annotation: &Annotation) -> Option<Details> {
    let bytes = annotation.as_bytes();
    if let Some(details) = bytes.strip_prefix(b"larderO\x01") {
        return rmp_serde::from_slice(details).ok();
    }
    let note = bytes.strip_prefix(b"larderU\x01")?;
    let (_, details): (Key, Details) = rmp_serde::from_slice(note).ok()?;
    Some(details)
}

impl Judge<'_> {
    /// The lineage of a manifest that a process that serves objects has put; `None` if
    /// it only refreshes what another step has put.
    pub(super) fn own_object(
        &mut self,
        by: usize,
        object: &ObjectKey,
        manifest: &Manifest,
    ) -> Result<Option<usize>, String> {
        let details = noted(&manifest.annotation);
        let tag = details.as_ref().and_then(tag_of);
        let Some((details, tag)) = details.as_ref().zip(tag) else {
            return Err(format!("{object} has no tag"));
        };
        let (owner, _) = tag.split_once('.').unwrap_or_default();
        if owner.parse() != Ok(by) {
            return Ok(None);
        }
        if manifest.tree.raw_bytes() != trees::len_of(&details.etag) {
            return Err(format!("{object} has not the length of {}", details.etag));
        }
        let clock = self.clock();
        if let Some(&lineage) = self.tags.get(tag) {
            if !self.lineages[lineage].is_said {
                self.tally.count(Event::ObjectRound);
            }
            self.lineages[lineage].put_at = clock;
            return Ok(Some(lineage));
        }
        let what = if manifest.scope.as_str().starts_with(UPLOADS) {
            What::Part
        } else {
            What::Object(details.etag.clone())
        };
        self.lineages.push(Lineage { owner: by, ..Lineage::new(object.clone(), what, clock) });
        self.tags.insert(tag.to_owned(), self.lineages.len() - 1);
        Ok(Some(self.lineages.len() - 1))
    }

    /// A manifest was removed by a process that serves objects.
    pub(super) fn removed_by_server(&mut self, by: usize, lineage: usize) -> Verdict {
        let Role::Serve(shift) = &self.witnesses[by].role else {
            return Err(format!("{} removed a cache", self.witnesses[by].label));
        };
        let lineage = &mut self.lineages[lineage];
        if lineage.what == What::Part {
            return Ok(());
        }
        if lineage.owner == by && !lineage.is_said {
            lineage.is_taken_back = true;
            self.tally.count(Event::ObjectTakenBack);
            return Ok(());
        }
        if shift.deletes(&lineage.object) {
            self.tally.count(Event::ObjectDeleted);
            return Ok(());
        }
        Err(format!("{} removed {}", self.witnesses[by].label, lineage.object))
    }

    /// A process that serves objects tells a client what came of its request.
    pub(crate) fn did(&mut self, actor: &Actor, deed: &Deed) -> Verdict {
        let verdict = self.judge_deed(actor, deed);
        let witness = &mut self.witnesses[actor.number];
        // Of a pair, either may end first.
        witness.deeds = [witness.deeds[1], self.state.epoch];
        witness.overtaken = 0;
        verdict
    }

    fn judge_deed(&mut self, actor: &Actor, deed: &Deed) -> Verdict {
        match deed {
            Deed::Put { tag, is_touch, end: Ok(()) } => self.object_said(actor, tag, *is_touch),
            Deed::Read { name, tag, end: Ok(bytes) } => {
                let object = object_of(name);
                let lineage = self.tags.get(tag).map(|lineage| &self.lineages[*lineage]);
                let Some(What::Object(blob)) = lineage.map(|lineage| &lineage.what) else {
                    return Err(format!("{} read what nobody put", actor.label()));
                };
                let witness = &self.witnesses[actor.number];
                let read = witness.reads.get(&object).map(|(version, _)| version);
                let read = read.map(|version| self.published[version].lineage);
                if read != self.tags.get(tag).copied() {
                    return Err(format!("{} read {object} as it was once", actor.label()));
                }
                if *bytes != trees::bytes_of(blob) {
                    return Err(format!("{} read wrong bytes of {object}", actor.label()));
                }
                self.tally.count(Event::ObjectRead);
                Ok(())
            }
            Deed::Read { end: Err(ObjectError::Failed(error)), .. } => {
                if let Error::Missing { object, needed_by } = error {
                    return self.not_restored(actor, object, needed_by);
                }
                self.failed(actor, error)
            }
            Deed::Put { end: Err(error), .. }
            | Deed::Read { end: Err(error), .. }
            | Deed::Failed(error) => self.object_failed(actor, error),
        }
    }

    fn object_said(&mut self, actor: &Actor, tag: &str, is_touch: bool) -> Verdict {
        let Some(&lineage) = self.tags.get(tag) else {
            // Another has put something else there meanwhile.
            let label = actor.label();
            return if is_touch { Ok(()) } else { Err(format!("{label} said success of nothing")) };
        };
        let said = &mut self.lineages[lineage];
        if said.is_taken_back {
            let label = actor.label();
            return Err(format!("{label} said success of {}, and took it back", said.object));
        }
        said.is_said = true;
        said.promised = Some(said.put_at);
        self.tally.count(if is_touch { Event::ObjectTouched } else { Event::ObjectPut });
        self.check_promise(lineage)?;
        self.check()
    }

    fn object_failed(&mut self, actor: &Actor, error: &ObjectError) -> Verdict {
        let ObjectError::Failed(error) = error else {
            self.tally.count(Event::ObjectRefused);
            return Ok(());
        };
        match error {
            Error::SaveOvertaken(rounds) => self.overtaken(actor, *rounds),
            Error::Missing { object, needed_by } => self.not_put(actor, object, needed_by),
            error => self.failed(actor, error),
        }
    }

    /// Every round but the first takes another epoch, or another's put.
    fn overtaken(&mut self, actor: &Actor, rounds: u32) -> Verdict {
        let witness = &self.witnesses[actor.number];
        let epochs = self.state.epoch - witness.deeds[0];
        if epochs + witness.overtaken + 1 < u64::from(rounds) {
            let label = actor.label();
            return Err(format!("{label} said that it was overtaken; by {epochs} epochs only"));
        }
        Ok(())
    }

    /// What a put relied on is gone: it was that slow, or nobody had vouched for it.
    fn not_put(&mut self, actor: &Actor, pack: &ObjectKey, needed_by: &ObjectKey) -> Verdict {
        let witness = &self.witnesses[actor.number];
        let read = witness.reads.get(needed_by).map(|(version, _)| &self.published[version]);
        let was_promised = read.is_some_and(|read| self.lineages[read.lineage].is_said);
        let id = super::Layout::parse_pack(pack).expect("it is the object of a pack");
        let took = self.clock().since(witness.began);
        let delay = self.delays.get(&id).copied().unwrap_or_default();
        if took + delay < GRACE && was_promised && !self.untold.contains(&id) {
            let label = actor.label();
            return Err(format!("{label} found {pack} gone {took:?} after it had begun"));
        }
        self.tally.count(Event::ObjectTooSlow);
        Ok(())
    }

    /// The objects that are there, with what they hold, and whether success was said.
    pub(crate) fn objects(&self) -> Vec<(Key, String, bool)> {
        let there = self.manifests.iter().filter_map(|(object, version)| {
            let lineage = &self.lineages[self.published[version].lineage];
            let What::Object(blob) = &lineage.what else { return None };
            let (_, key) = super::Layout::parse_manifest(object)?;
            Some((key, blob.clone(), lineage.is_said))
        });
        there.collect()
    }
}
