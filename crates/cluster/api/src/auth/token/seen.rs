//! Tokens whose signature was found good: checking it costs more than all else that a short request needs.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::claims::Claims;

/// Tokens remembered; one more, and all are judged anew.
const REMEMBERED: usize = 4096;

/// What tokens said that one key signed. By their digest: what is remembered is nothing to get in with.
#[derive(Default)]
pub(crate) struct Seen(Mutex<HashMap<[u8; 32], Arc<Claims>>>);

impl Seen {
    /// What a token says: what it said before, or what `judge` finds, which does not remember what is no good.
    ///
    /// What changes with time or with who asks has to be judged again by the caller.
    pub(super) fn claims(
        &self,
        token: &str,
        judge: impl FnOnce() -> Result<Claims, String>,
    ) -> Result<Arc<Claims>, String> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.0.lock().get(&digest) {
            return Ok(Arc::clone(claims));
        }
        let claims = Arc::new(judge()?);
        let mut seen = self.0.lock();
        if seen.len() == REMEMBERED {
            seen.clear();
        }
        seen.insert(digest, Arc::clone(&claims));
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(jti: &str) -> Claims {
        let claims = serde_json::json!({
            "aud": [], "exp": 0, "iat": 0, "iss": "", "jti": jti, "nbf": 0, "sub": "",
            "kubernetes.io": {"namespace": "", "serviceaccount": {"name": "", "uid": ""}},
        });
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn a_good_token_is_judged_once_and_a_bad_one_each_time() {
        let seen = Seen::default();
        assert!(seen.claims("a", || Err("bad".to_owned())).is_err());
        assert_eq!(seen.claims("a", || Ok(claims("1"))).unwrap().jti, "1");
        assert_eq!(seen.claims("a", || Err("not asked".to_owned())).unwrap().jti, "1");
        assert!(seen.claims("b", || Err("bad".to_owned())).is_err());
    }

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let seen = Seen::default();
        for at in 0..=REMEMBERED {
            seen.claims(&at.to_string(), || Ok(claims(""))).unwrap();
        }
        assert_eq!(seen.0.lock().len(), 1);
    }
}
