//! Repositories that a server shows only to whom it knows.

use crate::builds::context;
use crate::platform::{Platform, output, run};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// The password `open-sesame` of the user `x-access-token`.
const TOKEN: &str = "Basic eC1hY2Nlc3MtdG9rZW46b3Blbi1zZXNhbWU=";

/// git's own HTTP server behind a door; it ends with the test.
struct Server {
    /// `127.0.0.1:PORT`.
    host: String,
    /// What each request was authorised by.
    shown: Arc<Mutex<Vec<Option<String>>>>,
}

impl Server {
    /// `wants` is the only value of `Authorization` that opens the door; without one it is open.
    fn start(root: &Path, wants: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (root, shown) = (root.to_owned(), Arc::new(Mutex::new(Vec::new())));
        let seen = shown.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (root, seen) = (root.clone(), seen.clone());
                // A client that goes away is no fault of the server.
                std::thread::spawn(move || serve(&client.unwrap(), &root, wants, &seen));
            }
        });
        Self { host, shown }
    }

    fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.host)
    }
}

/// A request: its first line and its headers, and its body.
struct Request {
    lines: Vec<String>,
    body: Vec<u8>,
}

impl Request {
    fn read(client: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(client);
        let mut request = Self { lines: Vec::new(), body: Vec::new() };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            match line.trim_end() {
                "" => break,
                line => request.lines.push(line.to_owned()),
            }
        }
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        request.body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut request.body).ok()?;
        Some(request)
    }

    fn header(&self, name: &str) -> Option<String> {
        let mut all = self.lines.iter().skip(1).filter_map(|line| line.split_once(": "));
        all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    /// What `git http-backend`, which speaks CGI, answers.
    fn by_git(&self, root: &Path) -> Option<Vec<u8>> {
        let mut words = self.lines.first()?.split(' ');
        let (method, address) = (words.next()?, words.next()?);
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let mut command = Command::new("git");
        command.arg("http-backend").env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
        command.env("REQUEST_METHOD", method).env("PATH_INFO", path).env("QUERY_STRING", query);
        command.env("CONTENT_LENGTH", self.body.len().to_string()).env("GIT_CONFIG_GLOBAL", "/dev/null");
        for (name, variable) in [
            ("content-type", "CONTENT_TYPE"),
            ("content-encoding", "HTTP_CONTENT_ENCODING"),
            ("git-protocol", "GIT_PROTOCOL"),
        ] {
            command.env(variable, self.header(name).unwrap_or_default());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        child.stdin.take()?.write_all(&self.body).ok()?;
        Some(child.wait_with_output().ok()?.stdout)
    }
}

/// One request; `None` where the client goes away.
fn serve(
    mut client: &TcpStream,
    root: &Path,
    wants: Option<&str>,
    seen: &Mutex<Vec<Option<String>>>,
) -> Option<()> {
    let request = Request::read(client)?;
    let shown = request.header("authorization");
    seen.lock().unwrap().push(shown.clone());
    if wants.is_some() && shown.as_deref() != wants {
        let refused = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\n\
            Content-Length: 0\r\nConnection: close\r\n\r\n";
        return client.write_all(refused.as_bytes()).ok();
    }
    let answer = request.by_git(root)?;
    let status = answer.strip_prefix(b"Status: ").map_or("200 OK".into(), |rest| {
        String::from_utf8_lossy(rest.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned()
    });
    client.write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n").as_bytes()).ok()?;
    client.write_all(&answer).ok()
}

fn git(dir: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(dir).args([
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t",
        "-c",
        "protocol.file.allow=always",
    ]);
    run(command.args(args).env("GIT_CONFIG_GLOBAL", "/dev/null"));
}

/// A repository with those files.
fn repository(path: PathBuf, files: &[(&str, &str)]) -> PathBuf {
    fs::create_dir_all(&path).unwrap();
    for (name, text) in files {
        fs::write(path.join(name), text).unwrap();
    }
    git(&path, &["init", "-q"]);
    git(&path, &["add", "."]);
    git(&path, &["commit", "-q", "-m", "one"]);
    path
}

struct Yard {
    platform: Platform,
    dir: tempfile::TempDir,
}

impl Yard {
    fn start() -> Self {
        let platform = Platform::with_busybox();
        Self { platform, dir: tempfile::tempdir().unwrap() }
    }

    /// Whether the context is built with these secrets, by id, and what is said.
    fn build(&self, context: &str, secrets: &[(&str, &str)]) -> (bool, String) {
        let mut command = self.platform.hako();
        command.args(["build", "--no-cache", "-t", "app"]);
        for (number, (id, value)) in secrets.iter().enumerate() {
            let variable = format!("SECRET_{number}");
            command.arg(format!("--secret=id={id},env={variable}")).env(variable, value);
        }
        let output = output(command.arg(context));
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains("open-sesame") && !said.contains("eC1hY2"), "{said}");
        (output.status.success(), said)
    }
}

#[test]
fn a_secret_opens_private_repositories_as_contexts_and_as_sources() {
    let yard = Yard::start();
    repository(
        yard.dir.path().join("r.git"),
        &[("Dockerfile", "FROM busybox\nCOPY f /f\n"), ("f", "private")],
    );
    let server = Server::start(yard.dir.path(), Some(TOKEN));
    let url = server.url("r.git");
    for secrets in
        [&[][..], &[("GIT_AUTH_TOKEN", "wrong")], &[("GIT_AUTH_TOKEN.other.example", "open-sesame")]]
    {
        let (is_done, said) = yard.build(&url, secrets);
        assert!(!is_done && said.contains("git fetch failed"), "{secrets:?}: {said}");
    }
    let own = format!("GIT_AUTH_TOKEN.{}", server.host);
    let header = format!("GIT_AUTH_HEADER.{}", server.host);
    for secrets in [
        &[("GIT_AUTH_TOKEN", "open-sesame")][..],
        &[("GIT_AUTH_HEADER", TOKEN)],
        // Those of the server count first, and of these the header.
        &[("GIT_AUTH_HEADER", "wrong"), (own.as_str(), "open-sesame\n")],
        &[(header.as_str(), TOKEN), (own.as_str(), "wrong")],
    ] {
        let (is_done, said) = yard.build(&url, secrets);
        assert!(is_done, "{secrets:?}: {said}");
        assert_eq!(yard.platform.run(&["run", "--rm", "app", "cat", "/f"]), "private");
    }
    let adding = context(&yard.dir.path().join("main"), &format!("FROM busybox\nADD {url} /src\n"));
    assert!(!yard.build(&adding, &[]).0);
    let (is_done, said) = yard.build(&adding, &[("GIT_AUTH_TOKEN", "open-sesame")]);
    assert!(is_done, "{said}");
    assert_eq!(yard.platform.run(&["run", "--rm", "app", "cat", "/src/f"]), "private");
    yard.platform.down();
}

#[test]
fn another_server_never_sees_what_opens_the_first() {
    let yard = Yard::start();
    let root = yard.dir.path();
    let part = repository(root.join("open/part.git"), &[("f", "of a submodule")]);
    let open = Server::start(&root.join("open"), None);
    let whole =
        repository(root.join("closed/whole.git"), &[("Dockerfile", "FROM busybox\nCOPY part/f /f\n")]);
    git(&whole, &["submodule", "--quiet", "add", part.to_str().unwrap(), "part"]);
    git(&whole, &["config", "-f", ".gitmodules", "submodule.part.url", &open.url("part.git")]);
    git(&whole, &["commit", "-q", "-a", "-m", "two"]);
    let closed = Server::start(&root.join("closed"), Some(TOKEN));
    let (is_done, said) = yard.build(&closed.url("whole.git"), &[("GIT_AUTH_TOKEN", "open-sesame")]);
    assert!(is_done, "{said}");
    assert_eq!(yard.platform.run(&["run", "--rm", "app", "cat", "/f"]), "of a submodule");
    let shown = open.shown.lock().unwrap().clone();
    assert!(!shown.is_empty() && shown.iter().all(Option::is_none), "{shown:?}");
    assert!(closed.shown.lock().unwrap().iter().all(|shown| shown.as_deref() == Some(TOKEN)));
    yard.platform.down();
}
