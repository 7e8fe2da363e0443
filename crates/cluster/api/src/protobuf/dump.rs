//! Parts of objects as upstream's server prints the types that it keeps them in: every field of a Go program, the unset ones too,
//! by its name there, a line each. Messages show where two of them differ.
//!
//! The tables are those of the published types; where the server's own types have another order, the caller says which.

use serde_json::{Map, Value};

use super::fields::{self, Field, Kind, Message, Presence, Shape};

/// Bytes of what is printed; beyond that nobody reads it.
const MOST: usize = 512 << 10;

/// How the server's own type differs from the published one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    /// The fields that come first, in their order.
    pub order: &'static [&'static str],
    /// The fields that it does not have.
    pub without: &'static [&'static str],
}

/// The part of an object of a kind that is at a path; none where there is no such part, or too much of it.
pub(crate) fn dump(of: (&str, &str), path: &[&str], part: &Value, layout: Layout) -> Option<String> {
    let mut message = fields::of(of.0, of.1)?;
    for name in path {
        let field = message.fields.iter().find(|field| field.name == *name)?;
        let (Shape::One(Kind::Message(inner)) | Shape::Inline(inner)) = field.shape else { return None };
        message = inner;
    }
    let mut dump = Dump { out: String::new(), depth: 0 };
    dump.message(message, part, layout);
    (dump.out.len() <= MOST).then_some(dump.out)
}

struct Dump {
    out: String,
    depth: usize,
}

impl Dump {
    fn message(&mut self, message: &Message, value: &Value, layout: Layout) {
        if fields::is_published(message) {
            return self.as_is(value);
        }
        let inlined = |field: &'static Field| match field.shape {
            Shape::Inline(inner) => inner.fields.iter().collect(),
            _ => vec![field],
        };
        let place = |field: &&Field| layout.order.iter().position(|name| *name == field.name);
        let mut all: Vec<&Field> = message.fields.iter().flat_map(inlined).collect();
        all.retain(|field| !layout.without.contains(&field.name));
        all.sort_by_key(|field| place(field).unwrap_or(usize::MAX));
        self.lines('{', '}', all, |dump, field| {
            dump.out.push_str(&format!("\"{}\": ", go_name(field.name)));
            dump.field(field, value.get(field.name));
        });
    }

    /// Items between brackets, a line each at least.
    fn lines<T>(
        &mut self,
        open: char,
        close: char,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.out.push(open);
        self.depth += 1;
        let mut is_first = true;
        for item in items {
            if self.out.len() > MOST {
                break;
            }
            self.out.push_str(if is_first { "\n" } else { ",\n" });
            self.out.push_str(&" ".repeat(self.depth));
            write(self, item);
            is_first = false;
        }
        self.depth -= 1;
        if !is_first {
            self.out.push('\n');
            self.out.push_str(&" ".repeat(self.depth));
        }
        self.out.push(close);
    }

    fn field(&mut self, field: &Field, value: Option<&Value>) {
        match (field.shape, value) {
            (Shape::One(_), None) if field.presence == Presence::Nullable => self.out.push_str("null"),
            (Shape::One(kind), value) => self.one(kind, value),
            (Shape::List(kind), Some(Value::Array(items))) => {
                self.lines('[', ']', items, |dump, item| dump.one(kind, Some(item)));
            }
            (Shape::Map(kind), Some(Value::Object(map))) => {
                self.lines('{', '}', sorted(map), |dump, (name, value)| {
                    dump.text(&Value::from(name.as_str()));
                    dump.out.push_str(": ");
                    dump.one(kind, Some(value));
                });
            }
            _ => self.out.push_str("null"),
        }
    }

    fn one(&mut self, kind: Kind, value: Option<&Value>) {
        match (kind, value) {
            (Kind::Message(message), value) => {
                self.message(message, value.unwrap_or(&Value::Null), Layout::default());
            }
            (_, Some(value)) => self.as_is(value),
            (Kind::Text, None) => self.out.push_str("\"\""),
            (Kind::Quantity, None) => self.out.push_str("\"0\""),
            (Kind::Int | Kind::IntOrText | Kind::Double, None) => self.out.push('0'),
            (Kind::Flag, None) => self.out.push_str("false"),
            (_, None) => self.out.push_str("null"),
        }
    }

    fn as_is(&mut self, value: &Value) {
        match value {
            Value::Array(items) => self.lines('[', ']', items, Self::as_is),
            Value::Object(map) => self.lines('{', '}', sorted(map), |dump, (name, value)| {
                dump.text(&Value::from(name.as_str()));
                dump.out.push_str(": ");
                dump.as_is(value);
            }),
            other => self.text(other),
        }
    }

    /// As Go writes JSON: fit to stand in a page.
    fn text(&mut self, value: &Value) {
        let text = value.to_string();
        self.out.push_str(&text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"));
    }
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut all: Vec<_> = map.iter().collect();
    all.sort_by_key(|(name, _)| *name);
    all
}

/// Names that are not those of JSON with a capital.
const IRREGULAR: &[(&str, &str)] = &[
    ("apiGroup", "APIGroup"),
    ("apiVersion", "APIVersion"),
    ("awsElasticBlockStore", "AWSElasticBlockStore"),
    ("cephfs", "CephFS"),
    ("chapAuthDiscovery", "DiscoveryCHAPAuth"),
    ("chapAuthSession", "SessionCHAPAuth"),
    ("csi", "CSI"),
    ("diskURI", "DataDiskURI"),
    ("dnsConfig", "DNSConfig"),
    ("dnsPolicy", "DNSPolicy"),
    ("fc", "FC"),
    ("fsGroup", "FSGroup"),
    ("fsGroupChangePolicy", "FSGroupChangePolicy"),
    ("fsType", "FSType"),
    ("gcePersistentDisk", "GCEPersistentDisk"),
    ("grpc", "GRPC"),
    ("httpGet", "HTTPGet"),
    ("httpHeaders", "HTTPHeaders"),
    ("ip", "IP"),
    ("iqn", "IQN"),
    ("iscsi", "ISCSI"),
    ("iscsiInterface", "ISCSIInterface"),
    ("nfs", "NFS"),
    ("os", "OS"),
    ("pdID", "PdID"),
    ("pdName", "PDName"),
    ("rbd", "RBD"),
    ("seLinuxChangePolicy", "SELinuxChangePolicy"),
    ("seLinuxOptions", "SELinuxOptions"),
    ("sslEnabled", "SSLEnabled"),
    ("storageos", "StorageOS"),
    ("targetWWNs", "TargetWWNs"),
    ("tcpSocket", "TCPSocket"),
    ("tty", "TTY"),
    ("uid", "UID"),
    ("wwids", "WWIDs"),
];

fn go_name(name: &str) -> String {
    if let Some((_, written)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == name) {
        return (*written).to_owned();
    }
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CLAIM: (&str, &str) = ("v1", "PersistentVolumeClaim");

    #[test]
    fn all_fields_of_a_type_are_printed_by_their_names_in_go() {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "volumeName": "<v>", "dataSource": {"kind": "K", "name": "n"},
            "selector": {"matchLabels": {"b": "2", "a": "1"}}, "resources": {"requests": {"storage": "1Gi"}}});
        let layout = Layout { order: &["accessModes", "selector"], without: &["volumeMode"] };
        let told = r#"{
 "AccessModes": [
  "ReadWriteOnce"
 ],
 "Selector": {
  "matchLabels": {
   "a": "1",
   "b": "2"
  }
 },
 "Resources": {
  "Limits": null,
  "Requests": {
   "storage": "1Gi"
  }
 },
 "VolumeName": "\u003cv\u003e",
 "StorageClassName": null,
 "DataSource": {
  "APIGroup": null,
  "Kind": "K",
  "Name": "n"
 },
 "DataSourceRef": null,
 "VolumeAttributesClassName": null
}"#;
        assert_eq!(dump(CLAIM, &["spec"], &spec, layout).unwrap(), told);
    }

    #[test]
    fn what_is_too_long_to_read_is_not_printed() {
        let long = json!({"accessModes": vec!["x"; 200_000]});
        assert_eq!(dump(CLAIM, &["spec"], &long, Layout::default()), None);
    }
}
