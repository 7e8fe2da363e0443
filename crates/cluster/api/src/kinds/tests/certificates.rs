//! Requests for certificates.

use super::samples::{refused, sample};
use super::*;

const CSR: &str = "CertificateSigningRequest";
const CERTIFICATE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJlakNDQVIrZ0F3SUJBZ0lVWUdFdVliZ2RmNmU1L0V3ckZDNysyemlNR1djd0NnWUlLb1pJemowRUF3SXcKRVRFUE1BMEdBMVVFQXd3R2MyRnRjR3hsTUNBWERUSTJNVEV5T1RJd01ETXhOVm9ZRHpJeE1qWXhNVEExTWpBdwpNekUxV2pBUk1ROHdEUVlEVlFRRERBWnpZVzF3YkdVd1dUQVRCZ2NxaGtqT1BRSUJCZ2dxaGtqT1BRTUJCd05DCkFBU0JNZnduUWRoR3VFMlJiS2ZqT0pDaHdLL2h5NUNFTSsrTXB4bFFabkdlamdXK0t3TWlHeExPVkVSMUowVlUKK3B6WnQxV1dxczJOb3lVSndKZkorcTFObzFNd1VUQWRCZ05WSFE0RUZnUVVZUDRDbTl4ekFrTmgrS1ZnNWpsTwpLZFF6cDVBd0h3WURWUjBqQkJnd0ZvQVVZUDRDbTl4ekFrTmgrS1ZnNWpsT0tkUXpwNUF3RHdZRFZSMFRBUUgvCkJBVXdBd0VCL3pBS0JnZ3Foa2pPUFFRREFnTkpBREJHQWlFQW4wbUpHU1hHZ0t4Z0lNY0ZUSE15SE4wNURQdjIKTFUyejFGd3lSTnFscnpNQ0lRRCtWWDRCZG01c0Qwakw3MU85QnlHY1Rnd1RVVGJqbXlOUXdEKzN4cWVvbFE9PQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg==";

fn made() -> Value {
    created(CSR, sample(CSR))
}

/// What becomes of a request whose part a writer wants to be so, and the faults.
fn through(part: &str, old: &Value, status: Value) -> (Value, Vec<String>) {
    let part = PartWrite { name: part, now: "2026-01-01T00:00:00Z" };
    let mut new = old.clone();
    new["spec"]["usages"] = json!(["any"]);
    new["status"] = status;
    (row(CSR).prepare_part)(&mut new, old, &part);
    let faults = row(CSR).check_part(&new, old, &part).iter().map(hako_kube::field::line).collect();
    (new, faults)
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "r"})
}

#[test]
fn a_request_is_signed_by_its_key_and_says_what_for() {
    let at = "spec.signerName: Invalid value: ";
    refused(
        CSR,
        [
            (
                "spec.request",
                json!("AAAA"),
                "spec.request: Invalid value: \"AAAA\": PEM block type must be CERTIFICATE REQUEST",
            ),
            ("spec.usages", json!([]), "spec.usages: Required value"),
            ("spec.usages", json!(["any", "any"]), "spec.usages[1]: Duplicate value: \"any\""),
            (
                "spec.expirationSeconds",
                json!(599),
                "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
            ),
            ("spec.signerName", json!(""), "spec.signerName: Required value"),
            (
                "spec.signerName",
                json!("kubernetes.io/legacy-unknown"),
                &format!(
                    "{at}\"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version"
                ),
            ),
            (
                "spec.signerName",
                json!("example.com"),
                &format!(
                    "{at}\"example.com\": must be a fully qualified domain and path of the form 'example.com/signer-name'"
                ),
            ),
            (
                "spec.signerName",
                json!("example/x"),
                &format!("{at}\"example\": should be a domain with at least two segments separated by dots"),
            ),
        ],
    );
    let mut object = sample(CSR);
    object["spec"]["usages"] = json!(["x"]);
    object["spec"]["signerName"] = "A.com/x".into();
    let found = faults(CSR, object);
    assert!(
        found[0].starts_with(
            "spec.usages[0]: Unsupported value: \"x\": supported values: \"any\", \"cert sign\", \"client auth\""
        ),
        "{found:?}"
    );
    assert!(
        found[1].starts_with(&format!("{at}\"A.com\": validating label \"A\": a lowercase")),
        "{found:?}"
    );
}

#[test]
fn a_signature_of_another_key_is_found() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let mut object = sample(CSR);
    let pem = STANDARD.decode(object["spec"]["request"].as_str().unwrap()).unwrap();
    let pem = String::from_utf8(pem).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = STANDARD.decode(body).unwrap();
    // A letter of the subject, which the signature covers.
    let at = der.windows(6).position(|window| window == b"sample").unwrap();
    der[at] = b'S';
    let forged = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD.encode(&der)
    );
    object["spec"]["request"] = STANDARD.encode(forged).into();
    let found = faults(CSR, object);
    assert!(found.len() == 1 && found[0].contains(": x509: "), "{found:?}");
}

#[test]
fn whoever_asks_says_neither_who_they_are_nor_that_it_is_approved() {
    let mut object = sample(CSR);
    object["spec"]["username"] = "admin".into();
    object["spec"]["groups"] = json!(["system:masters"]);
    object["status"] = json!({"conditions": [condition("Approved")]});
    let made = created(CSR, object);
    assert_eq!((made["spec"].get("username"), made["spec"].get("groups")), (None, None));
    assert_eq!(made["status"], json!({}));
    let mut new = made.clone();
    new["spec"]["usages"] = json!(["any"]);
    new["status"] = json!({"conditions": [condition("Approved")]});
    (row(CSR).prepare_update)(&mut new, &made);
    assert_eq!(new, made);
}

#[test]
fn approval_decides_and_nothing_else() {
    let old = made();
    let status = json!({"conditions": [condition("Approved")], "certificate": CERTIFICATE});
    let (new, faults) = through("approval", &old, status);
    assert_eq!(faults, [""; 0]);
    assert_eq!((&new["spec"], new["status"].get("certificate")), (&old["spec"], None));
    assert_eq!(new["status"]["conditions"][0]["lastUpdateTime"], "2026-01-01T00:00:00Z");
    assert_eq!(new["status"]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:00Z");
    let (_, faults) =
        through("approval", &old, json!({"conditions": [condition("Approved"), condition("Denied")]}));
    assert_eq!(
        faults,
        [
            "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"
        ]
    );
    let (_, faults) = through("approval", &new, json!({}));
    assert_eq!(
        faults,
        ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
    );
    let unsure = json!({"conditions": [{"type": "Denied", "status": "False"}]});
    assert_eq!(
        through("approval", &old, unsure).1,
        ["status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\""]
    );
}

#[test]
fn status_issues_once_and_does_not_decide() {
    let old = made();
    let (_, faults) = through("status", &old, json!({"conditions": [condition("Approved")]}));
    assert_eq!(
        faults,
        ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
    );
    let (approved, _) = through("approval", &old, json!({"conditions": [condition("Approved")]}));
    let mut other = condition("Approved");
    other["reason"] = "mine".into();
    let issued = json!({"conditions": [other], "certificate": CERTIFICATE});
    let (issued, faults) = through("status", &approved, issued);
    assert_eq!(faults, [""; 0]);
    assert_eq!(issued["status"]["conditions"], approved["status"]["conditions"]);
    let mut status = issued["status"].clone();
    status["certificate"] = "AAAA".into();
    assert_eq!(
        through("status", &issued, status).1,
        [
            "status.certificate: Forbidden: updates may not modify existing certificate content",
            "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block",
        ]
    );
}

#[test]
fn requests_print_what_became_of_them() {
    let mut object = made();
    object["spec"]["username"] = "u".into();
    object["spec"]["expirationSeconds"] = 3600.into();
    assert_eq!(cells(CSR, &object), ["sample", "<unknown>", "example.com/sample", "u", "60m", "Pending"]);
    object["status"] = json!({"conditions": [condition("Approved"), condition("Failed")]});
    assert_eq!(cells(CSR, &object)[5], "Approved,Failed");
    object["status"] = json!({"conditions": [condition("Approved")], "certificate": CERTIFICATE});
    assert_eq!(cells(CSR, &object)[5], "Approved,Issued");
    object["status"] = json!({"conditions": [condition("Denied")]});
    assert_eq!(cells(CSR, &object)[5], "Denied");
}
