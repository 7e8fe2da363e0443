//! A small HTTP server that says who it is: the program that `hako demo` deploys.
//!
//! `GET /` answers `hello VERSION from HOSTNAME: GREETING`, `/healthz` answers `ok`, `/config` the mounted
//! file. One thread per connection, one request per connection. On SIGTERM it exits at once, on purpose: the
//! platform, not the program, sees to it that no request is lost.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, fs, process, thread};

const SIGTERM: i32 = 15;

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(code: i32) -> !;
}

/// A process that is PID 1 of its namespace ignores signals it has no handler for.
extern "C" fn exit_at_once(_: i32) {
    // SAFETY: _exit is async-signal-safe.
    unsafe { _exit(0) }
}

fn main() {
    // SAFETY: the handler only calls an async-signal-safe function.
    unsafe { signal(SIGTERM, exit_at_once) };
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).unwrap_or_else(|error| {
        eprintln!("hello: listen on port {port}: {error}");
        process::exit(1)
    });
    println!("hello {} listens on port {port}", version());
    for connection in listener.incoming().flatten() {
        thread::spawn(move || {
            // A client that goes away mid-answer is its own affair.
            let _ = answer(connection);
        });
    }
}

fn version() -> String {
    env::var("VERSION").unwrap_or_else(|_| "v0".into())
}

fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, body) = match request.split(' ').nth(1) {
        Some("/") => ("200 OK", greeting()),
        Some("/healthz") => ("200 OK", "ok\n".to_owned()),
        Some("/config") => match fs::read_to_string("/etc/hello/greeting") {
            Ok(text) => ("200 OK", text + "\n"),
            Err(error) => ("500 Internal Server Error", format!("/etc/hello/greeting: {error}\n")),
        },
        _ => ("404 Not Found", "not found\n".to_owned()),
    };
    write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn greeting() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let built = fs::read_to_string("/srv/built").unwrap_or_default();
    let greeting = env::var("GREETING").unwrap_or_else(|_| "good day".into());
    format!("hello {} from {}: {greeting} ({})\n", version(), host.trim(), built.trim())
}
