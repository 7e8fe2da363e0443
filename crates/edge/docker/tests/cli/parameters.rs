//! Parameters of requests that no option of the command line leads to, or none that other cases use.

use crate::daemon::with_daemon;

const HERE: &str = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22amd64%22%7D";
const ELSEWHERE: &str = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D";

#[test]
fn an_image_of_another_platform_is_not_the_one_that_is_meant() {
    with_daemon(|docker| {
        docker.import_busybox();
        for path in ["history", "get", "json"] {
            let ask = |platform: &str| {
                docker.ask("GET", &format!("/images/busybox/{path}?platform={platform}"), "")
            };
            assert!(ask(HERE).starts_with("HTTP/1.0 200"), "{path}");
            let refused = ask(ELSEWHERE);
            assert!(refused.starts_with("HTTP/1.0 404") && refused.contains("s390x"), "{path}: {refused}");
        }
        assert!(
            docker
                .ask("GET", &format!("/images/get?names=busybox&platform={HERE}"), "")
                .starts_with("HTTP/1.0 200")
        );
        let load = docker.ask("POST", &format!("/images/load?platform={ELSEWHERE}"), "");
        assert!(load.starts_with("HTTP/1.0 501") && load.contains("platform"), "{load}");
        let push = docker.ask("POST", &format!("/images/busybox/push?tag=latest&platform={ELSEWHERE}"), "");
        assert!(push.contains("platform") && push.contains("s390x"), "{push}");
        let half =
            docker.ask("POST", "/images/busybox/push?tag=latest&platform=%7B%22os%22%3A%22linux%22%7D", "");
        assert!(half.starts_with("HTTP/1.0 400") && half.contains("OS and Architecture"), "{half}");
        let remove = docker.ask("DELETE", &format!("/images/busybox?platforms=%5B{HERE}%5D"), "");
        assert!(remove.starts_with("HTTP/1.0 501") && remove.contains("platforms"), "{remove}");
        assert_eq!(docker.ok(&["images", "-q"]).lines().count(), 1);
    });
}

#[test]
fn an_import_has_a_message_and_a_platform() {
    with_daemon(|docker| {
        docker.import_busybox();
        let file = docker.dir.join("busybox.tar");
        docker.with_each_cli(|docker| {
            let import =
                ["import", "-m", "by hand", "--platform", "linux/arm64", file.to_str().unwrap(), "other:v1"];
            docker.ok(&import);
            let shown = docker.ok(&["image", "inspect", "-f", "{{.Architecture}} {{.Comment}}", "other:v1"]);
            assert_eq!(shown, "arm64 by hand\n");
            docker.ok(&["rmi", "other:v1"]);
        });
        docker.ok(&["import", "--platform", "linux/arm/v7", file.to_str().unwrap(), "other:v1"]);
        assert!(docker.ask("GET", "/images/other:v1/json", "").contains(r#""Variant":"v7""#));
        let create = |platform: &str| {
            let path = format!("/containers/create?name=one&platform={platform}");
            docker.ask("POST", &path, r#"{"Image":"other:v1","Cmd":["x"]}"#)
        };
        assert!(create("linux/arm/v6").starts_with("HTTP/1.0 404"));
        assert!(create("arm").starts_with("HTTP/1.0 201"));
        let windows = docker.ask("POST", "/images/create?fromSrc=-&repo=x&platform=windows/amd64", "");
        let words = "operating system is not supported";
        assert!(windows.starts_with("HTTP/1.0 400") && windows.contains(words), "{windows}");
    });
}

#[test]
fn limits_of_a_build_are_those_of_its_steps() {
    with_daemon(|docker| {
        docker.import_busybox();
        let dir = docker.dir.join("limited");
        std::fs::create_dir_all(&dir).unwrap();
        let dockerfile = "FROM busybox\nRUN df -k /dev/shm | tail -n 1 | awk '{ print $2 }' >/said; ulimit -n >>/said; \
                          ulimit -Hn >>/said; grep Cpus_allowed_list /proc/self/status >>/said\n\
                          RUN dd if=/dev/zero of=/dev/null bs=60M count=1 || echo killed >>/said\n";
        std::fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
        let path = dir.to_str().unwrap();
        docker.with_each_cli(|docker| {
            let limits = ["-m", "20m", "--memory-swap", "20m", "--cpu-shares", "512", "--cpuset-cpus", "0"];
            let more = ["--ulimit", "nofile=77:99", "--shm-size", "3m", "--no-cache", "-t", "limited", path];
            docker.ok(&[&["build"], &limits[..], &more].concat());
            let said = docker.ok(&["run", "--rm", "limited", "cat", "/said"]);
            assert_eq!(said, "3072\n77\n99\nCpus_allowed_list:\t0\nkilled\n");
        });
        for (query, words) in [
            ("memory=1000", "Minimum memory limit allowed is 6MB"),
            ("cpuquota=10", "CPU cfs quota"),
            ("ulimits=%5B%7B%22Name%22%3A%22none%22%7D%5D", "invalid ulimit type: none"),
            ("isolation=hyperv", "Unsupported isolation: "),
        ] {
            let answer = docker.ask("POST", &format!("/build?{query}"), "");
            assert!(answer.starts_with("HTTP/1.0 400") && answer.contains(words), "{answer}");
        }
    });
}

#[test]
fn the_context_of_a_build_is_where_its_address_says() {
    with_daemon(|docker| {
        docker.import_busybox();
        let address = crate::control::serve("FROM busybox\nRUN echo there > /f\n");
        let answer = docker.ask("POST", &format!("/build?t=there&remote={address}"), "");
        assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("Successfully tagged"), "{answer}");
        assert_eq!(docker.ok(&["run", "--rm", "there", "cat", "/f"]), "there\n");
        for remote in ["here", "/etc", "file:///etc/passwd"] {
            let answer = docker.ask("POST", &format!("/build?remote={remote}"), "");
            let words = "neither a git repository nor an address";
            assert!(answer.starts_with("HTTP/1.0 400") && answer.contains(words), "{answer}");
        }
        let answer = docker.ask("POST", "/build?remote=git://127.0.0.1:1/none.git", "");
        assert!(answer.contains("git") && !answer.contains("Successfully built"), "{answer}");
    });
}

#[test]
fn parameters_of_a_build_that_are_not_built_are_named() {
    with_daemon(|docker| {
        for parameter in ["squash", "securityopt", "cgroupparent"] {
            let answer = docker.ask("POST", &format!("/build?{parameter}=1000"), "");
            assert!(answer.starts_with("HTTP/1.0 501") && answer.contains(parameter), "{answer}");
        }
    });
}

#[test]
fn an_endpoint_has_addresses_of_both_families_and_what_is_read_of_one_may_be_sent_back() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&[
            "network",
            "create",
            "--ipv6",
            "--subnet",
            "fd00:5::/64",
            "--subnet",
            "10.45.0.0/24",
            "app",
        ]);
        docker.ok(&["run", "-d", "--name", "db", "--network", "app", "busybox", "sleep", "1000"]);
        let endpoint = |v4: &str, v6: &str| {
            format!(
                r#"{{"IPAMConfig":{{"IPv4Address":"{v4}","IPv6Address":"{v6}"}},"Links":["db:store"],"GwPriority":1,
                "NetworkID":"x","EndpointID":"y","Gateway":"10.45.0.1","IPAddress":"10.45.0.99","IPPrefixLen":24,"IPv6Gateway":"fd00:5::1",
                "GlobalIPv6Address":"fd00:5::99","GlobalIPv6PrefixLen":64,"DNSNames":["z"]}}"#
            )
        };
        let body = format!(
            r#"{{"Image":"busybox","Cmd":["sleep","1000"],"HostConfig":{{"NetworkMode":"app"}},"NetworkingConfig":{{"EndpointsConfig":{{"app":{}}}}}}}"#,
            endpoint("10.45.0.9", "fd00:5::9")
        );
        docker.post("/containers/create?name=web", &body);
        docker.ok(&["start", "web"]);
        docker.ok(&["run", "-d", "--name", "side", "busybox", "sleep", "1000"]);
        let connect =
            format!(r#"{{"Container":"side","EndpointConfig":{}}}"#, endpoint("10.45.0.10", "fd00:5::10"));
        docker.post("/networks/app/connect", &connect);
        for (name, interface, v4, v6) in [
            ("web", "eth0", "10.45.0.9/24", "fd00:5::9/64"),
            ("side", "eth1", "10.45.0.10/24", "fd00:5::10/64"),
        ] {
            let addresses = docker.ok(&["exec", name, "ip", "-o", "addr", "show", "dev", interface]);
            assert!(addresses.contains(v4) && addresses.contains(v6), "{addresses}");
            docker.ok(&["exec", name, "ping", "-c", "1", "store"]);
        }
        docker.ok(&["rm", "-f", "web", "side", "db"]);
        docker.ok(&["network", "rm", "app"]);
    });
}

#[test]
fn every_exposed_port_is_published_where_all_are_asked_for() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            docker.ok(&["run", "-d", "-P", "--expose", "80", "--name", "web", "busybox", "httpd", "-f"]);
            let shown = docker.ok(&["port", "web", "80/tcp"]);
            let port = shown.lines().next().unwrap().rsplit(':').next().unwrap().to_owned();
            let address = format!("127.0.0.1:{port}");
            docker.until("it answers", || std::net::TcpStream::connect(&address).is_ok());
            docker.ok(&["cp", "-a", "/etc/hostname", "web:/tmp/"]);
            docker.ok(&["rm", "-f", "web"]);
            let start = ["start", "-ai", "--detach-keys", "ctrl-x", "said"];
            docker.ok(&["create", "--name", "said", "busybox", "echo", "said"]);
            assert_eq!(docker.ok(&start), "said\n");
            docker.post("/containers/said/start?detachKeys=ctrl-x", "");
            docker.ok(&["wait", "said"]);
            docker.ok(&["rm", "said"]);
        });
    });
}
