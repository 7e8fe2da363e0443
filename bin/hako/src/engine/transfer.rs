//! Transfers as people see them: a line for each layer that changes in place on a terminal, plain lines in a pipe.

use crate::output;
use anyhow::bail;
use hyper::body::Incoming;
use serde_json::Value;
use std::collections::HashMap;
use std::io::IsTerminal;

/// What a transfer said besides its progress.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Lines without an id, such as `Digest: …`.
    pub lines: Vec<String>,
    /// The objects meant for programs.
    pub aux: Vec<Value>,
}

/// Shows a stream of progress objects on standard error until it ends; an error object becomes the error.
pub(super) async fn watch(body: Incoming, is_quiet: bool) -> anyhow::Result<Said> {
    let mut said = Said::default();
    let mut board = Board::new(is_quiet);
    super::images::for_each_json(body, |message| {
        if let Some(error) = message["error"].as_str() {
            bail!("{error}");
        }
        if message["aux"].is_object() {
            said.aux.push(message["aux"].clone());
        }
        let text = message["stream"].as_str().or(message["status"].as_str()).unwrap_or_default().trim_end();
        if text.is_empty() {
            return Ok(());
        }
        match message["id"].as_str() {
            Some(id) => board.row(id, text, &message["progressDetail"]),
            None => {
                board.line(text);
                said.lines.push(text.to_owned());
            }
        }
        Ok(())
    })
    .await?;
    Ok(said)
}

/// What is shown so far.
struct Board {
    is_quiet: bool,
    /// Columns and rows of the terminal, `None` in a pipe.
    size: Option<(usize, usize)>,
    /// Where the line of each id is, from the top.
    rows: HashMap<String, usize>,
    /// What it last said.
    words: HashMap<String, String>,
    count: usize,
}

impl Board {
    fn new(is_quiet: bool) -> Self {
        let stderr = std::io::stderr();
        let size = rustix::termios::tcgetwinsize(&stderr).ok().filter(|_| stderr.is_terminal());
        let size = size.map(|size| (usize::from(size.ws_col).max(40), usize::from(size.ws_row).max(2)));
        Self { is_quiet, size, rows: HashMap::new(), words: HashMap::new(), count: 0 }
    }

    fn line(&mut self, text: &str) {
        if !self.is_quiet {
            output::error(text);
            self.count += 1;
        }
    }

    /// One id's state. In a pipe only new words are told, no numbers.
    fn row(&mut self, id: &str, words: &str, detail: &Value) {
        if self.is_quiet {
            return;
        }
        let Some((columns, height)) = self.size else {
            if self.words.insert(id.to_owned(), words.to_owned()).as_deref() != Some(words) {
                output::error(&format!("{id}: {words}"));
            }
            return;
        };
        let text = row_text(id, words, detail, columns);
        match self.rows.get(id) {
            // The top of a list that is longer than the terminal cannot be reached any more.
            Some(row) if self.count - row < height => {
                let up = self.count - row;
                output::error_bytes(format!("\x1b[{up}A\r\x1b[2K{text}\x1b[{up}B\r").as_bytes());
            }
            Some(_) => {}
            None => {
                self.rows.insert(id.to_owned(), self.count);
                self.line(&text);
            }
        }
    }
}

fn row_text(id: &str, words: &str, detail: &Value, columns: usize) -> String {
    let mut text = format!("{id}: {words}");
    if let (Some(done), Some(total)) = (detail["current"].as_u64(), detail["total"].as_u64()) {
        let size = super::images::human_size;
        let numbers = format!(" {}/{}", size(done), size(total));
        let width = columns.saturating_sub(text.len() + numbers.len() + 5).min(50);
        if total > 0 && width >= 10 {
            let filled = usize::try_from(u128::from(done) * width as u128 / u128::from(total))
                .unwrap_or(width)
                .min(width);
            text.push_str(&format!(" [{}>{}]", "=".repeat(filled), " ".repeat(width - filled)));
        }
        text.push_str(&numbers);
    }
    text.chars().take(columns.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_fits_its_terminal() {
        let detail = json!({ "current": 500_000, "total": 1_000_000 });
        let text = row_text("0123456789ab", "Downloading", &detail, 80);
        assert!(text.contains("[==") && text.contains(">") && text.ends_with(" 500kB/1.00MB"), "{text}");
        for columns in [40, 41, 60, 80, 300] {
            assert!(row_text("0123456789ab", "Downloading", &detail, columns).len() < columns);
        }
        assert_eq!(row_text("a", "Pull complete", &json!({}), 80), "a: Pull complete");
    }
}
