//! A small server that the API server asks.

use std::sync::Arc;

use hako_api::pki::KeyPair;
use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;

use crate::tls::acceptor;

/// From a path and a body to a code and an answer.
pub type Answer = Arc<dyn Fn(&str, Value) -> (u16, Value) + Send + Sync>;

/// Answers on a listener until the test ends.
pub fn serve(listener: TcpListener, tls: Option<KeyPair>, answer: Answer) {
    let acceptor = tls.map(|pair| acceptor(&pair.certificate, &pair.key, None));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                match acceptor {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            connection(stream, &answer).await;
                        }
                    }
                    None => connection(stream, &answer).await,
                }
            });
        }
    });
}

/// One request after the other, HTTP/1.1 with lengths.
async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, answer: &Answer) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if stream.read_line(&mut first).await.unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap_or(0);
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let path = first.split(' ').nth(1).unwrap_or("/");
        let (code, value) = answer(path, serde_json::from_slice(&body).unwrap_or_default());
        let text = value.to_string();
        let head = format!(
            "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        if stream.write_all((head + &text).as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
