//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page in the making. All samples of a metric follow its head.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    /// The head of a metric; `kind` is `counter`, `gauge` or `histogram`.
    pub(crate) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A value with its labels.
    pub(crate) fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.sample(name, labels, None, value);
    }

    /// A metric of one value.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.value(name, &[], value);
    }

    pub(super) fn sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        last: Option<(&str, &str)>,
        value: impl Display,
    ) {
        self.0.push_str(name);
        let mut sign = '{';
        for (label, content) in labels.iter().copied().chain(last) {
            let _ = write!(self.0, "{sign}{label}=\"");
            self.escape(content);
            self.0.push('"');
            sign = ',';
        }
        if sign == ',' {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn escape(&mut self, content: &str) {
        for sign in content.chars() {
            match sign {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_left_out_where_there_are_none() {
        let mut text = Text::default();
        text.single("a", "gauge", "What it is.", 1);
        text.value("b", &[("x", "q\"\\\n"), ("y", "")], 0.5);
        assert_eq!(
            text.finish(),
            "# HELP a What it is.\n# TYPE a gauge\na 1\nb{x=\"q\\\"\\\\\\n\",y=\"\"} 0.5\n"
        );
    }
}
