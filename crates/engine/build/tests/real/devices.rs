//! RUN --device.

use crate::bed::Bed;
use hako_build::{BuildRequest, Builder, BuilderConfig, Entitlement, StepOutcome};
use hako_error::Kind;
use std::fs;

const CAMERA: &str = r#"
cdiVersion: "0.6.0"
kind: acme.com/camera
devices:
- name: back
  annotations: {org.mobyproject.buildkit.device.class: cams}
  containerEdits: {env: [BACK=1]}
- name: front
  annotations: {org.mobyproject.buildkit.device.class: cams}
  containerEdits:
    env: [FRONT=1]
    deviceNodes: [{path: /dev/front, hostPath: /dev/zero}]
    mounts: [{hostPath: DIR, containerPath: /opt/acme/driver, options: [ro]}]
    hooks:
    - hookName: createContainer
      path: /bin/sh
      args: [sh, -c, 'bundle=$(sed "s/.*\"bundle\":\"//; s/\".*//"); root=$(sed "s/.*\"root\":{\"path\":\"//; s/\".*//" $bundle/config.json); echo hooked >$root/hooked']
"#;

impl Bed {
    fn describe(&self, name: &str, text: &str) {
        let cdi = self.dir.path().join("cdi");
        fs::create_dir_all(&cdi).unwrap();
        fs::write(cdi.join(name), text.replace("DIR", self.context().to_str().unwrap())).unwrap();
    }

    fn allowed(&self) -> BuildRequest {
        BuildRequest { allow: [Entitlement::Device(None)].into(), ..self.request() }
    }
}

#[test]
fn a_step_has_the_devices_that_its_flags_name() {
    let front = "FROM busybox\nRUN --device=acme.com/camera=front head -c 2 /dev/front >/zeros && \
                 cat /opt/acme/driver/Dockerfile >/file && echo $FRONT$BACK >/env\n";
    let bed = Bed::new(front);
    bed.describe("camera.yaml", CAMERA);
    let image = bed.run(bed.allowed()).image();
    assert_eq!((bed.read(&image, "env"), bed.read(&image, "zeros")), ("1\n".to_owned(), "\0\0".to_owned()));
    assert_eq!(
        (bed.read(&image, "file"), bed.read(&image, "hooked")),
        (front.to_owned(), "hooked\n".to_owned())
    );
    bed.look(&image, |root| assert!(!root.join("opt").exists(), "mount points are no part of the layer"));
    for (flag, has) in [
        ("acme.com/camera", "1-\n"),
        ("name=acme.com/camera=*", "1-1\n"),
        ("cams,required", "1-1\n"),
        ("acme.com/lens=x", "-\n"),
    ] {
        bed.write("Dockerfile", format!("FROM busybox\nRUN --device={flag} echo $BACK-$FRONT >/env\n"));
        assert_eq!(bed.read(&bed.run(bed.allowed()).image(), "env"), has, "{flag}");
    }
    bed.write("Dockerfile", "FROM busybox\nRUN --device=cams echo $BACK-$FRONT >/env\n");
    bed.run(bed.allowed()).image();
    assert_eq!(bed.run(bed.allowed()).counts(StepOutcome::Cached), 1);
}

#[test]
fn devices_are_given_only_where_they_are_allowed_or_say_so_themselves() {
    let bed = Bed::new("FROM busybox\nRUN --device=acme.com/camera=back echo $BACK >/env\n");
    bed.describe("camera.yaml", CAMERA);
    let error = bed.fails(bed.request());
    assert_eq!(error.kind(), Kind::Forbidden);
    assert!(error.chain().contains("--allow device=acme.com/camera=back"), "{error:?}");
    let allow = |name: &str| BuildRequest { allow: [name.parse().unwrap()].into(), ..bed.request() };
    bed.fails(allow("device=acme.com/camera=front"));
    assert_eq!(bed.read(&bed.run(allow("device=acme.com/camera=back")).image(), "env"), "1\n");
    let auto = "annotations: {org.mobyproject.buildkit.device.autoallow: true}\n";
    bed.describe("camera.yaml", &format!("{CAMERA}{auto}"));
    bed.write("Dockerfile", "FROM busybox\nRUN --device=acme.com/camera=back echo $BACK$BACK >/env\n");
    assert_eq!(bed.read(&bed.build(), "env"), "11\n");
    assert!("devices".parse::<Entitlement>().is_err() && "device=x".parse::<Entitlement>().is_err());
}

#[test]
fn a_required_device_that_is_not_there_fails_the_build() {
    let bed = Bed::new("FROM busybox\nRUN --device=acme.com/lens=x,required true\n");
    bed.describe("camera.yaml", CAMERA);
    bed.describe("broken.json", "{");
    let error = bed.fails(bed.allowed()).chain();
    assert!(error.contains("acme.com/lens=x") && error.contains("acme.com/camera=front"), "{error}");
    assert!(error.contains("broken.json"), "{error}");
}

const HOOKED: &str = r#"
cdiVersion: "0.6.0"
kind: acme.com/camera
devices:
- name: front
  containerEdits:
    hooks:
    - {hookName: prestart, path: /bin/sh, args: [sh, -c, 'cat >/dev/null; echo prestart >>DIR/said']}
    - {hookName: createRuntime, path: /bin/sh, args: [sh, -c, 'cat >DIR/created; echo createRuntime >>DIR/said']}
    - {hookName: poststart, path: /bin/sh, args: [sh, -c, 'cat >/dev/null; echo poststart >>DIR/said']}
    - {hookName: poststop, path: /bin/sh, args: [sh, -c, 'cat >DIR/ended; echo poststop >>DIR/said']}
- name: broken
  containerEdits:
    hooks:
    - {hookName: createRuntime, path: /bin/sh, args: [sh, -c, 'echo no camera >&2; exit 3']}
    - {hookName: poststop, path: /bin/sh, args: [sh, -c, 'echo broken >>DIR/said']}
"#;

#[test]
fn hooks_of_the_host_run_around_a_step_as_buildkit_s_runc_runs_them() {
    let bed = Bed::new("FROM busybox\nRUN --device=acme.com/camera=front echo done >/out\n");
    bed.describe("camera.yaml", HOOKED);
    let read = |name: &str| fs::read_to_string(bed.context().join(name)).unwrap_or_default();
    let image = bed.run(bed.allowed()).image();
    assert_eq!(bed.read(&image, "out"), "done\n");
    assert_eq!(read("said"), "prestart\ncreateRuntime\npoststart\npoststop\n");
    for (name, status) in [("created", "creating"), ("ended", "stopped")] {
        let state: serde_json::Value = serde_json::from_str(&read(name)).unwrap();
        assert_eq!(state["status"], status, "{state}");
        assert!(!state["id"].as_str().unwrap().is_empty(), "{state}");
    }
    fs::remove_file(bed.context().join("said")).unwrap();

    bed.write("Dockerfile", "FROM busybox\nRUN --device=acme.com/camera=broken echo done >/out\n");
    let error = bed.fails(bed.allowed()).chain();
    assert!(error.contains("createRuntime hook #0: exit status 3, stdout: , stderr: no camera"), "{error}");
    assert_eq!(read("said"), "broken\n", "what follows an end runs whatever came before it");

    let lane = "cdiVersion: '1.1.0'\nkind: acme.com/lane\ndevices:\n- name: one\n  containerEdits: {netDevices: [{hostInterfaceName: eth9, name: eth1}]}\n";
    bed.describe("lane.yaml", lane);
    bed.write("Dockerfile", "FROM busybox\nRUN --device=acme.com/lane=one true\n");
    let error = bed.fails(bed.allowed());
    assert!(error.kind() == Kind::Unimplemented && error.chain().contains("netDevices"), "{error:?}");
}

#[test]
fn hooks_that_follow_a_step_run_although_its_builder_was_killed() {
    let bed = Bed::new("FROM busybox\n");
    let said = bed.dir.path().join("said");
    let hook =
        serde_json::json!({ "path": "/bin/sh", "args": ["sh", "-c", format!("cat >{}", said.display())] });
    let config = serde_json::json!({ "ociVersion": "1.0.2", "hooks": { "poststop": [hook] } });
    let bundle = bed.dir.path().join("images/build-scratch/1-0/step.bundle");
    fs::create_dir_all(&bundle).unwrap();
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    Builder::new(bed.images.clone(), BuilderConfig::default()).unwrap();
    let state: serde_json::Value = serde_json::from_str(&fs::read_to_string(&said).unwrap()).unwrap();
    assert!(state["id"] == "step" && state["status"] == "stopped", "{state}");
    assert_eq!(fs::read_dir(bed.dir.path().join("images/build-scratch")).unwrap().count(), 0);
}
