//! What is run, how often, and how often it may fail.

use super::HEALTH;
use crate::error::{Failure, invalid};
use hako_container::Container;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

const MILLISECOND: i64 = 1_000_000;

/// `HealthConfig`: durations in nanoseconds, 0 is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Check {
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_default")]
    interval: i64,
    #[serde(skip_serializing_if = "is_default")]
    timeout: i64,
    #[serde(skip_serializing_if = "is_default")]
    start_period: i64,
    #[serde(skip_serializing_if = "is_default")]
    start_interval: i64,
    #[serde(skip_serializing_if = "is_default")]
    retries: i64,
}

fn is_default(number: &i64) -> bool {
    *number == 0
}

impl Check {
    /// What the request says, with the image's values where it says nothing; `None` without a command.
    pub(crate) fn merged(request: Option<Self>, image: &Value) -> Result<Option<Self>, Failure> {
        let image = Self::deserialize(image).unwrap_or_default();
        let mut check = request.unwrap_or_default();
        check.test = check.test.filter(|test| !test.is_empty()).or(image.test);
        for (value, default) in [
            (&mut check.interval, image.interval),
            (&mut check.timeout, image.timeout),
            (&mut check.start_period, image.start_period),
            (&mut check.start_interval, image.start_interval),
            (&mut check.retries, image.retries),
        ] {
            if *value == 0 {
                *value = default;
            }
        }
        check.validate()?;
        Ok(Some(check).filter(|check| check.test.as_ref().is_some_and(|test| !test.is_empty())))
    }

    fn validate(&self) -> Result<(), Failure> {
        for (name, value) in [
            ("Interval", self.interval),
            ("Timeout", self.timeout),
            ("StartPeriod", self.start_period),
            ("StartInterval", self.start_interval),
        ] {
            if value != 0 && value < MILLISECOND {
                return Err(invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
            }
        }
        if self.retries < 0 {
            return Err(invalid("Retries in Healthcheck cannot be negative"));
        }
        match self.test.as_deref().unwrap_or_default() {
            [] => Ok(()),
            [kind] if kind == "NONE" => Ok(()),
            [kind, _, ..] if kind == "CMD" => Ok(()),
            [kind, _] if kind == "CMD-SHELL" => Ok(()),
            test => Err(invalid(format!(
                "Test {test:?} in Healthcheck must be [\"NONE\"], [\"CMD\", program, arguments…] or \
                 [\"CMD-SHELL\", line]"
            ))),
        }
    }

    /// The check of a container, if it has one that is run.
    pub(crate) fn of(container: &Container) -> Option<Self> {
        let check: Self = serde_json::from_str(container.spec.annotations.get(HEALTH)?).ok()?;
        check.argv().is_some().then_some(check)
    }

    pub(super) fn argv(&self) -> Option<Vec<String>> {
        match self.test.as_deref()? {
            [kind, argv @ ..] if kind == "CMD" => Some(argv.to_vec()),
            [kind, line] if kind == "CMD-SHELL" => Some(vec!["/bin/sh".into(), "-c".into(), line.clone()]),
            _ => None,
        }
    }

    pub(super) fn interval(&self) -> Duration {
        duration(self.interval, 30)
    }

    pub(super) fn timeout(&self) -> Duration {
        duration(self.timeout, 30)
    }

    pub(super) fn start_period(&self) -> Duration {
        duration(self.start_period, 0)
    }

    pub(super) fn start_interval(&self) -> Duration {
        duration(self.start_interval, 5)
    }

    pub(super) fn retries(&self) -> u32 {
        u32::try_from(self.retries).ok().filter(|retries| *retries > 0).unwrap_or(3)
    }
}

fn duration(nanoseconds: i64, default_seconds: u64) -> Duration {
    match u64::try_from(nanoseconds) {
        Ok(0) | Err(_) => Duration::from_secs(default_seconds),
        Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(request: Value, image: &Value) -> Result<Value, String> {
        let request = serde_json::from_value(request).unwrap();
        let merged = Check::merged(request, image).map_err(|failure| failure.0.to_string())?;
        Ok(serde_json::to_value(merged).unwrap())
    }

    #[test]
    fn a_request_overrides_parts_of_the_images_check() {
        let image = json!({ "Test": ["CMD", "true"], "Interval": 5_000_000_000_i64, "Retries": 2 });
        assert_eq!(merged(Value::Null, &image).unwrap(), image);
        assert_eq!(merged(Value::Null, &Value::Null).unwrap(), Value::Null);
        assert_eq!(
            merged(json!({ "Test": ["CMD-SHELL", "x"], "Retries": 7 }), &image).unwrap(),
            json!({ "Test": ["CMD-SHELL", "x"], "Interval": 5_000_000_000_i64, "Retries": 7 })
        );
        assert_eq!(merged(json!({ "Interval": 1_000_000 }), &Value::Null).unwrap(), Value::Null);
    }

    #[test]
    fn a_faulty_check_is_refused() {
        let refused = |request| merged(request, &Value::Null).unwrap_err();
        assert_eq!(
            refused(json!({ "Test": ["CMD", "x"], "Timeout": 5 })),
            "Timeout in Healthcheck cannot be less than 1ms"
        );
        assert_eq!(
            refused(json!({ "Test": ["CMD", "x"], "Retries": -1 })),
            "Retries in Healthcheck cannot be negative"
        );
        for test in [json!(["CMD"]), json!(["true"]), json!(["CMD-SHELL", "a", "b"])] {
            assert!(refused(json!({ "Test": test })).contains("must be"), "{test}");
        }
    }
}
