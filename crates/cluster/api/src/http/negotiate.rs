//! The formats a client accepts.

use super::{Failure, yaml};
use crate::protobuf;
use hako_kube::Status;

/// In which form objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// A table of cells, as `kubectl get` prints them.
    Table(Rows),
    /// Metadata only.
    Metadata(Meta),
}

/// What a table is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rows {
    pub object: RowObject,
    pub version: Meta,
}

/// The versions of `meta.k8s.io`, which differ in their names alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Meta {
    #[default]
    V1,
    V1Beta1,
}

impl Meta {
    fn parse(group: &str, version: &str) -> Option<Self> {
        match (group, version) {
            ("meta.k8s.io", "v1") => Some(Self::V1),
            ("meta.k8s.io", "v1beta1") => Some(Self::V1Beta1),
            _ => None,
        }
    }

    /// What objects of it write as `apiVersion`.
    pub(crate) const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What a table's row carries of its object besides the cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum RowObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it; `kubectl get --sort-by` asks for that.
    Object,
}

impl RowObject {
    /// Reads `includeObject`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Failure> {
        match text {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(Failure::bad_request(format!(
                "includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// How objects are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    Json,
    /// Made of JSON when all of an answer is there.
    Yaml,
    /// Of Kubernetes: with an envelope that says the type.
    Protobuf,
}

/// What an `Accept` header came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accept {
    pub form: Form,
    pub encoding: Encoding,
    /// Whether aggregated discovery is wanted, of which there is one version.
    pub is_discovery: bool,
}

impl Accept {
    /// Takes the first range that can be served, of those that weigh the most (RFC 9110, 12.5.1); of equal ones those that
    /// name a type come before those that leave it open. `has_protobuf` is whether the object itself has that form: its
    /// metadata always have.
    pub(crate) fn parse(header: &str, has_protobuf: bool) -> Result<Self, Failure> {
        Self::parse_where(header, has_protobuf, |accept| !accept.is_discovery)
    }

    /// The same for `/api` and `/apis`, which have a form that nothing else has.
    pub(crate) fn parse_of_discovery(header: &str) -> Result<Self, Failure> {
        Self::parse_where(header, true, |_| true)
    }

    /// The same for what has no other form than its own, such as an answer to a question.
    pub(crate) fn parse_of_object(header: &str, has_protobuf: bool) -> Result<Self, Failure> {
        let is_had = |accept: &Self| accept.form == Form::Object && !accept.is_discovery;
        Self::parse_where(header, has_protobuf, is_had)
    }

    fn parse_where(header: &str, has_protobuf: bool, is_had: fn(&Self) -> bool) -> Result<Self, Failure> {
        if header.trim().is_empty() {
            return Ok(JSON);
        }
        let mut ranges: Vec<Range<'_>> = header.split(',').filter_map(Range::parse).collect();
        ranges.sort_by(Range::compare);
        ranges.iter().filter_map(|range| range.serve(has_protobuf)).find(is_had).ok_or_else(|| {
            let others = if has_protobuf { ", application/vnd.kubernetes.protobuf" } else { "" };
            let text = format!(
                "only the following media types are accepted: application/json, application/yaml{others}"
            );
            Failure::from(Status::failure(406, "NotAcceptable", text))
        })
    }
}

/// Which of some media types a client takes first; what accepts nothing at all takes the first.
pub(crate) fn first_of(header: &str, offered: &[&str]) -> Result<usize, Failure> {
    if header.trim().is_empty() {
        return Ok(0);
    }
    let mut ranges: Vec<Range<'_>> = header.split(',').filter_map(Range::parse).collect();
    ranges.sort_by(Range::compare);
    let found = ranges.iter().find_map(|range| offered.iter().position(|media| range.covers(media)));
    found.ok_or_else(|| {
        let text = format!("only the following media types are accepted: {}", offered.join(", "));
        Failure::from(Status::failure(406, "NotAcceptable", text))
    })
}

const JSON: Accept = Accept { form: Form::Object, encoding: Encoding::Json, is_discovery: false };

/// One of the types that a client accepts.
#[derive(Default)]
struct Range<'h> {
    media: &'h str,
    weight: f32,
    wanted: &'h str,
    group: &'h str,
    version: &'h str,
}

impl<'h> Range<'h> {
    /// None if nothing of it is wanted.
    fn parse(text: &'h str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { media: parts.next()?, weight: 1.0, ..Self::default() };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name {
                "q" => range.weight = value.parse().unwrap_or(1.0),
                "as" => range.wanted = value,
                "g" => range.group = value,
                "v" => range.version = value,
                "stream" if !matches!(value, "" | "watch") => return None,
                _ => {}
            }
        }
        (range.weight > 0.0).then_some(range)
    }

    /// Whether it is the media type, or one that leaves it open.
    fn covers(&self, media: &str) -> bool {
        let open = self.media.strip_suffix('*').filter(|open| open.ends_with('/'));
        self.media == "*/*" || self.media == media || open.is_some_and(|open| media.starts_with(open))
    }

    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let openness = |range: &Self| (range.media.starts_with('*'), range.media.ends_with('*'));
        other.weight.total_cmp(&self.weight).then_with(|| openness(self).cmp(&openness(other)))
    }

    fn serve(&self, has_protobuf: bool) -> Option<Accept> {
        match self.media {
            "application/json" | "application/*" | "*/*" => self.serve_json(),
            yaml::MEDIA_TYPE => Some(Accept { encoding: Encoding::Yaml, ..self.serve_json()? }),
            protobuf::MEDIA_TYPE => self.serve_protobuf(has_protobuf),
            _ => None,
        }
    }

    fn serve_json(&self) -> Option<Accept> {
        let form = match (self.wanted, Meta::parse(self.group, self.version)) {
            ("", _) => Form::Object,
            ("Table", Some(version)) => Form::Table(Rows { version, ..Rows::default() }),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", Some(version)) => Form::Metadata(version),
            ("APIGroupDiscoveryList", None)
                if (self.group, self.version) == ("apidiscovery.k8s.io", "v2") =>
            {
                return Some(Accept { is_discovery: true, ..JSON });
            }
            _ => return None,
        };
        Some(Accept { form, ..JSON })
    }

    /// Tables have no such form.
    fn serve_protobuf(&self, has_protobuf: bool) -> Option<Accept> {
        if (self.wanted, self.group, self.version) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") {
            return Some(Accept { encoding: Encoding::Protobuf, is_discovery: true, ..JSON });
        }
        let form = match (self.wanted, Meta::parse(self.group, self.version)) {
            ("", _) if has_protobuf => Form::Object,
            ("PartialObjectMetadata" | "PartialObjectMetadataList", Some(version)) => Form::Metadata(version),
            _ => return None,
        };
        Some(Accept { form, encoding: Encoding::Protobuf, is_discovery: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(header: &str) -> Accept {
        Accept::parse(header, true).unwrap()
    }

    #[test]
    fn the_first_form_that_can_be_served_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;\
                       g=meta.k8s.io,application/json";
        assert_eq!(accept(kubectl).form, Form::Table(Rows::default()));
        assert_eq!(accept(""), JSON);
        assert_eq!(accept("application/cbor,application/json"), JSON);
        let yaml = Accept { encoding: Encoding::Yaml, ..JSON };
        assert_eq!(accept("application/yaml,application/json"), yaml);
        assert_eq!(accept("*/*,application/yaml"), yaml);
        assert_eq!(accept("application/json,application/yaml"), JSON);
        let former = accept("application/json;as=Table;v=v1beta1;g=meta.k8s.io");
        assert_eq!(former.form, Form::Table(Rows { version: Meta::V1Beta1, ..Rows::default() }));
        let aggregated =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        let of_discovery = |header: &str| Accept::parse_of_discovery(header).unwrap();
        assert!(of_discovery(aggregated).is_discovery);
        let former = aggregated.replace("v=v2", "v=v2beta1");
        assert_eq!(of_discovery(&former), JSON, "a version that is gone is passed over");
        assert_eq!(accept(aggregated), JSON, "objects have no such form");
        let protobuf =
            "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let asked = of_discovery(&format!("{protobuf},{aggregated}"));
        assert_eq!((asked.is_discovery, asked.encoding), (true, Encoding::Protobuf));
        assert_eq!(
            accept("application/json;stream=x,application/vnd.kubernetes.protobuf;stream=watch"),
            PROTOBUF
        );
    }

    const PROTOBUF: Accept = Accept { encoding: Encoding::Protobuf, ..JSON };

    #[test]
    fn weights_go_before_order_and_open_types_come_last() {
        let (protobuf, json) = ("application/vnd.kubernetes.protobuf", "application/json");
        for header in [
            protobuf.to_owned(),
            format!("{protobuf},{json}"),
            format!("*/*,{protobuf}"),
            format!("application/*, {protobuf}"),
            format!("{json};q=0.5,{protobuf};q=0.7"),
            format!("{json};q=0, {protobuf};q=0.1"),
        ] {
            assert_eq!(accept(&header), PROTOBUF, "{header}");
        }
        for header in [
            format!("{json},{protobuf}"),
            format!("{protobuf};q=0.9,{json}"),
            format!("{protobuf};q=0,*/*;q=0.1"),
            format!("{protobuf};as=Table;g=meta.k8s.io;v=v1,{json}"),
        ] {
            assert_eq!(accept(&header), JSON, "{header}");
        }
    }

    #[test]
    fn of_what_is_offered_the_first_that_is_accepted_is_taken() {
        let offered = ["application/json", "application/x.y+protobuf", "application/x@y+protobuf"];
        let first = |header: &str| first_of(header, &offered);
        for (header, at) in [
            ("", 0),
            ("*/*", 0),
            ("text/html,application/*", 0),
            ("application/x@y+protobuf", 2),
            ("application/x.y+protobuf, */*;q=0.8", 1),
            ("application/json;q=0.5,application/x.y+protobuf", 1),
            ("application/x.y+protobuf;q=0,application/json;q=0.1", 0),
        ] {
            assert_eq!(first(header).unwrap(), at, "{header}");
        }
        let refused = first("text/html, application/x.y").unwrap_err();
        assert!(refused.status().code == 406 && refused.status().message.contains(offered[2]));
    }

    #[test]
    fn what_has_no_form_in_protobuf_is_served_in_the_next() {
        let (protobuf, json) = ("application/vnd.kubernetes.protobuf", "application/json");
        let parse = |header: &str| Accept::parse(header, false);
        assert_eq!(parse(&format!("{protobuf},{json}")).unwrap(), JSON);
        let refused = parse(protobuf).unwrap_err();
        assert_eq!((refused.status().code, refused.status().reason.as_str()), (406, "NotAcceptable"));
        let metadata = format!("{protobuf};as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
        let accept = parse(&metadata).unwrap();
        assert_eq!((accept.form, accept.encoding), (Form::Metadata(Meta::V1), Encoding::Protobuf));
        for header in [&format!("{protobuf};as=Table;g=meta.k8s.io;v=v1"), "text/plain", "text/*"] {
            assert_eq!(Accept::parse(header, true).unwrap_err().status().code, 406, "{header}");
        }
    }
}
