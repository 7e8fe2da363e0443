//! The life of a container, its network and its volume through the crate bollard.

use crate::daemon::{Daemon, with_daemon};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, Ipam, IpamConfig,
    NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, EventsOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions, UploadToContainerOptionsBuilder,
    WaitContainerOptions,
};
use futures::{Stream, StreamExt};
use http_body_util::{Either, Full};
use std::collections::HashMap;

fn some(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

async fn said<E: std::fmt::Debug>(stream: impl Stream<Item = Result<LogOutput, E>>) -> String {
    stream.map(|piece| piece.unwrap().to_string()).collect().await
}

async fn start(api: &Docker, name: &str, cmd: &[&str], host: HostConfig) {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let body = ContainerCreateBody {
        image: Some("busybox".into()),
        cmd: some(cmd),
        env: some(&["A=b"]),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    api.create_container(Some(options), body).await.unwrap();
    api.start_container(name, None).await.unwrap();
}

async fn exec(api: &Docker, container: &str, cmd: &[&str]) -> (String, Option<i64>) {
    let config = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: some(cmd),
        ..CreateExecOptions::default()
    };
    let id = api.create_exec(container, config).await.unwrap().id;
    let StartExecResults::Attached { output, .. } = api.start_exec(&id, None).await.unwrap() else {
        panic!("it is attached");
    };
    let said = said(output).await;
    (said, api.inspect_exec(&id).await.unwrap().exit_code)
}

async fn put_and_get(api: &Docker) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    tar.append_data(&mut header, "put", &b"here"[..]).unwrap();
    let to = UploadToContainerOptionsBuilder::default().path("/tmp").build();
    let body = Either::Left(Full::new(tar.into_inner().unwrap().into()));
    api.upload_to_container("web", Some(to), body).await.unwrap();
    let from = DownloadFromContainerOptionsBuilder::default().path("/tmp/put").build();
    let pieces: Vec<_> =
        api.download_from_container("web", Some(from)).map(|piece| piece.unwrap().to_vec()).collect().await;
    let archive = pieces.concat();
    assert!(archive.windows(4).any(|bytes| bytes == b"here"));
}

async fn join_a_network(api: &Docker) {
    let pool = IpamConfig { subnet: Some("10.66.0.0/24".into()), ..IpamConfig::default() };
    let network = NetworkCreateRequest {
        name: "app".into(),
        ipam: Some(Ipam { config: Some(vec![pool]), ..Ipam::default() }),
        internal: Some(true),
        ..NetworkCreateRequest::default()
    };
    api.create_network(network).await.unwrap();
    let endpoint = EndpointSettings {
        aliases: some(&["shelf"]),
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some("10.66.0.9".into()),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    };
    let connect = NetworkConnectRequest { container: "web".into(), endpoint_config: Some(endpoint) };
    api.connect_network("app", connect).await.unwrap();
    let seen = api.inspect_container("web", None).await.unwrap().network_settings.unwrap().networks.unwrap();
    assert_eq!(seen["app"].ip_address.as_deref(), Some("10.66.0.9"));
    assert!(exec(api, "web", &["nslookup", "-type=a", "shelf", "127.0.0.11"]).await.0.contains("10.66.0.9"));
    let leave = NetworkDisconnectRequest { container: "web".into(), force: Some(true) };
    api.disconnect_network("app", leave).await.unwrap();
    api.remove_network("app").await.unwrap();
}

async fn live(docker: &Daemon) {
    let socket = docker.socket.to_str().unwrap();
    let api = Docker::connect_with_unix(socket, 60, bollard::API_DEFAULT_VERSION).unwrap();
    let api = api.negotiate_version().await.unwrap();
    let began = jiff::Timestamp::now();
    let began = format!("{}.{:09}", began.as_second(), began.subsec_nanosecond());
    let volume = VolumeCreateRequest {
        name: Some("kept".into()),
        labels: Some(HashMap::from([("team".into(), "a".into())])),
        ..VolumeCreateRequest::default()
    };
    assert_eq!(api.create_volume(volume).await.unwrap().name, "kept");
    let host = HostConfig { memory: Some(64 << 20), binds: some(&["kept:/kept"]), ..HostConfig::default() };
    start(&api, "web", &["sh", "-c", "echo up; echo oops >&2; exec sleep 100"], host).await;
    let logs = || LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    docker.until("it has spoken", || docker.ok(&["logs", "web"]) == "up\n");
    let spoken = said(api.logs("web", Some(logs()))).await;
    assert!(spoken.contains("up\n") && spoken.contains("oops\n"), "{spoken}");
    let (out, code) = exec(&api, "web", &["sh", "-c", "echo $A; exit 5"]).await;
    assert_eq!((out.as_str(), code), ("b\n", Some(5)));
    put_and_get(&api).await;
    join_a_network(&api).await;
    let seen = api.inspect_container("web", None).await.unwrap();
    assert_eq!(seen.host_config.unwrap().memory, Some(64 << 20));

    let filters = HashMap::from([("container", vec!["web"]), ("type", vec!["container"])]);
    let since = EventsOptionsBuilder::default().since(&began).filters(&filters).build();
    let events = api.events(Some(since));
    let force = RemoveContainerOptionsBuilder::default().force(true).build();
    api.remove_container("web", Some(force)).await.unwrap();
    let mut events = std::pin::pin!(events);
    let mut actions: Vec<String> = Vec::new();
    while actions.last().is_none_or(|action| action != "destroy") {
        actions.push(events.next().await.unwrap().unwrap().action.unwrap());
    }
    assert!(actions.starts_with(&["create".into(), "start".into()]), "{actions:?}");
    assert!(actions.ends_with(&["kill".into(), "die".into(), "destroy".into()]), "{actions:?}");
    api.remove_volume("kept", None::<RemoveVolumeOptions>).await.unwrap();

    start(&api, "short", &["sh", "-c", "exit 3"], HostConfig::default()).await;
    let ended = api.wait_container("short", None::<WaitContainerOptions>).next().await.unwrap();
    assert!(format!("{ended:?}").contains('3'), "{ended:?}");
    api.remove_container("short", None).await.unwrap();
}

#[test]
fn bollard_lives_through_a_container() {
    with_daemon(|docker| {
        docker.import_busybox();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(docker));
    });
}
