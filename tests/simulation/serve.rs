//! A process that serves objects: it does a few things one after the other, and goes
//! on with what it has once learned of the store.
//!
//! By the clock of the machine, a run takes no time. So what such a process knows, it
//! knows for as long as it lives, through any number of flushes: nothing but their
//! epoch tells it that this is old.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder::error::Error;
use larder::format::Layout;
use larder::objects::{
    Bucket, Condition, Contents, Details, Found, ObjectError, ObjectName, Objects, Options, Part,
    Upload,
};
use larder::progress::NoProgress;
use larder::store::{ObjectKey, Store};

use crate::actors::REFRESH_AFTER;
use crate::random::Random;
use crate::trees;

/// What objects are put under.
pub(crate) const KEYS: [&str; 3] = ["x", "y", "z"];

/// What they hold, part by part. The trees have some of these parts, too.
pub(crate) const BLOBS: [&str; 7] = ["a", "e", "g", "h", "bc", "gh", "igh"];

/// The metadata that tells of which step of which process a put is.
const TAG: &str = "put";

/// Longer than any run takes: who waits for it waits for all that write.
const FOR_EVER: Duration = Duration::from_secs(1 << 20);

/// When a put may take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provided {
    Always,
    Absent,
    /// That nobody has put another since.
    Same,
}

/// Where bytes come from: a blob, or all of another object.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Blob(&'static str),
    Object(&'static str),
}

/// One thing that such a process does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Put {
        key: &'static str,
        blob: &'static str,
        provided: Provided,
    },
    /// One whose bytes come long before it is put: so many other things are done first.
    Slow {
        key: &'static str,
        source: Source,
        steps: usize,
    },
    /// Two that come at one time, and share a pack.
    Pair([(&'static str, &'static str); 2]),
    Copy {
        from: &'static str,
        to: &'static str,
    },
    Upload {
        key: &'static str,
        parts: Vec<Source>,
        is_completed: bool,
    },
    /// Completes what somebody else has begun.
    GoOn,
    Read {
        key: &'static str,
    },
    Delete {
        key: &'static str,
        provided: Provided,
    },
    Tell,
}

/// What such a process is to do.
#[derive(Clone, Debug)]
pub(crate) struct Shift {
    pub(crate) steps: Vec<Step>,
    /// Whether a put waits for all others that are being written, or for none.
    waits: bool,
}

impl Shift {
    pub(crate) fn draw(keys: usize, blobs: usize, random: &mut Random) -> Self {
        let count = 3 + random.below(12);
        let (keys, blobs) = (&KEYS[..keys], &BLOBS[..blobs]);
        let steps = (0..count).map(|_| Step::draw(keys, blobs, random)).collect();
        Self { steps, waits: random.one_in(2) }
    }

    /// Whether it deletes an object at all.
    pub(crate) fn deletes(&self, object: &ObjectKey) -> bool {
        let is_it = |key: &str| object_of(&name(key)) == *object;
        self.steps.iter().any(|step| matches!(step, Step::Delete { key, .. } if is_it(key)))
    }
}

impl Step {
    fn draw(keys: &[&'static str], blobs: &[&'static str], random: &mut Random) -> Self {
        let (key, blob) = (*random.pick(keys), *random.pick(blobs));
        match random.below(20) {
            0..=2 => {
                let all = [Provided::Always, Provided::Always, Provided::Absent, Provided::Same];
                Self::Put { key, blob, provided: *random.pick(&all) }
            }
            3..=5 => Self::Slow {
                key,
                source: Source::draw(keys, blobs, random),
                steps: random.below(4) as usize,
            },
            6 | 7 => Self::Pair([(key, blob), (*random.pick(keys), *random.pick(blobs))]),
            8 | 9 => Self::Copy { from: key, to: key },
            10 => Self::Copy { from: key, to: *random.pick(keys) },
            11..=13 => {
                let parts = (0..2).map(|_| Source::draw(keys, blobs, random)).collect();
                Self::Upload { key, parts, is_completed: !random.one_in(4) }
            }
            14 => Self::GoOn,
            15 | 16 => Self::Read { key },
            17 | 18 => {
                let provided = if random.one_in(2) { Provided::Same } else { Provided::Always };
                Self::Delete { key, provided }
            }
            _ => Self::Tell,
        }
    }
}

impl Source {
    fn draw(keys: &[&'static str], blobs: &[&'static str], random: &mut Random) -> Self {
        match random.below(3) {
            0 => Self::Object(*random.pick(keys)),
            _ => Self::Blob(*random.pick(blobs)),
        }
    }
}

/// What came of something that such a process did, and would tell its client.
#[derive(Debug)]
pub(crate) enum Deed {
    /// An object was put, or not. A touch need not put anything.
    Put { tag: String, is_touch: bool, end: Result<(), ObjectError> },
    /// An object was read that was put so.
    Read { name: ObjectName, tag: String, end: Result<Vec<u8>, ObjectError> },
    /// Something else was not done.
    Failed(ObjectError),
}

/// The deeds that nobody has looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Diary(Mutex<Vec<Deed>>);

impl Diary {
    fn write(&self, deed: Deed) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(deed);
    }

    pub(crate) fn take(&self) -> Vec<Deed> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The one bucket.
fn bucket() -> Bucket {
    "bucket".parse().expect("a plain name")
}

pub(crate) fn name(key: &str) -> ObjectName {
    ObjectName::new(&bucket(), key).expect("a plain name")
}

/// The object of the store that has the manifest.
pub(crate) fn object_of(name: &ObjectName) -> ObjectKey {
    Layout::manifest(&name.scope, &name.key).expect("the names are short")
}

/// The tag of what was put with these details.
pub(crate) fn tag_of(details: &Details) -> Option<&str> {
    details.metadata.get(TAG).map(String::as_str)
}

fn details(blob: &str, tag: &str) -> Details {
    let metadata = [(TAG.to_owned(), tag.to_owned())].into();
    // As with clients: of the same bytes, it is the same.
    Details { etag: blob.to_owned(), metadata, ..Details::default() }
}

/// Opens a store as such a process does.
pub(crate) fn open(store: Arc<dyn Store>, waits: bool) -> Result<Objects, Error> {
    let window = if waits { FOR_EVER } else { Duration::ZERO };
    let options = Options { level: 1, window, refresh_after: REFRESH_AFTER, ..Options::default() };
    Objects::open(store, options, Arc::new(NoProgress))
}

/// All bytes of an object.
pub(crate) fn fetch_all(objects: &Objects, found: &Found) -> Result<Vec<u8>, ObjectError> {
    let mut bytes = vec![];
    for fetch in found.fetches(0..found.info.len) {
        for piece in objects.fetch(found, &fetch)? {
            bytes.extend_from_slice(&piece);
        }
    }
    Ok(bytes)
}

/// Such a process at work.
pub(crate) struct Server {
    objects: Objects,
    waits: bool,
    number: usize,
    diary: Arc<Diary>,
}

/// An object whose bytes are there, and that is not put yet.
struct Slow<'a> {
    /// The step before which it is put.
    due: usize,
    key: &'a str,
    blob: String,
    contents: Contents,
    tag: String,
}

impl Server {
    /// Does one thing after the other. What fails, the client is told.
    pub(crate) fn run(
        store: Arc<dyn Store>,
        number: usize,
        shift: &Shift,
        diary: Arc<Diary>,
    ) -> Result<(), Error> {
        let server = Self { objects: open(store, shift.waits)?, waits: shift.waits, number, diary };
        let mut slow: Vec<Slow<'_>> = vec![];
        for (at, step) in shift.steps.iter().enumerate() {
            slow = server.put_due(slow, at);
            let tag = format!("{}.{at}", server.number);
            let done = match step {
                Step::Slow { key, source, steps } => server.contents_of(source).map(|made| {
                    let (contents, blob) = made;
                    // Where all wait for each other, nobody may wait for another step.
                    let due = if server.waits { at + 1 } else { at + 1 + steps };
                    slow.push(Slow { due, key: *key, blob, contents, tag: tag.clone() });
                }),
                step => server.step(step, &tag),
            };
            if let Err(error) = done {
                server.diary.write(Deed::Failed(error));
            }
        }
        server.put_due(slow, usize::MAX);
        Ok(())
    }

    /// Puts what is due; gives the others.
    fn put_due<'a>(&self, slow: Vec<Slow<'a>>, at: usize) -> Vec<Slow<'a>> {
        let (due, later): (Vec<Slow<'a>>, Vec<Slow<'a>>) =
            slow.into_iter().partition(|slow| slow.due <= at);
        for Slow { key, blob, contents, tag, .. } in due {
            self.put_contents(key, &blob, contents, &Condition::None, &tag);
        }
        later
    }

    fn step(&self, step: &Step, tag: &str) -> Result<(), ObjectError> {
        match step {
            Step::Slow { .. } => unreachable!("it is begun, and put later"),
            Step::Put { key, blob, provided } => self.put(key, blob, *provided, tag),
            Step::Pair(pair) => self.pair(pair, tag),
            Step::Copy { from, to } => self.copy(from, to, tag),
            Step::Upload { key, parts, is_completed } => {
                let (upload, made) = self.upload(key, parts, tag)?;
                if *is_completed {
                    self.complete(&upload, &made, tag);
                }
                Ok(())
            }
            Step::GoOn => self.go_on(tag),
            Step::Read { key } => self.read(key),
            Step::Delete { key, provided: Provided::Always } => {
                let failed = self.objects.delete(&[name(key)])?.pop();
                failed.map_or(Ok(()), |(_, error)| Err(error.into()))
            }
            Step::Delete { key, .. } => {
                let found = self.objects.find(&name(key))?;
                self.objects.delete_if(&name(key), &Condition::Etag(found.info.details.etag))
            }
            Step::Tell => {
                self.objects.close();
                Ok(())
            }
        }
    }

    fn contents(&self, blob: &str) -> Result<Contents, ObjectError> {
        let mut writer = self.objects.writer(&bucket().scope())?;
        writer.write(&trees::bytes_of(blob))?;
        Ok(writer.finish()?)
    }

    /// The contents, and the blob that they are.
    fn contents_of(&self, source: &Source) -> Result<(Contents, String), ObjectError> {
        match source {
            Source::Blob(blob) => Ok((self.contents(blob)?, (*blob).to_owned())),
            Source::Object(key) => {
                let found = self.objects.find(&name(key))?;
                let contents = self.objects.contents_of(&found, 0..found.info.len)?;
                Ok((contents, found.info.details.etag))
            }
        }
    }

    fn has_put(&self, tag: &str, is_touch: bool, end: Result<(), ObjectError>) {
        self.diary.write(Deed::Put { tag: tag.to_owned(), is_touch, end });
    }

    fn put(&self, key: &str, blob: &str, provided: Provided, tag: &str) -> Result<(), ObjectError> {
        let condition = match provided {
            Provided::Always => Condition::None,
            Provided::Absent => Condition::Absent,
            Provided::Same => Condition::Etag(self.objects.find(&name(key))?.info.details.etag),
        };
        self.put_contents(key, blob, self.contents(blob)?, &condition, tag);
        Ok(())
    }

    fn put_contents(
        &self,
        key: &str,
        blob: &str,
        contents: Contents,
        condition: &Condition,
        tag: &str,
    ) {
        let put = self.objects.put(&name(key), contents, details(blob, tag), condition);
        self.has_put(tag, false, put.map(drop));
    }

    fn pair(
        &self,
        [(key, blob), (other_key, other_blob)]: &[(&str, &str); 2],
        tag: &str,
    ) -> Result<(), ObjectError> {
        let (one, other) = (self.contents(blob)?, self.contents(other_blob)?);
        let put_one =
            || self.put_contents(key, blob, one, &Condition::None, &format!("{tag}.first"));
        let put_other = || {
            let tag = format!("{tag}.second");
            self.put_contents(other_key, other_blob, other, &Condition::None, &tag);
        };
        if self.waits {
            std::thread::scope(|scope| {
                scope.spawn(put_one);
                put_other();
            });
        } else {
            put_one();
            put_other();
        }
        Ok(())
    }

    fn copy(&self, from: &str, to: &str, tag: &str) -> Result<(), ObjectError> {
        let found = self.objects.find(&name(from))?;
        let details = details(&found.info.details.etag, tag);
        let copied = self.objects.copy(&found, &name(to), &details, &Condition::None);
        self.has_put(tag, from == to, copied.map(drop));
        Ok(())
    }

    /// Begins an upload, and puts parts; gives their numbers, and what they make.
    fn upload(
        &self,
        key: &str,
        parts: &[Source],
        tag: &str,
    ) -> Result<(Upload, Vec<(u32, String)>), ObjectError> {
        let (bucket, key) = (bucket(), name(key).key);
        let id = self.objects.begin_upload(&bucket, &key, details("", &format!("{tag}.begin")))?;
        let upload = self.objects.upload(&bucket, id)?;
        let mut made = vec![];
        for (number, source) in (1..).zip(parts) {
            let (contents, blob) = self.contents_of(source)?;
            let details = details(&blob, &format!("{tag}.part-{number}"));
            self.objects.put_part(&upload, number, contents, details)?;
            made.push((number, blob));
        }
        Ok((upload, made))
    }

    fn complete(&self, upload: &Upload, parts: &[(u32, String)], tag: &str) {
        let numbers: Vec<u32> = parts.iter().map(|(number, _)| *number).collect();
        let blob: String = parts.iter().map(|(_, blob)| blob.as_str()).collect();
        let details = details(&blob, tag);
        let completed = self.objects.complete(upload, &numbers, details, &Condition::None);
        self.has_put(tag, false, completed.map(drop));
    }

    fn go_on(&self, tag: &str) -> Result<(), ObjectError> {
        let Some(upload) = self.objects.uploads(&bucket())?.into_iter().next() else {
            return Ok(());
        };
        let parts = self.objects.parts(&upload)?;
        let told = |part: Part| (part.number, part.details.etag);
        let parts: Vec<(u32, String)> = parts.into_iter().map(told).collect();
        if !parts.is_empty() {
            self.complete(&upload, &parts, tag);
        }
        Ok(())
    }

    fn read(&self, key: &str) -> Result<(), ObjectError> {
        let name = name(key);
        let found = self.objects.find(&name)?;
        let end = fetch_all(&self.objects, &found);
        let is_whole = end.is_ok();
        let tag = tag_of(&found.info.details).unwrap_or_default().to_owned();
        self.diary.write(Deed::Read { name, tag, end });
        if is_whole {
            self.objects.used(&found);
        }
        Ok(())
    }
}
