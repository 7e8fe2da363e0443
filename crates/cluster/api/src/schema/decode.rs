//! From bytes to JSON values, noticing members that are given twice.

use hako_error::{Classify, Kind};
use hako_kube::field::{Path, Told};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use std::fmt;

use super::syntax;

/// A decoded body.
#[derive(Debug)]
pub struct Decoded {
    /// The value; of members given twice, the last.
    pub value: Value,
    /// The paths of members given twice, as far as they can be told.
    pub duplicates: Vec<String>,
    /// The numbers of JSON that are written with an exponent, as far as they can be told.
    pub(super) numbers: Vec<Written>,
}

impl Decoded {
    /// A value that was not read just now.
    #[must_use]
    pub fn of(value: Value) -> Self {
        Self { value, duplicates: Vec::new(), numbers: Vec::new() }
    }
}

/// A number as it is written, and where it is.
#[derive(Debug)]
pub(super) struct Written {
    pub path: Vec<Step>,
    pub text: String,
}

/// A step on the way to a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Name(String),
    Item(usize),
}

/// So many numbers with a fraction or an exponent are told at most.
const NUMBERS_MOST: usize = 1000;

/// Why bytes are no value.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No JSON.
    #[error("{0}")]
    Json(String),
    /// No YAML.
    #[error("the body is no YAML: {0}")]
    Yaml(String),
}

impl Classify for DecodeError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// Nodes that aliases stand for in any document, and for each byte of it. Upstream takes a hundred for each node that is
/// written out, which has some ten bytes: what is written to be read comes nowhere near.
const ALIASED: usize = 1000;
const ALIASED_EACH: usize = 10;
/// However long the document is.
const ALIASED_MAX: usize = 1_000_000;

/// Decodes JSON.
///
/// # Errors
/// Where the bytes are no JSON.
pub fn json(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let mut decoded = read(bytes).map_err(|error| DecodeError::Json(fault(bytes, &error)))?;
    if !decoded.numbers.is_empty() {
        for (number, text) in decoded.numbers.iter_mut().zip(floats(bytes)) {
            number.text = text;
        }
        decoded.numbers.retain(|number| number.text.contains(['e', 'E']));
    }
    Ok(decoded)
}

/// The numbers of a document that are no integers of 64 bits, as they are written, in their order.
fn floats(bytes: &[u8]) -> impl Iterator<Item = String> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at).copied() {
            let start = at;
            at += 1;
            match byte {
                b'"' => at = after_text(bytes, at),
                b'-' | b'0'..=b'9' => {
                    let is_in = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                    at += bytes[at..].iter().take_while(is_in).count();
                    let text = String::from_utf8_lossy(&bytes[start..at]);
                    if text == "-0" || (text.parse::<i64>().is_err() && text.parse::<u64>().is_err()) {
                        return Some(text.into_owned());
                    }
                }
                _ => {}
            }
        }
        None
    })
}

/// The place behind a text whose first quote is before `at`.
fn after_text(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        at += if *byte == b'\\' { 2 } else { 1 };
        if *byte == b'"' {
            break;
        }
    }
    at.min(bytes.len())
}

/// Why bytes are no JSON, as Go says it; of what Go would read, such as a deeper nesting, as our reader says it.
pub(crate) fn fault(bytes: &[u8], error: &serde_json::Error) -> String {
    syntax::fault(bytes).unwrap_or_else(|| error.to_string())
}

/// Decodes JSON that is stored.
///
/// # Errors
/// Where the bytes are no JSON.
pub(crate) fn stored(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    read(bytes).map(|decoded| decoded.value)
}

fn read(bytes: &[u8]) -> Result<Decoded, serde_json::Error> {
    // A text is known to be one as a whole, and not each of its strings by itself.
    match str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(bytes),
    }
}

/// Decodes one YAML document; JSON is YAML too.
///
/// # Errors
/// Where the bytes are no YAML; members given twice are an error here already.
pub fn yaml(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let mut decoded = written(bytes)?;
    whole_numbers(&mut decoded.value);
    decoded.numbers.clear();
    Ok(decoded)
}

/// Makes whole numbers of those that are whole: `1.0` becomes `1`. Go writes them so, through which upstream passes whatever is
/// not JSON of its own.
pub fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e18);
            if let Some(whole) = whole.and_then(|whole| format!("{whole:.0}").parse::<i64>().ok()) {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

fn written(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        return json(bytes);
    }
    let most = (ALIASED + ALIASED_EACH * bytes.len()).min(ALIASED_MAX);
    // As in YAML 1.1, which upstream reads: `defaultMode: 0400` is octal.
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: most },
        budget: serde_saphyr::budget! { max_recorded_anchor_events: most },
    };
    serde_saphyr::from_slice_with_options(bytes, options)
        .map_err(|error| DecodeError::Yaml(error.to_string()))
}

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut duplicates, mut numbers) = (Told::default(), Vec::new());
        let reader = Reader { path: &Path::Root, duplicates: &mut duplicates, numbers: &mut numbers };
        let value = reader.deserialize(deserializer)?;
        Ok(Self { value, duplicates: duplicates.into_all(), numbers })
    }
}

/// Reads the value at a path.
struct Reader<'a> {
    path: &'a Path<'a>,
    duplicates: &'a mut Told<String>,
    /// The places of numbers that are no integers, in their order; how they are written is not known yet.
    numbers: &'a mut Vec<Written>,
}

fn steps(path: &Path<'_>, steps_before: &mut Vec<Step>) {
    match path {
        Path::Root => {}
        Path::Member(above, name) | Path::Key(above, name) => {
            steps(above, steps_before);
            steps_before.push(Step::Name((*name).to_owned()));
        }
        Path::Item(above, at) => {
            steps(above, steps_before);
            steps_before.push(Step::Item(*at));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        if self.numbers.len() < NUMBERS_MOST {
            let mut path = Vec::new();
            steps(self.path, &mut path);
            self.numbers.push(Written { path, text: String::new() });
        }
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = Path::Item(self.path, values.len());
            let reader =
                Reader { path: &path, duplicates: &mut *self.duplicates, numbers: &mut *self.numbers };
            match items.next_element_seed(reader)? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let path = Path::Member(self.path, &name);
            let reader =
                Reader { path: &path, duplicates: &mut *self.duplicates, numbers: &mut *self.numbers };
            let value = members.next_value_seed(reader)?;
            match map.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    self.duplicates.push(|| Path::Member(self.path, entry.key()).to_string());
                    entry.insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists of nine of the list before, so many times.
    fn laughs(times: usize) -> String {
        let first = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        (1..times).fold(first, |all, at| {
            format!("{all}a{at}: &a{at} [{}]\n", vec![format!("*a{}", at - 1); 9].join(","))
        })
    }

    #[test]
    fn objects_of_any_size_are_read_with_what_they_say_twice() {
        for count in [0, 1, 16, 100] {
            let members: Vec<String> =
                (0..count).map(|at| format!(r#""m{at}":{{"a":[{{"b":{at}}}]}}"#)).collect();
            let whole = format!("{{{}}}", members.join(","));
            let decoded = json(whole.as_bytes()).unwrap();
            assert_eq!((decoded.value.to_string(), decoded.duplicates), (whole, vec![]));
            let twice = [members, (0..count).map(|at| format!(r#""m{at}":{at}"#)).collect()].concat();
            let decoded = json(format!("{{{}}}", twice.join(",")).as_bytes()).unwrap();
            let once: Vec<String> = (0..count).map(|at| format!(r#""m{at}":{at}"#)).collect();
            assert_eq!(decoded.value.to_string(), format!("{{{}}}", once.join(",")));
            assert_eq!(decoded.duplicates.len(), count.min(100));
            assert!(decoded.duplicates.iter().enumerate().all(|(at, path)| *path == format!("m{at}")));
        }
        let inner = json(br#"{"a":{"b":1,"b":2},"a":{"c":{"d":1,"d":2}},"e":[{"f":1,"f":2}]}"#).unwrap();
        assert_eq!(inner.duplicates, ["a.b", "a.c.d", "a", "e[0].f"]);
        assert_eq!(inner.value.to_string(), r#"{"a":{"c":{"d":2}},"e":[{"f":2}]}"#);
    }

    #[test]
    fn numbers_with_exponents_are_found_where_they_are() {
        let text =
            r#"{"a":[1,2.5,-3e2,"4e4 \" 5e5"],"b\\":{"c":18446744073709551616,"d":6E-1,"e":-0,"f":7e7}}"#;
        let decoded = json(text.as_bytes()).unwrap();
        let name = |name: &str| Step::Name(name.to_owned());
        let found: Vec<_> = decoded.numbers.into_iter().map(|number| (number.path, number.text)).collect();
        let wanted = [
            (vec![name("a"), Step::Item(2)], "-3e2".to_owned()),
            (vec![name("b\\"), name("d")], "6E-1".to_owned()),
            (vec![name("b\\"), name("f")], "7e7".to_owned()),
        ];
        assert_eq!(found, wanted);
        let many = format!("[{}]", vec!["1e1"; 5000].join(","));
        assert_eq!(json(many.as_bytes()).unwrap().numbers.len(), NUMBERS_MOST);
        assert!(yaml(b"a: 1e3").unwrap().numbers.is_empty());
    }

    #[test]
    fn aliases_stand_for_no_more_than_the_document_is_worth() {
        for times in [5, 9, 20, 60] {
            let text = laughs(times);
            let error = yaml(text.as_bytes()).unwrap_err().to_string();
            let most = ALIASED + ALIASED_EACH * text.len();
            // What was replayed or recorded when it was refused.
            let count = |name: &str| {
                let (_, rest) = error.split_once(name)?;
                rest.split(|char: char| !char.is_ascii_digit()).next()?.parse::<usize>().ok()
            };
            let work = count("total_replayed_events=").or(count("recorded_anchor_events: "));
            assert!(work.is_some_and(|work| work > most && work < most + 100), "{times}, {most}: {error}");
        }
        // Each of many items is recorded for each of the anchors around it.
        let around: String = (0..60).map(|at| format!("&b{at} [")).collect();
        let nested = format!("a: {around}{}{}\n", "x,".repeat(2000), "]".repeat(60));
        let error = yaml(nested.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("RecordedAnchorEvents"), "{error}");
    }

    #[test]
    fn documents_that_say_much_once_and_use_it_often_are_read() {
        let base: String = (0..100).map(|at| format!("  key{at}: some value\n")).collect();
        let used: String = (0..90).map(|at| format!("use{at}: *base\n")).collect();
        let merged: String = (0..90).map(|at| format!("merge{at}:\n  <<: *base\n  more: {at}\n")).collect();
        let value = yaml(format!("base: &base\n{base}{used}").as_bytes()).unwrap().value;
        assert_eq!(value["use89"]["key99"], "some value");
        let value = yaml(format!("base: &base\n{base}{merged}").as_bytes()).unwrap().value;
        assert_eq!(
            (&value["merge89"]["key99"], &value["merge89"]["more"]),
            (&"some value".into(), &89.into())
        );
        assert!(yaml(laughs(3).as_bytes()).is_ok(), "a little laughter");
    }
}
