//! A snapshot is read to its end or to its first fault: the same however it comes in pieces, all of what it announced, and
//! no more than was there.

use std::io::Read;

use hako_store::snapshot::{Part, Parts, REVISION_GAP};

pub fn run(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    let whole = read(data);
    assert_eq!(read(first.chain(second)), whole);
    let (parts, fault) = whole;
    let bytes = |part: &Part| match part {
        Part::Entry(entry) => entry.key.len() + entry.value.len(),
        _ => 0,
    };
    assert!(parts.iter().map(bytes).sum::<usize>() <= data.len());
    let modified = parts.iter().filter_map(|part| match part {
        Part::Entry(entry) => Some(entry.modified),
        _ => None,
    });
    assert!(modified.clone().is_sorted_by(|one, next| one < next));
    match (fault, parts.first()) {
        (None, Some(Part::Start { revision, leases, entries })) => {
            assert!(modified.clone().all(|modified| modified <= *revision));
            assert!(revision.0.checked_add(REVISION_GAP).is_some());
            let count = modified.count() as u64;
            assert_eq!((*entries, *leases), (count, parts.len() as u64 - 1 - count));
        }
        (None, first) => panic!("a whole snapshot begins with {first:?}"),
        (Some(fault), _) => assert!(!fault.is_empty()),
    }
}

fn read(source: impl Read) -> (Vec<Part>, Option<String>) {
    let mut parts = Vec::new();
    for part in Parts::new(source) {
        match part {
            Ok(part) => parts.push(part),
            Err(fault) => return (parts, Some(fault.to_string())),
        }
    }
    (parts, None)
}
