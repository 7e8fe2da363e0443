//! Security contexts, profiles, and what an operating system excludes.

use super::*;

fn of_pod(context: Value) -> Value {
    pod(json!({ "securityContext": context }))
}

fn of_container(context: Value) -> Value {
    container(json!({ "securityContext": context }))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faulty_contexts_are_refused_as_upstream_words_them() {
    refused_exactly([
        (
            of_pod(json!({"fsGroup": -1})),
            &["spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive"]
                [..],
        ),
        (
            of_pod(json!({"supplementalGroups": [1, 2_147_483_648_i64]})),
            &[
                "spec.securityContext.supplementalGroups[1]: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive",
            ],
        ),
        (
            of_pod(json!({"fsGroupChangePolicy": "x"})),
            &[
                "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"x\": supported values: \"Always\", \"OnRootMismatch\"",
            ],
        ),
        (
            of_pod(json!({"seccompProfile": {"type": "Localhost"}})),
            &[
                "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
            ],
        ),
        (
            of_pod(json!({"seccompProfile": {"type": "x"}})),
            &[
                "spec.securityContext.seccompProfile.type: Unsupported value: \"x\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
            ],
        ),
        (
            of_pod(json!({"appArmorProfile": {"type": "Unconfined", "localhostProfile": "a"}})),
            &[
                "spec.securityContext.appArmorProfile.localhostProfile: Invalid value: \"a\": can only be set when AppArmor type is Localhost",
            ],
        ),
        (
            of_pod(json!({"sysctls": [{"name": "a..b", "value": ""}, {"name": "", "value": ""}]})),
            &[
                "spec.securityContext.sysctls[0].name: Invalid value: \"a..b\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
                "spec.securityContext.sysctls[1].name: Required value",
            ],
        ),
        (
            pod(
                json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net.a", "value": ""}]}}),
            ),
            &[
                "spec.securityContext.sysctls[0].name: Invalid value: \"net.a\": may not be specified when 'hostNetwork' is true",
            ],
        ),
        (
            pod(json!({"hostPID": true, "shareProcessNamespace": true})),
            &[
                "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
            ],
        ),
        (
            of_container(json!({"runAsUser": -1})),
            &[
                "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            ],
        ),
        (
            of_container(json!({"privileged": true, "allowPrivilegeEscalation": false})),
            &[
                "spec.containers[0].securityContext: Invalid value: {\"privileged\":true,\"allowPrivilegeEscalation\":false}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ],
        ),
        (
            of_container(json!({"procMount": "Unmasked"})),
            &[
                "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
            ],
        ),
        (
            pod(json!({"hostUsers": false, "hostPID": true, "hostNetwork": true})),
            &[
                "spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false",
                "spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false",
            ],
        ),
    ]);
}

#[test]
fn an_operating_system_excludes_what_it_does_not_have() {
    let windows = |more: Value| {
        let mut pod = pod(json!({"os": {"name": "windows"}}));
        merge(&mut pod["spec"], more);
        pod
    };
    let options = json!({"windowsOptions": {"runAsUserName": "a"}});
    refused_exactly([
        (pod(json!({"os": {"name": ""}})), &["spec.os.name: Required value: cannot be empty"][..]),
        (
            pod(json!({"os": {"name": "x"}})),
            &["spec.os: Unsupported value: \"x\": supported values: \"linux\", \"windows\""],
        ),
        (
            pod(json!({"os": {"name": "linux"}, "securityContext": options})),
            &[
                "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
            ],
        ),
        (
            windows(json!({"hostPID": true, "securityContext": {"fsGroup": 1}})),
            &[
                "spec.hostPID: Forbidden: cannot be set for a windows pod",
                "spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod",
            ],
        ),
        (
            windows(
                json!({"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": true}}]}),
            ),
            &["spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod"],
        ),
        (
            of_container(json!({"windowsOptions": {"runAsUserName": ""}})),
            &[
                "spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value: \"\": runAsUserName cannot be an empty string",
            ],
        ),
        (
            of_pod(json!({"windowsOptions": {"hostProcess": true}})),
            &[
                "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
            ],
        ),
    ]);
    sound(windows(json!({"securityContext": options})));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn annotations_about_a_pod_are_sound_and_agree_with_its_fields() {
    const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/c";
    let noted = |key: &str, value: &str, mut pod: Value| {
        pod["metadata"]["annotations"] = json!({ key: value });
        pod
    };
    refused_exactly([
        (
            noted("kubernetes.io/config.mirror", "x", pod(json!({}))),
            &[
                "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set",
            ][..],
        ),
        (
            noted("controller.kubernetes.io/pod-deletion-cost", "+1", pod(json!({}))),
            &[
                "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer",
            ],
        ),
        (
            noted(SECCOMP, "x", pod(json!({}))),
            &[
                "metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"x\": must be a valid seccomp profile",
            ],
        ),
        (
            noted(SECCOMP, "unconfined", of_pod(json!({"seccompProfile": {"type": "RuntimeDefault"}}))),
            &[
                "spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match",
            ],
        ),
        (
            noted(APP_ARMOR, "x", pod(json!({}))),
            &[
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Invalid value: \"x\": invalid AppArmor profile name: \"x\"",
            ],
        ),
        (
            noted(
                APP_ARMOR,
                "localhost/b",
                of_container(json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "a"}})),
            ),
            &[
                "spec.containers[0].securityContext.appArmorProfile.localhostProfile: Forbidden: apparmor profile in annotation and field must match",
            ],
        ),
    ]);
    sound(noted(SECCOMP, "docker/default", of_pod(json!({"seccompProfile": {"type": "RuntimeDefault"}}))));
    let made = created("Pod", noted(APP_ARMOR, "unconfined", pod(json!({}))));
    let mut new = made.clone();
    new["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    new["spec"]["nodeName"] = "n".into();
    let found = update_faults("Pod", &made, &new);
    assert!(
        found.contains(&format!(
            "metadata.annotations[{APP_ARMOR}]: Forbidden: may not remove or update AppArmor annotations"
        )),
        "{found:?}"
    );
    assert!(found.contains(&"metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation".to_owned()), "{found:?}");
}
