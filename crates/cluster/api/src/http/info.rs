//! What a request is about by its path and method alone, whether or not there is such a thing: by this requests are
//! classified, counted and recorded before anybody looks further.

use http::Method;

use super::Request;

/// Borrowed from the request; nothing is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Info<'a> {
    /// As access rules name it; for other paths the method in lower case.
    pub verb: &'static str,
    pub path: &'a str,
    /// What of which kind; none on other paths.
    pub resource: Option<ResourceInfo<'a>>,
}

/// The names in a path below a group and version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourceInfo<'a> {
    pub group: &'a str,
    pub version: &'a str,
    /// Of a namespace itself its name, as upstream has it.
    pub namespace: &'a str,
    pub resource: &'a str,
    pub name: &'a str,
    pub subresource: &'a str,
}

impl<'a> Info<'a> {
    pub(crate) fn of(request: &'a Request) -> Self {
        let resource = resource(&request.path);
        let verb = match &resource {
            Some(_) if is_watch_path(&request.path) => "watch",
            Some(resource) => {
                verb(&request.method, !resource.name.is_empty(), || request.query.flag("watch"))
            }
            None => lower(&request.method),
        };
        Self { verb, path: &request.path, resource }
    }
}

/// Whether a path says itself that it is for a watch, as clients wrote it before there was a parameter for that.
pub(crate) fn is_watch_path(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let above = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return false,
    };
    parts.nth(above) == Some("watch") && parts.next().is_some()
}

fn resource(path: &str) -> Option<ResourceInfo<'_>> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (group, version) = match parts.next()? {
        "api" => ("", parts.next()?),
        "apis" => (parts.next()?, parts.next()?),
        _ => return None,
    };
    let first = if is_watch_path(path) { parts.nth(1)? } else { parts.next()? };
    let (mut info, resource) = match (first, parts.next()) {
        ("namespaces", Some(namespace)) => match parts.next() {
            None => {
                return Some(ResourceInfo {
                    group,
                    version,
                    namespace,
                    resource: first,
                    name: namespace,
                    subresource: "",
                });
            }
            Some(part @ ("status" | "finalize")) if parts.clone().next().is_none() => {
                let info = ResourceInfo {
                    group,
                    version,
                    namespace,
                    resource: first,
                    name: namespace,
                    subresource: part,
                };
                return Some(info);
            }
            Some(resource) => {
                let name = parts.next().unwrap_or("");
                (ResourceInfo { namespace, name, ..ResourceInfo::default() }, resource)
            }
        },
        (resource, name) => (ResourceInfo { name: name.unwrap_or(""), ..ResourceInfo::default() }, resource),
    };
    info.subresource = parts.next().unwrap_or("");
    Some(ResourceInfo { group, version, resource, ..info })
}

fn verb(method: &Method, has_name: bool, is_watch: impl Fn() -> bool) -> &'static str {
    match (method.as_str(), has_name) {
        ("GET" | "HEAD", false) if is_watch() => "watch",
        ("GET" | "HEAD", false) => "list",
        ("GET" | "HEAD", true) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => lower(method),
    }
}

/// Methods that nobody has heard of are one.
fn lower(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        "CONNECT" => "connect",
        "TRACE" => "trace",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Option<[&str; 6]> {
        resource(path).map(|it| [it.group, it.version, it.namespace, it.resource, it.name, it.subresource])
    }

    #[test]
    fn paths_below_a_version_name_what_they_are_about() {
        let cases = [
            ("/api/v1/pods", ["", "v1", "", "pods", "", ""]),
            ("/api/v1/nodes/n/status", ["", "v1", "", "nodes", "n", "status"]),
            ("/api/v1/namespaces", ["", "v1", "", "namespaces", "", ""]),
            ("/api/v1/namespaces/a", ["", "v1", "a", "namespaces", "a", ""]),
            ("/api/v1/namespaces/a/finalize", ["", "v1", "a", "namespaces", "a", "finalize"]),
            ("/api/v1/namespaces/a/pods", ["", "v1", "a", "pods", "", ""]),
            ("/api/v1/namespaces/a/pods/p/proxy/x/y", ["", "v1", "a", "pods", "p", "proxy"]),
            (
                "/apis/apps/v1/namespaces/a/deployments/d/scale",
                ["apps", "v1", "a", "deployments", "d", "scale"],
            ),
            ("/api/v1/watch/pods", ["", "v1", "", "pods", "", ""]),
            ("/api/v1/watch/namespaces/a", ["", "v1", "a", "namespaces", "a", ""]),
            ("/apis/apps/v1/watch/namespaces/a/deployments/d", ["apps", "v1", "a", "deployments", "d", ""]),
            ("/api/v1/watch", ["", "v1", "", "watch", "", ""]),
        ];
        for (path, wanted) in cases {
            assert_eq!(names(path), Some(wanted), "{path}");
        }
        for path in ["/", "/api", "/api/v1", "/apis/apps/v1", "/healthz/ping", "/metrics"] {
            assert_eq!(names(path), None, "{path}");
        }
    }
}
