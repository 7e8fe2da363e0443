//! The gRPC health protocol (grpc.health.v1.Health/Check), unencrypted, as Kubernetes probes it.
//!
//! ```text
//! request   0 | length, 4 bytes | 0x0a, length, service name      (HealthCheckRequest.service)
//! response  0 | length, 4 bytes | 0x08, status                    (1 is SERVING)
//! ```

use super::http::connect;
use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

const SERVING: u8 = 1;
const MAX_RESPONSE: usize = 1024;

/// Asks whether `service` serves; the empty name is the server as a whole.
pub(crate) async fn check(host: &str, port: u16, service: &str) -> Result<(), String> {
    let stream = connect(host, port).await?;
    let opened = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let request = Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(message(service)))
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let head = response.headers().get("grpc-status").cloned();
        let body = Limited::new(response.into_body(), MAX_RESPONSE).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        let status = head.or_else(|| body.trailers().and_then(|t| t.get("grpc-status").cloned()));
        judge(status.as_ref().and_then(|status| status.to_str().ok()), &body.to_bytes())
    };
    let answer = answer.await;
    driver.abort();
    answer
}

fn message(service: &str) -> Bytes {
    let mut payload = BytesMut::new();
    if !service.is_empty() {
        payload.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            payload.put_u8((length as u8 & 0x7f) | 0x80);
            length >>= 7;
        }
        payload.put_u8(length as u8);
        payload.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(payload.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(payload.len()).unwrap_or(0));
    frame.put_slice(&payload);
    frame.freeze()
}

fn judge(status: Option<&str>, body: &[u8]) -> Result<(), String> {
    match status {
        Some("0") | None => {}
        Some("12") => return Err("service does not implement the gRPC health protocol".into()),
        Some(code) => return Err(format!("service unhealthy: rpc error code {code}")),
    }
    match body.get(5..) {
        Some([0x08, SERVING, ..]) => Ok(()),
        _ => Err("service unhealthy (responded with \"NOT_SERVING\")".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_the_service_and_only_serving_is_success() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert!(judge(Some("0"), &[0, 0, 0, 0, 2, 8, 1]).is_ok());
        assert!(judge(Some("0"), &[0, 0, 0, 0, 2, 8, 2]).is_err());
        assert!(judge(Some("0"), &[0, 0, 0, 0, 0]).is_err());
        assert!(judge(Some("12"), &[]).unwrap_err().contains("health protocol"));
    }
}
