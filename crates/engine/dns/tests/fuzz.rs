//! What the fuzz target runs, on a corpus and on damaged copies of it: the same each time.

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/messages.rs"]
mod messages;

/// A question as it is sent.
fn question(name: &str, kind: u8, more: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(!more.is_empty())];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend([0, 0, kind, 0, 1]);
    message.extend_from_slice(more);
    message
}

#[test]
fn a_message_is_answered_by_one_that_is_no_longer_than_it_may_be() {
    // Larger datagrams, and an option of them.
    let larger = [0, 0, 41, 255, 255, 0, 0, 0, 0, 0, 4, 0, 10, 0, 0];
    let mut seeds = vec![
        question("one.here", 1, &[]),
        question("one.here", 28, &larger),
        question("many.here", 1, &[]),
        question("many.here", 1, &larger),
        question("none.here", 255, &[]),
        question("alias.here", 1, &[]),
        question("elsewhere.example", 1, &larger),
        question(&["x".repeat(63).as_str(); 3].join("."), 1, &[]),
        // A name that points at itself.
        vec![0, 0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1],
        vec![0, 0, 7, 1, 0, 255, 255, 255, 255, 255, 255, 255, 255],
    ];
    // What upstreams say: how many records, then the records.
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 1, 2, 3];
    for what in [1, 3] {
        seeds.push([&[what, 0, 1, 0, 0, 0, 0][..], &record].concat());
        seeds.push([&[what, 0, 200, 0, 0, 0, 0], record.repeat(200).as_slice()].concat());
        seeds.push([&[what, 255, 255, 255, 255, 255, 255][..], &record].concat());
        seeds.push(vec![what]);
    }
    damaged::run(seeds, 3000, messages::run);
}
