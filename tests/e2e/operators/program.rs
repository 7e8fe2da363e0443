//! What operators of every language share: an image of a program and the libraries that it names, and a platform where it runs.

use crate::platform::{Platform, output, repository, run, wait_until};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Copies a program and the shared libraries that the loader finds for it and `more` into a root, where they are here.
pub fn collect(root: &Path, program: &Path, place: &str, more: &[PathBuf]) {
    let mut wanted = vec![(program.to_path_buf(), PathBuf::from(place))];
    let said = run(Command::new("ldd").arg(program).args(more));
    let paths = said.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    wanted.extend(paths.map(|path| (PathBuf::from(path), PathBuf::from(path))));
    for (from, to) in wanted {
        let to = root.join(to.strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&from, &to).unwrap();
    }
}

/// An operator that stands, with its namespace's name.
pub struct Operator {
    /// Goes before the platform.
    _said: Said,
    pub platform: Platform,
    pub namespace: &'static str,
}

/// What an operator said is shown when its test fails.
struct Said {
    kubeconfig: PathBuf,
    namespace: &'static str,
}

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut logs = Command::new("kubectl");
            logs.arg("--kubeconfig").arg(&self.kubeconfig).args(["-n", self.namespace, "logs", "--prefix"]);
            let said = output(logs.args(["--selector", &format!("app={}", self.namespace), "--tail=50"]));
            let said = [said.stdout, said.stderr].concat();
            eprintln!("--- the operator's log ---\n{}", String::from_utf8_lossy(&said));
        }
    }
}

impl Operator {
    /// Starts a platform with busybox, makes an image of a context, and applies what is in the operator's manifests.
    pub fn start(directory: &str, namespace: &'static str, prepare: impl FnOnce(&Platform, &Path)) -> Self {
        let platform = Platform::with_busybox();
        let context = tempfile::tempdir().unwrap();
        prepare(&platform, context.path());
        let manifests = repository().join("tests/operators").join(directory).join("manifests.yaml");
        platform.kubectl(&["apply", "-f", manifests.to_str().unwrap()]);
        let said = Said { kubeconfig: platform.kubeconfig(), namespace };
        let operator = Self { _said: said, platform, namespace };
        operator.wait_rolled_out();
        operator
    }

    pub fn wait_rolled_out(&self) {
        let deployment = format!("deployment/{}", self.namespace);
        self.platform.kubectl(&["-n", self.namespace, "rollout", "status", &deployment, "--timeout=60s"]);
    }

    /// kubectl with a file on its standard input: whether it succeeded, and what it said.
    pub fn with_input(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut command = self.platform.kubectl_command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Applies what has to be taken; gives what kubectl said.
    #[track_caller]
    pub fn apply(&self, text: &str) -> String {
        let (is_taken, said) = self.with_input(&["apply", "-f", "-"], text);
        assert!(is_taken, "{text}: {said}");
        said
    }

    /// Applies what has to be refused; gives the reason.
    #[track_caller]
    pub fn refused(&self, text: &str) -> String {
        let (is_taken, said) = self.with_input(&["apply", "-f", "-"], text);
        assert!(!is_taken, "{text}: {said}");
        said
    }

    /// A field of an object in the namespace `default`, empty where either is not there.
    pub fn field(&self, object: &str, path: &str) -> String {
        self.field_in("default", object, path)
    }

    pub fn field_in(&self, namespace: &str, object: &str, path: &str) -> String {
        let path = format!("jsonpath={path}");
        let mut command = self.platform.kubectl_command();
        let found = output(command.args(["-n", namespace, "get", object, "--ignore-not-found", "-o", &path]));
        String::from_utf8_lossy(&found.stdout).into_owned()
    }

    /// Waits until a field of an object in the namespace `default` is this.
    #[track_caller]
    pub fn wait_field(&self, object: &str, path: &str, wanted: &str) {
        wait_until(&format!("{path} of {object} to be {wanted:?}"), || self.field(object, path) == wanted);
    }

    /// The pod that holds a lease in the operator's namespace.
    pub fn leader(&self) -> String {
        let lease = format!("lease/{}", self.namespace);
        let mut leader = String::new();
        wait_until("a leader", || {
            leader = self.field_in(self.namespace, &lease, "{.spec.holderIdentity}");
            !leader.is_empty()
        });
        leader
    }

    /// Kills the container of a pod, and takes the pod away before it can come back.
    pub fn kill(&self, pod: &str) {
        self.platform.kubectl(&["-n", self.namespace, "delete", "pod", pod, "--grace-period=0", "--force"]);
    }
}
