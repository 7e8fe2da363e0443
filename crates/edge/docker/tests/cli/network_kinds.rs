//! What networks are made of: settings from elsewhere, who gives out addresses, links that they sit on; and SCTP.

use crate::daemon::{Daemon, with_daemon};
use std::process::Command;

const SLEEP: [&str; 3] = ["busybox", "sleep", "1000"];

impl Daemon {
    fn sleeps(&self, options: &[&str]) -> String {
        self.ok(&[&["run", "-d"], options, &SLEEP[..]].concat()).trim().to_owned()
    }

    /// What a command says that must fail.
    fn refusal(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_ne!(code, 0, "docker {args:?}: {out}");
        err
    }

    fn network(&self, format: &str, name: &str) -> String {
        self.ok(&["network", "inspect", "-f", format, name]).trim().to_owned()
    }
}

fn create<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["network", "create"], args].concat()
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn ports_of_sctp_are_led_shown_and_taken_once() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.sleeps(&["--name", "sig", "-p", "18400:80/sctp", "--expose", "81/sctp"]);
        // The container has IPv4 only, and nobody relays SCTP.
        assert_eq!(docker.ok(&["port", "sig"]), "80/sctp -> 0.0.0.0:18400\n");
        let ports = docker.ok(&["ps", "--format", "{{.Ports}}"]);
        assert!(ports.contains("0.0.0.0:18400->80/sctp") && ports.contains("81/sctp"), "{ports}");
        let shown = docker.ok(&["inspect", "-f", "{{json .NetworkSettings.Ports}}", "sig"]);
        assert!(shown.contains(r#""80/sctp":[{"HostIp":"0.0.0.0","HostPort":"18400"}]"#), "{shown}");
        let found = |filter: &str| docker.ok(&["ps", "--format", "{{.Names}}", "--filter", filter]);
        assert_eq!(found("publish=18400/sctp") + &found("expose=80-81/sctp"), "sig\nsig\n");
        assert_eq!(found("publish=18400/tcp") + &found("expose=80/udp"), "");
        let ip = docker.ok(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "sig"]);
        let rule = format!("sctp . 18400 : {} . 80", ip.trim());
        let rules = || output("nft", &["list", "ruleset"]);
        assert!(rules().contains(&rule), "{rule} is not in {}", rules());
        let again = docker.refusal(&["run", "--rm", "-p", "127.0.0.1:18400:80/sctp", "busybox", "true"]);
        assert!(again.contains("Bind for 127.0.0.1:18400 failed: port is already allocated"), "{again}");
        // Another protocol is another port.
        docker.ok(&["run", "--rm", "-p", "18400:80/udp", "busybox", "true"]);
        let six = docker.refusal(&["run", "--rm", "-p", "[::1]:18401:80/sctp", "busybox", "true"]);
        assert!(six.contains("nothing can carry SCTP"), "{six}");
        docker.ok(&["rm", "-f", "sig"]);
        assert!(!rules().contains("sctp"), "{}", rules());
        docker.ok(&["run", "--rm", "-p", "127.0.0.1:18400:80/sctp", "-p", "80/sctp", "busybox", "true"]);
    });
}

#[test]
fn networks_are_made_from_the_settings_of_another() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            docker.ok(&create(&[
                "--config-only",
                "--subnet=10.96.0.0/24",
                "--ipam-opt=one=two",
                "--opt=com.docker.network.bridge.enable_icc=true",
                "--label=team=a",
                "base",
            ]));
            let kind = "{{.ConfigOnly}} {{.Driver}} {{.Scope}} {{(index .IPAM.Config 0).Subnet}}";
            assert_eq!(docker.network(kind, "base"), "true null local 10.96.0.0/24");
            docker.ok(&create(&["--config-from=base", "app"]));
            let kind = "{{.ConfigOnly}} {{.ConfigFrom.Network}} {{.Driver}} {{index .Labels \"team\"}} {{index .IPAM.Options \"one\"}} {{index .Options \"com.docker.network.bridge.enable_icc\"}} {{(index .IPAM.Config 0).Subnet}}";
            assert_eq!(docker.network(kind, "app"), "false base bridge a two true 10.96.0.0/24");
            let ip = ["run", "--rm", "--network=app", "busybox", "ip", "-o", "-4", "addr", "show", "eth0"];
            assert!(docker.ok(&ip).contains("10.96.0.2/24"));
            let run = ["run", "--rm", "--network=base", "busybox", "true"];
            let refused = docker.refusal(&run);
            assert!(refused.contains("cannot create endpoint on configuration-only network"), "{refused}");
            docker.run(&["rm", "-f", "-v", "app"]);
            let refused = docker.refusal(&["network", "rm", "base"]);
            assert!(refused.contains(r#"configuration network "base" is in use"#), "{refused}");
            for (args, why) in [
                (&["--config-from=nope", "x"][..], r#"configuration network "nope" does not exist"#),
                (&["--config-from=app", "x"], r#"configuration network "app" does not exist"#),
                (&["--config-from=base", "x"], "Pool overlaps"),
                (&["--config-only", "--internal", "x"], "Network operator fields like"),
                (&["--config-only", "--attachable", "x"], "Network operator fields like"),
                (&["--config-only", "--config-from=base", "x"], "cannot depend on another configuration network"),
                (&["--config-from=base", "--label=b=c", "x"], "user specified configurations are not supported"),
                (&["--config-from=base", "--subnet=10.97.0.0/24", "x"], "user specified configurations are not"),
                (&["--config-from=base", "--opt=a=b", "x"], "network driver options are not supported"),
            ] {
                let refused = docker.refusal(&create(args));
                assert!(refused.contains(why), "{args:?}: {refused}");
            }
            docker.ok(&["network", "rm", "app"]);
            docker.ok(&["network", "prune", "-f"]);
            assert_eq!(docker.network("{{.Name}}", "base"), "base", "settings are not pruned");
            docker.ok(&["network", "rm", "base"]);
        });
    });
}

#[test]
fn who_gives_out_addresses_is_taken_shown_or_refused() {
    with_daemon(|docker| {
        docker.ok(&create(&["--ipam-driver=default", "--ipam-opt=a=b", "app"]));
        let shown = "{{.IPAM.Driver}} {{index .IPAM.Options \"a\"}}";
        assert_eq!(docker.network(shown, "app"), "default b");
        for (args, why) in [
            (
                &["--ipam-driver=dhcp", "x"][..],
                "could not find plugin dhcp in v1 plugin registry: plugin not found",
            ),
            (&["--ipam-driver=null", "x"], "ipv4 pool is empty"),
            (
                &["--ipam-driver=null", "--subnet=10.9.0.0/24", "x"],
                "null ipam driver does not handle specific",
            ),
        ] {
            if docker.is_peer() && args[0].contains("dhcp") {
                continue;
            }
            let refused = docker.refusal(&create(args));
            assert!(docker.is_peer() || refused.contains(why), "{args:?}: {refused}");
        }
    });
}

#[test]
fn addresses_that_count_on_a_link_only_are_given() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            docker.ok(&["network", "create", "app"]);
            let ips = ["--link-local-ip=169.254.34.68", "--link-local-ip=fe80::68"];
            docker.sleeps(&["--name=xx", "--network=app", ips[0], ips[1]]);
            docker.sleeps(&["--name=yy"]);
            let name = "--driver-opt=com.docker.network.endpoint.ifname=lan9";
            docker.ok(&["network", "connect", "--link-local-ip=169.254.34.69", name, "app", "yy"]);
            assert!(docker.ok(&["exec", "yy", "ip", "addr", "show", "lan9"]).contains("169.254.34.69/16"));
            let shown = docker.ok(&["exec", "xx", "ip", "-o", "addr", "show", "eth0"]);
            assert!(shown.contains("169.254.34.68/16") && shown.contains("fe80::68/64"), "{shown}");
            docker.ok(&["exec", "yy", "ping", "-c", "1", "-W", "5", "169.254.34.68"]);
            let format = "{{json (index .NetworkSettings.Networks \"app\").IPAMConfig.LinkLocalIPs}}";
            let shown = docker.ok(&["inspect", "-f", format, "xx"]);
            assert_eq!(shown.trim(), r#"["169.254.34.68","fe80::68"]"#);
            docker.ok(&["restart", "-t0", "yy"]);
            docker.ok(&["exec", "xx", "ping", "-c", "1", "-W", "5", "169.254.34.69"]);
            let run = ["run", "--rm", "--network=app", "--link-local-ip=10.0.0.1", "busybox", "true"];
            let refused = docker.refusal(&run);
            assert!(refused.contains("invalid link local IP address: 10.0.0.1"), "{refused}");
            docker.ok(&["rm", "-f", "xx", "yy"]);
            docker.ok(&["container", "prune", "-f"]);
            docker.ok(&["network", "rm", "app"]);
        });
    });
}

#[test]
fn who_is_not_connected_cannot_be_taken_off() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["network", "create", "app"]);
        let id = docker.sleeps(&["--name=xx"]);
        docker.ok(&["create", "--name=yy", "busybox", "true"]);
        docker.sleeps(&["--name=hh", "--network=host"]);
        let running = format!("container {id} is not connected to network app");
        for (args, why) in [
            (&["app", "xx"][..], running.as_str()),
            (&["-f", "app", "xx"], &running),
            (&["app", "yy"], "is not connected to the network app"),
            (&["-f", "app", "yy"], "is not connected to the network app"),
            (&["app", "nobody"], "No such container: nobody"),
            (&["-f", "app", "nobody"], "endpoint nobody not found"),
            (&["-f", "nope", "nobody"], "network nope not found"),
            (&["nope", "xx"], "network nope not found"),
            (&["-f", "nope", "xx"], "is not connected to the network nope"),
            (&["host", "xx"], "is not connected to network host"),
            (&["host", "hh"], "cannot disconnect container from host network"),
        ] {
            if docker.is_peer() && args.iter().any(|word| matches!(*word, "nobody" | "nope" | "host")) {
                continue;
            }
            let refused = docker.refusal(&[&["network", "disconnect"], args].concat());
            assert!(refused.contains(why), "{args:?}: {refused}");
        }
        for (body, status) in [
            (r#"{"Container":"xx"}"#, "500"),
            (r#"{"Container":"nobody"}"#, "404"),
            (r#"{"Container":"nobody","Force":true}"#, "404"),
            ("{}", "400"),
        ] {
            let answer = docker.ask("POST", "/networks/app/disconnect", body);
            assert_eq!(answer.split(' ').nth(1), Some(status), "{body}: {answer}");
        }
        docker.ok(&["network", "connect", "app", "yy"]);
        docker.ok(&["network", "connect", "--alias", "again", "app", "yy"]);
        let aliases = docker.ok(&["inspect", "-f", "{{.NetworkSettings.Networks.app.Aliases}}", "yy"]);
        // Debian's dockerd takes the second request and keeps what the first said.
        assert!(
            docker.is_peer() || aliases.contains("again"),
            "the last word counts until the start: {aliases}"
        );
        let refused = docker.refusal(&["network", "connect", "host", "xx"]);
        assert!(
            docker.is_peer() || refused.contains("cannot connect container to host network"),
            "{refused}"
        );
        let linked = docker.refusal(&["run", "--rm", "--network=host", "--link=xx", "busybox", "true"]);
        assert!(linked.contains("host type networking can't be used with links"), "{linked}");
        docker.ok(&["network", "connect", "app", "xx"]);
        let busy = docker.refusal(&["network", "rm", "app"]);
        assert!(docker.is_peer() || busy.contains(r#"app has active endpoints (name:"xx" id:""#), "{busy}");
        let refused = docker.refusal(&["network", "connect", "app", "hh"]);
        assert!(refused.contains("sharing network namespace with another container or host"), "{refused}");
    });
}

#[test]
fn who_was_in_no_network_leaves_that_for_others() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.ok(&["network", "create", "app"]);
        docker.sleeps(&["--name=xx", "--network=none"]);
        let early = docker.refusal(&["network", "connect", "app", "xx"]);
        assert!(early.contains("with one of the networks in private (none) mode"), "{early}");
        docker.ok(&["network", "disconnect", "none", "xx"]);
        let networks = || docker.ok(&["inspect", "-f", "{{json .NetworkSettings.Networks}}", "xx"]);
        assert_eq!(networks(), "{}\n");
        docker.refusal(&["network", "disconnect", "none", "xx"]);
        docker.ok(&["network", "connect", "app", "xx"]);
        docker.sleeps(&["--name=yy", "--network=app"]);
        for _ in 0..2 {
            docker.ok(&["exec", "xx", "ping", "-c", "1", "-W", "5", "yy"]);
            let mode = docker.ok(&["inspect", "-f", "{{.HostConfig.NetworkMode}}", "xx"]);
            assert!(mode == "none\n" && networks().contains("\"app\""), "{mode}{}", networks());
            docker.ok(&["restart", "-t", "0", "xx"]);
        }
    });
}

#[test]
fn a_network_without_a_parent_is_for_its_members_alone() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let create = ["network", "create", "-d", "macvlan", "--subnet=10.94.0.0/24"];
            let (code, id, err) = docker.run(&[&create[..], &["lan"]].concat());
            if err.contains("CONFIG_DUMMY") {
                return;
            }
            assert_eq!(code, 0, "{err}");
            let link = format!("dm-{}", &id[..12]);
            let links = || output("ip", &["-o", "link"]);
            assert!(links().contains(&link), "{}", links());
            docker.sleeps(&["--name=xx", "--network=lan"]);
            docker.sleeps(&["--name=yy", "--network=lan"]);
            let format = "{{.NetworkSettings.Networks.lan.IPAddress}}";
            let ip = docker.ok(&["inspect", "-f", format, "yy"]);
            docker.ok(&["exec", "xx", "ping", "-c", "1", "-W", "5", ip.trim()]);
            assert!(!docker.ok(&["exec", "xx", "ip", "route"]).contains("default"));
            for (driver, parent, why) in [
                ("macvlan", "lo", "loopback interface is not a valid macvlan parent link"),
                ("ipvlan", "lo", "loopback interface is not a valid ipvlan parent link"),
                ("macvlan", "nope", "invalid subinterface vlan name nope, example formatting is eth0.10"),
                ("macvlan", "nope.10", "-o parent interface was not found on the host: nope"),
                ("macvlan", "lo.x", "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)"),
                ("macvlan", "lo.5000", "vlan id must be between 1-4094, received: 5000"),
                ("macvlan", "lo.1.2", "required interface name format is: name.vlan_id"),
            ] {
                let option = format!("parent={parent}");
                let refused = docker.refusal(&["network", "create", "-d", driver, "-o", &option, "bad"]);
                assert!(refused.contains(why), "{driver} {parent}: {refused}");
            }
            docker.ok(&["rm", "-f", "xx", "yy"]);
            docker.ok(&["network", "rm", "lan"]);
            assert!(!links().contains(&link), "{}", links());
        });
    });
}
