//! Reinvocation: who may change an object once more, because somebody after them changed it
//! (`apiserver/pkg/admission/reinvocation.go`).
//!
//! ```text
//! first round:   plugins ─► policies ─► webhooks      a change of an object by one of the latter two ─► second round
//! second round:  plugins ─► those of them that asked for it and were before a change
//! ```
//!
//! INVARIANT: there is no third round, so that two that never agree come to an end.

use std::collections::BTreeSet;

use serde_json::Value;

/// Whose turn it is among policies or among webhooks, known by `K`.
#[derive(Debug)]
pub(super) struct Turns<K> {
    is_second: bool,
    /// Those that may be asked again and were asked since the last change.
    asked: BTreeSet<K>,
    /// Those whose turn it is in the second round.
    due: BTreeSet<K>,
    /// The object as they left it in the first round.
    left: Option<Value>,
    has_changed: bool,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self {
            is_second: false,
            asked: BTreeSet::new(),
            due: BTreeSet::new(),
            left: None,
            has_changed: false,
        }
    }
}

impl<K: Ord> Turns<K> {
    /// The round, counted from none.
    pub(super) fn round(&self) -> usize {
        usize::from(self.is_second)
    }

    /// Whether the object was changed, so that a second round is due.
    pub(super) fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// The second round begins.
    pub(super) fn again(&mut self) {
        self.is_second = true;
    }

    /// It is their turn. If others changed the object since they left it, all that may be are asked again.
    pub(super) fn begin(&mut self, object: &Value) {
        if self.is_second && self.left.as_ref().is_some_and(|left| left != object) {
            self.due.append(&mut self.asked);
        }
    }

    /// They leave the object.
    pub(super) fn end(&mut self, object: &Value) {
        if !self.is_second {
            self.left = Some(object.clone());
        }
    }

    /// Whether it is this one's turn: in the second round nobody is asked for the first time.
    pub(super) fn is_due(&self, key: &K) -> bool {
        !self.is_second || self.due.contains(key)
    }

    /// One has been asked, and has changed the object or not.
    pub(super) fn invoked(&mut self, key: K, has_changed: bool, may_be_asked_again: bool) {
        if has_changed {
            self.has_changed = true;
            self.due.append(&mut self.asked);
        }
        if may_be_asked_again {
            self.asked.insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_was_asked_before_a_change_is_asked_again_and_nobody_else() {
        let mut turns = Turns::default();
        turns.begin(&json!(0));
        turns.invoked("a", false, true);
        turns.invoked("b", true, false);
        turns.invoked("c", false, true);
        turns.end(&json!(1));
        assert!(turns.has_changed());
        turns.again();
        turns.begin(&json!(1));
        assert!(turns.is_due(&"a") && !turns.is_due(&"b") && !turns.is_due(&"c"));
        turns.invoked("a", true, true);
        assert!(turns.is_due(&"c"), "it was asked before this change");
    }

    #[test]
    fn who_may_is_asked_again_when_plugins_changed_the_object_meanwhile() {
        let mut turns = Turns::default();
        turns.begin(&json!(0));
        turns.invoked("a", false, true);
        turns.invoked("b", false, false);
        turns.end(&json!(0));
        turns.again();
        turns.begin(&json!(1));
        assert!(turns.is_due(&"a") && !turns.is_due(&"b"));
    }
}
