//! Bootstrap tokens: `ID.SECRET`, of a secret in `kube-system`, with which machines join.

use hako_store::Store;
use jiff::Timestamp;
use serde_json::Value;

use super::Identity;
use crate::kinds;
use crate::resource::registry_key;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;

/// The parts of a token of this form.
pub(super) fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let fits = id.len() == ID_LENGTH && secret.len() == SECRET_LENGTH;
    (fits && is_plain(id) && is_plain(secret)).then_some((id, secret))
}

/// Whose token it is; the reason if it is not good.
pub(super) async fn verify(store: &dyn Store, id: &str, secret: &str) -> Result<Identity, String> {
    let refused = || "the bootstrap token is not good".to_owned();
    let row = kinds::by_resource("", "v1", "secrets").ok_or_else(refused)?;
    let key = registry_key(row, NAMESPACE, &format!("bootstrap-token-{id}"));
    let read = store.get(&key).await.map_err(|error| error.to_string())?;
    let object: Value =
        read.entry.and_then(|it| serde_json::from_slice(&it.value).ok()).ok_or_else(refused)?;
    let is_going = object.pointer("/metadata/deletionTimestamp").is_some();
    let is_same = same(&data(&object, "token-secret"), secret) && data(&object, "token-id") == id;
    if object["type"] != TYPE || is_going || !is_same {
        return Err(refused());
    }
    if data(&object, "usage-bootstrap-authentication") != "true" {
        return Err("the bootstrap token is not for authentication".to_owned());
    }
    let expiration = data(&object, "expiration");
    let is_over = |text: &str| text.parse::<Timestamp>().map_or(true, |at| at <= Timestamp::now());
    if !expiration.is_empty() && is_over(&expiration) {
        return Err("the bootstrap token has expired".to_owned());
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in data(&object, "auth-extra-groups").split(',').filter(|group| !group.is_empty()) {
        if !is_group(group) {
            return Err(format!("{group:?} is no group of a bootstrap token"));
        }
        groups.push(group.to_owned());
    }
    groups.push("system:authenticated".to_owned());
    Ok(Identity { groups, ..Identity::new(&format!("system:bootstrap:{id}"), &[]) })
}

fn data(secret: &Value, key: &str) -> String {
    use base64::Engine as _;
    let encoded = secret["data"][key].as_str().unwrap_or("");
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// Takes as long whatever differs.
fn same(one: &str, other: &str) -> bool {
    let differ = one.bytes().zip(other.bytes()).fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && differ == 0
}

fn is_group(group: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b':' | b'-');
    let rest = group.strip_prefix("system:bootstrappers:").unwrap_or("");
    let ends_well =
        rest.bytes().last().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    rest.len() <= 256 && rest.bytes().all(is_fit) && ends_well
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_of_the_right_form_are_taken_for_one() {
        assert_eq!(parts("abc123.0123456789abcdef"), Some(("abc123", "0123456789abcdef")));
        for other in ["abc123.0123456789abcde", "ABC123.0123456789abcdef", "a.b.c", "abc1230123456789abcdef"]
        {
            assert_eq!(parts(other), None, "{other}");
        }
        assert!(is_group("system:bootstrappers:kubeadm:default-node-token"));
        assert!(!is_group("system:masters") && !is_group("system:bootstrappers:x-"));
    }
}
