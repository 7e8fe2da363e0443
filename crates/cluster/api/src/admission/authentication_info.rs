//! What an extension of the API has to know to find out for whom it is asked: the ConfigMap
//! `extension-apiserver-authentication` of `kube-system`, and who may read it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hako_client::{Client, DynamicApi, Patch, ResourceType, WriteOptions};
use hako_error::{Kind, Result};
use serde_json::{Map, Value, json};

use crate::pki::FRONT_PROXY_CLIENT;
use crate::server::Inner;

const NAME: &str = "extension-apiserver-authentication";
const READER: &str = "extension-apiserver-authentication-reader";
const NAMESPACE: &str = "kube-system";
const LINE: usize = 64;

/// Makes what is missing, and keeps the ConfigMap as this server is.
pub(super) async fn publish(server: &Inner, client: &Client) -> Result<()> {
    let of = |group, plural| client.dynamic(&ResourceType::new(group, "v1", plural), Some(NAMESPACE));
    let maps = of("", "configmaps");
    let data = data(server);
    match maps.get(NAME).await {
        Ok(there) if there["data"] == data => {}
        Ok(_) => {
            let patch = Patch::Merge(json!({"data": data}));
            maps.patch(NAME, None, &patch, &WriteOptions::default()).await?;
        }
        Err(error) if error.kind() == Kind::NotFound => {
            create(&maps, &json!({"metadata": {"name": NAME}, "data": data})).await?;
        }
        Err(error) => return Err(error),
    }
    let group = "rbac.authorization.k8s.io";
    let rule = json!({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["configmaps"],
        "resourceNames": [NAME]});
    create(&of(group, "roles"), &json!({"metadata": metadata(READER), "rules": [rule]})).await?;
    let user = |name| json!({"apiGroup": group, "kind": "User", "name": name});
    let binding = json!({
        "metadata": metadata(&format!("system::{READER}")),
        "roleRef": {"apiGroup": group, "kind": "Role", "name": READER},
        "subjects": [user("system:kube-controller-manager"), user("system:kube-scheduler")],
    });
    create(&of(group, "rolebindings"), &binding).await
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

/// The authority of clients, that of proxies, this server among them, and their headers.
fn data(server: &Inner) -> Value {
    let mut data = Map::new();
    data.insert("client-ca-file".to_owned(), server.config.pki.ca().into());
    let (mut roots, mut names) = (server.config.pki.front_proxy_ca().to_owned(), vec![FRONT_PROXY_CLIENT]);
    if let Some(proxy) = &server.config.external.proxy {
        roots.extend(proxy.roots().iter().map(|root| pem(root)));
        names.extend(proxy.names().iter().map(String::as_str));
        // Where any name will do there, so it has to here.
        if proxy.names().is_empty() {
            names.clear();
        }
    }
    for (key, value) in [
        ("client-ca-file", roots),
        ("allowed-names", json!(names).to_string()),
        ("username-headers", json!(["X-Remote-User"]).to_string()),
        ("uid-headers", json!(["X-Remote-Uid"]).to_string()),
        ("group-headers", json!(["X-Remote-Group"]).to_string()),
        ("extra-headers-prefix", json!(["X-Remote-Extra-"]).to_string()),
    ] {
        data.insert(format!("requestheader-{key}"), value.into());
    }
    Value::Object(data)
}

fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(LINE) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

async fn create(api: &DynamicApi, object: &Value) -> Result<()> {
    match api.create(object, &WriteOptions::default()).await {
        Err(error) if error.kind() != Kind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
