//! Where a value is in an object: a chain through the callers, made into text only where somebody is told.

use std::fmt::Write as _;

/// The way to a value from the root.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Root,
    /// A member of what is at the place before.
    Member(&'a Place<'a>, &'a str),
    /// An item of what is at the place before.
    Item(&'a Place<'a>, usize),
}

impl Place<'_> {
    /// As messages show it: `spec.containers[0].name`.
    pub(super) fn path(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, true);
        text
    }

    /// The same without the places in lists: `spec.containers.name`.
    pub(super) fn names(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, false);
        text
    }

    fn write(&self, text: &mut String, with_items: bool) {
        match self {
            Self::Root => {}
            Self::Member(above, name) => {
                above.write(text, with_items);
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Self::Item(above, at) => {
                above.write(text, with_items);
                if with_items {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "[{at}]");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_messages_show_it() {
        let (spec, root) = ("spec", Place::Root);
        let spec = Place::Member(&root, spec);
        let list = Place::Member(&spec, "containers");
        let item = Place::Item(&list, 3);
        let name = Place::Member(&item, "name");
        assert_eq!(
            (name.path(), name.names()),
            ("spec.containers[3].name".into(), "spec.containers.name".into())
        );
        assert_eq!(Place::Item(&root, 0).path(), "[0]");
        assert_eq!(root.path(), "");
    }
}
