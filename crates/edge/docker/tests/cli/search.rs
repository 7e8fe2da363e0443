//! `docker search`, with a registry on the other side that answers as the first API of registries says.

use crate::daemon::with_daemon;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// A registry that answers every search with `body`, and tells what it was asked.
struct Index {
    host: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Index {
    fn start(body: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut first = String::new();
                // Who speaks TLS is no client of this one.
                if stream.read_line(&mut first).is_err() || !first.starts_with("GET /") {
                    continue;
                }
                let target = first.split(' ').nth(1).unwrap().to_owned();
                let is_search = target.starts_with("/v1/search");
                heard.lock().unwrap().push(target);
                let (status, body) =
                    if is_search { ("200 OK", body.as_str()) } else { ("404 Not Found", "") };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                let _ = stream.get_mut().write_all(answer.as_bytes());
            }
        });
        Self { host, asked }
    }
}

const RESULTS: &str = r#"{"num_pages":1,"num_results":3,"page":1,"page_size":25,"query":"app","results":[
  {"name":"app","description":"the \u001b[2Jone","star_count":7,"is_official":true,"is_automated":false},
  {"name":"team/app","description":"","star_count":3,"is_official":false,"is_automated":true},
  {"name":"me/app","star_count":0}]}"#;

#[test]
fn a_registry_s_own_search_is_asked_and_filtered() {
    with_daemon(|docker| {
        let index = Index::start(RESULTS.to_owned());
        let term = format!("{}/some app", index.host);
        docker.with_each_cli(|docker| {
            let search = |options: &[&str]| {
                let format =
                    ["search", "--format", "{{.Name}}|{{.Description}}|{{.StarCount}}|{{.IsOfficial}}"];
                docker.ok(&[&format[..], options, &[&term]].concat())
            };
            assert_eq!(search(&[]), "app|the  [2Jone|7|[OK]\nteam/app||3|\nme/app||0|\n");
            assert_eq!(search(&["--filter", "is-official=true"]), "app|the  [2Jone|7|[OK]\n");
            assert_eq!(search(&["--filter", "stars=3", "--filter", "is-official=false"]), "team/app||3|\n");
            assert_eq!(search(&["--limit", "2"]), "app|the  [2Jone|7|[OK]\nteam/app||3|\n");
            for (options, why) in [
                (["--limit", "101"], "outside the range of [1, 100]"),
                (["--filter", "stars=many"], "invalid filter 'stars=many'"),
                (["--filter", "is-official=maybe"], "invalid filter 'is-official=maybe'"),
            ] {
                let (code, _, err) = docker.run(&[&["search"], &options[..], &[&term]].concat());
                assert!(code == 1 && err.contains(why), "{options:?}: {err}");
            }
        });
        let asked = index.asked.lock().unwrap().clone();
        assert!(asked.contains(&"/v1/search?q=some%20app&n=25".to_owned()), "{asked:?}");
        assert!(asked.contains(&"/v1/search?q=some%20app&n=2".to_owned()), "{asked:?}");
    });
}

#[test]
fn an_answer_that_is_none_is_an_error() {
    with_daemon(|docker| {
        let many = format!(r#"{{"results":[{}]}}"#, vec![r#"{"name":"x"}"#; 500].join(","));
        let endless = format!(r#"{{"results":[{{"name":"{}"}}]}}"#, "x".repeat(5 << 20));
        for (body, why) in [("<html>", "no list of results"), (&endless, "larger than")] {
            let index = Index::start(body.to_owned());
            let (code, _, err) = docker.run(&["search", &format!("{}/app", index.host)]);
            assert!(code == 1 && err.contains(why), "{err}");
        }
        let index = Index::start(many);
        let found = docker.ok(&["search", "--format", "{{.Name}}", &format!("{}/app", index.host)]);
        assert_eq!(found.lines().count(), 25);
        let (code, _, err) = docker.run(&["search", "127.0.0.1:9/app"]);
        assert!(code == 1 && err.contains("127.0.0.1:9"), "{err}");
    });
}
