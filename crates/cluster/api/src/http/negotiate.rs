//! The formats a client accepts.

use super::Failure;
use hako_kube::Status;

/// In which form objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// A table of cells, as `kubectl get` prints them.
    Table(RowObject),
    /// Metadata only.
    Metadata,
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

/// What an `Accept` header came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accept {
    pub form: Form,
    /// The version of aggregated discovery, if that is wanted.
    pub discovery: Option<&'static str>,
}

impl Accept {
    /// Takes the first range that can be served: JSON in one of the known forms.
    pub(crate) fn parse(header: &str) -> Result<Self, Failure> {
        if header.trim().is_empty() {
            return Ok(Self { form: Form::Object, discovery: None });
        }
        header.split(',').find_map(parse_range).ok_or_else(|| {
            let text = "only the following media types are accepted: application/json";
            Failure::from(Status::failure(406, "NotAcceptable", text))
        })
    }
}

fn parse_range(range: &str) -> Option<Accept> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?;
    if !matches!(media, "application/json" | "application/*" | "*/*" | "text/plain") {
        return None;
    }
    let (mut wanted, mut group, mut version) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => wanted = value,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            _ => {}
        }
    }
    let plain = |form| Some(Accept { form, discovery: None });
    match (wanted, group, version) {
        ("", ..) => plain(Form::Object),
        ("Table", "meta.k8s.io", "v1" | "v1beta1") => plain(Form::Table(RowObject::default())),
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1" | "v1beta1") => {
            plain(Form::Metadata)
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => {
            Some(Accept { form: Form::Object, discovery: Some("v2") })
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => {
            Some(Accept { form: Form::Object, discovery: Some("v2beta1") })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_can_be_served_wins() {
        let accept = |header| Accept::parse(header).unwrap();
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;\
                       g=meta.k8s.io,application/json";
        assert_eq!(accept(kubectl).form, Form::Table(RowObject::Metadata));
        assert_eq!(accept("application/vnd.kubernetes.protobuf,application/json").form, Form::Object);
        assert_eq!(accept("").form, Form::Object);
        assert!(Accept::parse("application/vnd.kubernetes.protobuf").is_err());
        let aggregated =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(accept(aggregated).discovery, Some("v2"));
    }
}
