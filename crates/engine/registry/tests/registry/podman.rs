//! podman and buildah: each logs in, pushes, and the other pulls.

use crate::auth::users;
use crate::support::{Fixture, output, run};
use hako_registry::config::AuthConfig;
use std::path::Path;

/// One of the two, with images below a directory of its own.
struct Tool<'a> {
    program: &'static str,
    dir: &'a Path,
}

impl Tool<'_> {
    fn arguments(&self, rest: &[&str]) -> Vec<String> {
        let path = |name: &str| self.dir.join(self.program).join(name).display().to_string();
        let own = ["--storage-driver", "vfs", "--root", &path("root"), "--runroot", &path("run")];
        own.iter().chain(rest).map(|argument| (*argument).to_owned()).collect()
    }

    fn run(&self, rest: &[&str]) -> String {
        let arguments = self.arguments(rest);
        run(self.program, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).trim().to_owned()
    }

    fn is_refused(&self, rest: &[&str]) -> bool {
        let arguments = self.arguments(rest);
        !output(self.program, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).status.success()
    }
}

#[test]
fn podman_and_buildah_push_what_the_other_pulls() {
    let dir = tempfile::tempdir().unwrap();
    let htpasswd = users(dir.path());
    let registry = Fixture::start_in(dir, |config| {
        config.auth = AuthConfig::Basic { htpasswd, realm: "test".into() };
    });
    let work = tempfile::tempdir().unwrap();
    std::fs::create_dir(work.path().join("files")).unwrap();
    std::fs::write(work.path().join("files/file"), vec![3; 2 << 20]).unwrap();
    let path = |name: &str| work.path().join(name).display().to_string();
    run("tar", &["-C", &path("files"), "-cf", &path("files.tar"), "."]);
    std::fs::write(path("none.json"), "{}").unwrap();
    let (auth, none) =
        (format!("--authfile={}", path("auth.json")), format!("--authfile={}", path("none.json")));
    let plain = "--tls-verify=false";
    let tools = ["podman", "buildah"].map(|program| Tool { program, dir: work.path() });
    tools[0].run(&["login", &auth, plain, "-u", "alice", "-p", "alice-password", &registry.host()]);

    let imported = tools[0].run(&["import", "-q", &path("files.tar")]);
    let first = imported.trim_start_matches("sha256:");
    for (at, tag) in ["by-podman", "by-buildah"].into_iter().enumerate() {
        let (from, to) = (&tools[at], &tools[1 - at]);
        let name = format!("{}/team/app:{tag}", registry.host());
        from.run(&["tag", first, &name]);
        assert!(from.is_refused(&["push", &none, plain, &name]), "{tag}: without a password");
        from.run(&["push", "-q", &auth, plain, &name]);
        // A push of what is there already is one too.
        from.run(&["push", "-q", &auth, plain, &name]);
        let pulled = to.run(&["pull", "-q", &auth, plain, &name]);
        assert_eq!(pulled, first, "{tag}: the configuration's digest is the image's everywhere");
    }
    // What buildah makes itself.
    let built = format!("{}/team/built:1", registry.host());
    let container = tools[1].run(&["from", "--pull-never", first]);
    tools[1].run(&["config", "--label", "made=here", &container]);
    tools[1].run(&["commit", "-q", &container, &built]);
    tools[1].run(&["push", "-q", &auth, plain, &built]);
    tools[0].run(&["pull", "-q", &auth, plain, &built]);
    assert_eq!(tools[0].run(&["inspect", "-f", "{{.Labels.made}}", &built]), "here");
}
