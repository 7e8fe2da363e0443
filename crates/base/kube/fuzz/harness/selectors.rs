//! A selector prints as a selector that selects the same.

use std::collections::BTreeMap;

use hako_kube::{FieldSelector, Selector};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = Selector::parse(text) {
        let again = Selector::parse(&selector.to_string()).expect("what was printed is a selector");
        assert_eq!(again.to_string(), selector.to_string(), "{text}");
        let pairs = [("a", "b"), ("a", ""), ("a", "7"), ("x.io/y", "c")];
        for (key, value) in pairs {
            let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            assert_eq!(again.matches(&labels), selector.matches(&labels), "{text}");
        }
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        assert_eq!(FieldSelector::parse(&selector.to_string()), Ok(selector), "{text}");
    }
}
