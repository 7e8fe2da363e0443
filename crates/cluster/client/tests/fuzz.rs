//! What the fuzz target runs, on a corpus and on damaged copies of it: the same each time.

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/kubeconfig.rs"]
mod kubeconfig;

const WHOLE: &str = "\
apiVersion: v1
kind: Config
current-context: a
contexts:
- name: a
  context: {cluster: b, user: c, namespace: d}
clusters:
- name: b
  cluster:
    server: https://127.0.0.1:6443/
    certificate-authority-data: LS0tLS1CRUdJTg==
users:
- name: c
  user: {token: s3cret, client-certificate-data: YQ==, client-key-data: Yg==}
";

#[test]
fn a_kubeconfig_is_read_or_refused() {
    let as_json = r#"{"current-context":"a","contexts":[{"name":"a","context":{"cluster":"b","user":"c"}}],"clusters":[{"name":"b","cluster":{"server":"http://h:1"}}],"users":[{"name":"c","user":{"client-certificate":"x"}}]}"#;
    let texts = [
        WHOLE.to_owned(),
        as_json.to_owned(),
        WHOLE.replace("namespace: d", "namespace: [d]"),
        WHOLE.replace("users:", "users: &u").replace("clusters:", "x: *u\nclusters:"),
        WHOLE.replace("https://127.0.0.1:6443/", "::not a url::"),
        "current-context: a\n".to_owned(),
        "- ".repeat(3000),
    ];
    damaged::run(texts.map(String::into_bytes).into(), 3000, kubeconfig::run);
}
