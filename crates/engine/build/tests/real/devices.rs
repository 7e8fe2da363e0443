//! RUN --device.

use crate::bed::Bed;
use hako_build::{BuildRequest, Entitlement, StepOutcome};
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
    bed.describe("camera.yaml", &CAMERA.replace("createContainer", "createRuntime"));
    bed.write("Dockerfile", "FROM busybox\nRUN --device=acme.com/camera=front true\n");
    let error = bed.fails(bed.allowed());
    assert!(
        error.kind() == Kind::Unimplemented && error.chain().contains("hooks.createRuntime"),
        "{error:?}"
    );
}
