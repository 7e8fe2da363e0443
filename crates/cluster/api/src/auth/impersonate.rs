//! Acting as somebody else, by the `Impersonate-…` headers: Authentication, "User impersonation".

use std::collections::BTreeMap;

use hako_names::percent;
use http::HeaderMap;

use super::rbac::Index;
use super::{Attributes, Identity, authorize};
use crate::http::{Failure, Outcome, Request};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const ACCOUNT: &str = "system:serviceaccount:";

/// Whom a request wants to be, if it may; none if it is for itself.
pub(crate) fn impersonated(index: &Index, request: &Request) -> Outcome<Option<Identity>> {
    let headers = &request.headers;
    let user = values(headers, USER).into_iter().next().unwrap_or_default();
    let groups = values(headers, GROUP);
    let uid = values(headers, UID).into_iter().next().unwrap_or_default();
    let extra = extra(headers);
    if user.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        return Err(Failure::bad_request("requested impersonation without specifying a user name"));
    }
    let may = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let wanted =
            Attributes::Resource { verb: "impersonate", group, resource, subresource, namespace, name };
        authorize(index, &request.identity, wanted)
    };
    let mut identity = match user.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':')) {
        Some((namespace, name)) => {
            may("", "serviceaccounts", "", namespace, name)?;
            Identity::service_account(namespace, name)
        }
        None => {
            may("", "users", "", "", &user)?;
            let groups: &[&str] = if user == Identity::anonymous().user {
                &["system:unauthenticated"]
            } else {
                &["system:authenticated"]
            };
            Identity::new(&user, groups)
        }
    };
    for group in &groups {
        may("", "groups", "", "", group)?;
    }
    if !uid.is_empty() {
        may("authentication.k8s.io", "uids", "", "", &uid)?;
    }
    for (key, value) in extra.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value))) {
        may("authentication.k8s.io", "userextras", key, "", value)?;
    }
    if !groups.is_empty() {
        let own = std::mem::replace(&mut identity.groups, groups);
        let all = own.into_iter().filter(|group| group.ends_with("authenticated"));
        // Who is said not to be authenticated is not made so.
        let is_said = |group: &str| identity.groups.iter().any(|said| said == group);
        let is_open = |group: &String| !is_said(group) && !is_said("system:unauthenticated");
        let lacking: Vec<String> = all.filter(is_open).collect();
        identity.groups.extend(lacking);
    }
    Ok(Some(Identity { uid, extra, ..identity }))
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.map(str::to_owned).filter(|text| !text.is_empty()).collect()
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            all.entry(percent::decode(key)).or_default().push(value.to_owned());
        }
    }
    all
}
