//! What a person does with the spool of a stopped gateway.

use crate::disk::Door;
use crate::model::{Model, PLUGINS, QUEUES, key};
use crate::raw;
use crate::script::{Told, script, tell};
use std::sync::Arc;
use tidegate_spool::{EditError, Editor, export, verify};
use tidegate_testkit::{Fault, SimDisk};

fn closed(seed: u64) -> (SimDisk, Model) {
    let Told::ToTheEnd(mut trial) = tell(&script(seed, 90, true), u64::MAX, Fault::Io, 8192) else {
        panic!("nothing went wrong")
    };
    assert!(trial.shut(), "the disk is good");
    (trial.disk.clone(), trial.model.clone())
}

#[test]
fn what_is_verified_and_exported_is_what_waits_and_nothing_is_changed() {
    let mut items = 0;
    for seed in 0..60 {
        let (disk, model) = closed(2000 + seed);
        let before = disk.operations();
        let report = verify(&Door(disk.clone())).expect("a report");
        let mut exported: Vec<Vec<_>> = vec![Vec::new(); QUEUES];
        let mut sequence = Vec::new();
        export(&Door(disk.clone()), |item| {
            let queue = (0..QUEUES).find(|queue| key(*queue) == *item.key).expect("a queue of the tests");
            exported[queue].push((item.received_ms, item.message.clone()));
            sequence.push(item.received_ms);
        })
        .expect("an export");
        assert!(sequence.is_sorted(), "in the order in which they came");
        for (queue, exported) in exported.iter().enumerate() {
            let wanted: Vec<_> = model.waiting(queue).into_iter().map(|(_, at, item, _)| (at, item.message)).collect();
            assert_eq!(*exported, wanted);
            if let Some(waiting) = report.queues.iter().find(|waiting| waiting.key == key(queue)) {
                assert_eq!(waiting.items, wanted.len() as u64);
                assert_eq!(waiting.bytes, wanted.iter().map(|(_, message)| message.weight_bytes() as u64).sum::<u64>());
                assert_eq!(waiting.oldest_ms, wanted.iter().map(|(at, _)| *at).min());
            } else {
                assert!(wanted.is_empty());
            }
            items += wanted.len();
        }
        assert_eq!((&report.damaged, report.torn_bytes), (&Vec::new(), 0));
        assert!(report.records >= raw::read(&disk).sequences.len() as u64);
        assert_eq!(report.sequence, *raw::read(&disk).sequences.last().expect("a record"));
        assert_eq!(report.bytes, disk.files().iter().map(|(_, bytes)| bytes).sum::<u64>());
        assert_eq!(report.parked, model.small().parked.len() as u64);
        let state = model.small().state;
        let with_state = PLUGINS.iter().zip(&state).filter(|(_, keys)| !keys.is_empty());
        assert_eq!(report.plugins_with_state, with_state.map(|(name, _)| *name).collect::<Vec<_>>());
        assert_eq!(disk.operations(), before, "nothing is changed");
    }
    assert!(items > 200, "only {items} items were looked at");
}

#[test]
fn parked_messages_and_state_can_be_taken_out() {
    let (mut unparked, mut deleted) = (0, 0);
    for seed in 0..40 {
        let (disk, model) = closed(3000 + seed);
        let small = model.small();
        let mut editor = Editor::open(Arc::new(Door(disk.clone()))).expect("a spool");
        assert_eq!(editor.parked(), &small.parked);
        assert!(!editor.unpark(99_999));
        assert!(!editor.delete_state("nobody", "key0"));
        let number = small.parked.keys().next().copied();
        if let Some(number) = number {
            assert!(editor.unpark(number));
            assert!(!editor.unpark(number), "it is gone");
            unparked += 1;
        }
        let key = small.state[1].keys().next().cloned();
        if let Some(key) = &key {
            assert_eq!(editor.state(PLUGINS[1]), Some(&small.state[1]));
            assert!(editor.plugins().contains(&PLUGINS[1].to_owned()));
            assert!(editor.delete_state(PLUGINS[1], key));
            deleted += 1;
        }
        editor.save().expect("it is saved");
        // It is durable, and nothing else has changed.
        let disk = disk.crash(0);
        let again = Editor::open(Arc::new(Door(disk.clone()))).expect("a spool");
        let mut parked = small.parked.clone();
        number.map(|number| parked.remove(&number));
        assert_eq!(again.parked(), &parked);
        let mut state = small.state[1].clone();
        key.map(|key| state.remove(&key));
        assert_eq!(again.state(PLUGINS[1]).cloned().unwrap_or_default(), state);
        drop(again);
        let report = verify(&Door(disk)).expect("a report");
        let waits: usize = (0..QUEUES).map(|queue| model.waiting(queue).len()).sum();
        assert_eq!(report.queues.iter().map(|waiting| waiting.items).sum::<u64>(), waits as u64);
    }
    assert!(unparked > 5 && deleted > 5, "{unparked} unparked, {deleted} deleted");
}

#[test]
fn a_change_that_cannot_be_saved_is_told() {
    let (disk, _) = closed(3001);
    let editor = Editor::open(Arc::new(Door(disk.clone()))).expect("a spool");
    disk.fill(true);
    assert!(matches!(editor.save(), Err(EditError::Full)));
    disk.fill(false);
    let editor = Editor::open(Arc::new(Door(disk.killed()))).expect("a spool");
    editor.save().expect("there is room");
}
