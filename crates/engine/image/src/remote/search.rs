//! Searching a registry by the first version of the API, `GET /v1/search`: Docker Hub has it, and few others.

use super::auth::encode;
use super::client::{Call, RemoteClient, RemoteOptions};
use super::error::RemoteError;
use http::Method;
use serde::{Deserialize, Serialize};

/// The most results that may be asked for.
pub const SEARCH_MAX: u32 = 100;
/// The largest answer that is read: a hundred results have far less.
const ANSWER_LIMIT: usize = 4 << 20;
/// Bytes of a description that are kept.
const DESCRIPTION_MAX: usize = 1024;
/// Docker Hub answers searches elsewhere than pulls.
const DOCKER_HUB_SEARCH: &str = "index.docker.io";

/// One repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name, without that of the registry.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// How many like it.
    pub star_count: u64,
    /// Whether the registry vouches for it.
    pub is_official: bool,
    /// Whether the registry built it.
    pub is_automated: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    results: Option<Vec<Found>>,
}

impl RemoteClient {
    /// A client to search the registry `host[:port]` with; of Docker Hub, where that answers searches.
    ///
    /// # Errors
    /// When `host` is none.
    pub fn for_search(host: &str, options: RemoteOptions) -> Result<Self, RemoteError> {
        let is_hub = matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
        Self::at(host, if is_hub { DOCKER_HUB_SEARCH } else { host }, options)
    }

    /// Repositories that a term stands for, at most `limit` of them, the registry's best first.
    ///
    /// # Errors
    /// When the registry cannot be reached, has no search, or answers something else.
    pub async fn search(&self, term: &str, limit: u32) -> Result<Vec<Found>, RemoteError> {
        let limit = limit.clamp(1, SEARCH_MAX);
        let path = format!("/v1/search?q={}&n={limit}", encode(term));
        let call = Call::new(Method::GET, path, format!("a search for {term}"));
        let response = self.send(&call).await?;
        let bytes = self.read(&call.what, response.into_body(), ANSWER_LIMIT).await?;
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|_| self.protocol(&call, "it is no list of results"))?;
        let mut found = answer.results.unwrap_or_default();
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        for one in &mut found {
            one.name = printable(&one.name);
            one.description = printable(&one.description);
        }
        Ok(found)
    }
}

/// Text for somebody's terminal: a stranger wrote it.
fn printable(text: &str) -> String {
    let line = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut kept: String = text.chars().map(line).collect();
    if kept.len() > DESCRIPTION_MAX {
        let end = (0..=DESCRIPTION_MAX).rev().find(|end| kept.is_char_boundary(*end));
        kept.truncate(end.unwrap_or_default());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_s_text_commands_no_terminal_and_is_short() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a [2Jb c");
        assert_eq!(printable(&"é".repeat(1000)).len(), DESCRIPTION_MAX);
    }
}
