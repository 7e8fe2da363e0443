//! A value prints as the same value.

use hako_kube::{cron, time};
use hako_names::{Quantity, percent};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(quantity) = text.parse::<Quantity>() {
        let printed = quantity.to_string();
        let again: Quantity = printed.parse().expect("what was printed is a quantity");
        assert_eq!((again, again.to_string()), (quantity, printed), "{text}");
        assert!(quantity.units() <= quantity.millis() || quantity.millis() < 0, "{text}");
    }
    if let Some(at) = time::parse(text) {
        let again = time::parse(&time::micros(at)).expect("what was printed is a time");
        assert_eq!(again.as_microsecond(), at.as_microsecond(), "{text}");
        assert!(time::parse(&time::seconds(at)).is_some(), "{text}");
    }
    let _ = cron::Schedule::parse(text);
    let decoded = percent::decode(text);
    assert_eq!(percent::decode(&percent::encode(&decoded)), decoded, "{text}");
    for (name, value) in percent::query_pairs(text) {
        let pair = format!("{}={}", percent::encode(&name), percent::encode(&value));
        assert_eq!(percent::query_pairs(&pair).next(), Some((name, value)), "{text}");
    }
}
