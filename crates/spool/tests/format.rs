//! What is on disk stays readable: files of format 1 as they were written once, and files of a format to come.

use crate::disk::{Door, open};
use crate::model::{message, number_of};
use crate::script::{Told, script, tell};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidegate_spool::*;
use tidegate_testkit::{Fault, SimDisk};

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/1")
}

fn key(target: &str, class: u8) -> Key {
    Key::new(target, class)
}

fn parked() -> Parked {
    Parked {
        route: "all".to_owned(),
        plugin: "convert".to_owned(),
        kind: "trap".to_owned(),
        reason: "unreachable".to_owned(),
        received_ms: 1_700_000_000_003,
        message: message(9, 3, true),
    }
}

/// Two lives: four messages for two queues, one of them done, one sent and taken over, and one of everything else.
fn write(disk: &SimDisk) {
    let mut spool = open(disk).expect("a spool");
    let queues = [spool.queue(&key("cloud", 0)), spool.queue(&key("archive", 5))];
    let names = queues.map(|queue| spool.queue_name(queue));
    let route = spool.name(NameKind::Route, "all");
    let source = spool.name(NameKind::Source, "field");
    let link = spool.name(NameKind::Link, "cloud");
    let plugin = spool.name(NameKind::Plugin, "throttle");
    for number in 1..=2 {
        let deliveries = smallvec::smallvec![Delivery {
            route,
            queues: names.into_iter().collect(),
            message: message(number, 10, number == 2),
        }];
        spool.append(Transaction {
            received_ms: 1_700_000_000_000 + number,
            taken: smallvec::smallvec![(source, number as u16)],
            deliveries,
            ..Transaction::default()
        });
    }
    spool.released(source, 1);
    let value = Some(vec![1, 2, 3]);
    spool.append(Transaction {
        parked: vec![(1, parked()), (2, parked())],
        state: vec![StateWrite { plugin, key: "seen".to_owned(), value }],
        ..Transaction::default()
    });
    spool.append(Transaction { unparked: vec![2], ..Transaction::default() });
    spool.step();
    let mut news = News::default();
    spool.poll(&mut news);
    let of = |queue: QueueId| news.ready.iter().filter(move |ready| ready.queue == queue).map(|ready| ready.ordinal);
    let cloud: Vec<u32> = of(queues[0]).collect();
    spool.done(queues[0], cloud[0]).expect("it waits");
    spool.sent(queues[0], cloud[1], link, 77);
    spool.taken_over(queues[0], cloud[1]);
    assert!(spool.close(Duration::ZERO));
    // The second life has a checkpoint of its own and one more message.
    let mut spool = open(disk).expect("a spool");
    let queue = spool.queue(&key("archive", 5));
    let queues = [spool.queue_name(queue)].into_iter().collect();
    let route = spool.name(NameKind::Route, "alarms");
    spool.append(Transaction {
        received_ms: 1_700_000_000_009,
        deliveries: smallvec::smallvec![Delivery { route, queues, message: message(3, 0, true) }],
        ..Transaction::default()
    });
    assert!(spool.close(Duration::ZERO));
}

fn check(storage: Arc<dyn Storage>) {
    let report = verify(&*storage).expect("format 1 is read");
    assert_eq!((report.damaged, report.torn_bytes, report.parked), (Vec::new(), 0, 1));
    let mut exported = Vec::new();
    let count = export(&*storage, |item| {
        assert_eq!(
            item.message,
            &message(
                number_of(item.message),
                if item.received_ms % 10 == 9 { 0 } else { 10 },
                item.received_ms % 10 > 1
            )
        );
        exported.push((item.key.target.clone(), item.route.to_owned(), item.received_ms % 10, number_of(item.message)));
    });
    assert_eq!(count.expect("format 1 is read"), 4);
    let wanted =
        [("archive", "all", 1, 1), ("cloud", "all", 2, 2), ("archive", "all", 2, 2), ("archive", "alarms", 9, 3)];
    let wanted = wanted.map(|(target, route, at, number)| (target.to_owned(), route.to_owned(), at, number));
    assert_eq!(exported, wanted);

    let mut spool = Spool::open_stepwise(storage, Settings::default()).expect("format 1 is read");
    let sent = spool.recover_sent();
    let cloud = sent.iter().find(|ready| spool.key(ready.queue) == key("cloud", 0)).expect("it was sent");
    let how = cloud.sent.expect("it was sent");
    assert_eq!((spool.text(how.link), how.serial, how.taken_over), ("cloud", 77, true));
    assert_eq!(cloud.message, message(2, 10, true));
    let source = spool.name(NameKind::Source, "field");
    assert_eq!(spool.taken(source), [2]);
    assert_eq!(spool.parked().iter().collect::<Vec<_>>(), [(&1, &parked())]);
    assert_eq!(spool.next_parked(), 3);
    assert_eq!(spool.plugin_state("throttle").and_then(|keys| keys.get("seen")), Some(&vec![1, 2, 3]));
}

/// `TIDEGATE_WRITE_GOLDEN=1` writes the files anew; for a format that was never released only.
#[test]
fn files_of_format_1_are_read() {
    if std::env::var_os("TIDEGATE_WRITE_GOLDEN").is_some() {
        let disk = SimDisk::new();
        write(&disk);
        std::fs::create_dir_all(golden()).expect("a test on good ground");
        for (name, _) in disk.files() {
            std::fs::write(golden().join(&name), disk.contents(&name)).expect("a test on good ground");
        }
    }
    let disk = SimDisk::new();
    let folder = tempfile::tempdir().expect("a test on good ground");
    let mut files = 0;
    for entry in std::fs::read_dir(golden()).expect("a test on good ground") {
        let path = entry.expect("a test on good ground").path();
        let name = path.file_name().expect("a test on good ground").to_str().expect("a test on good ground");
        disk.put(name, &std::fs::read(&path).expect("a test on good ground"));
        std::fs::copy(&path, folder.path().join(name)).expect("a test on good ground");
        files += 1;
    }
    assert!(files >= 4, "only {files} files");
    check(Arc::new(Door(disk)));
    check(Arc::new(Disk::open(folder.path()).expect("a test on good ground")));
}

#[test]
fn what_is_written_today_is_what_was_written_then() {
    let disk = SimDisk::new();
    write(&disk);
    check(Arc::new(Door(disk)));
}

#[test]
fn a_file_of_a_later_format_is_refused_and_nothing_is_touched() {
    let Told::ToTheEnd(mut trial) = tell(&script(5, 80, true), u64::MAX, Fault::Io, 8192) else {
        panic!("nothing went wrong")
    };
    assert!(trial.shut());
    let files = trial.disk.files();
    assert!(files.iter().any(|(name, _)| name.starts_with("cursors-")));
    let torn = trial.disk.files().into_iter().rfind(|(name, _)| name.ends_with(".log")).expect("a log").0;
    for (name, _) in &files {
        let disk = trial.disk.crash(0);
        // A torn end and a rest of yesterday, which would be mended.
        let mut end = disk.contents(&torn);
        end.extend([7; 40]);
        disk.put(&torn, &end);
        disk.put("next", &[0; 100]);
        let mut bytes = disk.contents(name);
        bytes[8] = 2;
        let checksum = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        disk.put(name, &bytes);
        for error in [open(&disk).err(), verify(&Door(disk.clone())).err(), export(&Door(disk.clone()), |_| ()).err()] {
            match error {
                Some(OpenError::Newer { file, found, known }) => assert_eq!((&file, found, known), (name, 2, 1)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(disk.operations(), 0, "nothing is touched");
    }
}

/// The short way of one message to one queue writes what the long way would, byte for byte.
#[test]
fn one_message_for_one_queue_is_the_same_record_whichever_way_it_is_written() {
    let files = [false, true].map(|is_short| {
        let disk = SimDisk::new();
        let mut spool = open(&disk).expect("a spool");
        let (route, source) = (spool.name(NameKind::Route, "all"), spool.name(NameKind::Source, "field"));
        let queue = spool.queue(&key("cloud", 1));
        let name = spool.queue_name(queue);
        for number in 0..200u64 {
            let message = message(number, number as usize * 7, number.is_multiple_of(3));
            let taken = number.is_multiple_of(2).then_some((source, number as u16));
            let received_ms = number * 1_000_003;
            if is_short {
                spool.append_single(Single { received_ms, taken, route, message }, queue);
            } else {
                let delivery = Delivery { route, queues: smallvec::smallvec![name], message };
                spool.append(Transaction {
                    received_ms,
                    taken: taken.into_iter().collect(),
                    deliveries: smallvec::smallvec![delivery],
                    ..Transaction::default()
                });
            }
            if number.is_multiple_of(10) {
                spool.step();
            }
        }
        spool.step();
        (contents(&disk), spool.pending(queue), spool.taken(source).len())
    });
    assert_eq!(files[0], files[1]);
}

/// Of the segments.
fn contents(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let read = |(name, length): (String, u64)| {
        let mut bytes = vec![0; length as usize];
        disk.open(&name).expect("a file").read_at(0, &mut bytes).expect("its bytes");
        (name, bytes)
    };
    // A checkpoint has sets in no order.
    disk.files().into_iter().filter(|(name, _)| name.ends_with(".log")).map(read).collect()
}
