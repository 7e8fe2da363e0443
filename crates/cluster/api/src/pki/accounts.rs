//! The key that signs tokens of service accounts.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair as SigningKey, PKCS_ECDSA_P256_SHA256};
use sha2::{Digest as _, Sha256};

use super::{PkiError, files};
use crate::auth::token::Seen;

/// Bytes of a coordinate on P-256.
const COORDINATE: usize = 32;

/// The key, and how others name and check it. `Debug` shows no key.
pub struct AccountKey {
    private: String,
    id: String,
    x: String,
    y: String,
    seen: Seen,
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl AccountKey {
    pub(super) fn open(dir: &Path) -> Result<Self, PkiError> {
        let path = dir.join("sa.key");
        let damaged = |problem: String| PkiError::Damaged { path: path.display().to_string(), problem };
        let private = match files::read(&path)? {
            Some(private) => private,
            None => {
                let fault = |source| PkiError::Sign { name: "service accounts".to_owned(), source };
                let key = SigningKey::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fault)?;
                let private = key.serialize_pem();
                files::write(&path, &private, 0o600)?;
                private
            }
        };
        let key = SigningKey::from_pem(&private).map_err(|error| damaged(error.to_string()))?;
        // An uncompressed point: 4, x, y (SEC 1, section 2.3.3).
        let (x, y) = match key.public_key_raw() {
            [4, point @ ..] if point.len() == 2 * COORDINATE => point.split_at(COORDINATE),
            _ => return Err(damaged("it is no key on P-256".to_owned())),
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638: the members in this order, without spaces.
        let thumbprint = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(thumbprint.as_bytes()));
        Ok(Self { private, id, x, y, seen: Seen::default() })
    }

    /// The private key, PEM (PKCS #8).
    pub(crate) fn private_pem(&self) -> &str {
        &self.private
    }

    /// Tokens that it is known to have signed.
    pub(crate) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Its thumbprint (RFC 7638).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key's coordinates, base64url.
    #[must_use]
    pub fn coordinates(&self) -> (&str, &str) {
        (&self.x, &self.y)
    }
}
