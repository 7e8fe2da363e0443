//! What the fuzz target runs, on a corpus and on damaged copies of it: the same each time.

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/specs.rs"]
mod specs;

const CAMERA: &str = r#"
cdiVersion: "0.7.0"
kind: acme.com/camera
annotations: {a: true, b: 3}
containerEdits:
  env: [CAMERAS=here]
devices:
- name: front
  annotations: {a: "cams"}
  containerEdits:
    env: [FRONT=yes, PATH=/camera]
    deviceNodes:
    - {path: /dev/front, hostPath: /dev/zero, permissions: rw, uid: 1, fileMode: 4294967295}
    - {path: /dev/pipe, type: p}
    - {path: /dev/disk, type: b, major: -1, minor: 9223372036854775807}
    mounts:
    - {hostPath: /usr/share, containerPath: /usr/share/camera, options: [ro, nosuid], type: bind}
    hooks:
    - {hookName: createContainer, path: /usr/bin/true, args: ["true", one], timeout: -1}
    additionalGids: [0, 44, 44]
- name: back
  containerEdits:
    env: [BACK=yes]
"#;

#[test]
fn a_vendor_s_file_is_devices_that_change_a_container_whole_or_a_fault() {
    let json = r#"{"cdiVersion":"0.3.0","kind":"a.b/c","devices":[{"name":"d","containerEdits":{"env":["A=","=b"]}},{"name":"d","containerEdits":{}}]}"#;
    let newer = CAMERA.replace("0.7.0", "1.0.0").replace("env: [BACK=yes]", "intelRdt: {closID: x}");
    let laughs: String =
        (1..20).map(|at| format!("a{at}: &a{at} [{}]\n", format!("*a{},", at - 1).repeat(9))).collect();
    let anchored = CAMERA.replace("env: [BACK=yes]", "env: &e [A=b]\n    additionalGids: *e");
    let seeds = [
        CAMERA.to_owned(),
        json.to_owned(),
        json.replace("\"=b\"", "\"B=c\"").replace(",{\"name\":\"d\",\"containerEdits\":{}}", ""),
        newer,
        anchored,
        format!("a0: &a0 [x]\n{laughs}"),
        "[".repeat(5000),
        "- ".repeat(5000),
        "{a: ".repeat(5000),
        "cdiVersion: [0.3.0]\n--- \nkind: x\n".to_owned(),
    ];
    let mut seeds: Vec<Vec<u8>> = seeds.map(String::into_bytes).into();
    seeds.push(b"kind: \"\xff\"".to_vec());
    damaged::run(seeds, 2000, specs::run);
}
