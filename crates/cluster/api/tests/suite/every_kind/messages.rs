//! Objects in protobuf: they say what they say in JSON, to us and to types that others have generated.

use bytes::Bytes;
use hako_api::protobuf;
use hako_client::Body;
use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{Case, LABEL};

pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The events of a watch in protobuf.
pub struct Frames {
    body: Body,
    buffer: Vec<u8>,
}

impl Frames {
    pub fn new(body: Body) -> Self {
        Self { body, buffer: Vec::new() }
    }

    /// The word and the enveloped object of the next event, as others read it.
    pub async fn next(&mut self) -> (String, Vec<u8>) {
        let next = async {
            let length = self.take(4).await;
            let length = u32::from_be_bytes(length.try_into().unwrap());
            self.take(length as usize).await
        };
        let frame = tokio::time::timeout(std::time::Duration::from_secs(10), next).await.expect("an event");
        hako_judge::event(&frame).unwrap()
    }

    async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            let frame = self.body.frame().await.expect("the watch goes on").unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
        self.buffer.drain(..length).collect()
    }
}

/// Without what is zero, which one form has and the other has not.
fn pruned(value: &Value) -> Value {
    let is_zero = |value: &Value| {
        let zeros = [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})];
        zeros.contains(value)
    };
    match value {
        Value::Object(map) => {
            // Around a message, not in it: whatever claims are made of, they are claims.
            let is_type = |name: &str| matches!(name, "apiVersion" | "kind");
            let of_claim = map.get("kind").is_some_and(|kind| kind == "PersistentVolumeClaim")
                && !map["metadata"].as_object().is_some_and(|metadata| metadata.contains_key("uid"));
            let members = map.iter().filter(|(name, _)| !(of_claim && is_type(name)));
            let members = members.map(|(name, value)| (name.clone(), pruned(value)));
            Value::Object(members.filter(|(_, value)| !is_zero(value)).collect())
        }
        Value::Array(list) => list.iter().map(pruned).collect(),
        other => other.clone(),
    }
}

/// Letters of a text, as names are compared: others write them in another case, with underscores.
fn letters(text: &str) -> String {
    text.chars().filter(|letter| *letter != '_').map(|letter| letter.to_ascii_lowercase()).collect()
}

/// The texts of an object with the names of their members. Those of maps and of parts that are bytes are left out.
fn texts(value: &Value, found: &mut Vec<(String, String)>) {
    let Value::Object(map) = value else {
        return value.as_array().into_iter().flatten().for_each(|item| texts(item, found));
    };
    for (name, value) in map {
        match (name.as_str(), value) {
            ("data" | "fieldsV1" | "raw" | "parameters" | "openAPIV3Schema" | "caBundle" | "request", _) => {}
            (name, Value::String(text)) => found.push((name.to_owned(), text.clone())),
            (_, value) => texts(value, found),
        }
    }
}

/// Whether others read the message as it is meant: the same bytes when they write it again, and texts by their names.
fn is_judged(object: &Value, bytes: &[u8]) {
    let sent = hako_judge::envelope(bytes).unwrap().expect("an envelope");
    assert_eq!((&json!(sent.api_version), &json!(sent.kind)), (&object["apiVersion"], &object["kind"]));
    let Some(judged) = hako_judge::message(&sent.api_version, &sent.kind, &sent.raw) else {
        // Younger than what others have.
        assert!(sent.kind.starts_with("MutatingAdmissionPolicy"), "{}", sent.kind);
        return;
    };
    let judged = judged.unwrap();
    assert!(judged.again == sent.raw, "{object}\n{}", judged.text);
    let (read, mut wanted) = (letters(&judged.text), Vec::new());
    texts(object, &mut wanted);
    for (name, text) in wanted.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind")) {
        // Times are seconds there, quantities messages, and keys of maps stand in quotes.
        let is_there = [format!("{name}: Some({text:?})"), format!("{name:?}: {text:?}")];
        let is_value = [format!("Quantity {{ string: Some({text:?})"), format!("str_val: Some({text:?})")];
        let is_time = text.parse::<jiff::Timestamp>().is_ok();
        let is_there = is_there.iter().chain(&is_value).any(|wanted| read.contains(&letters(wanted)));
        assert!(is_time || is_there, "{name}: {text:?} is not in {}", judged.text);
    }
}

fn content_type(answer: &http::Response<Body>) -> &str {
    answer.headers()[header::CONTENT_TYPE].to_str().unwrap()
}

impl Case {
    /// Reading one, reading all and watching.
    pub(super) async fn is_the_same_in_protobuf(&self) {
        let list = self.http.ok("GET", &self.collection(), "", &Value::Null).await;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let query = format!("watch=1&resourceVersion={version}&labelSelector={LABEL}");
        let watch = self.http.get_as(&format!("{}?{query}", self.collection()), PROTOBUF).await;
        if !self.row.has_protobuf {
            assert_eq!(watch.status(), StatusCode::NOT_ACCEPTABLE);
            self.create().await;
            return self.is_json_alone().await;
        }
        assert_eq!(watch.headers()[header::CONTENT_TYPE], format!("{PROTOBUF};stream=watch"));
        let mut frames = Frames::new(watch.into_body());
        let created = self.create().await;
        let (word, told) = frames.next().await;
        assert_eq!(word, "ADDED");
        self.is_same(&created, &told);
        let created = self.is_settled(created).await;
        self.is_same(&created, &self.message(&self.path(), StatusCode::OK).await);
        self.is_listed(&created).await;
        self.has_its_metadata(&created).await;
        let missing = self.message(&format!("{}-x", self.path()), StatusCode::NOT_FOUND).await;
        let (_, status) = self.http.call("GET", &format!("{}-x", self.path()), "", &Value::Null).await;
        self.is_same(&status, &missing);
    }

    fn is_same(&self, object: &Value, bytes: &[u8]) {
        assert_eq!(pruned(&protobuf::object(bytes).unwrap()), pruned(object), "{}", self.row.plural);
        is_judged(object, bytes);
    }

    async fn message(&self, path: &str, code: StatusCode) -> Bytes {
        let answer = self.http.get_as(path, PROTOBUF).await;
        assert_eq!((answer.status(), content_type(&answer)), (code, PROTOBUF), "{path}");
        assert!(answer.headers().get_all(header::VARY).iter().any(|it| it == "Accept"));
        answer.into_body().collect().await.unwrap().to_bytes()
    }

    async fn read_as(&self, path: &str, accept: &str) -> Bytes {
        let answer = self.http.get_as(path, accept).await;
        assert_eq!(content_type(&answer), PROTOBUF, "{path}");
        answer.into_body().collect().await.unwrap().to_bytes()
    }

    async fn is_listed(&self, object: &Value) {
        let path = format!("{}?labelSelector={LABEL}", self.collection());
        let bytes = self.message(&path, StatusCode::OK).await;
        let list = hako_judge::envelope(&bytes).unwrap().expect("an envelope");
        assert_eq!(
            (list.api_version.as_str(), list.kind),
            (self.row.api_version(), self.row.list_kind.to_string())
        );
        let list = hako_judge::list(&list.raw).unwrap();
        assert_eq!(list.items.len(), 1);
        let alone = self.message(&self.path(), StatusCode::OK).await;
        assert_eq!(list.items[0], hako_judge::envelope(&alone).unwrap().unwrap().raw);
        let ours = protobuf::object(&bytes).unwrap();
        let version = list.metadata.and_then(|metadata| metadata.resource_version);
        assert_eq!(ours["metadata"]["resourceVersion"], json!(version));
        assert_eq!(ours["items"][0]["metadata"]["uid"], object["metadata"]["uid"]);
    }

    /// Which are there in protobuf whatever the kind is.
    async fn has_its_metadata(&self, object: &Value) {
        let accept = |kind: &str| format!("{PROTOBUF};as={kind};g=meta.k8s.io;v=v1,application/json");
        let one = self.read_as(&self.path(), &accept("PartialObjectMetadata")).await;
        let partial = json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
        });
        self.is_same(&partial, &one);
        let path = format!("{}?labelSelector={LABEL}", self.collection());
        let list =
            protobuf::object(&self.read_as(&path, &accept("PartialObjectMetadataList")).await).unwrap();
        assert_eq!(list["kind"], "PartialObjectMetadataList");
        assert_eq!(pruned(&list["items"][0]), pruned(&json!({"metadata": object["metadata"]})));
    }

    /// A kind that others have defined has no messages but those of its metadata.
    async fn is_json_alone(&self) {
        for path in [self.path(), self.collection()] {
            let answer = self.http.get_as(&path, PROTOBUF).await;
            assert_eq!(answer.status(), StatusCode::NOT_ACCEPTABLE, "{path}");
            let status = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(protobuf::object(&status).unwrap()["reason"], "NotAcceptable");
            let either = self.http.get_as(&path, &format!("{PROTOBUF},application/json")).await;
            assert_eq!((either.status(), content_type(&either)), (StatusCode::OK, "application/json"));
        }
        let object = self.get().await;
        self.has_its_metadata(&object).await;
    }
}
