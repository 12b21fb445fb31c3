//! What a save notes of its key, and what that tells a job that does not find it.

use std::sync::Arc;

use larder::format::MAX_ANNOTATION_LEN;
use larder::progress::{Context, NoProgress};
use larder::save::{SaveRequest, save};
use larder::store::{LocalStore, Store};
use proptest::prelude::*;

use super::compare::FileDifference;
use super::record::{Expression, Files};
use super::*;
use crate::keys::{FilesHash, HashedFile, Part};

/// A key of a template with the hash of these files.
fn rendered(branch: &str, files: &[(&str, &str)]) -> Rendered {
    let files: Vec<HashedFile> = files
        .iter()
        .map(|(path, text)| HashedFile {
            path: (*path).to_owned(),
            hash: blake3::hash(text.as_bytes()).to_string(),
        })
        .collect();
    let all = files.iter().map(|file| file.hash.as_str()).collect::<String>();
    let hash = blake3::hash(all.as_bytes()).to_string()[..16].to_owned();
    let expression = |source: &str, value: &str, hashes| Part::Expression {
        source: source.to_owned(),
        value: value.to_owned(),
        hashes,
    };
    let hashes = vec![FilesHash { globs: vec!["**/*.lock".into()], hash: hash.clone(), files }];
    Rendered {
        template: "{{ branch }}-{{ hash(\"**/*.lock\") }}".to_owned(),
        key: format!("{branch}-{hash}").parse().unwrap(),
        parts: vec![
            expression("branch", branch, vec![]),
            Part::Text { value: "-".to_owned() },
            expression("hash(\"**/*.lock\")", &hash, hashes),
        ],
    }
}

/// A store with a cache that was saved under this key.
fn store_with(top: &std::path::Path, key: &Rendered) -> Arc<dyn Store> {
    std::fs::write(top.join("file"), "contents").unwrap();
    let store: Arc<dyn Store> =
        Arc::new(LocalStore::open(&top.join("store"), larder::store::Fsync::Never).unwrap());
    let around = larder::mounts::Surroundings {
        working_directory: top.to_owned(),
        logical_directory: None,
        home: None,
    };
    let sources = around.mounts([std::path::Path::new("file")]);
    let mut request = SaveRequest::new("s".parse().unwrap(), key.key.clone(), sources);
    request.annotation = note(key);
    let context = Context { progress: &NoProgress, stop: &false.into() };
    save(Arc::clone(&store), &request, context).unwrap();
    store
}

#[test]
fn a_miss_names_the_parts_and_the_files_that_changed() {
    let top = tempfile::tempdir().unwrap();
    let old = rendered("main", &[("a.lock", "1"), ("b.lock", "1"), ("c.lock", "1")]);
    let store = store_with(top.path(), &old);
    let new = rendered("main", &[("a.lock", "1"), ("b.lock", "2"), ("d.lock", "1")]);
    let repository = Repository::open(store).unwrap();
    let scope: Scope = "s".parse().unwrap();
    let told = explain(repository.as_ref(), &[&scope], &new).unwrap();
    let [near] = told.nearest.as_slice() else { panic!("one cache is there") };
    assert_eq!((&near.key, near.is_noted), (&old.key, true));
    let change = |path: &str, change| FileDifference { path: path.to_owned(), change };
    let files = vec![
        change("b.lock", Change::Changed),
        change("c.lock", Change::Removed),
        change("d.lock", Change::Added),
    ];
    let [Difference::Value { source, files: told, unlisted: 0, .. }] = near.differences.as_slice()
    else {
        panic!("one part differs: {:?}", near.differences)
    };
    assert_eq!((source.as_str(), told), ("hash(\"**/*.lock\")", &files));

    let elsewhere = explain(repository.as_ref(), &[&"other".parse().unwrap()], &new).unwrap();
    assert!(elsewhere.nearest.is_empty());
    assert_eq!(elsewhere.other_scopes, [scope]);
    assert!(explain(None, &[&"s".parse().unwrap()], &new).unwrap().nearest.is_empty());
}

#[test]
fn keys_for_other_things_are_passed_over_if_any_is_for_the_same() {
    let top = tempfile::tempdir().unwrap();
    let scope: Scope = "s".parse().unwrap();
    let keys = ["npm-linux-1", "npm-linux-2", "pip-linux-1"];
    let literal = |key: &str| Rendered::literal(key.parse().unwrap());
    for key in keys {
        store_with(top.path(), &literal(key));
    }
    let store = store_with(top.path(), &literal("pip-linux-2"));
    let repository = Repository::open(store).unwrap();
    let near = |key: &str| -> Vec<String> {
        let told = explain(repository.as_ref(), &[&scope], &literal(key)).unwrap();
        told.nearest.iter().map(|near| near.key.as_str()[..3].to_owned()).collect()
    };
    assert_eq!(near("npm-linux-3"), ["npm", "npm"]);
    assert_eq!(near("gradle").len(), 1);
}

#[test]
fn another_template_is_told_and_what_both_have() {
    let here = Record::of(&rendered("pr-5", &[("a.lock", "1")])).unwrap();
    let mut there = Record::of(&rendered("main", &[("a.lock", "1")])).unwrap();
    there.template = "old-{{ branch }}".to_owned();
    there.parts.truncate(1);
    let differences = compare(&here, &there);
    let [Difference::Template { .. }, Difference::Value { here, there, .. }] =
        differences.as_slice()
    else {
        panic!("the template and the branch differ: {differences:?}")
    };
    assert_eq!((here.as_str(), there.as_str()), ("pr-5", "main"));
}

#[test]
fn a_key_that_is_given_as_it_is_notes_nothing() {
    let literal = Rendered::literal("npm-1".parse().unwrap());
    assert_eq!(note(&literal), Annotation::default());
    assert_eq!(Record::read(&Annotation::default()), None);
}

#[test]
fn of_many_files_as_many_are_noted_as_there_is_room_for() {
    let names: Vec<String> = (0..5_000).map(|number| format!("packages/{number}/lock")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let annotation = note(&rendered("main", &files));
    assert!(annotation.as_bytes().len() > MAX_ANNOTATION_LEN / 3);
    let record = Record::read(&annotation).unwrap();
    let Files { files, unlisted } = &record.parts[1].hashes[0];
    assert_eq!(files.len() as u64 + unlisted, 5_000);
    // Of those that are not noted, nothing is claimed.
    let now = Record::of(&rendered("main", &[("packages/4999/lock", "2")])).unwrap();
    let differences = compare(&now, &record);
    let [Difference::Value { files, .. }] = differences.as_slice() else {
        panic!("a value differs: {differences:?}")
    };
    assert!(files.iter().all(|file| file.change == Change::Removed));
}

proptest! {
    #[test]
    fn what_is_noted_is_read(
        template in ".{0,40}",
        parts in prop::collection::vec((".{0,20}", ".{0,20}", prop::collection::vec(
            (".{0,20}", prop::collection::vec(any::<u8>(), 8)), 0..5)), 0..5),
    ) {
        let parts = parts.into_iter().map(|(source, value, files)| {
            let files = files
                .into_iter()
                .map(|(path, hash)| (path, serde_bytes::ByteBuf::from(hash)))
                .collect();
            Expression { source, value, hashes: vec![Files { files, unlisted: 3 }] }
        });
        let record = Record { template: template.clone(), parts: parts.collect() };
        let again = Record { template, parts: Record::read(&{
            let bytes = rmp_serde::to_vec_named(&record).unwrap();
            Annotation::new(bytes).unwrap()
        }).unwrap().parts };
        prop_assert_eq!(&again, &record);
        prop_assert_eq!(Record::read(&record.into_annotation()).unwrap(), again);
    }

    #[test]
    fn hostile_notes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::read(&Annotation::new(bytes).unwrap());
    }
}
