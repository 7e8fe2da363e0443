//! What the fuzz targets run, on a corpus and on damaged copies of it: the same each time.

#[path = "../fuzz/harness/containers.rs"]
mod containers;
#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/queries.rs"]
mod queries;
#[path = "../fuzz/harness/solves.rs"]
mod solves;
#[path = "../fuzz/harness/trees.rs"]
mod trees;

use serde_json::json;

#[test]
fn a_container_is_taken_or_its_client_is_told_what_is_wrong() {
    let whole = json!({
        "Image": "busybox", "Cmd": ["true"], "Entrypoint": "sh", "Env": ["A=b", "C"], "User": "1:2", "Hostname": "h",
        "ExposedPorts": {"80/tcp": {}, "90-95/udp": {}}, "Labels": {"a": null}, "StopSignal": "SIGINT", "StopTimeout": -1,
        "Healthcheck": {"Test": ["CMD-SHELL", "x"], "Interval": 1_000_000_000_u64, "Retries": -3},
        "HostConfig": {
            "Binds": ["/a:/b:ro,rslave", "v:/c", "/d"], "NetworkMode": "bridge", "Memory": 67_108_864, "CpusetCpus": "0-1,3",
            "PortBindings": {"80/tcp": [{"HostIp": "::1", "HostPort": "8080-8090"}]}, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "Tmpfs": {"/t": "size=1m,mode=0700"}, "SecurityOpt": ["seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}", "no-new-privileges"],
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}],
            "DeviceCgroupRules": ["c 1:* rwm"], "Sysctls": {"net.ipv4.ip_forward": "1"}, "ExtraHosts": ["a:1.2.3.4", "b=::1"],
            "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}], "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "Mounts": [{"Type": "volume", "Source": "v", "Target": "/m", "VolumeOptions": {"Subpath": "a/../b"}}], "ShmSize": -1,
        },
        "NetworkingConfig": {"EndpointsConfig": {"n": {"IPAMConfig": {"IPv4Address": "10.0.0.300"}, "Links": null}}},
    });
    let numbers = json!({"Image": "i", "HostConfig": {
        "Memory": i64::MAX, "MemorySwap": i64::MIN, "NanoCpus": i64::MAX, "CpuShares": u64::MAX, "PidsLimit": 1e300, "CpusetCpus": "0-4294967295",
        "PortBindings": {"1-65535/tcp": [{"HostPort": "1-65535"}], "70000/tcp": null}, "BlkioWeight": 1}});
    let texts = [
        whole.to_string(),
        numbers.to_string(),
        json!({"image": "i", "hostconfig": {"MEMORY": 7}, "Cmd": null}).to_string(),
        "[".repeat(5000),
        "{\"HostConfig\":".repeat(5000),
        "null".to_owned(),
        String::new(),
    ];
    damaged::run(texts.map(String::into_bytes).into(), 4000, containers::run);
}

#[test]
fn a_query_is_taken_or_its_client_is_told_what_is_wrong() {
    let seeds = [
        "all=1&limit=-3&filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%2C%22until%22%3A%5B%221h30m%22%5D%2C%22dangling%22%3A%7B%22true%22%3Atrue%7D%7D",
        "filters=%7B%22name%22%3A%5B%22(a%7Cb)*%5Bx-z%5D%7B1%2C1000%7D%22%2C%22(%22%5D%7D&since=1.5&until=2000-01-02",
        "filters={\"until\":[\"999999999999999999999h\"],\"name\":[\"((((a{100}){100}){100}){100}\"]}",
        "since=-9223372036854775808.999999999&filters={\"until\":[\"2000-01-02+25:00\"]}",
        "t=a/b:c&t=d&buildargs={\"A\":\"b\",\"C\":null}&labels={}&dockerfile=x&extrahosts=a:1.2.3.4&shmsize=64m&ulimits=[{\"Name\":\"nofile\",\"Soft\":1,\"Hard\":2}]",
        "outputs=[{\"Type\":\"tar\",\"Attrs\":{\"dest\":\"-\"}}]&cachefrom=[\"a\",\"b\"]&platform=linux/amd64,x&networkmode=host&nocache=1&pull=1&target=z",
        "a=%ff&b=%zz&%41",
        "filters=[[[[[[[[",
    ];
    hako_docker::wire::query(seeds[0]).expect("a list");
    damaged::run(seeds.map(|seed| seed.as_bytes().to_vec()).into(), 4000, queries::run);
}

/// A field of a message: its number and what is in it.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 127 {
        field.push(length as u8 | 128);
        length >>= 7;
    }
    field.push(length as u8);
    [&field, bytes].concat()
}

fn entry(name: &str, value: &str) -> Vec<u8> {
    [field(1, name.as_bytes()), field(2, value.as_bytes())].concat()
}

#[test]
fn a_request_to_build_is_taken_or_its_client_is_told_what_is_wrong() {
    let frontend = field(6, b"dockerfile.v0");
    let attributes = [
        ("filename", "D"),
        ("build-arg:A", "b"),
        ("platform", "linux/amd64,linux/arm64"),
        ("add-hosts", "a=1.2.3.4,b"),
        ("shm-size", "18446744073709551615"),
        ("ulimit", "nofile=1:2,x=y"),
        ("attest:provenance", "mode=max,builder-id=x"),
        ("cache-imports", "[{\"Type\":\"registry\",\"Attrs\":{\"ref\":\"a/b\"}}]"),
        ("force-network-mode", "host"),
        ("no-cache", "a,b"),
        ("label:x", "y"),
    ];
    let asked: Vec<u8> = attributes.iter().flat_map(|(name, value)| field(7, &entry(name, value))).collect();
    let export = [field(1, b"local"), field(2, &entry("dest", "/x"))].concat();
    let image =
        [field(1, b"image"), field(2, &entry("name", "a,b:c,UPPER")), field(2, &entry("push", "true"))]
            .concat();
    let cache = [field(4, &image), field(5, &export)].concat();
    let graph = field(2, &field(1, b"op"));
    let seeds = vec![
        frontend.clone(),
        [frontend.clone(), asked, field(5, b"s")].concat(),
        [
            frontend.clone(),
            field(13, &export),
            field(13, &image),
            field(8, &cache),
            field(9, b"network.host"),
        ]
        .concat(),
        [field(6, b"gateway.v0"), field(7, &entry("source", "docker/dockerfile:1"))].concat(),
        [frontend, graph, field(10, &field(1, b"x")), field(12, b"")].concat(),
        vec![0xff; 12],
    ];
    hako_docker::wire::solve(&seeds[0]).expect("a build");
    damaged::run(seeds, 6000, solves::run);
}

const DIRECTORY: u32 = 1 << 31 | 0o755;
const LINK: u32 = 1 << 27 | 0o777;

/// A packet with its length before it.
fn packet(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u32).to_be_bytes(), packet].concat()
}

fn number(number: u8, mut value: u64) -> Vec<u8> {
    let mut field = vec![number << 3];
    while value > 127 {
        field.push(value as u8 | 128);
        value >>= 7;
    }
    field.push(value as u8);
    field
}

fn stat(path: &str, mode: u32, size: u64, link: &str) -> Vec<u8> {
    let mut stat = [field(1, path.as_bytes()), number(2, mode.into()), number(5, size)].concat();
    stat.extend(number(6, 1_500_000_000_000_000_000));
    if !link.is_empty() {
        stat.extend(field(7, link.as_bytes()));
    }
    let attribute = [field(1, b"user.a"), field(2, b"b")].concat();
    stat.extend(field(10, &attribute));
    packet(&field(2, &stat))
}

fn data(id: u64, bytes: &[u8]) -> Vec<u8> {
    packet(&[number(1, 2), number(3, id), field(4, bytes)].concat())
}

#[test]
fn a_tree_is_made_below_its_directory() {
    let (all, fin) = (packet(&[]), packet(&number(1, 3)));
    let entries = [
        stat("a", DIRECTORY, 0, ""),
        stat("a/b", 0o644, 3, ""),
        stat("a/c", 0o644, 0, "a/b"),
        stat("a/l", LINK, 0, "../../beside"),
        stat("empty", 0o6777, 0, ""),
    ]
    .concat();
    let contents = [data(1, b"x"), data(1, b"yz"), data(1, b"")].concat();
    let out = |path: &str, link: &str| {
        [
            stat("up", LINK, 0, ".."),
            stat(path, 0o644, 3, link),
            all.clone(),
            data(1, b"bad"),
            data(1, b""),
            fin.clone(),
        ]
        .concat()
    };
    let seeds = vec![
        [entries, all.clone(), contents, fin.clone()].concat(),
        out("up/beside", ""),
        out("../beside", ""),
        out("a", "up/beside"),
        out("up", ""),
        [stat("p", 1 << 25 | 0o644, 0, ""), stat("d", 1 << 26 | 0o644, 0, ""), all, fin].concat(),
        vec![0xff; 9],
    ];
    let dir = tempfile::tempdir().expect("a directory");
    hako_docker::wire::tree(&seeds[0], dir.path()).expect("a whole tree");
    damaged::run(seeds, 800, trees::run);
}
