//! BuildKit through the crate bollard, whose messages are generated from BuildKit's own descriptions.

use crate::daemon::{Daemon, with_daemon};
use bollard::Docker;
use bollard::grpc::build::{ImageBuildFrontendOptions, ImageBuildLoadInput, SecretSource};
use bollard::grpc::driver::Build;
use bollard::grpc::driver::moby::Moby;
use bollard::models::BuildInfoAux;
use bollard::query_parameters::{BuildImageOptionsBuilder, BuilderVersion};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{Either, Full};

fn context(files: &[(&str, &str)]) -> Bytes {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().into()
}

fn connected(docker: &Daemon) -> (tokio::runtime::Runtime, Docker) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let entered = runtime.enter();
    let api = Docker::connect_with_unix(docker.socket.to_str().unwrap(), 60, bollard::API_DEFAULT_VERSION);
    let api = api.unwrap();
    drop(entered);
    (runtime, api)
}

#[test]
fn bollard_builds_by_the_control_service() {
    with_daemon(|docker| {
        docker.import_busybox();
        let (runtime, api) = connected(docker);
        let word = docker.dir.join("word");
        std::fs::write(&word, "open sesame").unwrap();
        let dockerfile = "FROM busybox\nARG WHO\nCOPY file /f\n\
                          RUN --mount=type=secret,id=word wc -c < /run/secrets/word > /length && echo $WHO > /who\n";
        let build = |dockerfile: &str, name: &str| {
            let options = ImageBuildFrontendOptions::builder()
                .buildarg("WHO", "me")
                .set_secret("word", &SecretSource::File(word.clone()))
                .build();
            let input = context(&[("Dockerfile", dockerfile), ("file", "uploaded\n")]);
            let driver = Moby::new(&api);
            runtime.block_on(driver.docker_build(
                name,
                options,
                ImageBuildLoadInput::Upload(input),
                None,
                None,
            ))
        };
        build(dockerfile, "by-bollard:1").unwrap();
        let shown = docker.ok(&["run", "--rm", "by-bollard:1", "cat", "/f", "/length", "/who"]);
        assert_eq!(shown, "uploaded\n11\nme\n");
        let error = build("FROM busybox\nRUN exit 7\n", "by-bollard:2").unwrap_err();
        assert!(format!("{error:?}").replace("code:", "code").contains("exit code 7"), "{error:?}");
    });
}

#[test]
fn bollard_builds_with_a_session_beside_the_build() {
    with_daemon(|docker| {
        docker.import_busybox();
        let (runtime, api) = connected(docker);
        let options = BuildImageOptionsBuilder::default()
            .t("beside:1")
            .version(BuilderVersion::BuilderBuildKit)
            .session("a-session")
            .build();
        let body = context(&[("Dockerfile", "FROM busybox\nRUN echo told; echo made > /made\n")]);
        let told = runtime.block_on(async {
            let mut stream = api.build_image(options, None, Some(Either::Left(Full::new(body))));
            let mut told = String::new();
            while let Some(news) = stream.next().await {
                if let Some(BuildInfoAux::BuildKit(news)) = news.unwrap().aux {
                    news.vertexes.iter().for_each(|vertex| told.push_str(&vertex.name));
                    news.logs.iter().for_each(|log| told.push_str(&String::from_utf8_lossy(&log.msg)));
                }
            }
            told
        });
        assert!(told.contains("RUN echo told") && told.contains("told\n"), "{told}");
        assert_eq!(docker.ok(&["run", "--rm", "beside:1", "cat", "/made"]), "made\n");
    });
}
