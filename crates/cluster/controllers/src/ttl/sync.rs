//! One step of a job.

use super::Controller;
use crate::wiring::Key;
use hako_client::{Api, DeleteOptions, Propagation};
use hako_error::{Kind, Result};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::time::Duration;

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(job) = self.jobs.get(&key.0, &key.1) else { return Ok(None) };
        let Some(ends) = ends(&job).filter(|_| job.metadata.deletion_timestamp.is_none()) else {
            return Ok(None);
        };
        let left = Timestamp::now().duration_until(ends);
        if let Ok(left) = Duration::try_from(left)
            && !left.is_zero()
        {
            return Ok(Some(left));
        }
        let options = DeleteOptions {
            propagation: Some(Propagation::Foreground),
            uid: job.metadata.uid.clone(),
            // The job may be kept for longer meanwhile.
            resource_version: job.metadata.resource_version.clone(),
            ..DeleteOptions::default()
        };
        let api: Api<Job> = self.client.namespaced(&key.0);
        match api.delete(&key.1, &options).await {
            // Gone, or changed: then the change wakes this key again.
            Err(error) if !matches!(error.kind(), Kind::NotFound | Kind::Conflict) => Err(error),
            _ => Ok(None),
        }
    }
}

/// When a job is not kept any longer; none if it has not finished or is kept for ever.
fn ends(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let is_end = |kind: &str, status: &str| matches!(kind, "Complete" | "Failed") && status == "True";
    let finished = conditions.iter().find(|condition| is_end(&condition.type_, &condition.status))?;
    let at = finished.last_transition_time.as_ref()?.0;
    at.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_finished_jobs_that_say_so_end() {
        let job = |seconds: Option<i32>, kind: &str| {
            let condition =
                json!({ "type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
            let job = json!({ "spec": { "template": {}, "ttlSecondsAfterFinished": seconds }, "status": { "conditions": [condition] } });
            ends(&serde_json::from_value(job).unwrap()).map(|at| at.to_string())
        };
        assert_eq!(job(Some(60), "Complete").as_deref(), Some("2026-01-01T00:01:00Z"));
        assert_eq!(job(Some(0), "Failed").as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(job(Some(60), "Suspended"), None);
        assert_eq!(job(None, "Complete"), None);
    }
}
