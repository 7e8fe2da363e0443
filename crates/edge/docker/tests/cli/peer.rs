//! The same cases on Debian's dockerd, so that a wrong case shows. This binary is run once more for each peer, with the
//! peer's place in its environment; [`crate::daemon::with_daemon`] then leads there.

use crate::daemon::{Daemon, PEER};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a dockerd may take to answer.
const START: Duration = Duration::from_secs(30);

/// Daemons that share the cases between them. One is idle much of the time.
const PEERS: usize = 4;

/// Modules whose cases are not for a peer, and why.
const MODULES_OF_OURS: &[(&str, &str)] = &[
    ("peer", "is this"),
    ("seen", "has no daemon"),
    ("table", "has no daemon"),
    ("archive_races", "dockerd answers them with 500, and waits for ever for somebody to write to a pipe"),
    ("devices", "the Container Device Interface came with API 1.45"),
    ("parameters", "most of it came after API 1.41, or is refused by us only"),
    ("userns", "dockerd is told at its start whose ids its containers have"),
];

/// Cases that are not for a peer, and why.
const OURS: &[(&str, &str)] = &[
    (
        "fields::an_exec_has_an_environment_a_place_a_size_and_may_run_by_itself",
        "a detached exec has its terminal on no input there",
    ),
    ("changes::a_prune_of_the_build_cache_makes_the_room_that_is_asked_for", "room came with API 1.48"),
    (
        "changes::an_update_of_what_is_fixed_is_refused_by_name_and_repeating_it_is_not",
        "dockerd leaves it away without a word",
    ),
    (
        "changes::an_update_reaches_every_limit_of_the_group",
        "dockerd leaves away rates of block devices without a word",
    ),
    (
        "changes::limits_of_kernel_memory_and_options_of_devices_are_taken_or_told",
        "dockerd leaves away the limit of TCP memory without a word",
    ),
    (
        "network_kinds::a_network_without_a_parent_is_for_its_members_alone",
        "dockerd makes a dummy link, which this kernel may lack",
    ),
    (
        "network_kinds::addresses_that_count_on_a_link_only_are_given",
        "its hook fails for an address of IPv6 where the network has none",
    ),
    (
        "network_kinds::ports_of_sctp_are_led_shown_and_taken_once",
        "its proxy wants a socket of SCTP, which this kernel may lack",
    ),
    ("fields::a_container_has_the_hardware_address_that_it_is_given", "command lines since 25 want API 1.44"),
    (
        "hostconfig::a_container_that_removes_itself_survives_its_restart",
        "dockerd takes the end within the restart for the last now and then, and removes it",
    ),
    (
        "sdk::docker_py_of_an_adversary_is_refused_in_words_and_harms_nobody",
        "dockerd answers 500 where an archive names what is outside",
    ),
    (
        "streams::what_comes_with_the_head_of_a_session_is_the_head_alone",
        "dockerd writes what a program says behind the head, whoever has read that",
    ),
    ("fields::images_are_listed_and_committed_with_every_parameter", "shared sizes came with API 1.42"),
    (
        "fields::logs_are_cut_by_time_and_attach_gives_what_was_said_before",
        "signals of a stop came with API 1.42",
    ),
    (
        "fields::networks_have_a_range_names_for_addresses_and_options",
        "addresses of an endpoint came with API 1.44",
    ),
    ("fields::what_a_request_asks_for_in_vain_is_warned_of", "annotations came with API 1.43"),
    ("fields::what_only_a_builder_or_a_caller_reads_is_kept", "annotations came with API 1.43"),
    ("fields::a_node_in_no_swarm_says_so_of_every_path", "a change of volumes came with API 1.42"),
    ("fields::binds_have_the_options_that_a_mount_gives_them", "some came with API 1.44"),
    ("fields::fields_that_cannot_be_had_are_refused_by_their_names", "dockerd has them"),
    (
        "archive::cve_2019_14271_nothing_of_the_container_is_loaded_or_run",
        "dockerd reads who the container's users are in its files",
    ),
    (
        "archive::what_is_copied_onto_a_file_of_the_network_is_seen_while_the_container_runs",
        "dockerd refuses it: the file cannot be replaced, for something is mounted on it",
    ),
    (
        "archive::files_that_the_kernel_makes_are_copied_with_what_is_in_them",
        "dockerd copies from the container's own files alone",
    ),
    (
        "events::clients_that_ask_for_no_upgrade_get_a_raw_connection",
        "dockerd sends the headers of all its answers before the stream",
    ),
    (
        "events::every_action_of_a_session_is_told_in_its_order",
        "before API 1.42 a prune of volumes takes those with names",
    ),
    ("hostconfig::an_exec_makes_no_directory_and_a_container_does", "exit codes of later versions"),
    (
        "hostconfig::mounts_propagate_where_the_source_s_mount_does_and_are_refused_elsewhere",
        "dockerd runs in a mount namespace of its own here",
    ),
    ("hostconfig::mistakes_show_when_a_container_is_made", "words of later versions"),
    (
        "likeness::the_directories_of_a_container_and_of_an_image_are_told_as_overlay2_tells_them",
        "dockerd's driver depends on its file system, and it mounts in a namespace of its own here",
    ),
    ("limits::counters_say_all_that_the_group_counts", "dockerd leaves out counters that are zero"),
    ("networks::options_of_endpoints_and_the_address_of_ports_are_taken", "they came with API 1.46"),
    ("search::a_registry_s_own_search_is_asked_and_filtered", "dockerd passes on what a terminal would obey"),
    ("search::an_answer_that_is_none_is_an_error", "dockerd shows the parser's words"),
    (
        "buildkit::limits_of_steps_are_those_that_the_client_gives",
        "the BuildKit of 20.10 reads neither of them",
    ),
    ("buildkit::half_a_session_is_refused_or_forgotten", "dockerd takes a session without a name"),
    (
        "control::a_build_is_asked_for_on_the_gateway_and_its_news_are_heard_beside_it",
        "digests came with BuildKit 0.10",
    ),
    ("control::a_session_may_be_carried_inside_a_call", "the exporter of 20.10 is `moby`"),
    ("control::what_is_not_built_is_refused_by_name", "graphs of BuildKit's own are built by it"),
    (
        "hostconfig::privileged_containers_have_the_devices_of_the_host",
        "runc wants capabilities that a machine may lack",
    ),
    ("images::an_empty_file_is_no_image", "dockerd makes an image of nothing"),
    ("images::lists_and_filters_are_dockers", "an imported image has no digest before it was pushed"),
    ("limits::what_is_left_away_is_told_and_what_contradicts_itself_is_refused", "asks for API 1.42"),
    (
        "streams::a_body_is_standard_input_where_the_connection_is_not_upgraded",
        "dockerd gives the chunks' heads too",
    ),
    ("streams::a_request_with_too_many_headers_is_refused", "dockerd has no such limit"),
    ("streams::headers_and_refusals_are_docker_s", "asks for API 1.51"),
    (
        "system::a_build_cache_is_counted_until_it_is_pruned",
        "the classic builder of 20.10 has no cache beside images",
    ),
    ("volumes::a_part_of_a_volume_is_mounted_and_links_do_not_lead_out", "came with API 1.45"),
    ("volumes::a_tmpfs_has_the_options_that_a_mount_gives_it", "came with API 1.46"),
    ("volumes::cve_2021_25741_a_part_that_is_swapped_for_a_link_never_shows_the_host", "came with API 1.45"),
    ("volumes::files_of_an_image_are_mounted_and_kept_while_the_container_is_there", "came with API 1.48"),
];

/// A dockerd in namespaces of its own, with its own paths.
struct Peer {
    daemon: Child,
    dir: tempfile::TempDir,
    cgroup: String,
}

impl Peer {
    /// `None`, said aloud, where dockerd is not installed or does not start. The caller's thread is in its network
    /// afterwards, and the daemon ends with that thread.
    fn start(number: usize) -> Option<Self> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        hako_netlink::Links::open().unwrap().set_up("lo").unwrap();
        let dir = tempfile::Builder::new().prefix("hako-peer-").tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("config.json"), "{}").unwrap();
        let cgroup = format!("hako-peer-{}-{number}", std::process::id());
        let daemon = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "slave", "dockerd"])
            .arg("--config-file")
            .arg(path("config.json"))
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", path("docker.sock").display()))
            .args(["--cgroup-parent", &cgroup])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path("log")).unwrap())
            .spawn()
            .ok()?;
        let mut peer = Self { daemon, dir, cgroup };
        if peer.answers() {
            return Some(peer);
        }
        let log = std::fs::read_to_string(peer.dir.path().join("log")).unwrap_or_default();
        not_here(log.lines().last().unwrap_or_default());
        None
    }

    fn answers(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < START && self.daemon.try_wait().unwrap().is_none() {
            if docker(&self.socket(), &["version"]).status.success() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    fn run(&self, cases: &[String]) -> Output {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--test-threads", "1"])
            .args(cases)
            .env(PEER, self.socket())
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
        // Version 2 has groups at the root, others in a directory each.
        let root = PathBuf::from("/sys/fs/cgroup");
        let hierarchies = std::fs::read_dir(&root).unwrap().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([root.clone()]) {
            remove_groups(&hierarchy.join(&self.cgroup));
        }
    }
}

/// No test is skipped silently.
#[expect(clippy::print_stdout, reason = "for who reads the test's output")]
fn not_here(why: &str) {
    println!("dockerd does not start here: {why}");
}

/// A group goes when those below it are gone.
fn remove_groups(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}

fn docker(socket: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.arg("--host").arg(format!("unix://{}", socket.display())).args(args);
    command.stdin(Stdio::null()).output().unwrap()
}

/// Runs a case on the peer at this socket, which has nothing before and after it.
pub fn with_peer(socket: &Path, test: impl FnOnce(&Daemon)) {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::new(socket.to_owned(), dir.path().to_owned());
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&daemon)));
    empty(socket);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Removes all that a case has left.
fn empty(socket: &Path) {
    for (list, remove) in [
        (&["ps", "-aq"][..], &["rm", "-f", "-v"][..]),
        (&["volume", "ls", "-q"], &["volume", "rm", "-f"]),
        (&["network", "ls", "-q", "--filter", "type=custom"], &["network", "rm"]),
        // An image goes after those that were made of it.
        (&["images", "-aq"], &["rmi", "-f"]),
        (&["images", "-aq"], &["rmi", "-f"]),
        (&["images", "-aq"], &["rmi", "-f"]),
    ] {
        let found = String::from_utf8(docker(socket, list).stdout).unwrap();
        let found: BTreeSet<&str> = found.lines().collect();
        if !found.is_empty() {
            docker(socket, &[remove, &found.into_iter().collect::<Vec<_>>()].concat());
        }
    }
    docker(socket, &["builder", "prune", "-af"]);
}

/// The names of the cases that a peer does too.
fn cases() -> Vec<String> {
    let listed = Command::new(std::env::current_exe().unwrap())
        .args(["--list", "--format", "terse"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let module = |name: &str| name.split("::").next().unwrap_or_default().to_owned();
    for (excluded, _) in OURS {
        assert!(names.contains(excluded), "{excluded} is excluded and not there");
    }
    for (excluded, _) in MODULES_OF_OURS {
        assert!(names.iter().any(|name| module(name) == *excluded), "{excluded} is excluded and not there");
    }
    let is_ours = |name: &str| {
        OURS.iter().any(|(ours, _)| *ours == name)
            || MODULES_OF_OURS.iter().any(|(ours, _)| *ours == module(name))
    };
    names.into_iter().filter(|name| !is_ours(name)).map(str::to_owned).collect()
}

/// Does the cases of one share; the answer is what went wrong.
fn share(number: usize, cases: &[String]) -> Option<String> {
    let peer = Peer::start(number)?;
    let output = peer.run(cases);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (!output.status.success()).then(|| text(&output.stdout) + &text(&output.stderr))
}

#[test]
#[ignore = "long"]
fn dockerd_does_the_same() {
    let has = Command::new("dockerd").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(has, "no dockerd: install the package docker.io");
    // The network of a peer leads nowhere.
    crate::sdk::python();
    crate::sdk::node();
    let cases = cases();
    let shares: Vec<Vec<String>> =
        (0..PEERS).map(|number| cases.iter().skip(number).step_by(PEERS).cloned().collect()).collect();
    let running: Vec<_> = shares
        .into_iter()
        .enumerate()
        .map(|(number, cases)| std::thread::spawn(move || share(number, &cases)))
        .collect();
    let wrong: Vec<String> = running.into_iter().filter_map(|share| share.join().unwrap()).collect();
    assert!(wrong.is_empty(), "dockerd does otherwise: {}", wrong.join("\n"));
}
