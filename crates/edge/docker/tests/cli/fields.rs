//! Fields and parameters that other cases leave at their defaults, seen where they have their effect.

use crate::daemon::{Daemon, with_daemon};

/// What a container says that is made of this body, a JSON object without its braces.
fn said(docker: &Daemon, body: &str, script: &str) -> String {
    let script = serde_json::to_string(script).unwrap();
    let body = format!(r#"{{"Image":"busybox","Cmd":["sh","-c",{script}],{body}}}"#);
    docker.post("/containers/create?name=one", &body);
    let said = docker.ok(&["start", "-a", "one"]);
    docker.ok(&["rm", "-v", "one"]);
    said
}

fn run(docker: &Daemon, options: &[&str], script: &str) -> String {
    docker.ok(&[&["run", "--rm"], options, &["busybox", "sh", "-c", script]].concat())
}

#[test]
fn name_servers_and_their_options_are_in_the_container() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let options = [
                "--dns",
                "10.1.2.3",
                "--dns-search",
                "example.test",
                "--dns-option",
                "ndots:3",
                "--dns-option",
                "rotate",
            ];
            let file = run(docker, &options, "cat /etc/resolv.conf");
            for line in ["nameserver 10.1.2.3", "search example.test", "options ndots:3 rotate"] {
                assert!(file.lines().any(|found| found == line), "{line}: {file}");
            }
        });
    });
}

#[test]
fn a_container_has_the_hardware_address_that_it_is_given() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let address = "02:42:ac:11:00:77";
            assert_eq!(
                run(docker, &["--mac-address", address], "cat /sys/class/net/eth0/address").trim(),
                address
            );
        });
    });
}

#[test]
fn kernel_settings_of_a_container_are_its_own() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let options = ["--oom-score-adj", "500", "--sysctl", "net.ipv4.ip_default_ttl=77", "--cgroupns", "private"];
            let script = "cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_default_ttl; grep -c ':/$' /proc/self/cgroup | grep -vx 0 | wc -l";
            assert_eq!(run(docker, &options, script), "500\n77\n1\n");
        });
    });
}

#[test]
fn paths_are_masked_and_read_only_as_they_are_named() {
    with_daemon(|docker| {
        docker.import_busybox();
        let script = "cat /etc/passwd | wc -l; ls /etc/group >/dev/null && head -c 1 /proc/timer_list 2>/dev/null | wc -c; touch /tmp/x 2>/dev/null || echo refused";
        let body = r#""HostConfig":{"MaskedPaths":["/etc/passwd"],"ReadonlyPaths":["/tmp"]}"#;
        let masked = said(docker, body, script);
        assert!(masked.starts_with("0\n") && masked.ends_with("refused\n"), "{masked}");
        let usual = said(docker, r#""HostConfig":{}"#, script);
        assert!(!usual.starts_with("0\n") && !usual.ends_with("refused\n"), "{usual}");
    });
}

#[test]
fn binds_have_the_options_that_a_mount_gives_them() {
    with_daemon(|docker| {
        docker.import_busybox();
        let source = docker.dir.join("made/here");
        let mount = |options: &str| {
            format!(
                r#""HostConfig":{{"Mounts":[{{"Type":"bind","Source":"{}","Target":"/d","ReadOnly":true,"Consistency":"cached","BindOptions":{{{options}}}}}]}}"#,
                source.display()
            )
        };
        let script = "grep ' /d ' /proc/self/mountinfo | grep -o 'master:\\|shared:' || echo private";
        assert_eq!(said(docker, &mount(r#""CreateMountpoint":true"#), script), "private\n");
        assert!(source.is_dir(), "it was made");
        let touched = "touch /d/x 2>/dev/null || echo refused";
        for options in [
            r#""NonRecursive":true"#,
            r#""ReadOnlyNonRecursive":true"#,
            r#""ReadOnlyForceRecursive":true,"Propagation":"rprivate""#,
        ] {
            assert_eq!(said(docker, &mount(options), touched), "refused\n", "{options}");
        }
    });
}

#[test]
fn volumes_of_a_mount_are_labelled_and_left_empty_where_that_is_asked() {
    with_daemon(|docker| {
        docker.import_busybox();
        let body = r#""HostConfig":{"Mounts":[{"Type":"volume","Source":"kept","Target":"/etc",
            "VolumeOptions":{"NoCopy":true,"Labels":{"team":"a"},"DriverConfig":{"Name":"local"}}}]}"#;
        assert_eq!(said(docker, body, "ls /etc/passwd 2>/dev/null || echo empty"), "empty\n");
        assert_eq!(docker.ok(&["volume", "ls", "-q", "--filter", "label=team=a"]), "kept\n");
        docker.ok(&["volume", "rm", "kept"]);
        let body = r#""Volumes":{"/etc":{}},"HostConfig":{"VolumeDriver":"local"}"#;
        assert_eq!(said(docker, body, "ls /etc/passwd"), "/etc/passwd\n");
    });
}

#[test]
fn what_only_a_builder_or_a_caller_reads_is_kept() {
    with_daemon(|docker| {
        docker.import_busybox();
        let body = r#"{"Image":"busybox","Cmd":["true"],"OnBuild":["RUN x"],"Shell":["/bin/ash","-c"],"StopTimeout":7,"StopSignal":"SIGUSR1",
            "HostConfig":{"Annotations":{"who":"me"},"UsernsMode":"host"},"Healthcheck":{"Test":["CMD","true"],"Timeout":2000000000,"StartInterval":1000000000}}"#;
        docker.post("/containers/create?name=one", body);
        let shown = docker.ok(&[
            "inspect",
            "-f",
            "{{.Config.OnBuild}} {{.Config.Shell}} {{.Config.StopTimeout}} {{.Config.StopSignal}} {{.HostConfig.Annotations.who}} {{.HostConfig.UsernsMode}} {{.Config.Healthcheck.Timeout}}",
            "one",
        ]);
        assert_eq!(shown, "[RUN x] [/bin/ash -c] 7 SIGUSR1 me host 2s\n");
        docker.ok(&["rm", "one"]);
        let body = r#"{"Image":"busybox","Cmd":["ip","-o","link"],"NetworkDisabled":true}"#;
        docker.post("/containers/create?name=one", body);
        assert!(!docker.ok(&["start", "-a", "one"]).contains("eth0"));
        docker.ok(&["rm", "one"]);
    });
}

#[test]
fn fields_that_cannot_be_had_are_refused_by_their_names() {
    with_daemon(|docker| {
        docker.import_busybox();
        for (field, body) in [
            ("HostConfig.Cgroup", r#""HostConfig":{"Cgroup":"x"}"#),
            ("--storage-opt", r#""HostConfig":{"StorageOpt":{"size":"1G"}}"#),
            ("HostConfig.VolumeDriver", r#""HostConfig":{"VolumeDriver":"nfs"}"#),
            ("HostConfig.Isolation", r#""HostConfig":{"Isolation":"hyperv"}"#),
            (
                "HostConfig.Mounts[].VolumeOptions.DriverConfig.Name",
                r#""HostConfig":{"Mounts":[{"Type":"volume","Target":"/d","VolumeOptions":{"DriverConfig":{"Name":"nfs"}}}]}"#,
            ),
            (
                "HostConfig.Mounts[].ClusterOptions",
                r#""HostConfig":{"Mounts":[{"Type":"volume","Target":"/d","ClusterOptions":{"a":"b"}}]}"#,
            ),
        ] {
            let answer =
                docker.ask("POST", "/containers/create", &format!(r#"{{"Image":"busybox",{body}}}"#));
            assert!(answer.starts_with("HTTP/1.0 501") && answer.contains(field), "{field}: {answer}");
        }
    });
}

#[test]
fn what_a_request_asks_for_in_vain_is_warned_of() {
    with_daemon(|docker| {
        docker.import_busybox();
        let ports = r#""PortBindings":{"80/tcp":[{"HostPort":"18480"}]}"#;
        let create = |image: &str, query: &str, host: &str| {
            let body = format!(r#"{{"Image":"{image}","Cmd":["true"],"HostConfig":{{{host}}}}}"#);
            docker.ask("POST", &format!("/containers/create{query}"), &body)
        };
        let discarded = "Published ports are discarded when using host network mode";
        assert!(create("busybox", "", &format!(r#""NetworkMode":"host",{ports}"#)).contains(discarded));
        let quiet = r#""Warnings":[]"#;
        assert!(create("busybox", "", r#""NetworkMode":"host""#).contains(quiet));
        assert!(create("busybox", "", ports).contains(quiet));
        let other = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
        let file = docker.dir.join("other.tar");
        std::fs::write(&file, [0; 1024]).unwrap();
        let platform = format!("linux/{other}");
        docker.ok(&["import", "--platform", &platform, file.to_str().unwrap(), "other:v1"]);
        let foreign = format!(
            "The requested image's platform ({platform}) does not match the detected host platform (linux/"
        );
        let told = create("other:v1", "", "");
        assert!(told.contains(&foreign) && told.contains("and no specific platform was requested"), "{told}");
        assert!(create("other:v1", &format!("?platform={platform}"), "").contains(quiet));
        let told = create("busybox", "", r#""Annotations":{"":"x"}"#);
        let refused = "invalid Annotations: the empty string is not permitted as an annotation key";
        assert!(told.starts_with("HTTP/1.0 400") && told.contains(refused), "{told}");
        let ids = docker.ok(&["ps", "-aq"]);
        docker.ok(&[&["rm"], &ids.split_whitespace().collect::<Vec<_>>()[..]].concat());
    });
}

#[test]
fn an_exec_has_an_environment_a_place_a_size_and_may_run_by_itself() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&[
            "run",
            "-d",
            "-it",
            "--name",
            "web",
            "busybox",
            "sh",
            "-c",
            "trap 'stty size >/size' WINCH; while :; do sleep 0.05; done",
        ]);
        docker.with_each_cli(|docker| {
            // runc wants capabilities that a machine may lack.
            let privileged = if docker.is_peer() { "--privileged=false" } else { "--privileged" };
            let options = ["exec", "-e", "A=b", "-w", "/etc", privileged, "--detach-keys", "ctrl-x", "web"];
            let exec = [&options[..], &["sh", "-c", "echo $A; pwd"]].concat();
            assert_eq!(docker.ok(&exec), "b\n/etc\n");
            docker.ok(&["exec", "-d", "web", "touch", "/detached"]);
            docker.until("what runs by itself has run", || {
                docker.run(&["exec", "web", "rm", "/detached"]).0 == 0
            });
        });
        docker.post("/containers/web/resize?h=33&w=77", "");
        docker.until("the terminal has its size", || {
            docker.run(&["exec", "web", "grep", "33 77", "/size"]).0 == 0
        });
        let made = docker.post(
            "/containers/web/exec",
            r#"{"Tty":true,"AttachStdout":true,"ConsoleSize":[20,40],"Cmd":["sh","-c","stty size >/first; while :; do stty size >/last; sleep 0.05; done"]}"#,
        );
        let id = made.split('"').nth(3).unwrap().to_owned();
        docker.post(&format!("/exec/{id}/start"), r#"{"Detach":true,"Tty":true,"ConsoleSize":[22,44]}"#);
        docker.until("the exec has begun", || docker.run(&["exec", "web", "test", "-s", "/last"]).0 == 0);
        assert_eq!(docker.ok(&["exec", "web", "cat", "/first"]), "22 44\n");
        docker.post(&format!("/exec/{id}/resize?h=21&w=41"), "");
        docker.until("its terminal has its size", || {
            docker.run(&["exec", "web", "grep", "21 41", "/last"]).0 == 0
        });
    });
}

#[test]
fn logs_are_cut_by_time_and_attach_gives_what_was_said_before() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["run", "--name", "early", "busybox", "echo", "early"]);
        docker.with_each_cli(|docker| {
            assert_eq!(docker.ok(&["logs", "--since", "2000-01-01T00:00:00Z", "early"]), "early\n");
            assert_eq!(docker.ok(&["logs", "--until", "2000-01-01T00:00:00Z", "early"]), "");
            assert_eq!(docker.ok(&["logs", "--since", "2100-01-01T00:00:00Z", "early"]), "");
        });
        let answer =
            docker.ask("POST", "/containers/early/attach?logs=1&stdout=1&stderr=1&detachKeys=ctrl-x", "");
        assert!(answer.contains("early\n"), "{answer}");
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "web",
            "busybox",
            "sh",
            "-c",
            "trap 'exit 4' USR1; while :; do sleep 0.05; done",
        ]);
        assert!(
            docker
                .ask("GET", "/containers/web/stats?stream=false&one-shot=true", "")
                .contains("memory_stats")
        );
        assert!(docker.ask("GET", "/containers/web/json?size=true", "").contains("\"SizeRootFs\":"));
        docker.until("it listens to its signal", || docker.ok(&["top", "web"]).contains("sleep"));
        docker.post("/containers/web/stop?signal=SIGUSR1&t=20", "");
        assert_eq!(docker.ok(&["inspect", "-f", "{{.State.ExitCode}}", "web"]), "4\n");
        docker.post("/containers/web/restart?signal=SIGUSR1&t=0", "");
        docker.ok(&["rm", "-f", "web"]);
        assert_eq!(
            docker.ok(&["container", "prune", "-f", "--filter", "until=24h"]).trim(),
            "Total reclaimed space: 0B"
        );
    });
}

#[test]
fn images_are_listed_and_committed_with_every_parameter() {
    with_daemon(|docker| {
        docker.import_busybox();
        let list = docker.ask("GET", "/images/json?all=1&shared-size=1&digests=1", "");
        assert!(list.contains("busybox:latest") && !list.contains("\"SharedSize\":-1"), "{list}");
        docker.ok(&["create", "--name", "one", "busybox"]);
        let config = r#"{"Hostname":"h","Domainname":"d","AttachStdin":true,"AttachStdout":true,"AttachStderr":true,"StopTimeout":3,
            "Healthcheck":{"Test":["NONE"],"Interval":1000000000,"Timeout":1000000000,"Retries":2,"StartPeriod":1000000000,"StartInterval":1000000000},
            "User":"12","Env":["A=b"],"Cmd":["id","-u"],"WorkingDir":"/etc","Labels":{"x":"y"},
            "StopSignal":"SIGINT","ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},"OnBuild":["RUN x"],"Shell":["sh"],"Entrypoint":["sh","-c","pwd; id -u"]}"#;
        docker.post("/commit?container=one&repo=made&tag=v1&comment=c&author=a&pause=0", config);
        assert_eq!(docker.ok(&["run", "--rm", "made:v1"]), "/etc\n12\n");
        let shown = docker.ok(&[
            "inspect",
            "-f",
            "{{.Config.Labels.x}} {{.Config.StopSignal}} {{.Config.ExposedPorts}}",
            "made:v1",
        ]);
        assert_eq!(shown, "y SIGINT map[80/tcp:{}]\n");
        docker.ok(&["rm", "one"]);
        assert!(docker.ask("DELETE", "/images/made:v1?force=1&noprune=1", "").contains("Untagged"));
        assert!(docker.ask("GET", "/system/df?type=volume", "").contains("Volumes"));
    });
}

#[test]
fn networks_have_a_range_names_for_addresses_and_options() {
    with_daemon(|docker| {
        docker.import_busybox();
        let body = r#"{"Name":"app","Driver":"bridge","Attachable":true,"Scope":"local","EnableIPv4":true,"Labels":{"a":"b"},
            "Options":{"com.docker.network.bridge.enable_icc":"true"},
            "IPAM":{"Driver":"default","Config":[{"Subnet":"10.44.0.0/16","IPRange":"10.44.7.0/24","Gateway":"10.44.0.1","AuxiliaryAddresses":{"router":"10.44.7.1"}}]}}"#;
        docker.post("/networks/create", body);
        docker.ok(&["run", "-d", "--name", "web", "--network", "app", "busybox", "sleep", "1000"]);
        let ip = docker.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.app.IPAddress}}", "web"]);
        assert!(ip.starts_with("10.44.7.") && ip.trim() != "10.44.7.1", "{ip}");
        docker.ok(&["run", "-d", "--name", "side", "busybox", "sleep", "1000"]);
        let endpoint = r#"{"Container":"side","EndpointConfig":{"Links":["web:store"],"MacAddress":"02:42:0a:2c:07:63","GwPriority":0,"DriverOpts":{}}}"#;
        docker.post("/networks/app/connect", endpoint);
        assert!(
            docker.ok(&["exec", "side", "cat", "/sys/class/net/eth1/address"]).contains("02:42:0a:2c:07:63")
        );
        docker.ok(&["exec", "side", "ping", "-c", "1", "store"]);
        assert!(docker.ask("GET", "/networks/app?verbose=true&scope=local", "").contains("\"app\""));
        docker.ok(&["rm", "-f", "web", "side"]);
        docker.ok(&["network", "rm", "app"]);
        docker.ok(&["volume", "create", "vol"]);
        docker.ask("DELETE", "/volumes/vol?force=1", "");
        assert_eq!(docker.ok(&["volume", "ls", "-q"]), "");
    });
}

#[test]
fn a_node_in_no_swarm_says_so_of_every_path() {
    with_daemon(|docker| {
        for fact in crate::seen::facts().filter(|fact| fact.kind.is_empty()) {
            let root = fact.path.split('/').nth(1).unwrap();
            let path = fact.path.replace("{id}", "x").replace("{name}", "x");
            let is_cluster = ["swarm", "nodes", "services", "tasks", "secrets", "configs"].contains(&root)
                || fact.method == "PUT" && root == "volumes";
            if is_cluster {
                let answer = docker.ask(fact.method, &path, "{}");
                let status = answer.split(' ').nth(1).unwrap_or_default();
                assert!(["501", "503"].contains(&status), "{} {path}: {answer}", fact.method);
            }
            if root == "plugins" && path != "/plugins" {
                let answer = docker.ask(fact.method, &path, "");
                assert!(answer.contains("plugin"), "{} {path}: {answer}", fact.method);
            }
        }
    });
}
