//! `POST /containers/create`: Docker's words into the engine's.

mod check;
mod config;
mod cpuset;
mod devices;
mod fields;
mod limits;
mod log;
mod mounts;
mod network;
mod resources;
mod security;
mod share;

pub(crate) use config::restart_policy;
pub(crate) use fields::{refuse, refuse_changes};
pub(crate) use limits::settle;
pub(crate) use mounts::destination;
pub(crate) use network::{everywhere, ports};
pub(crate) use resources::{check_update, resources, shown};

use super::REQUEST;
use super::body::{JsonBody, check_object, typed};
use super::health::{Check, HEALTH};
use super::host::{CreateRequest, Words};
use crate::DockerState;
use crate::api::ApiVersion;
use crate::error::{Answer, Failure, blocking, invalid, message};
use crate::image::platform;
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use config::container_spec;
use hako_container::{ContainerEngine, IMAGE_AS_WRITTEN, ImageSource, NetworkMode};
use hako_error::{Error, Kind};
use hako_image::Image;
use hako_image::transfer::Platform;
use http::StatusCode;
use mounts::{check_new_volumes, take_volumes};
use network::sandbox_spec;
use serde_json::{Value, json};

pub(crate) async fn create(
    State(state): State<DockerState>,
    params: Params,
    version: ApiVersion,
    JsonBody(mut body): JsonBody<Value>,
) -> Answer {
    refuse(&body)?;
    let objects = ["HostConfig", "NetworkingConfig", "Healthcheck"];
    let mut request: CreateRequest = objects
        .iter()
        .try_for_each(|name| check_object(name, &body[*name]))
        .map_err(|error| error.to_string())
        .and_then(|()| typed(body.clone()).map_err(|error| error.to_string()))
        .map_err(|error| invalid(format!("container config: {error}")))?;
    if request.image.is_empty() {
        return Err(invalid("no image given: name one in Image"));
    }
    let (images, wanted) = (state.images.clone(), request.image.clone());
    let image = match blocking(move || images.find(&wanted)).await {
        Err(failure) if failure.0.is_not_found() => return Ok(no_such_image(&request.image)),
        found => found?,
    };
    check_platform(&params, &image)?;
    let config = image.config.config().as_ref();
    let mut exposed = config.and_then(|config| config.exposed_ports().clone()).unwrap_or_default();
    exposed.extend(request.exposed_ports.iter().flatten().map(|(port, _)| port.clone()));
    let source = match request.image.parse() {
        Ok(name) if image.name.is_some() => ImageSource::Name(name),
        _ => ImageSource::Id(image.id.hex()),
    };
    let as_written = request.image.clone();
    let mut host = request.host_config.clone().unwrap_or_default();
    check::check(&request, &host)?;
    check::storage(&host, || is_xfs(state.images.dir()))?;
    let mut warnings = settle(|feature| state.engine.has(feature), &mut host, version)?;
    warnings.extend(network::discarded_ports(&host));
    warnings.extend(foreign_platform(params.get("platform"), &image));
    network::resolve_host_gateway(&state, &mut host).await?;
    let everywhere = everywhere(&state, &host.network_mode).await?;
    let mut sandbox = sandbox_spec(&request, &host, &exposed, &everywhere)?;
    sandbox.remapped = security::is_remapped(&host, state.engine.users().is_some())?;
    network::let_ordinary_users(&mut sandbox);
    sandbox.share = share::share(&state, &request, &host, &mut body).await?;
    if sandbox.network == NetworkMode::Endpoints {
        sandbox.endpoints = network::endpoints(&state, &request, &host).await?;
    }
    let check = Check::merged(request.healthcheck.clone(), &image.raw_config["config"]["Healthcheck"])?;
    let volumes_from = host.volumes_from.clone().unwrap_or_default();
    clear_entrypoint(&mut request, config.and_then(|config| config.cmd().clone()));
    let mut spec = container_spec(request, host, version)?;
    take_volumes(&state, &volumes_from, &mut spec.mounts).await?;
    spec.image = source;
    spec.name = params.get("name").unwrap_or_default().trim_start_matches('/').to_owned();
    spec.annotations.insert(IMAGE_AS_WRITTEN.to_owned(), as_written);
    if let Some(check) = check {
        spec.annotations.insert(HEALTH.to_owned(), json!(check).to_string());
    }
    spec.annotations.insert(REQUEST.to_owned(), body.to_string());
    check_new_volumes(&state, &spec.mounts)?;
    let id = state.engine.create_standalone(sandbox, spec).await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": id, "Warnings": warnings }))).into_response())
}

/// What can be said of a body without its image, its networks and volumes.
pub(crate) fn judged(body: &Value) -> Result<(), Failure> {
    refuse(body)?;
    let request = typed::<CreateRequest>(body.clone()).map_err(|error| invalid(error.to_string()))?;
    let host = request.host_config.clone().unwrap_or_default();
    check::check(&request, &host)?;
    let exposed: Vec<String> = request.exposed_ports.iter().flatten().map(|(port, _)| port.clone()).collect();
    sandbox_spec(&request, &host, &exposed, &[])?;
    container_spec(request, host, crate::api::NEWEST).map(drop)
}

/// The words that docker looks for before it pulls.
fn no_such_image(name: &str) -> Response {
    message(StatusCode::NOT_FOUND, &format!("No such image: {}", crate::image::with_tag(name)))
}

fn is_xfs(dir: &std::path::Path) -> bool {
    const XFS: i128 = 0x5846_5342;
    rustix::fs::statfs(dir).is_ok_and(|found| i128::from(found.f_type) == XFS)
}

/// An empty list clears the image's entrypoint and leaves its cmd, where one empty word clears both.
fn clear_entrypoint(request: &mut CreateRequest, cmd: Option<Vec<String>>) {
    let Some(Words::List(entrypoint)) = &mut request.entrypoint else { return };
    if entrypoint.is_empty() {
        entrypoint.push(String::new());
        request.cmd = request.cmd.take().filter(|words| !words.is_empty()).or(cmd.map(Words::List));
    }
}

/// What `--platform` asks for is what the image is; another one of the same name is for `docker pull` to bring.
fn check_platform(params: &Params, image: &Image) -> Result<(), Failure> {
    let Some(wanted) = platform::wanted(params)? else { return Ok(()) };
    let here = platform::of(image);
    match wanted.rank(&here) {
        Some(_) => Ok(()),
        None => Err(Failure::from(Error::new(
            Kind::NotFound,
            format!(
                "image {} is here for {here}, not for {wanted}: pull it with --platform {wanted}",
                image.display_name()
            ),
        ))),
    }
}

/// dockerd's warning about an image that this machine runs only by emulation, if at all.
fn foreign_platform(wanted: Option<&str>, image: &Image) -> Option<String> {
    if wanted.is_some_and(|text| !text.is_empty()) {
        return None;
    }
    let host = Platform::host();
    let (os, architecture) = (image.config.os().to_string(), image.config.architecture().to_string());
    // A 64-bit machine runs what its 32-bit predecessor did.
    let runs = match host.architecture.as_str() {
        own if own == architecture => true,
        "amd64" => architecture == "386",
        "arm64" => architecture == "arm",
        _ => false,
    };
    if os == host.os && runs {
        return None;
    }
    let variant = image.config.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
    Some(format!(
        "The requested image's platform ({os}/{architecture}{variant}) does not match the detected host platform \
         ({}/{}) and no specific platform was requested",
        host.os, host.architecture
    ))
}

/// `64m` and the like.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|end: char| !end.is_ascii_digit());
    let factor = match lower[digits.len()..].trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::mounts::bind_mount;
    use super::*;
    use crate::api::{ApiVersion, NEWEST};
    use hako_container::Below;
    use hako_container::{ContainerSpec, Mount, MountSource, Propagation, RestartPolicy, SandboxSpec};
    use std::path::PathBuf;

    fn parsed(body: Value) -> (SandboxSpec, ContainerSpec) {
        let request: CreateRequest = serde_json::from_value(body).unwrap();
        let host = request.host_config.clone().unwrap_or_default();
        (
            sandbox_spec(&request, &host, &["80/tcp".into()], &[]).unwrap(),
            container_spec(request, host, crate::api::NEWEST).unwrap(),
        )
    }

    #[test]
    fn volumes_are_binds_names_or_anonymous() {
        let mount = |text| bind_mount(text, NEWEST).unwrap();
        let bind = MountSource::Bind { path: "/a".into(), propagation: Propagation::Slave, create: true };
        let read_only = Mount {
            target: "/b".into(),
            source: bind,
            read_only: true,
            below: Below::Same,
            subpath: String::new(),
        };
        assert_eq!(mount("/a:/b:ro,rslave"), read_only);
        let older = bind_mount("/a:/b:ro", ApiVersion(1, 43)).unwrap();
        assert_eq!(older.below, Below::Writable, "recursive since 1.44");
        assert_eq!(mount("data:/b").source, MountSource::volume("data"));
        assert_eq!(mount("/b").source, MountSource::volume(""));
        assert!(mount("/a:/b:ro,z,rslave,cached").read_only);
        for bad in ["/a:b", "/a:/b:odd", "/a:/", "a:b:c:d", "/a:/b:ro,rw", "/a:/b:z,Z", "/a:/b:slave,rslave"]
        {
            assert!(bind_mount(bad, NEWEST).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_that_ask_for_it_get_no_copy_of_the_image() {
        let (_, spec) = parsed(json!({ "Image": "busybox", "HostConfig": {
            "Binds": ["a:/a:nocopy", "b:/b", "c:/c:ro,nocopy"],
            "Mounts": [{ "Type": "volume", "Source": "d", "Target": "/d", "VolumeOptions": { "NoCopy": true } },
                       { "Type": "volume", "Source": "e", "Target": "/e", "VolumeOptions": {} }] } }));
        assert_eq!(spec.no_copy, ["/a", "/c", "/d"].map(PathBuf::from));
    }

    #[test]
    fn options_of_another_type_of_mount_are_refused() {
        let body = json!({ "Image": "busybox", "HostConfig": {
            "Mounts": [{ "Type": "tmpfs", "Target": "/t", "BindOptions": { "Propagation": "rslave" } }] } });
        let request: CreateRequest = serde_json::from_value(body).unwrap();
        let host = request.host_config.clone().unwrap_or_default();
        let refused = container_spec(request, host, NEWEST).unwrap_err().0.chain();
        assert!(refused.contains("field BindOptions must not be specified"), "{refused}");
    }

    #[test]
    fn parts_of_volumes_and_images_stay_inside() {
        let mount = |mount: Value, version| {
            let body = json!({ "Image": "busybox", "HostConfig": { "Mounts": [mount] } });
            let request: CreateRequest = serde_json::from_value(body).unwrap();
            let host = request.host_config.clone().unwrap_or_default();
            let spec = container_spec(request, host, version).map_err(|failure| failure.0.chain())?;
            Ok::<_, String>(spec.mounts[0].clone())
        };
        let volume = |subpath| json!({ "Type": "volume", "Source": "v", "Target": "/t", "VolumeOptions": { "Subpath": subpath } });
        assert_eq!(mount(volume("a/b"), NEWEST).unwrap().subpath, "a/b");
        for bad in ["/a", "../a", "a/../b"] {
            assert!(
                mount(volume(bad), NEWEST).unwrap_err().contains("relative path within the volume"),
                "{bad}"
            );
        }
        let image = json!({ "Type": "image", "Source": "busybox", "Target": "/t", "ImageOptions": { "Subpath": "bin" } });
        let read = mount(image.clone(), NEWEST).unwrap();
        assert!(read.read_only && read.subpath == "bin");
        assert!(mount(image, ApiVersion(1, 47)).unwrap_err().contains("needs API v1.48"));
        assert!(
            mount(json!({ "Type": "odd", "Target": "/t" }), NEWEST)
                .unwrap_err()
                .contains("mount type unknown")
        );
        let mixed = json!({ "Type": "bind", "Source": "/", "Target": "/t", "ImageOptions": {} });
        assert!(mount(mixed, NEWEST).unwrap_err().contains("field ImageOptions must not be specified"));
    }

    #[test]
    fn a_request_of_the_cli_becomes_a_spec() {
        let (sandbox, spec) = parsed(json!({
            "Image": "busybox", "Cmd": ["true"], "Entrypoint": null, "Labels": {"a": "b"}, "StopSignal": "SIGINT",
            "HostConfig": {
                "NetworkMode": "default", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}, "PublishAllPorts": true,
                "Memory": 67_108_864, "NanoCpus": 1_500_000_000, "PidsLimit": 50, "CapDrop": ["ALL"], "Tmpfs": {"/t": "size=1m"},
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "SecurityOpt": ["no-new-privileges"],
            },
        }));
        assert_eq!(sandbox.ports.len(), 1);
        assert_eq!((sandbox.ports[0].host_port, sandbox.ports[0].container_port), (8080, 80));
        assert_eq!(spec.args, ["true"]);
        assert_eq!(
            (spec.resources.cpu_quota_us, spec.resources.cpu_period_us),
            (Some(150_000), Some(100_000))
        );
        assert_eq!(
            (spec.resources.memory, spec.resources.pids, spec.stop_signal),
            (Some(64 << 20), Some(50), Some(2))
        );
        assert_eq!(spec.restart, RestartPolicy::OnFailure { max_retries: 3 });
        assert!(spec.no_new_privs);
        assert!(matches!(spec.mounts[0].source, MountSource::Tmpfs { size: Some(1_048_576), .. }));
    }
}
