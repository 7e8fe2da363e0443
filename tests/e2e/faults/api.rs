//! The Docker API as bytes on a socket: a daemon that dies in the middle of an answer is an ordinary case here.

use serde_json::{Value, json};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

pub struct Api {
    pub socket: PathBuf,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Api {
    /// One request on a connection of its own.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        self.send(method, path, "application/json", &body)
    }

    /// The same with a body of another kind.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Answer> {
        let mut connection = UnixStream::connect(&self.socket)?;
        // HTTP/1.0: the answer ends with the connection.
        let head = format!(
            "{method} /v1.51{path} HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes())?;
        connection.write_all(body)?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        parse(&answer).ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))
    }

    /// A request that must be answered with one of `statuses`.
    #[track_caller]
    pub fn ok(&self, method: &str, path: &str, body: &Value, statuses: &[u16]) -> Value {
        let answer = self.call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(statuses.contains(&answer.status), "{method} {path}: {} {said}", answer.status);
        answer.json()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.ok("GET", path, &Value::Null, &[200])
    }

    #[track_caller]
    pub fn has(&self, path: &str) -> bool {
        let answer = self.call("GET", path, &Value::Null).unwrap();
        assert!([200, 404].contains(&answer.status), "GET {path}: {}", answer.status);
        answer.status == 200
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Value {
        self.ok("POST", path, &body, &[200, 201, 204, 304])
    }

    #[track_caller]
    pub fn delete(&self, path: &str) {
        self.ok("DELETE", path, &Value::Null, &[200, 204, 404]);
    }

    /// Runs a command in a container; gives what it wrote.
    pub fn try_exec(&self, container: &str, script: &str) -> Result<String> {
        let body = json!({ "Cmd": ["sh", "-c", script], "AttachStdout": true, "AttachStderr": true });
        let made = self.call("POST", &format!("/containers/{container}/exec"), &body)?.json();
        let path = format!("/exec/{}/start", made["Id"].as_str().unwrap_or_default());
        let started = self.call("POST", &path, &json!({ "Detach": false }))?;
        Ok(String::from_utf8_lossy(&started.body).into_owned())
    }

    #[track_caller]
    pub fn exec(&self, container: &str, script: &str) -> String {
        self.try_exec(container, script).unwrap()
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[..end]).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: answer[end + 4..].to_vec() })
}

/// Whether a web server answers there.
pub fn answers(port: u16) -> bool {
    let ask = || -> Result<Vec<u8>> {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        connection.write_all(b"GET /nothing HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with(b"HTTP/1"))
}
