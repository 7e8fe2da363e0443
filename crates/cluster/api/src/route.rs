//! From a path and a verb to what is to be done, through authorization.

use std::borrow::Cow;
use std::sync::Arc;

use hako_error::Error;
use http::Method;

use crate::aggregation::{self, Remote};
use crate::auth::{Attributes, decide, decide_selected};
use crate::http::{
    Encoding, Failure, Info, Outcome, Query, Request, ResourceInfo, answer, compress, encoded, is_watch_path,
    web_socket,
};
use crate::kinds::{self, Kinds, Question, Served};
use crate::resource::{self, Target};
use crate::server::Inner;
use crate::{admin, discovery, node_proxy, proxy};

/// What a path names below a group and version.
pub(crate) struct Parsed {
    pub row: Arc<Served>,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
    /// Whether the path itself says that it is for a watch.
    pub is_watch: bool,
}

/// Whether a request may take long: watches and what is streamed from nodes.
pub(crate) fn is_long_running(request: &Request) -> bool {
    let path = &request.path;
    match request.method {
        _ if proxy::is_meant(path) => true,
        _ if request.upgrade.is_some() && is_session(request) => true,
        Method::GET => asks_to_watch(request) || path.ends_with("/log") || admin::lasts(path),
        _ => false,
    }
}

/// Whether a request is about what is spoken with a pod.
fn is_session(request: &Request) -> bool {
    ["/exec", "/attach", "/portforward"].iter().any(|part| request.path.ends_with(part))
}

/// Whether a request is a watch.
pub(crate) fn is_watch(request: &Request) -> bool {
    matches!(request.method, Method::GET | Method::HEAD)
        && request.upgrade.is_none()
        && !proxy::is_meant(&request.path)
        && !request.path.ends_with("/log")
        && asks_to_watch(request)
}

/// By the parameter or the path.
pub(crate) fn asks_to_watch(request: &Request) -> bool {
    request.query.flag("watch") || is_watch_path(&request.path)
}

/// A request that may be made.
pub(crate) enum Permit {
    Resource(Access),
    Path,
    /// Of what somebody else serves.
    Remote(Arc<Remote>),
}

/// Whether the request may be made at all. Its body does not matter.
pub(crate) async fn may(server: &Inner, request: &Request) -> Outcome<Permit> {
    let segments = segments(&request.path);
    let segments: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
    let kinds = server.kinds.now();
    let asked = asked(&kinds, &segments);
    if !matches!(asked, Ok(Some(_)))
        && let Some(remote) = server.aggregated.serving(&kinds, &segments)
    {
        any_access(server, request).await?;
        return Ok(Permit::Remote(remote));
    }
    match asked {
        Ok(Some(parsed)) => access(server, request, parsed).await.map(Permit::Resource),
        Ok(None) => path_access(server, request).await.map(|()| Permit::Path),
        Err(failure) => {
            nothing_access(server, request).await?;
            Err(failure)
        }
    }
}

/// Access by what the path says alone.
async fn any_access(server: &Inner, request: &Request) -> Outcome<()> {
    let info = Info::of(request);
    if info.resource.is_some() {
        return nothing_access(server, request).await;
    }
    let wanted = Attributes::Path { verb: info.verb, path: info.path };
    Ok(decide(server, &request.identity, wanted).await?)
}

/// Who may not ask for something is told that, and not whether there is such a thing.
async fn nothing_access(server: &Inner, request: &Request) -> Outcome<()> {
    let info = Info::of(request);
    let Some(resource) = info.resource else { return Ok(()) };
    let ResourceInfo { group, namespace, resource, name, subresource, .. } = resource;
    let wanted = Attributes::Resource { verb: info.verb, group, resource, subresource, namespace, name };
    Ok(decide(server, &request.identity, wanted).await?)
}

/// By which role a request may be made, if it is by one.
pub(crate) fn reason(server: &Inner, request: &Request) -> String {
    let info = Info::of(request);
    let wanted = match info.resource {
        None => Attributes::Path { verb: info.verb, path: info.path },
        Some(ResourceInfo { group, namespace, resource, name, subresource, .. }) => {
            Attributes::Resource { verb: info.verb, group, resource, subresource, namespace, name }
        }
    };
    server.rbac.read().reason(&request.identity, wanted).unwrap_or_default()
}

/// Does what may be done, with what admission has to say about it.
pub(crate) async fn carry_out(server: &Arc<Inner>, request: Box<Request>, permit: Permit) -> Outcome {
    let notes = Arc::clone(&request.notes);
    // What lasts is never packed: each line has to arrive when it is written.
    // What somebody else answers is handed on as it is.
    let is_remote = matches!(permit, Permit::Remote(_));
    let is_packed = !is_remote
        && !request.is_inside
        && compress::is_taken(&request.headers)
        && !is_long_running(&request);
    let is_as_made = is_remote || is_long_running(&request);
    let encoding = if is_as_made { Encoding::Json } else { request.encoding() };
    let mut outcome = answer_to(server, request, permit).await;
    match &mut outcome {
        Ok(response) => answer::warn(response, &notes.warnings()),
        Err(failure) => failure.warn(notes.warnings()),
    }
    if let Ok(response) = outcome {
        outcome = Ok(encoded(response, encoding).await);
    }
    if is_packed {
        outcome = outcome.map(compress::packed);
    }
    for (key, value) in notes.annotations() {
        tracing::debug!(key, value, "audit annotation");
    }
    outcome
}

async fn answer_to(server: &Arc<Inner>, request: Box<Request>, permit: Permit) -> Outcome {
    match permit {
        Permit::Resource(access) => resource(server, request, access).await,
        Permit::Remote(remote) => Box::pin(aggregation::serve(server, *request, &remote)).await,
        Permit::Path => {
            let segments = segments(&request.path);
            let segments: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
            match admin::about(&segments) {
                Some(about) => Box::pin(admin::answer(server, &request, about)).await,
                None => Box::pin(discovery::answer(server, &request, &segments)).await,
            }
        }
    }
}

fn segments(path: &str) -> Vec<Cow<'_, str>> {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let decoded = segments.map(|segment| match segment.contains('%') {
        true => Cow::Owned(hako_names::percent::decode(segment)),
        false => Cow::Borrowed(segment),
    });
    decoded.collect()
}

/// What is asked for below a group and version, if that is what the path is about.
fn asked(kinds: &Kinds, segments: &[&str]) -> Outcome<Option<Parsed>> {
    Ok(match segments {
        ["api", version, rest @ ..] if !rest.is_empty() => Some(parse(kinds, "", version, rest)?),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => Some(parse(kinds, group, version, rest)?),
        _ => None,
    })
}

async fn path_access(server: &Inner, request: &Request) -> Outcome<()> {
    let verb = request.method.as_str().to_ascii_lowercase();
    let wanted = Attributes::Path { verb: &verb, path: &request.path };
    decide(server, &request.identity, wanted).await?;
    match request.method {
        Method::GET | Method::HEAD => Ok(()),
        Method::POST if admin::takes_post(&request.path) => Ok(()),
        _ => Err(Failure::method_not_allowed()),
    }
}

fn parse(kinds: &Kinds, group: &str, version: &str, rest: &[&str]) -> Outcome<Parsed> {
    // The form from before the parameter `watch`. There are no watches of subresources.
    if let ["watch", rest @ ..] = rest
        && !rest.is_empty()
    {
        let parsed = parse(kinds, group, version, rest)?;
        return match parsed.subresource.is_empty() && !parsed.is_watch {
            true => Ok(Parsed { is_watch: true, ..parsed }),
            false => Err(Failure::no_such_path()),
        };
    }
    let found = |plural: &str, namespace: &str, name: &str, subresource: &str| {
        let missing = || match kinds::replacement(group, version, plural) {
            Some(instead) => Failure::no_longer_served(group, version, plural, instead),
            None => Failure::no_such_path(),
        };
        let row = kinds.by_resource(group, version, plural).ok_or_else(missing)?;
        if row.is_namespaced() == namespace.is_empty() && !(name.is_empty() && namespace.is_empty()) {
            return Err(Failure::no_such_path());
        }
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Ok(Parsed {
            row: Arc::clone(row),
            namespace,
            name,
            subresource: subresource.to_owned(),
            is_watch: false,
        })
    };
    match *rest {
        [plural @ "nodes", name, "proxy", ..] => found(plural, "", name, "proxy"),
        ["namespaces", namespace, plural, name, "proxy", ..] => found(plural, namespace, name, "proxy"),
        ["namespaces", name, part @ ("status" | "finalize")] => found("namespaces", "", name, part),
        ["namespaces", namespace, plural] => found(plural, namespace, "", ""),
        ["namespaces", namespace, plural, name] => found(plural, namespace, name, ""),
        ["namespaces", namespace, plural, name, part] => found(plural, namespace, name, part),
        [plural] => found(plural, "", "", ""),
        [plural, name] => found(plural, "", name, ""),
        [plural, name, part] => found(plural, "", name, part),
        _ => Err(Failure::no_such_path()),
    }
}

/// The verb of access rules and discovery.
fn verb_of(method: &Method, has_name: bool, query: &Query) -> Outcome<&'static str> {
    Ok(match (method.as_str(), has_name) {
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) if query.flag("watch") => "watch",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", true) => "update",
        ("PATCH", true) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => return Err(Failure::method_not_allowed()),
    })
}

/// What an authorized request is about.
pub(crate) struct Access {
    target: Target,
    subresource: String,
    verb: &'static str,
}

async fn access(server: &Inner, request: &Request, parsed: Parsed) -> Outcome<Access> {
    let Parsed { row, namespace, name, subresource, is_watch } = parsed;
    let verb = match is_watch {
        true if request.method == Method::GET => "watch",
        true => return Err(Failure::method_not_allowed()),
        false => verb_of(&request.method, !name.is_empty(), &request.query)?,
    };
    let target = Target { row, namespace, name };
    let row = &*target.row;
    // Who may see one object by its name may also watch that one.
    let field_selector = request.query.get("fieldSelector").unwrap_or("");
    let selected = field_selector.strip_prefix("metadata.name=").filter(|rest| !rest.contains([',', '=']));
    let named = if target.name.is_empty() { selected.unwrap_or("") } else { &target.name };
    let access_namespace = if row.is("", "namespaces") { &target.name } else { &target.namespace };
    let wanted = Attributes::Resource {
        verb,
        group: &row.group,
        resource: &row.plural,
        subresource: &subresource,
        namespace: access_namespace,
        name: named,
    };
    let about = |error: Error| Failure::about(&error, &target.subject());
    decide_selected(server, &request.identity, wanted, field_selector).await.map_err(about)?;
    // A session over WebSockets begins with a GET, and whoever may look may not act for that.
    if verb == "get" && is_session(request) && request.upgrade.is_some() {
        let wanted = wanted.with_verb("create");
        decide(server, &request.identity, wanted).await.map_err(about)?;
    }
    Ok(Access { target, subresource, verb })
}

fn is_of_components(row: &Served) -> bool {
    row.question == Some(Question::Components)
}

/// Each operation but the shortest has its state apart: in one, that of every read would be as large as the largest.
async fn resource(server: &Arc<Inner>, request: Box<Request>, access: Access) -> Outcome {
    if let Some(text) = &access.target.row.deprecation {
        request.notes.warn(text.as_str());
    }
    if access.subresource.is_empty() {
        whole(server, request, access).await
    } else {
        part(server, request, access).await
    }
}

/// What is asked of objects as a whole.
async fn whole(server: &Arc<Inner>, mut request: Box<Request>, access: Access) -> Outcome {
    let Access { target, verb, .. } = access;
    let row = &*target.row;
    let subject = target.subject();
    // Nothing is changed for whoever could not be told what it came to.
    request.accept_of(row.has_protobuf)?;
    if !row.verbs.contains(&verb) {
        return Err(Failure::method_not_allowed().of(&subject));
    }
    match verb {
        "get" if is_of_components(row) => resource::get_component(server, &request, &target).await,
        "list" if is_of_components(row) => resource::list_components(server, &request, &target).await,
        "get" => resource::get(server, &request, &target).await,
        "list" => Box::pin(resource::list(server, &request, &target)).await,
        "watch" => {
            let answer = Box::pin(resource::watch(server, &request, &target)).await?;
            web_socket::carry(&mut request, answer, web_socket::Pieces::Events)
        }
        "create" if row.question.is_some() => {
            let question = row.question.ok_or_else(Failure::no_such_path)?;
            Box::pin(resource::ask(server, &request, &target, question)).await
        }
        "create" if row.is_ending => Err(Failure::kind_is_ending().of(&subject)),
        "create" if target.name.is_empty() => Box::pin(resource::create(server, &request, &target)).await,
        "update" => Box::pin(resource::update(server, &request, &target, "")).await,
        "patch" => Box::pin(resource::patch(server, &request, &target, "")).await,
        "delete" => Box::pin(resource::delete(server, &request, &target)).await,
        "deletecollection" => Box::pin(resource::delete_collection(server, &request, &target)).await,
        _ => Err(Failure::method_not_allowed().of(&subject)),
    }
}

/// What is asked of a subresource.
async fn part(server: &Arc<Inner>, mut request: Box<Request>, access: Access) -> Outcome {
    let Access { target, subresource, verb } = access;
    let row = &*target.row;
    let subject = target.subject();
    let part = row.subresource(&subresource).ok_or_else(Failure::no_such_path)?;
    if !part.verbs.contains(&verb) {
        return Err(Failure::method_not_allowed().of(&subject));
    }
    match (part.name, verb) {
        ("log", _) => {
            let answer = Box::pin(node_proxy::log(server, &request, &target)).await?;
            web_socket::carry(&mut request, answer, web_socket::Pieces::Bytes)
        }
        ("proxy", _) => {
            resource::admit_connection(server, &mut request, &target, part.name).await?;
            Box::pin(proxy::serve(server, *request, &target)).await
        }
        ("exec" | "attach" | "portforward", _) => {
            resource::admit_connection(server, &mut request, &target, part.name).await?;
            Box::pin(node_proxy::tunnel(server, *request, &target, part.name)).await
        }
        ("binding", "create") => Box::pin(resource::bind(server, &request, &target)).await,
        ("token", "create") => Box::pin(resource::request_token(server, &request, &target)).await,
        ("eviction", "create") => Box::pin(resource::evict(server, &request, &target)).await,
        ("scale", "get") => resource::get_scale(server, &target).await,
        ("scale", "update" | "patch") => Box::pin(resource::write_scale(server, &request, &target)).await,
        (_, "get") => resource::get(server, &request, &target).await,
        (part, "update") => Box::pin(resource::update(server, &request, &target, part)).await,
        (part, "patch") => Box::pin(resource::patch(server, &request, &target, part)).await,
        _ => Err(Failure::method_not_allowed().of(&subject)),
    }
}
