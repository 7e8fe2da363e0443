use super::*;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

struct Fixture {
    dir: tempfile::TempDir,
    pod: Pod,
    referenced: Referenced,
}

impl Fixture {
    fn new(volumes: Value, security: Value) -> Self {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u1", "labels": {"app": "web"}},
                         "spec": {"volumes": volumes, "securityContext": security, "containers": [
                             {"name": "main", "resources": {"limits": {"memory": "64Mi"}}}]}});
        let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "conf"},
            "data": {"a.txt": "A", "b.txt": "B"}, "binaryData": {"c.bin": "AAE="}}))
        .unwrap();
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": "key"}, "data": {"token": "aHVzaA=="}}))
                .unwrap();
        Self {
            dir: tempfile::tempdir().unwrap(),
            pod: serde_json::from_value(pod).unwrap(),
            referenced: Referenced {
                config_maps: HashMap::from([("conf".to_owned(), Arc::new(map))]),
                secrets: HashMap::from([("key".to_owned(), Arc::new(secret))]),
                tokens: HashMap::new(),
            },
        }
    }

    fn dirs(&self) -> PodDirs {
        PodDirs::new(&self.dir.path().join("run"), &self.dir.path().join("data"), "u1")
    }

    fn prepare(&self) -> Result<Volumes, MountFailure> {
        let facts = PodFacts {
            pod: &self.pod,
            pod_ip: None,
            host_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            allocatable: &BTreeMap::new(),
        };
        self.dirs().prepare(&facts, &self.referenced)
    }
}

fn mounts(volumes: &Volumes, mounts: Value) -> Result<Vec<Mount>, VolumeError> {
    let mounts: Vec<VolumeMount> = serde_json::from_value(mounts).unwrap();
    volumes.mounts(&mounts, |text| text.replace("$(X)", "x"))
}

fn source(mount: &Mount) -> PathBuf {
    match &mount.source {
        MountSource::Bind { path, .. } => path.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_of_objects_appear_with_their_paths_and_modes() {
    let fixture = Fixture::new(
        json!([
            {"name": "all", "configMap": {"name": "conf"}},
            {"name": "some", "configMap": {"name": "conf", "items": [{"key": "a.txt", "path": "deep/x", "mode": 0o400}], "defaultMode": 0o600}},
            {"name": "secret", "secret": {"secretName": "key", "defaultMode": 0o400}},
            {"name": "down", "downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "mem", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}}]}},
            {"name": "both", "projected": {"sources": [
                {"configMap": {"name": "conf", "items": [{"key": "b.txt", "path": "b"}]}},
                {"secret": {"name": "key"}}, {"configMap": {"name": "none", "optional": true}}]}}
        ]),
        Value::Null,
    );
    let volumes = fixture.prepare().unwrap();
    let read = |volume: &str, file: &str| fs::read_to_string(volumes.paths[volume].join(file)).unwrap();
    assert_eq!((read("all", "a.txt"), read("all", "c.bin")), ("A".to_owned(), "\0\u{1}".to_owned()));
    assert_eq!(read("some", "deep/x"), "A");
    assert!(!volumes.paths["some"].join("b.txt").exists());
    let mode = |volume: &str, file: &str| {
        fs::metadata(volumes.paths[volume].join(file)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(
        (mode("all", "a.txt"), mode("some", "deep/x"), mode("secret", "token")),
        (0o644, 0o400, 0o400)
    );
    assert_eq!((read("down", "labels"), read("down", "mem")), ("app=\"web\"".to_owned(), "64".to_owned()));
    assert_eq!((read("both", "b"), read("both", "token")), ("B".to_owned(), "hush".to_owned()));
    let parent = volumes.paths["secret"].parent().unwrap().to_owned();
    assert_eq!(fs::metadata(parent).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(pods_on_disk(&fixture.dir.path().join("run"), &fixture.dir.path().join("data")), ["u1"]);
    fixture.dirs().remove().unwrap();
    assert!(!volumes.paths["all"].exists());
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    for (volume, want) in [
        (json!({"configMap": {"name": "none"}}), "configmap \"none\" not found"),
        (json!({"secret": {"secretName": "none"}}), "secret \"none\" not found"),
        (
            json!({"configMap": {"name": "conf", "items": [{"key": "no", "path": "x"}]}}),
            "configmap \"conf\" references non-existent key: no",
        ),
        (json!({"nfs": {"server": "s", "path": "/"}}), "nfs is not supported"),
        (json!({"persistentVolumeClaim": {"claimName": "c"}}), "persistentVolumeClaim is not supported"),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
            "failed to fetch token",
        ),
        (json!({"emptyDir": {"medium": "HugePages"}}), "huge pages"),
        (json!({"hostPath": {"path": "/etc/passwd", "type": "Directory"}}), "is not a Directory"),
    ] {
        let mut volume = volume;
        volume["name"] = "v".into();
        let error = Fixture::new(json!([volume]), Value::Null).prepare().unwrap_err();
        assert_eq!(error.volume, "v");
        assert!(error.error.to_string().contains(want), "{} should say {want}", error.error);
    }
}

#[test]
fn empty_directories_are_kept_shared_and_owned_by_the_group() {
    use std::os::unix::fs::MetadataExt;
    let fixture = Fixture::new(
        json!([{"name": "disk", "emptyDir": {}}, {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}]),
        json!({"fsGroup": 2000}),
    );
    let volumes = fixture.prepare().unwrap();
    let disk = &volumes.paths["disk"];
    let meta = fs::metadata(disk).unwrap();
    assert_eq!((meta.gid(), meta.mode() & 0o7777), (2000, 0o2777));
    fs::write(disk.join("kept"), "x").unwrap();
    let again = fixture.prepare().unwrap();
    assert!(again.paths["disk"].join("kept").exists());
    assert_eq!(volumes.memory.len(), 1);
    assert_eq!((volumes.memory[0].size, volumes.memory[0].mode), (Some(16 << 20), Some(0o2777)));
    assert_eq!(fs::metadata(&volumes.memory[0].path).unwrap().gid(), 2000, "the mount takes it from there");
}

#[test]
fn mounts_take_parts_of_volumes_but_never_lead_out_of_them() {
    let fixture = Fixture::new(
        json!([{"name": "d", "emptyDir": {}}, {"name": "c", "configMap": {"name": "conf"}},
               {"name": "m", "emptyDir": {"medium": "Memory"}}]),
        Value::Null,
    );
    let volumes = fixture.prepare().unwrap();
    assert_eq!(volumes.memory[0].size, Some(64 << 20), "the container's limit, as the volume has none");
    let made = mounts(
        &volumes,
        json!([{"name": "d", "mountPath": "/d", "readOnly": true},
               {"name": "d", "mountPath": "/e", "subPathExpr": "logs/$(X)"},
               {"name": "c", "mountPath": "/c.txt", "subPath": "a.txt"}]),
    )
    .unwrap();
    assert_eq!((made[0].read_only, made[0].target.as_path()), (true, Path::new("/d")));
    assert_eq!((made[1].read_only, made[2].read_only), (false, true), "files of objects cannot be written");
    assert!(source(&made[1]).ends_with("d/logs/x") && source(&made[1]).is_dir());
    assert_eq!(fs::read_to_string(source(&made[2])).unwrap(), "A");
    for bad in [
        json!([{"name": "d", "mountPath": "/d", "subPath": "../x"}]),
        json!([{"name": "none", "mountPath": "/d"}]),
        json!([{"name": "m", "mountPath": "/m", "subPath": "x"}]),
    ] {
        assert!(mounts(&volumes, bad).is_err());
    }
}
