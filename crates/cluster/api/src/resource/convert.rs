//! Conversion by webhooks: between the version in which an object is kept and the one that is asked for
//! (`apiextensions.k8s.io/v1`, `ConversionReview`). Where the program converts itself, nothing here does anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hako_error::{Error, Kind};
use hako_kube::field::{self, Faults};
use hako_store::{Batch, Entry, Event, Revision};
use serde_json::{Value, json};

use super::conversion_counts::Unconverted;
use super::encoded::{bytes_of, encode};
use crate::http::{Failure, Outcome};
use crate::kinds::{Converter, ReviewForm, Served, Strategy, label_faults};
use crate::server::Inner;

/// As long as upstream waits.
const TIME: Duration = Duration::from_secs(30);
/// What is sent in one review: what it is answered with has to fit into an answer, also where objects grow.
const REVIEW_BYTES: usize = 1 << 20;
const REVIEW_OBJECTS: usize = 500;
/// What of an object's metadata a webhook may change.
const CHANGEABLE: [&str; 2] = ["labels", "annotations"];

/// An entry in the version of the kind.
pub(super) async fn shown(server: &Inner, row: &Served, entry: Arc<Entry>) -> Outcome<Arc<Entry>> {
    if row.strategy().converter().is_none() {
        return Ok(entry);
    }
    let mut all = all_shown(server, row, vec![entry]).await?;
    all.pop().ok_or_else(|| failed(row, "it returned nothing"))
}

/// Entries in the version of the kind; those that are of another one are converted many at a time.
pub(super) async fn all_shown(
    server: &Inner,
    row: &Served,
    mut entries: Vec<Arc<Entry>>,
) -> Outcome<Vec<Arc<Entry>>> {
    let Some(converter) = row.strategy().converter() else { return Ok(entries) };
    let places: Vec<usize> =
        (0..entries.len()).filter(|place| is_other(row, &entries[*place].value)).collect();
    if places.is_empty() {
        return Ok(entries);
    }
    let mut rest = &places[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(together(rest.iter().map(|place| entries[*place].value.len())));
        let decode = |place: &usize| {
            let read = serde_json::from_slice(&entries[*place].value);
            read.map_err(|error| failed(row, &format!("a stored object is damaged: {error}")))
        };
        let objects: Vec<Value> = now.iter().map(decode).collect::<Outcome<_>>()?;
        let converted = converted(server, converter, row.api_version(), objects).await?;
        for (place, object) in now.iter().zip(converted) {
            let entry = Entry { value: bytes_of(&object)?, ..Entry::clone(&entries[*place]) };
            entries[*place] = Arc::new(entry);
        }
        rest = later;
    }
    Ok(entries)
}

/// How many of the objects that take so many bytes are sent in one review: at least one.
fn together(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fits = |size: &usize| {
        bytes += size;
        bytes <= REVIEW_BYTES
    };
    sizes.take(REVIEW_OBJECTS).take_while(fits).count().max(1)
}

/// Stored bytes in the version of the kind.
pub(super) async fn bytes_shown(server: &Inner, row: &Served, stored: Bytes, at: Revision) -> Outcome<Bytes> {
    let entry = Entry { key: Bytes::new(), value: stored, created: at, modified: at, lease: None };
    shown(server, row, Arc::new(entry)).await.map(|entry| entry.value.clone())
}

/// A batch of a watch in the version of the kind, of which each object is converted once for all who watch.
pub(super) async fn batch_shown(server: &Arc<Inner>, row: &Arc<Served>, mut batch: Batch) -> Outcome<Batch> {
    if row.strategy().converter().is_none() {
        return Ok(batch);
    }
    for event in &mut batch.events {
        let mut entry = Arc::clone(&event.entry);
        // A deletion has no value of its own.
        if !entry.value.is_empty() {
            entry = server.conversions.shown(server, row, entry).await?;
        }
        let previous = match &event.previous {
            Some(previous) => Some(server.conversions.shown(server, row, Arc::clone(previous)).await?),
            None => None,
        };
        *event = Arc::new(Event { kind: event.kind, entry, previous });
    }
    Ok(batch)
}

/// Whether stored bytes are of another version than that of the kind.
pub(super) fn is_other(row: &Served, stored: &[u8]) -> bool {
    api_version_of(stored) != row.api_version()
}

/// Encodes an object of a kind for the store, in the version in which it is kept.
pub(super) async fn encode_kept(server: &Inner, row: &Served, object: &mut Value) -> Outcome<Bytes> {
    let strategy = row.strategy();
    let kept = strategy.kept_version();
    if let (Some(converter), Some(kept)) =
        (strategy.converter(), kept.filter(|kept| kept != row.api_version()))
    {
        let mut all = converted(server, converter, &kept, vec![object.clone()]).await?;
        *object = all.pop().ok_or_else(|| failed(row, "it returned nothing"))?;
        // Others are shown it as it is kept.
        if let Some(kept) = strategy.in_version(&kept) {
            kept.read_stored(object);
        }
    }
    encode(row, object)
}

/// Objects of a kind in another of its versions; in which version they are the first one says.
pub(super) async fn across(
    server: &Inner,
    from: &dyn Strategy,
    to: &dyn Strategy,
    wanted: &str,
    mut objects: Vec<Value>,
) -> Outcome<Vec<Value>> {
    match from.converter() {
        Some(converter) => objects = converted(server, converter, wanted, objects).await?,
        None => objects.iter_mut().for_each(|object| from.write_stored(object)),
    }
    objects.iter_mut().for_each(|object| to.read_stored(object));
    Ok(objects)
}

/// An object in another version of its kind.
pub(crate) async fn in_version(server: &Inner, from: &Served, to: &Served, object: Value) -> Outcome<Value> {
    let (strategy, wanted) = (from.strategy(), to.api_version());
    let mut made = across(server, strategy, to.strategy(), wanted, vec![object]).await?;
    made.pop().ok_or_else(|| failed(from, "it returned nothing"))
}

/// The `apiVersion` of stored bytes, which comes first.
fn api_version_of(stored: &[u8]) -> &str {
    let rest = stored.strip_prefix(b"{\"apiVersion\":\"").unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'"').unwrap_or_default();
    std::str::from_utf8(&rest[..end]).unwrap_or("")
}

/// What a webhook makes of objects, of which failures name the version that they are in.
async fn converted(
    server: &Inner,
    converter: &Converter,
    wanted: &str,
    objects: Vec<Value>,
) -> Outcome<Vec<Value>> {
    let Some(form) = converter.reviews else {
        return Err(Error::new(Kind::Internal, "no supported conversion review versions").into());
    };
    let uid = uuid::Uuid::new_v4().to_string();
    let review = json!({
        "kind": "ConversionReview", "apiVersion": form.api_version(),
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
    });
    let began = Instant::now();
    let answer = server.webhooks.post(&converter.config, Bytes::from(review.to_string()), TIME).await;
    let made = match answer {
        Ok(answer) => taken(&answer, form, &uid, &objects, wanted),
        Err(error) => Err((Unconverted::NotAnswered, format!("failed: {error}"))),
    };
    server.conversion_counts.asked(made.as_ref().err().map(|(kind, _)| *kind), began.elapsed());
    made.map_err(|(_, why)| {
        let text = |name: &str| objects.first().and_then(|it| it[name].as_str()).unwrap_or("");
        let text = format!("conversion webhook for {}, Kind={} {why}", text("apiVersion"), text("kind"));
        Error::new(Kind::Internal, text).into()
    })
}

/// What a webhook's answer to the review with that identity makes of objects.
///
/// # Errors
/// Why it is no answer, in words that follow upon the name of the webhook.
pub fn answered(answer: &[u8], uid: &str, objects: &[Value], wanted: &str) -> Result<Vec<Value>, String> {
    taken(answer, ReviewForm::V1, uid, objects, wanted).map_err(|(_, why)| why)
}

/// What an answer makes of objects.
fn taken(
    answer: &[u8],
    form: ReviewForm,
    uid: &str,
    objects: &[Value],
    wanted: &str,
) -> Result<Vec<Value>, (Unconverted, String)> {
    let malformed = |why: String| (Unconverted::Malformed, format!("failed: {why}"));
    let answer: Value = serde_json::from_slice(answer).map_err(|error| malformed(error.to_string()))?;
    let made = read(answer, form, uid).map_err(malformed)?;
    if made.len() != objects.len() {
        let kind = if made.is_empty() { Unconverted::NoObjects } else { Unconverted::TooFew };
        return Err((kind, format!("returned {} objects, expected {}", made.len(), objects.len())));
    }
    let checked = made.into_iter().zip(objects).enumerate().map(|(place, (made, sent))| {
        settled(made, sent, wanted).map_err(|why| {
            let text = match objects.len() {
                1 => format!("returned invalid object: {why}"),
                _ => format!("returned invalid converted object at index {place}: {why}"),
            };
            (Unconverted::InvalidObject, text)
        })
    });
    checked.collect()
}

/// The objects of an answer to the review with that identity.
fn read(mut answer: Value, form: ReviewForm, uid: &str) -> Result<Vec<Value>, String> {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    if form == ReviewForm::V1 {
        let (version, kind) = (text("/apiVersion"), text("/kind"));
        if (version, kind) != (form.api_version(), "ConversionReview") {
            let expected = form.api_version();
            return Err(format!(
                "expected webhook response of {expected}, Kind=ConversionReview, got {version}, Kind={kind}"
            ));
        }
    }
    if !answer["response"].is_object() {
        return Err("no response provided".to_owned());
    }
    if form == ReviewForm::V1 && text("/response/uid") != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", text("/response/uid")));
    }
    let status = text("/response/result/status");
    if status != "Success" {
        return Err(match text("/response/result/message") {
            "" => format!("response.result.status was '{status}', not 'Success'"),
            message => message.to_owned(),
        });
    }
    match answer.pointer_mut("/response/convertedObjects").map(Value::take) {
        Some(Value::Array(objects)) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// A converted object, with what of its metadata is not the webhook's.
fn settled(mut made: Value, sent: &Value, wanted: &str) -> Result<Value, String> {
    fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
        object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }
    let version = text(&made, "/apiVersion");
    if version != wanted {
        return Err(format!("invalid groupVersion (expected {wanted}, received {version})"));
    }
    let (kind, was) = (text(&made, "/kind"), text(sent, "/kind"));
    if kind != was {
        return Err(format!("invalid kind (expected {was}, received {kind})"));
    }
    for (name, pointer) in [("name", "name"), ("namespace", "namespace"), ("UID", "uid")] {
        let pointer = format!("/metadata/{pointer}");
        let (is, was) = (text(&made, &pointer), text(sent, &pointer));
        if is != was {
            return Err(format!("must have the same {name}: {was} != {is}"));
        }
    }
    let mut metadata = sent["metadata"].clone();
    let mut is_changed = false;
    for name in CHANGEABLE {
        match made["metadata"].get(name).filter(|value| !value.is_null()) {
            Some(value) => {
                are_texts(name, value)?;
                is_changed |= metadata.get(name) != Some(value);
                metadata[name] = value.clone();
            }
            None => drop(metadata.as_object_mut().and_then(|members| members.shift_remove(name))),
        }
    }
    made["metadata"] = metadata;
    // What was stored before there was such a rule may be shown.
    let faults = if is_changed { label_faults(&made) } else { Faults::new() };
    if faults.is_empty() { Ok(made) } else { Err(field::lines(&faults)) }
}

/// Labels and annotations are texts by name.
fn are_texts(name: &str, value: &Value) -> Result<(), String> {
    let Some(members) = value.as_object() else {
        return Err(format!("invalid metadata.{name} in converted object: it is no map of strings"));
    };
    match members.iter().find(|(_, value)| !value.is_string()) {
        Some((key, _)) => Err(format!("metadata.{name}[{key}] must be a string in converted object")),
        None => Ok(()),
    }
}

fn failed(row: &Served, why: &str) -> Failure {
    let text = format!("conversion webhook for {} failed: {why}", row.gvk());
    Error::new(Kind::Internal, text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str) -> Value {
        json!({
            "apiVersion": version, "kind": "Tab",
            "metadata": {"name": "a", "uid": "u", "generation": 2, "labels": {"a": "b"}}, "spec": {},
        })
    }

    #[test]
    fn as_many_objects_go_together_as_a_review_may_have() {
        let sizes = |size: usize| std::iter::repeat_n(size, 10_000);
        assert_eq!(together(sizes(1)), REVIEW_OBJECTS);
        assert_eq!(together(sizes(REVIEW_BYTES / 3)), 3);
        assert_eq!(together(sizes(REVIEW_BYTES + 1)), 1);
    }

    #[test]
    fn the_version_of_stored_bytes_is_read_without_parsing() {
        assert_eq!(api_version_of(&bytes_of(&object("g.io/v1")).unwrap()), "g.io/v1");
        assert_eq!(api_version_of(b"{}"), "");
    }

    #[test]
    fn what_a_webhook_answers_has_to_be_what_was_asked_for() {
        let answer = |response: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        let good = json!({"uid": "1", "result": {"status": "Success"}, "convertedObjects": [object("g/v2")]});
        assert_eq!(read(answer(good.clone()), ReviewForm::V1, "1").unwrap().len(), 1);
        assert!(read(answer(good.clone()), ReviewForm::V1, "2").unwrap_err().contains("response.uid"));
        assert!(
            read(json!({"response": good.clone()}), ReviewForm::V1, "1")
                .unwrap_err()
                .contains("ConversionReview")
        );
        let bad = json!({"uid": "1", "result": {"status": "Failure", "message": "no way"}});
        assert_eq!(read(answer(bad.clone()), ReviewForm::V1, "1").unwrap_err(), "no way");
        // In the older form an answer need not say what it is, nor to what.
        assert_eq!(read(json!({"response": good}), ReviewForm::V1Beta1, "2").unwrap().len(), 1);
        assert_eq!(read(json!({"response": bad}), ReviewForm::V1Beta1, "2").unwrap_err(), "no way");
        assert_eq!(read(json!({}), ReviewForm::V1Beta1, "2").unwrap_err(), "no response provided");
    }

    #[test]
    fn a_webhook_changes_labels_and_annotations_and_nothing_else_of_the_metadata() {
        let sent = object("g/v1");
        let mut made = object("g/v2");
        made["metadata"] = json!({"name": "a", "uid": "u", "generation": 7, "annotations": {"x": "y"}});
        let settled_metadata = settled(made.clone(), &sent, "g/v2").unwrap()["metadata"].clone();
        assert_eq!(
            settled_metadata,
            json!({"name": "a", "uid": "u", "generation": 2, "annotations": {"x": "y"}})
        );
        assert!(settled(made.clone(), &sent, "g/v3").unwrap_err().contains("invalid groupVersion"));
        for (labels, wanted) in [
            (json!(["a"]), "invalid metadata.labels in converted object"),
            (json!({"a": 1}), "metadata.labels[a] must be a string"),
            (json!({"a": "no value!"}), "metadata.labels: Invalid value: \"no value!\""),
        ] {
            let mut wrong = made.clone();
            wrong["metadata"]["labels"] = labels;
            let error = settled(wrong, &sent, "g/v2").unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
        made["metadata"]["name"] = "b".into();
        assert!(settled(made.clone(), &sent, "g/v2").unwrap_err().contains("same name"));
        made["kind"] = "Tub".into();
        assert!(settled(made, &sent, "g/v2").unwrap_err().contains("invalid kind"));
    }
}
