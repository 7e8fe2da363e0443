//! Writing of kubeconfig files.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hako_error::Result;
use serde_json::json;

use super::{KeyPair, files};

/// Writes a kubeconfig (mode 0600) whose only context is `name`: this server, this authority, this user.
pub fn write_kubeconfig(path: &Path, name: &str, server: &str, ca: &str, user: &KeyPair) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": name,
            "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca)},
        }],
        "users": [{
            "name": format!("{name}-admin"),
            "user": {
                "client-certificate-data": STANDARD.encode(&user.certificate),
                "client-key-data": STANDARD.encode(&user.key),
            },
        }],
        "contexts": [{"name": name, "context": {"cluster": name, "user": format!("{name}-admin")}}],
        "current-context": name,
        "preferences": {},
    });
    // JSON is YAML, and needs no quoting rules of ours.
    let text = format!("{config:#}\n");
    Ok(files::write(path, &text, 0o600)?)
}
