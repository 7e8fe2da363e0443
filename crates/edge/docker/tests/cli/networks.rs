//! Networks that people make, with every docker command line of this machine.

use crate::daemon::{Daemon, with_daemon};

const SLEEP: [&str; 3] = ["busybox", "sleep", "1000"];

impl Daemon {
    /// Starts a container that does nothing.
    fn sleeper(&self, options: &[&str]) -> String {
        self.ok(&[&["run", "-d"], options, &SLEEP[..]].concat()).trim().to_owned()
    }

    fn ip(&self, container: &str, network: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        self.ok(&["inspect", "-f", &format, container]).trim().to_owned()
    }

    /// The addresses that a container finds behind a name, in the order of the answer.
    fn lookup(&self, container: &str, name: &str) -> Vec<String> {
        let (_, out, _) = self.run(&["exec", container, "nslookup", "-type=a", name, "127.0.0.11"]);
        let answer = out.split("Name:").skip(1).collect::<String>();
        let lines = answer.lines().filter_map(|line| line.trim().strip_prefix("Address"));
        lines.filter_map(|line| line.split_once(": ").map(|(_, ip)| ip.trim().to_owned())).collect()
    }

    fn reaches(&self, container: &str, ip: &str) -> bool {
        self.run(&["exec", container, "ping", "-c", "1", "-W", "1", ip]).0 == 0
    }
}

#[test]
fn members_of_a_network_find_each_other_by_name_alias_and_short_id() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let id = docker.ok(&["network", "create", "--label", "team=a", "app"]).trim().to_owned();
            assert_eq!(id.len(), 64);
            let web = docker.sleeper(&["--name", "web", "--network", "app", "--network-alias", "front"]);
            docker.sleeper(&["--name", "db", "--network", "app"]);
            let ip = docker.ip("web", "app");
            for name in ["web", "front", &web[..12], "WEB", "web.app"] {
                assert_eq!(docker.lookup("db", name), [ip.as_str()], "{name}");
            }
            assert!(docker.ok(&["exec", "db", "ping", "-c", "1", "web"]).contains(&ip));
            let reverse = docker.ok(&["exec", "db", "nslookup", &ip]);
            assert!(reverse.contains("web.app"), "{reverse}");
            assert!(docker.lookup("db", "nobody").is_empty());
            docker.ok(&["rename", "web", "shop"]);
            assert_eq!(docker.lookup("db", "shop"), [ip.as_str()]);
            assert!(docker.lookup("db", "web").is_empty());
            let format = "{{range .Containers}}{{.Name}}={{.IPv4Address}} {{end}}";
            let members = docker.ok(&["network", "inspect", "-f", format, "app"]);
            assert!(members.contains(&format!("shop={ip}/16")), "{members}");
            let (code, _, err) = docker.run(&["network", "rm", "app"]);
            assert!(code == 1 && err.contains("has active endpoints"), "{err}");
            docker.ok(&["rm", "-f", "shop", "db"]);
            docker.ok(&["network", "rm", "app"]);
        });
    });
}

#[test]
fn answers_turn_so_that_all_of_an_alias_are_used() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["network", "create", "app"]);
        for name in ["aa", "bb", "cc"] {
            docker.sleeper(&["--name", name, "--network", "app", "--network-alias", "all"]);
        }
        // dockerd deals the order by chance: forty answers leave none out but once in four million.
        let answers: Vec<Vec<String>> = (0..40).map(|_| docker.lookup("aa", "all")).collect();
        assert!(answers.iter().all(|answer| answer.len() == 3), "{answers:?}");
        for name in ["aa", "bb", "cc"] {
            let ip = docker.ip(name, "app");
            assert!(answers.iter().any(|answer| answer[0] == ip), "{name} is never first: {answers:?}");
        }
        docker.ok(&["rm", "-f", "bb"]);
        assert_eq!(docker.lookup("aa", "all").len(), 2);
    });
}

#[test]
fn networks_are_apart_and_internal_ones_have_no_way_out() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["network", "create", "one"]);
        docker.ok(&["network", "create", "two"]);
        docker.ok(&["network", "create", "--internal", "inner"]);
        for (name, network) in [("aa", "one"), ("bb", "one"), ("cc", "two"), ("dd", "inner"), ("ee", "inner")]
        {
            docker.sleeper(&["--name", name, "--network", network]);
        }
        docker.sleeper(&["--name", "plain"]);
        let (b, c, d, e) = (
            docker.ip("bb", "one"),
            docker.ip("cc", "two"),
            docker.ip("dd", "inner"),
            docker.ip("ee", "inner"),
        );
        assert!(docker.reaches("aa", &b) && docker.reaches("dd", &e));
        for (from, to) in [("aa", &c), ("aa", &d), ("cc", &b), ("plain", &b), ("dd", &b)] {
            assert!(!docker.reaches(from, to), "{from} reaches {to}");
        }
        assert!(docker.lookup("aa", "cc").is_empty());
        // Docker 20.10 gives a route that leads nowhere.
        assert!(docker.is_peer() || !docker.ok(&["exec", "dd", "ip", "route"]).contains("default"));
        assert!(docker.ok(&["exec", "aa", "ip", "route"]).contains("default via"));
    });
}

#[test]
fn a_running_container_is_connected_and_disconnected() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            docker.ok(&["network", "create", "--subnet", "10.99.0.0/24", "--gateway", "10.99.0.254", "side"]);
            docker.sleeper(&["--name", "xx"]);
            docker.sleeper(&["--name", "yy", "--network", "side", "--ip", "10.99.0.77"]);
            assert_eq!(docker.ip("yy", "side"), "10.99.0.77");
            assert!(!docker.reaches("xx", "10.99.0.77"));
            docker.ok(&["network", "connect", "--alias", "ex", "--ip", "10.99.0.10", "side", "xx"]);
            assert!(docker.reaches("xx", "10.99.0.77"));
            assert_eq!(docker.lookup("xx", "yy"), ["10.99.0.77"]);
            assert_eq!(docker.lookup("yy", "ex"), ["10.99.0.10"]);
            assert!(docker.ok(&["exec", "xx", "cat", "/etc/hosts"]).contains("10.99.0.10"));
            let (code, _, err) = docker.run(&["network", "connect", "side", "xx"]);
            assert!(code == 1 && err.contains("already exists in network side"), "{err}");
            docker.ok(&["restart", "-t", "0", "xx"]);
            assert!(docker.reaches("xx", "10.99.0.77"), "after a restart");
            docker.ok(&["network", "disconnect", "side", "xx"]);
            assert!(!docker.reaches("xx", "10.99.0.77"));
            let (code, _, err) = docker.run(&["network", "disconnect", "side", "xx"]);
            assert!(code == 1 && err.contains("is not connected to network side"), "{err}");
            docker.ok(&["network", "disconnect", "bridge", "xx"]);
            let links = docker.ok(&["exec", "xx", "ip", "-o", "link"]);
            assert!(!links.contains("eth"), "{links}");
            docker.ok(&["network", "connect", "bridge", "xx"]);
            assert!(docker.ok(&["exec", "xx", "ip", "route"]).contains("default via"));
            docker.ok(&["rm", "-f", "xx", "yy"]);
            docker.ok(&["network", "rm", "side"]);
        });
    });
}

#[test]
fn addresses_that_cannot_be_had_are_refused() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["network", "create", "--subnet", "10.99.0.0/24", "side"]);
        docker.ok(&["network", "create", "auto"]);
        docker.sleeper(&["--network", "side", "--ip", "10.99.0.7"]);
        for (network, ip, why) in [
            ("side", "10.99.0.7", "Address already in use"),
            (
                "side",
                "10.98.0.7",
                if docker.is_peer() {
                    "does not belong to any"
                } else {
                    "no configured subnet or ip-range contain"
                },
            ),
            ("auto", "172.18.0.9", "user configured subnets"),
            ("nope", "10.0.0.1", "network nope not found"),
            ("bridge", "172.17.0.9", "user specified IP address is supported on user defined networks only"),
        ] {
            let (code, _, err) =
                docker.run(&["run", "--rm", "--network", network, "--ip", ip, "busybox", "true"]);
            assert!(code == 125 && err.contains(why), "{network} {ip}: {code} {err}");
        }
        a_container_at_rest_is_refused_them_too(docker);
        for (arguments, why) in [
            (&["--subnet", "10.99.0.0/16", "xx"][..], "Pool overlaps"),
            (&["--subnet", "10.97.0.1/24", "xx"], "it should be 10.97.0.0/24"),
            (&["side"], "already exists"),
            (&["bridge"], "predefined bridge"),
            (&["-d", "overlay", "xx"], "not in a swarm"),
            (
                &["-o", "com.docker.network.bridge.gateway_mode_ipv4=other", "xx"],
                "unknown gateway mode other",
            ),
            (
                &["-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated", "xx"],
                "gateway mode 'isolated' can only be used for an internal network",
            ),
            (&["-o", "com.docker.network.new=1", "xx"], "com.docker.network.new is unimplemented"),
        ] {
            if docker.is_peer()
                && ["it should be", "not in a swarm", "unknown gateway", "gateway mode", "com.docker"]
                    .iter()
                    .any(|words| why.starts_with(words))
            {
                continue;
            }
            let (code, _, err) = docker.run(&[&["network", "create"], arguments].concat());
            assert!(code == 1 && err.contains(why), "{arguments:?}: {err}");
        }
    });
}

fn a_container_at_rest_is_refused_them_too(docker: &Daemon) {
    docker.ok(&["create", "--name", "rest", "busybox", "true"]);
    for (network, option, ip, why) in [
        ("side", "--ip", "10.98.0.7", "no configured subnet or ip-range contain"),
        ("side", "--ip6", "fd00::7", "user configured subnets"),
        ("auto", "--ip", "172.18.0.9", "user configured subnets"),
    ] {
        let (code, _, err) = docker.run(&["network", "connect", option, ip, network, "rest"]);
        // 20.10 tells the first at the start only.
        let is_later = docker.is_peer() && why.contains("contain");
        assert!(is_later || code == 1 && err.contains(why), "{network} {ip}: {code} {err}");
    }
    docker.ok(&["network", "connect", "--ip", "10.99.0.9", "side", "rest"]);
    docker.ok(&["rm", "rest"]);
}

#[test]
fn the_default_network_is_shown_with_its_addresses_and_stays() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let format = "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}";
            let shown = docker.ok(&["network", "inspect", "-f", format, "bridge"]);
            // Docker 20.10 tells the gateway after a restart only.
            let gateway = if docker.is_peer() { "" } else { "172.17.0.1" };
            assert_eq!(shown.trim(), format!("172.17.0.0/16 {gateway}").trim());
            docker.sleeper(&["--name", "xx"]);
            let format =
                "{{.NetworkSettings.IPAddress}} {{.NetworkSettings.Gateway}} {{.HostConfig.NetworkMode}}";
            let shown = docker.ok(&["inspect", "-f", format, "xx"]);
            assert!(shown.starts_with("172.17.0.") && shown.contains(" 172.17.0.1 "), "{shown}");
            let names = docker.ok(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]);
            assert_eq!(names, "bridge bridge\nhost host\nnone null\n");
            let (code, _, err) = docker.run(&["network", "rm", "bridge"]);
            assert!(code == 1 && err.contains("bridge is a pre-defined network"), "{err}");
            docker.ok(&["rm", "-f", "xx"]);
        });
    });
}

#[test]
fn networks_are_filtered_by_patterns_of_names_and_ids() {
    with_daemon(|docker| {
        docker.with_each_cli(|docker| {
            for name in ["app", "app-db", "my-app"] {
                docker.ok(&["network", "create", name]);
            }
            let named = |pattern: &str| {
                let filter = format!("name={pattern}");
                docker.ok(&["network", "ls", "--filter", &filter, "--format", "{{.Name}}"])
            };
            assert_eq!(named("^app$"), "app\n");
            assert_eq!(named("app$"), "app\nmy-app\n");
            assert_eq!(named("app"), "app\napp-db\nmy-app\n");
            assert_eq!(named("^(my|app)-"), "app-db\nmy-app\n");
            let id = docker.ok(&["network", "inspect", "-f", "{{.Id}}", "app-db"]);
            let filter = format!("id=^{}$", id.trim());
            assert_eq!(
                docker.ok(&["network", "ls", "--filter", &filter, "--format", "{{.Name}}"]),
                "app-db\n"
            );
            let (code, _, err) = docker.run(&["network", "ls", "--filter", "name=["]);
            assert!(docker.is_peer() || (code == 1 && err.contains("invalid filter 'name=['")), "{err}");
            let (code, _, err) = docker.run(&["network", "ls", "--filter", "type=other"]);
            assert!(code == 1 && err.contains("'type'='other'"), "{err}");
            docker.ok(&["network", "rm", "app", "app-db", "my-app"]);
        });
    });
}

#[test]
fn a_network_has_no_family_that_is_switched_off() {
    with_daemon(|docker| {
        if docker.is_peer() {
            return;
        }
        docker.import_busybox();
        let create = |name: &str, rest: &str| {
            let body =
                format!(r#"{{"Name":"{name}","IPAM":{{"Config":[{{"Subnet":"10.91.0.0/24"}}]}},{rest}}}"#);
            let answer = docker.post("/v1.48/networks/create", &body);
            assert!(answer.contains("\"Id\""), "{answer}");
            docker.ok(&["network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{end}}", name])
        };
        let six = create("six", r#""EnableIPv4":false,"EnableIPv6":true"#);
        assert!(six.starts_with("fd") && !six.contains("10.91"), "{six}");
        let addresses =
            docker.ok(&["run", "--rm", "--network", "six", "busybox", "ip", "addr", "show", "eth0"]);
        assert!(addresses.contains("inet6 fd") && !addresses.contains("inet "), "{addresses}");
        let option = r#""EnableIPv6":true,"Options":{"com.docker.network.enable_ipv4":"false"}"#;
        assert!(!create("option", option).contains("10.91"));
        assert_eq!(create("four", r#""EnableIPv6":false"#), "10.91.0.0/24 \n");
        docker.ok(&["network", "rm", "six", "option", "four"]);
    });
}

#[test]
fn unused_networks_are_pruned_and_events_tell_of_networks() {
    with_daemon(|docker| {
        docker.import_busybox();
        let since = docker.ok(&["version", "-f", "{{.Server.Version}}"]);
        assert!(!since.is_empty());
        docker.ok(&["network", "create", "--label", "keep", "kept"]);
        docker.ok(&["network", "create", "used"]);
        docker.ok(&["network", "create", "gone"]);
        docker.ok(&["create", "--name", "xx", "--network", "used", "busybox", "true"]);
        docker.ok(&["start", "-a", "xx"]);
        let pruned = docker.ok(&["network", "prune", "-f", "--filter", "label!=keep"]);
        assert!(
            pruned.starts_with("Deleted Networks:") && pruned.lines().any(|line| line == "gone"),
            "{pruned}"
        );
        // dockerd removes those of containers that do not run.
        assert!(docker.is_peer() || !pruned.contains("used"), "{pruned}");
        let dangling =
            docker.ok(&["network", "ls", "-q", "--filter", "dangling=true", "--format", "{{.Name}}"]);
        assert_eq!(dangling, "kept\n");
        let seen = || {
            let format = "{{.Action}} {{.Actor.Attributes.name}}";
            docker.ok(&[
                "events",
                "--since",
                "1",
                "--until",
                "1s",
                "--filter",
                "type=network",
                "--format",
                format,
            ])
        };
        docker.until("events are told", || {
            let seen = seen();
            ["create used", "connect used", "disconnect used", "destroy gone"]
                .iter()
                .all(|line| seen.contains(line))
        });
        docker.ok(&["rm", "xx"]);
    });
}

#[test]
fn links_of_the_default_network_are_names_and_variables() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            docker.sleeper(&["--name", "db", "--expose", "5432", "-e", "SECRET=s"]);
            let ip = docker.ip("db", "bridge");
            let told = docker.ok(&[
                "run",
                "--rm",
                "--link",
                "db:store",
                "busybox",
                "sh",
                "-c",
                "cat /etc/hosts; env",
            ]);
            assert!(told.contains(&format!("{ip}\tstore ")), "{told}");
            assert!(told.contains("STORE_ENV_SECRET=s") && told.contains("/store\n"), "{told}");
            docker.ok(&["network", "disconnect", "bridge", "db"]);
            let (code, _, err) = docker.run(&["run", "--rm", "--link", "db:store", "busybox", "true"]);
            assert!(
                code == 125
                    && err.contains("Cannot link to /db, as it does not belong to the default network"),
                "{code} {err}"
            );
            docker.ok(&["network", "connect", "bridge", "db"]);
            docker.ok(&["stop", "-t", "0", "db"]);
            let (code, _, err) = docker.run(&["run", "--rm", "--link", "db:store", "busybox", "true"]);
            assert!(code == 125 && err.contains("Cannot link to a non running container"), "{code} {err}");
            let link = || docker.run(&["run", "--name", "wants", "--link", "db:store", "busybox", "true"]);
            let (_, _, err) = link();
            let said = "Cannot link to a non running container: /db AS /wants/store";
            assert!(err.contains(said), "{err}");
            // That it is elsewhere counts for more than that it does not run.
            docker.ok(&["rm", "wants"]);
            docker.ok(&["network", "disconnect", "bridge", "db"]);
            let (_, _, err) = link();
            let said = "Cannot link to /db, as it does not belong to the default network";
            assert!(err.contains(said), "{err}");
            docker.ok(&["rm", "wants", "db"]);
            let hosts = ["run", "--rm", "--add-host", "up:host-gateway", "busybox", "cat", "/etc/hosts"];
            assert!(docker.ok(&hosts).contains("172.17.0.1\tup"));
        });
    });
}

#[test]
fn a_link_is_taken_away_while_both_run_and_stays_away() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.sleeper(&["--name", "db"]);
        docker.sleeper(&["--name", "web", "--link", "db:store", "--link", "db:other"]);
        let links = || {
            let mut links: Vec<String> = serde_json::from_str::<Option<_>>(&docker.ok(&[
                "inspect",
                "-f",
                "{{json .HostConfig.Links}}",
                "web",
            ]))
            .unwrap()
            .unwrap_or_default();
            links.sort();
            links
        };
        assert_eq!(links(), ["/db:/web/other", "/db:/web/store"]);
        for (name, said) in [
            ("web/nope", "No such container: web/nope"),
            ("nobody/store", "No such container: nobody/store"),
            ("web", "Conflict, cannot remove the default link name of the container"),
        ] {
            let (code, _, err) = docker.run(&["rm", "--link", name]);
            assert!(code == 1 && err.contains(said), "{name}: {err}");
        }
        assert_eq!(docker.ok(&["rm", "--link", "/web/store"]), "/web/store\n");
        for time in ["at once", "after a restart"] {
            let hosts = docker.ok(&["exec", "web", "cat", "/etc/hosts"]);
            assert!(hosts.contains("\tother ") && !hosts.contains("\tstore "), "{time}: {hosts}");
            assert_eq!(links(), ["/db:/web/other"], "{time}");
            docker.ok(&["restart", "-t", "0", "web"]);
        }
        docker.ok(&["rm", "--link", "web/other"]);
        assert!(links().is_empty());
        docker.ok(&["rm", "-f", "web", "db"]);
    });
}

#[test]
fn ports_come_from_ranges_in_both_families_and_are_changed_while_running() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["network", "create", "--ipv6", "--subnet", "fd00:9::/64", "six"]);
        let server = ["busybox", "httpd", "-f", "-p", "80"];
        let run = |name: &str, ports: &[&str], network: &str| {
            let start = [&["run", "-d", "--name", name, "--network", network], ports, &server[..]].concat();
            docker.ok(&start)
        };
        run("one", &["-p", "127.0.0.1:18080-18090:80"], "bridge");
        run("two", &["-p", "127.0.0.1:18080-18090:80"], "bridge");
        let ports = |name: &str| docker.ok(&["port", name]);
        assert_eq!(ports("one"), "80/tcp -> 127.0.0.1:18080\n");
        run("four", &["-p", "18110:80", "-p", "[::1]:18111:80"], "bridge");
        let shown = ports("four");
        let mut four: Vec<&str> = shown.lines().collect();
        four.sort_unstable();
        assert_eq!(four, ["80/tcp -> 0.0.0.0:18110", "80/tcp -> [::1]:18111", "80/tcp -> [::]:18110"]);
        run("any", &["-P", "--expose", "80"], "bridge");
        let any = ports("any");
        let numbers: Vec<&str> = any.lines().filter_map(|line| line.rsplit(':').next()).collect();
        assert!(numbers.len() == 2 && numbers[0] == numbers[1], "{any}");
        assert_eq!(ports("two"), "80/tcp -> 127.0.0.1:18081\n");
        run("six6", &["-p", "18100:80", "-p", "18101:81/udp"], "six");
        let shown = ports("six6");
        for line in ["80/tcp -> 0.0.0.0:18100", "80/tcp -> [::]:18100", "81/udp -> 0.0.0.0:18101"] {
            assert!(shown.contains(line), "{shown}");
        }
        // Docker 20.10 publishes on IPv6 by its proxy only, and cannot change ports.
        let addresses = [
            "127.0.0.1:18080",
            "127.0.0.1:18100",
            "[fd00:9::1]:18100",
            "[::1]:18100",
            "[::1]:18110",
            "[::1]:18111",
        ];
        for address in if docker.is_peer() { &addresses[..2] } else { &addresses } {
            docker.until("a published port answers", || std::net::TcpStream::connect(address).is_ok());
        }
        if docker.is_peer() {
            return;
        }
        let body = r#"{"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"18200"}]}}"#;
        docker.post("/containers/one/update", body);
        assert_eq!(ports("one"), "80/tcp -> 127.0.0.1:18200\n");
        assert!(std::net::TcpStream::connect("127.0.0.1:18200").is_ok());
        assert!(std::net::TcpStream::connect("127.0.0.1:18080").is_err());
        docker.ok(&["restart", "-t", "0", "one"]);
        assert_eq!(ports("one"), "80/tcp -> 127.0.0.1:18200\n");
    });
}

#[test]
fn options_of_endpoints_and_the_address_of_ports_are_taken() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&[
            "network",
            "create",
            "-o",
            "com.docker.network.bridge.host_binding_ipv4=127.0.0.1",
            "near",
        ]);
        let name = "driver-opt=com.docker.network.endpoint.ifname=lan7";
        let setting =
            "\"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1\"";
        let network = format!("name=near,{name},{setting}");
        docker.sleeper(&["--name", "xx", "--network", &network, "-p", "18300:80"]);
        assert_eq!(docker.ok(&["port", "xx"]), "80/tcp -> 127.0.0.1:18300\n");
        let read = ["exec", "xx", "cat", "/proc/sys/net/ipv4/conf/lan7/log_martians"];
        assert_eq!(docker.ok(&read), "1\n");
        let format = "{{json (index .NetworkSettings.Networks \"near\").DriverOpts}}";
        assert!(docker.ok(&["inspect", "-f", format, "xx"]).contains("endpoint.ifname\":\"lan7"));
        let network = "name=near,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=1";
        let (code, _, err) = docker.run(&["run", "--rm", "--network", network, "busybox", "true"]);
        assert!(code == 125 && err.contains("IFNAME"), "{err}");
    });
}
