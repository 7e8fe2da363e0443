//! Volumes that take over what the image has where they are mounted.

use crate::host::*;
use hako_container::{
    ContainerEngine, ContainerSpec, Engine, ImageSource, Mount, MountSource, WaitCondition,
};
use hako_image::layer::{Limits, apply, diff};

/// Busybox with a directory /data of files, links and owners.
fn image_with_data(host: &Host) {
    let dir = host.path().join("data-image");
    let data = dir.join("data");
    std::fs::create_dir_all(data.join("sub")).unwrap();
    let busybox = hako_image::busybox_rootfs(std::path::Path::new("/bin/busybox")).unwrap();
    let root = std::fs::File::open(&dir).unwrap();
    apply(&root, &busybox[..], "busybox", Limits::for_blob(1 << 20)).unwrap();
    std::fs::write(data.join("sub/file"), "of the image\n").unwrap();
    std::fs::hard_link(data.join("sub/file"), data.join("again")).unwrap();
    std::os::unix::fs::symlink("sub/file", data.join("link")).unwrap();
    std::os::unix::fs::chown(data.join("sub/file"), Some(70), Some(71)).unwrap();
    std::os::unix::fs::chown(&data, Some(70), Some(70)).unwrap();
    std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o1750)).unwrap();
    let mut tar = Vec::new();
    diff(&dir, &[], &Default::default(), &mut tar).unwrap();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] },
        "config": { "Cmd": ["sh"], "Env": ["PATH=/bin"], "Volumes": { "/data": {} } },
    });
    let config = serde_json::from_value(config).unwrap();
    host.images.import_rootfs(&tar[..], &"db".parse().unwrap(), config).unwrap();
}

fn with_volume(name: &str, script: &str) -> ContainerSpec {
    let source = MountSource::volume(name);
    ContainerSpec {
        image: ImageSource::Name("db".parse().unwrap()),
        mounts: vec![Mount {
            target: "/data".into(),
            source,
            read_only: false,
            below: Default::default(),
            subpath: String::new(),
        }],
        ..busybox(script)
    }
}

async fn said(engine: &Engine, spec: ContainerSpec) -> String {
    let id = engine.create_standalone(no_network(), spec).await.unwrap();
    engine.start(&id).await.unwrap();
    engine.wait(&id, WaitCondition::NotRunning).await.unwrap();
    let said = logged(engine, &id, Default::default()).await;
    engine.remove(&id, WITH_VOLUMES).await.unwrap();
    said
}

#[test]
fn an_empty_volume_gets_what_the_image_has_there_and_a_full_one_stays_as_it_is() {
    on_host(|host| async move {
        image_with_data(&host);
        let engine = host.open().await;
        let look = "cat /data/link; stat -c '%a %u %g %h' /data /data/sub/file; echo mine > /data/new";
        let whole = "of the image\n1750 70 70 3\n644 70 71 2\n";
        assert_eq!(said(&engine, with_volume("", look)).await, whole, "an anonymous one");
        assert_eq!(said(&engine, with_volume("named", look)).await, whole, "a named one");
        let volume = engine.volume("named").unwrap();
        std::fs::remove_file(volume.path.join("again")).unwrap();
        let second = "cat /data/new /data/link; ls /data";
        assert_eq!(
            said(&engine, with_volume("named", second)).await,
            "mine\nof the image\nlink\nnew\nsub\n",
            "what is there stays, what was removed stays away"
        );
        let no_copy = ContainerSpec { no_copy: vec!["/data".into()], ..with_volume("bare", "ls -A /data") };
        assert_eq!(said(&engine, no_copy).await, "");
        let elsewhere = ContainerSpec { image_volumes: true, mounts: vec![], ..with_volume("", "ls /data") };
        assert_eq!(said(&engine, elsewhere).await, "again\nlink\nsub\n", "a VOLUME of the image");
        for name in ["named", "bare"] {
            engine.remove_volume(name).unwrap();
        }
        assert!(engine.volumes().unwrap().is_empty());
    });
}

#[test]
fn a_volume_that_is_in_use_is_filled_where_it_is() {
    on_host(|host| async move {
        image_with_data(&host);
        let engine = host.open().await;
        let source = MountSource::volume("shared");
        let mounts = vec![Mount {
            target: "/here".into(),
            source,
            read_only: false,
            below: Default::default(),
            subpath: String::new(),
        }];
        let waits = "until [ -e /here/sub/file ] && [ -e /here/link ]; do sleep 0.01; done; cat /here/link";
        let first = ContainerSpec { mounts, ..busybox(waits) };
        let first = engine.create_standalone(no_network(), first).await.unwrap();
        engine.start(&first).await.unwrap();
        assert_eq!(said(&engine, with_volume("shared", "cat /data/link")).await, "of the image\n");
        engine.wait(&first, WaitCondition::NotRunning).await.unwrap();
        assert_eq!(logged(&engine, &first, Default::default()).await, "of the image\n");
        engine.remove(&first, WITH_VOLUMES).await.unwrap();
        engine.remove_volume("shared").unwrap();
    });
}
