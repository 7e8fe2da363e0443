//! The pages.

use std::sync::atomic::Ordering;

use super::text::Text;
use super::{cel, objects, process};
use crate::config::GIT_VERSION;
use crate::http::Outcome;
use crate::server::Inner;

/// `/metrics`.
pub(crate) async fn page(server: &Inner) -> Outcome<String> {
    let mut text = Text::default();
    server.requests.write(&mut text);
    server.flow.write(&mut text);
    if let Some(audit) = &server.config.audit {
        audit.write_metrics(&mut text);
    }
    server.admission_counts.write(&mut text);
    cel::write(&mut text);
    server.conversion_counts.write(&mut text);
    server.aggregated.write_metrics(&mut text);
    objects(server, &mut text).await?;
    store(server, &mut text).await?;
    text.head("kubernetes_build_info", "gauge", "What this is, as labels of a 1.");
    let labels = [("git_version", GIT_VERSION), ("major", "1"), ("minor", "36"), ("compiler", "rustc")];
    text.value("kubernetes_build_info", &labels, 1);
    process::write(&mut text);
    Ok(text.finish())
}

async fn objects(server: &Inner, text: &mut Text) -> Outcome<()> {
    let all = objects::all(server).await?;
    let name = "apiserver_storage_objects";
    text.head(name, "gauge", "Objects stored, by kind.");
    for (row, count) in &all {
        let resource = if row.group.is_empty() {
            row.plural.to_string()
        } else {
            format!("{}.{}", row.plural, row.group)
        };
        text.value(name, &[("resource", &resource)], count);
    }
    let name = "apiserver_resource_objects";
    text.head(name, "gauge", "Objects stored, by group and resource.");
    for (row, count) in &all {
        text.value(name, &[("group", &row.group), ("resource", &row.plural)], count);
    }
    Ok(())
}

async fn store(server: &Inner, text: &mut Text) -> Outcome<()> {
    let status = server.config.store.status().await?;
    let watches = server.counts.watches.load(Ordering::Relaxed);
    let rows = [
        ("apiserver_watches", "gauge", "Watches that run, those of this process included.", watches),
        ("store_revision", "counter", "The newest revision.", status.revision.0),
        ("store_compacted_revision", "counter", "Up to here history is gone.", status.compacted.0),
        ("store_entries", "gauge", "Keys.", status.entries),
        ("store_bytes", "gauge", "Bytes of keys and values.", status.bytes),
        ("apiserver_storage_size_bytes", "gauge", "Bytes on disk.", status.disk_bytes),
    ];
    for (name, kind, help, value) in rows {
        text.single(name, kind, help, value);
    }
    Ok(())
}

/// `/metrics/slis`: how the checks of health stand, and how they came out so far.
pub(crate) fn slis(server: &Inner, now: &[(&str, &str, bool)]) -> String {
    let mut text = Text::default();
    let name = "kubernetes_healthcheck";
    text.head(name, "gauge", "Whether a check of health passes.");
    for (endpoint, check, is_good) in now {
        text.value(name, &[("name", check), ("type", endpoint)], u8::from(*is_good));
    }
    let name = "kubernetes_healthchecks_total";
    text.head(name, "counter", "How checks of health came out.");
    let mut all: Vec<_> = server.health.lock().iter().map(|(key, count)| (*key, *count)).collect();
    all.sort_unstable();
    for ((endpoint, check, is_good), count) in all {
        let status = if is_good { "success" } else { "error" };
        text.value(name, &[("name", check), ("status", status), ("type", endpoint)], count);
    }
    text.finish()
}
