use super::*;
use crate::read::parse;
use hako_oci::runtime::Spec;
use std::fs;
use std::path::{Path, PathBuf};

const CAMERA: &str = r#"
cdiVersion: "0.7.0"
kind: acme.com/camera
annotations:
  org.example.allow: true
containerEdits:
  env: [CAMERAS=here]
devices:
- name: front
  annotations: {org.example.class: "cams"}
  containerEdits:
    env: [FRONT=yes, PATH=/camera]
    deviceNodes:
    - path: /dev/front
      hostPath: /dev/zero
      permissions: rw
    mounts:
    - hostPath: /usr/share
      containerPath: /usr/share/camera
      options: [ro, nosuid]
    hooks:
    - hookName: createContainer
      path: /usr/bin/true
      args: [true, one]
    additionalGids: [0, 44, 44]
- name: back
  containerEdits:
    env: [BACK=yes]
"#;

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn read(&self) -> Devices {
        Directories::new(vec![self.0.path().join("etc"), self.0.path().join("run")]).read()
    }
}

fn one(name: &str, variable: &str) -> String {
    format!(
        r#"{{"cdiVersion":"0.6.0","kind":"acme.com/x","devices":[{{"name":"{name}","containerEdits":{{"env":["{variable}"]}}}}]}}"#
    )
}

fn env(spec: &Spec) -> Vec<String> {
    spec.process().as_ref().unwrap().env().clone().unwrap()
}

fn fault(text: &str) -> String {
    parse(Path::new("/etc/cdi/x.yaml"), text).unwrap_err().to_string()
}

#[test]
fn a_device_changes_what_its_file_says() {
    let files = Files::new(&[("etc/camera.yaml", CAMERA)]);
    let mut spec = Spec::default();
    files.read().inject(["acme.com/camera=front", "acme.com/camera=back"], &mut spec).unwrap();
    let env = env(&spec);
    assert_eq!(env.iter().filter(|entry| entry.starts_with("CAMERAS=")).count(), 1, "{env:?}");
    assert_eq!(env.iter().filter(|entry| entry.starts_with("PATH=")).collect::<Vec<_>>(), ["PATH=/camera"]);
    assert!(env.contains(&"BACK=yes".to_owned()));
    let linux = spec.linux().clone().unwrap();
    let device = linux.devices().as_ref().unwrap().last().unwrap().clone();
    assert_eq!((device.path().as_path(), device.major(), device.minor()), (Path::new("/dev/front"), 1, 5));
    let rules = linux.resources().as_ref().unwrap().devices().clone().unwrap();
    assert_eq!(rules.last().unwrap().access().as_deref(), Some("rw"));
    let mount = spec.mounts().as_ref().unwrap().last().unwrap().clone();
    assert_eq!(mount.destination(), Path::new("/usr/share/camera"));
    assert_eq!(mount.options().clone().unwrap(), ["ro", "nosuid", "bind"]);
    let hooks = spec.hooks().clone().unwrap();
    assert_eq!(hooks.create_container().as_ref().unwrap()[0].args().clone().unwrap(), ["true", "one"]);
    let user = spec.process().as_ref().unwrap().user().clone();
    assert_eq!(user.additional_gids().clone().unwrap(), [44]);
}

#[test]
fn annotations_are_the_device_s_or_the_file_s() {
    let files = Files::new(&[("etc/camera.yaml", CAMERA)]);
    let devices = files.read();
    let front = devices.get("acme.com/camera=front").unwrap();
    assert_eq!(front.annotation("org.example.allow").as_deref(), Some("true"));
    assert_eq!(front.annotation("org.example.class").as_deref(), Some("cams"));
    assert_eq!(devices.get("acme.com/camera=back").unwrap().annotation("org.example.class"), None);
}

#[test]
fn the_later_directory_decides_and_one_directory_has_a_device_once() {
    let files = Files::new(&[("etc/a.json", &one("a", "FROM=etc")), ("run/a.json", &one("a", "FROM=run"))]);
    let mut spec = Spec::default();
    files.read().inject(["acme.com/x=a"], &mut spec).unwrap();
    assert!(env(&spec).contains(&"FROM=run".to_owned()));
    let twice = [
        ("run/a.json", &*one("a", "A=1")),
        ("run/b.json", &*one("a", "A=2")),
        ("etc/a.json", &*one("a", "A=3")),
    ];
    let files = Files::new(&twice);
    let error = files.read().inject(["acme.com/x=a"], &mut Spec::default()).unwrap_err();
    assert!(error.to_string().contains("a.json") && error.to_string().contains("b.json"), "{error}");
    assert_eq!(files.read().names().count(), 0);
}

#[test]
fn a_file_at_fault_hides_no_other_and_is_named_when_something_is_missing() {
    let files = Files::new(&[
        ("etc/good.json", &one("a", "A=1")),
        ("etc/bad.yml", "cdiVersion: 9.9.9\nkind: a.com/b\n"),
        ("etc/notes.txt", "no file of ours"),
    ]);
    let devices = files.read();
    assert_eq!(devices.names().collect::<Vec<_>>(), ["acme.com/x=a"]);
    let mut spec = Spec::default();
    let error = devices.inject(["acme.com/x=a", "acme.com/x=b"], &mut spec).unwrap_err().to_string();
    assert!(error.contains("unresolvable CDI devices acme.com/x=b"), "{error}");
    assert!(error.contains("acme.com/x=a") && error.contains("9.9.9"), "{error}");
    assert_eq!(spec, Spec::default(), "nothing of the first device is left");
}

#[test]
fn directories_that_are_missing_have_no_devices() {
    let none = Directories::new(vec![PathBuf::from("/nonexistent/cdi")]).read();
    let error = none.inject(["a.com/b=c"], &mut Spec::default()).unwrap_err().to_string();
    assert!(error.contains("no device is described in /nonexistent/cdi"), "{error}");
    assert!(none.faults().is_empty());
}

#[test]
fn faults_of_a_file_are_told_by_name() {
    let file = |version: &str, kind: &str, devices: &str| {
        format!("cdiVersion: {version}\nkind: {kind}\ndevices: {devices}\n")
    };
    let device = "[{name: a, containerEdits: {env: [A=1]}}]";
    for (text, words) in [
        (file("0.6.0", "acme", device), "kind \"acme\""),
        (file("0.6.0", "1acme.com/x", device), "kind"),
        (file("2.0.0", "acme.com/x", device), "cdiVersion \"2.0.0\""),
        (file("0.6.0", "acme.com/x", "[]"), "no devices"),
        (file("0.6.0", "acme.com/x", "[{name: a, containerEdits: {}}]"), "no containerEdits"),
        (file("0.6.0", "acme.com/x", "[{name: a b, containerEdits: {env: [A=1]}}]"), "device name"),
        (file("0.6.0", "acme.com/x", "[{name: a, containerEdits: {env: [A]}}]"), "env \"A\""),
        (file("0.6.0", "acme.com/x", "[{name: a, containerEdits: {additionalGids: [4]}}]"), "0.7.0"),
        (
            file("0.5.0", "acme.com/x", "[{name: a, annotations: {b: c}, containerEdits: {env: [A=1]}}]"),
            "0.6.0",
        ),
        (file("0.6.0", "acme.com/x", "[{name: a, containerEdits: {nodes: []}}]"), "nodes"),
        (
            file("0.6.0", "acme.com/x", "[{name: a, containerEdits: {deviceNodes: [{path: dev}]}}]"),
            "absolute",
        ),
        (
            file("0.6.0", "acme.com/x", "[{name: a, containerEdits: {deviceNodes: [{path: /d, type: q}]}}]"),
            "b, c, u or p",
        ),
        (
            file(
                "0.6.0",
                "acme.com/x",
                "[{name: a, containerEdits: {hooks: [{hookName: never, path: /x}]}}]",
            ),
            "never",
        ),
        (
            file(
                "0.6.0",
                "acme.com/x",
                "[{name: a, containerEdits: {env: [A=1]}}, {name: a, containerEdits: {env: [A=1]}}]",
            ),
            "twice",
        ),
    ] {
        let said = fault(&text);
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn what_is_not_built_and_what_this_machine_has_not_is_refused() {
    let devices = r#"[
        {name: net, containerEdits: {netDevices: [{hostInterfaceName: a, name: b}]}},
        {name: gone, containerEdits: {deviceNodes: [{path: /dev/nonexistent-node}]}}]"#;
    let text = format!("cdiVersion: 1.1.0\nkind: acme.com/x\ndevices: {devices}\n");
    let files = Files::new(&[("etc/x.yaml", &text)]);
    let refused = |name| files.read().inject([name], &mut Spec::default()).unwrap_err().to_string();
    assert!(refused("acme.com/x=net").contains("netDevices is unimplemented"));
    assert!(refused("acme.com/x=gone").contains("/dev/nonexistent-node"));
}

#[test]
fn full_names_are_told_from_paths() {
    for name in ["nvidia.com/gpu=all", "vendor.com/class=a:b", "v/c=0"] {
        assert!(is_qualified(name), "{name}");
    }
    for name in ["/dev/null", "vendor.com/class", "vendor.com=x", "v/c=", "v/c=-x", "/dev/a=b"] {
        assert!(!is_qualified(name), "{name}");
    }
}
