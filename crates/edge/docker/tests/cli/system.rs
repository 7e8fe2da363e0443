//! What the engine says of itself.

use crate::daemon::with_daemon;

#[test]
fn version_info_and_unknown_routes_answer() {
    with_daemon(|docker| {
        assert_eq!(
            docker.ok(&["version", "--format", "{{.Server.Version}} {{.Server.APIVersion}}"]),
            if docker.is_peer() { "20.10.24+dfsg1 1.41\n" } else { "0.0-test 1.51\n" }
        );
        assert_eq!(
            docker.ok(&["info", "--format", "{{.ContainersRunning}} {{.Swarm.LocalNodeState}}"]),
            "0 inactive\n"
        );
        docker.ok(&["system", "df"]);
        if docker.is_peer() {
            return;
        }
        let (code, _, err) = docker.run(&["swarm", "init"]);
        assert_ne!(code, 0);
        assert!(err.contains("unimplemented"), "{err}");
    });
}

#[test]
fn info_and_version_say_what_there_is_to_say() {
    with_daemon(|docker| {
        let said = |path: &str| -> serde_json::Value {
            let answer = docker.ask("GET", path, "");
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
        };
        let (info, version) = (said("/info"), said("/version"));
        let texts = [
            "/ID",
            "/Name",
            "/Driver",
            "/DockerRootDir",
            "/LoggingDriver",
            "/CgroupDriver",
            "/CgroupVersion",
            "/KernelVersion",
            "/OperatingSystem",
            "/OSVersion",
            "/OSType",
            "/Architecture",
            "/ServerVersion",
            "/DefaultRuntime",
            "/InitBinary",
            "/RuncCommit/ID",
            "/SystemTime",
            "/IndexServerAddress",
        ];
        for place in texts {
            assert!(
                info.pointer(place).and_then(|text| text.as_str()).is_some_and(|text| !text.is_empty()),
                "{place}: {info}"
            );
        }
        assert_eq!(info["DriverStatus"][0][0], "Backing Filesystem", "{info}");
        assert!(info["DriverStatus"][0][1].as_str().is_some_and(|name| !name.is_empty()), "{info}");
        for driver in ["bridge", "host", "ipvlan", "macvlan", "null"] {
            let drivers = info["Plugins"]["Network"].as_array().unwrap();
            assert!(drivers.iter().any(|known| known == driver), "{driver}: {info}");
        }
        for name in ["Version", "ApiVersion", "MinAPIVersion", "Os", "Arch", "KernelVersion"] {
            assert!(!version[name].as_str().unwrap().is_empty(), "{name}: {version}");
        }
        for name in ["ApiVersion", "MinAPIVersion", "Os", "Arch", "KernelVersion"] {
            assert_eq!(version["Components"][0]["Details"][name], version[name], "{name}: {version}");
        }
    });
}

#[test]
fn a_container_that_wrote_nothing_has_written_nothing() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "still", "-v", "kept:/kept/here", "busybox", "sleep", "1000"]);
        docker.with_each_cli(|docker| {
            let sizes = || docker.ok(&["ps", "-s", "--format", "{{.Size}}"]);
            assert!(sizes().starts_with("0B (virtual "), "{}", sizes());
            docker.ok(&["exec", "still", "sh", "-c", "mkdir -p /new/dir; echo hi >/new/file"]);
            assert!(sizes().starts_with("3B (virtual "), "{}", sizes());
            docker.ok(&["exec", "still", "rm", "-r", "/new"]);
        });
    });
}

#[test]
fn disk_usage_is_real_and_shared_layers_count_once() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["tag", "busybox", "alias"]);
        docker.ok(&["volume", "create", "unused"]);
        let script = "head -c 3000000 /dev/zero > /v/file; head -c 5000000 /dev/zero > /file; echo done; exec sleep 1000";
        docker.ok(&["run", "-d", "--name", "writer", "-v", "data:/v", "busybox", "sh", "-c", script]);
        docker.until("it has written", || docker.ok(&["logs", "writer"]) == "done\n");
        docker.with_each_cli(|docker| {
            let rows = docker.ok(&[
                "system",
                "df",
                "--format",
                "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}",
            ]);
            let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('|').collect()).collect();
            let row = |kind: &str| rows.iter().find(|row| row[0] == kind).unwrap().clone();
            let images = row("Images");
            assert_eq!((images[1], images[2]), ("1", "1"), "{images:?}");
            assert!(images[3].ends_with("MB") && images[4].starts_with("0B"), "{images:?}");
            let containers = row("Containers");
            assert!(containers[3].starts_with('5'), "{containers:?}");
            let volumes = row("Local Volumes");
            assert_eq!((volumes[1], volumes[2]), ("2", "1"), "{volumes:?}");
            assert!(volumes[3].starts_with('3') && volumes[3].ends_with("MB"), "{volumes:?}");
            let long = docker.ok(&["system", "df", "-v"]);
            let line = |start: &str| long.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
            assert!(line("alias").trim_end().ends_with('1') && !line("alias").contains("N/A"), "{long}");
            assert_eq!(line("data").split_whitespace().nth(1), Some("1"), "{long}");
            assert_eq!(line("unused").split_whitespace().nth(1), Some("0"), "{long}");
            let sizes = docker.ok(&["ps", "-s", "--format", "{{.Size}}"]);
            assert!(sizes.starts_with('5') && sizes.contains("MB (virtual "), "{sizes}");
        });
    });
}

#[test]
fn a_build_cache_is_counted_until_it_is_pruned() {
    with_daemon(|docker| {
        docker.import_busybox();
        let context = docker.dir.join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), "FROM busybox\nRUN head -c 900000 /dev/urandom > /file\n")
            .unwrap();
        docker.ok(&["build", "-t", "built", context.to_str().unwrap()]);
        docker.ok(&["rmi", "built"]);
        docker.with_each_cli(|docker| {
            let format = "{{.Type}} {{.TotalCount}} {{.Size}}";
            let rows = docker.ok(&["system", "df", "--format", format]);
            let row = rows.lines().find(|row| row.starts_with("Build Cache ")).unwrap();
            assert!(row.contains(" 90") && row.ends_with("kB"), "{rows}");
        });
        // The blob, and the directory it was unpacked to.
        let freed = docker.ok(&["builder", "prune", "-af"]);
        assert!(freed.contains("Total reclaimed space: 1.8"), "{freed}");
        let rows = docker.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}"]);
        assert!(rows.contains("Build Cache 0 0B"), "{rows}");
    });
}

#[test]
fn without_a_limit_the_machines_memory_is_the_limit() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "-d", "--name", "free", "busybox", "sleep", "1000"]);
        docker.ok(&["run", "-d", "--name", "bound", "--memory", "64m", "busybox", "sleep", "1000"]);
        docker.with_each_cli(|docker| {
            let limit = |name: &str| {
                let usage = docker.ok(&["stats", "--no-stream", "--format", "{{.MemUsage}}", name]);
                usage.trim().split(" / ").nth(1).unwrap().to_owned()
            };
            assert_eq!(limit("bound"), "64MiB");
            assert!(limit("free").ends_with("GiB"), "{}", limit("free"));
        });
    });
}
