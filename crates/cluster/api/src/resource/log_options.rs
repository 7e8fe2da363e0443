//! `PodLogOptions` of core/v1, as the query of a request for a log says them.

use hako_kube::Precision;
use hako_kube::field::{self, Faults};
use hako_kube::status::{self, Subject};

use crate::http::{Failure, Outcome, Query};

const STREAMS: [&str; 3] = ["All", "Stderr", "Stdout"];

/// Whether they make sense, whatever pod they are about.
///
/// # Errors
/// 400 of what cannot be read, 422 of the rest, as upstream has it.
pub(crate) fn check(query: &Query, pod: &str) -> Outcome<()> {
    let since = query.integer("sinceSeconds")?;
    let (tail, limit) = (query.integer("tailLines")?, query.integer("limitBytes")?);
    let time = query.text("sinceTime");
    if let Some(time) = time {
        Precision::Seconds.canonical(time).map_err(Failure::bad_request)?;
    }
    let mut faults = Faults::new();
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        faults.push(field::invalid("tailLines", tail, "must be greater than or equal to 0"));
    }
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        faults.push(field::invalid("limitBytes", limit, "must be greater than 0"));
    }
    match since {
        Some(_) if time.is_some() => {
            let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            faults.push(field::forbidden("", detail));
        }
        Some(since) if since < 1 => {
            faults.push(field::invalid("sinceSeconds", since, "must be greater than 0"));
        }
        _ => {}
    }
    let stream = query.text("stream").unwrap_or("All");
    if !STREAMS.contains(&stream) {
        faults.push(field::not_supported("stream", stream, &STREAMS));
    }
    if stream != "All" && tail.is_some() {
        let detail = "`tailLines` and specific `stream` are mutually exclusive for now";
        faults.push(field::forbidden("", detail));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let (kind, name) = ("PodLogOptions".to_owned(), pod.to_owned());
    let subject = Subject { kind, name, ..Subject::default() };
    Err(Failure::about(&status::invalid(&subject, faults), &subject))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::http::Query;

    #[test]
    fn what_makes_no_sense_of_a_log_is_refused_as_upstream_words_it() {
        let of = |query: &str| check(&Query::parse(query), "p").map_err(|it| Box::new(it.status().clone()));
        for good in [
            "",
            "tailLines=0&limitBytes=1&sinceSeconds=1&stream=All",
            "sinceTime=2026-01-01T00:00:00Z&stream=Stdout",
            "tailLines=7&sinceTime=",
        ] {
            assert!(of(good).is_ok(), "{good}");
        }
        for (bad, code, why) in [
            ("tailLines=x", 400, "strconv.ParseInt: parsing \"x\": invalid syntax"),
            ("sinceTime=noon", 400, "parsing time \"noon\" as \"2006-01-02T15:04:05Z07:00\""),
            ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
            ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
            ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
            (
                "stream=X",
                422,
                "stream: Unsupported value: \"X\": supported values: \"All\", \"Stderr\", \"Stdout\"",
            ),
            (
                "stream=Stdout&tailLines=1",
                422,
                "`tailLines` and specific `stream` are mutually exclusive for now",
            ),
            (
                "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
                422,
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
        ] {
            let status = of(bad).unwrap_err();
            assert!(status.code == code && status.message.contains(why), "{bad}: {status:?}");
            assert!(
                code == 400 || status.message.starts_with("PodLogOptions \"p\" is invalid: "),
                "{status:?}"
            );
        }
    }
}
