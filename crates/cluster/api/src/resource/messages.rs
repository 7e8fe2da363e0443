//! A list's body in protobuf. Its length comes first, so all of its items are written before the first one is sent.
//!
//! INVARIANT: of what is written and not sent no more is held than [`MADE_BYTES`]; the rest is counted, let go of and
//! written once more when its turn comes.

use std::collections::VecDeque;
use std::sync::Arc;

use hako_error::Error;
use hako_store::Entry;

use super::encoded::written;
use super::render::ListHead;
use crate::http::{Failure, Form, Outcome, Piece, Pieces, protobuf_pieces};
use crate::kinds::Served;
use crate::protobuf::{EncodeError, ListParts, Typed};

/// How much of a list is kept from the first writing for the second.
const MADE_BYTES: usize = 4 << 20;
/// How many items are written before others have their turn.
const AT_ONCE: usize = 64;

/// Items of a list that are still to be sent. Those that were are let go of.
struct Messages {
    row: Arc<Served>,
    parts: ListParts,
    entries: std::vec::IntoIter<Arc<Entry>>,
    /// The first of them, written.
    made: VecDeque<Vec<u8>>,
    stage: Stage,
}

/// How far a list has come.
enum Stage {
    Head,
    Items,
    Ended,
}

/// The kind of an object in this form.
pub(super) fn typed(row: &Served, form: Form) -> Outcome<Typed> {
    let typed = match form {
        Form::Metadata(version) => Some(Typed::partial(version.api_version())),
        _ => Typed::of(row.api_version(), &row.kind),
    };
    typed.ok_or_else(|| {
        let text = format!("{} of {} has no form in protobuf: ask for JSON", row.kind, row.api_version());
        Failure::from(hako_kube::Status::failure(406, "NotAcceptable", text))
    })
}

/// A list in the form asked for.
pub(super) async fn list(
    row: &Arc<Served>,
    form: Form,
    head: &ListHead,
    entries: Vec<Arc<Entry>>,
) -> Outcome {
    let mut parts =
        ListParts::new(typed(row, form)?, head.metadata().to_string().as_bytes()).map_err(Error::from)?;
    let (mut made, mut made_bytes) = (VecDeque::new(), 0);
    for (at, entry) in entries.iter().enumerate() {
        if at % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let item = item(&parts, row, entry).map_err(Error::from)?;
        parts.count(&item);
        if made.len() == at && made_bytes + item.len() <= MADE_BYTES {
            made_bytes += item.len();
            made.push_back(item);
        }
    }
    let (row, entries) = (Arc::clone(row), entries.into_iter());
    protobuf_pieces(Messages { row, parts, entries, made, stage: Stage::Head })
}

fn item(parts: &ListParts, row: &Served, entry: &Entry) -> Result<Vec<u8>, EncodeError> {
    parts.item(&written(row, &entry.value, entry.modified))
}

impl Pieces for Messages {
    fn next(&mut self, out: &mut Vec<u8>) -> Outcome<Piece> {
        match self.stage {
            Stage::Head => {
                out.extend_from_slice(&self.parts.head());
                self.stage = Stage::Items;
            }
            Stage::Items => match (self.entries.next(), self.made.pop_front()) {
                (Some(_), Some(item)) => out.extend_from_slice(&item),
                (Some(entry), None) => {
                    out.extend_from_slice(&item(&self.parts, &self.row, &entry).map_err(Error::from)?);
                }
                (None, _) => {
                    out.extend_from_slice(ListParts::end());
                    self.stage = Stage::Ended;
                }
            },
            Stage::Ended => return Ok(Piece::End),
        }
        Ok(Piece::Written)
    }
}
