//! How a process is scheduled: for processors, for disks, and which kind of system it sees.

use hako_error::Result;
use hako_oci::runtime::{
    Capability, IOPriorityClass, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag as Flag,
    LinuxSchedulerPolicy as Policy, Process, Scheduler,
};
use hako_sys::SchedulerAttributes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PlanError, not_supported};

/// What is asked for; the rest stays the caller's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SchedulePlan {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<SchedulerAttributes>,
    /// Class and priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<(u8, u8)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<u32>,
}

pub(super) fn plan(process: &Process) -> Result<SchedulePlan> {
    let scheduler = process.scheduler().as_ref().map(scheduler).transpose()?;
    let io = process.io_priority().as_ref().map(|io| io_priority(io.class(), io.priority())).transpose()?;
    Ok(SchedulePlan { scheduler, io, personality: None })
}

fn bad(field: &'static str, value: impl ToString, expected: &'static str) -> PlanError {
    PlanError::Bad { field, value: value.to_string(), expected }
}

fn scheduler(wanted: &Scheduler) -> Result<SchedulerAttributes> {
    let policy = *wanted.policy();
    let (nice, priority) = (wanted.nice().unwrap_or(0), wanted.priority().unwrap_or(0));
    let times = [wanted.runtime(), wanted.deadline(), wanted.period()].map(|time| time.unwrap_or(0));
    if !(-20..=19).contains(&nice) {
        return Err(bad("process.scheduler.nice", nice, "it is from -20 to 19").into());
    }
    if priority != 0 && !matches!(policy, Policy::SchedFifo | Policy::SchedRr) {
        let expected = "it goes with SCHED_FIFO and SCHED_RR only";
        return Err(bad("process.scheduler.priority", priority, expected).into());
    }
    if times != [0; 3] && policy != Policy::SchedDeadline {
        let expected = "runtime, deadline and period go with SCHED_DEADLINE only";
        return Err(bad("process.scheduler.policy", policy, expected).into());
    }
    let [runtime, deadline, period] = times;
    let priority = u32::try_from(priority)
        .map_err(|_| bad("process.scheduler.priority", priority, "it is from 1 to 99"))?;
    let flags = wanted.flags().iter().flatten().fold(0, |bits, flag| bits | flag_bit(*flag));
    let mut attributes = SchedulerAttributes::default();
    (attributes.policy, attributes.flags) = (policy_number(policy), flags);
    (attributes.nice, attributes.priority) = (nice, priority);
    (attributes.runtime, attributes.deadline, attributes.period) = (runtime, deadline, period);
    Ok(attributes)
}

fn policy_number(policy: Policy) -> u32 {
    match policy {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    }
}

/// Flags by the specification's names and by those of the types they are read into.
const RENAMED: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

fn flag_bit(flag: Flag) -> u64 {
    match flag {
        Flag::SchedResetOnFork => 0x01,
        Flag::SchedFlagReclaim => 0x02,
        Flag::SchedFlagDLOverrun => 0x04,
        Flag::SchedFlagKeepPolicy => 0x08,
        Flag::SchedFlagKeepParams => 0x10,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    }
}

/// Reads a `config.json`, or its `process` alone, and says which capabilities in it are none: the specification wants
/// them ignored, with a warning. Two flags of schedulers have a name in the specification that the types we read into do
/// not have; both are taken.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<(T, Vec<String>)> {
    const FLAG: &[u8] = b"SCHED_FLAG_";
    let has_flags = text.windows(FLAG.len()).any(|window| window == FLAG);
    let plain = (!has_flags).then(|| serde_json::from_slice(text));
    if let Some(Ok(plain)) = plain {
        return Ok((plain, Vec::new()));
    }
    let mut value: Value = serde_json::from_slice(text)?;
    let process = if value["process"].is_object() { &mut value["process"] } else { &mut value };
    let unknown = take_unknown_capabilities(process);
    if let (Some(Err(error)), true) = (plain, unknown.is_empty()) {
        // This one knows the line.
        return Err(error);
    }
    let flags = process.pointer_mut("/scheduler/flags").and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        if let Some((_, ours)) = RENAMED.iter().find(|(specified, _)| flag == specified) {
            *flag = Value::from(*ours);
        }
    }
    Ok((serde_json::from_value(value)?, unknown))
}

/// Takes names that no capability has out of a process's sets.
fn take_unknown_capabilities(process: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let sets = process.get_mut("capabilities").and_then(Value::as_object_mut).into_iter();
    for set in sets.flat_map(|sets| sets.values_mut()).filter_map(Value::as_array_mut) {
        set.retain(|name| {
            let is_known = !name.is_string() || serde_json::from_value::<Capability>(name.clone()).is_ok();
            if let (Some(name), false) = (name.as_str(), is_known)
                && !unknown.iter().any(|known| known == name)
            {
                unknown.push(name.to_owned());
            }
            is_known
        });
    }
    unknown
}

fn io_priority(class: IOPriorityClass, priority: i64) -> Result<(u8, u8)> {
    let class = match class {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let fitting = u8::try_from(priority).ok().filter(|priority| *priority < 8);
    let priority =
        fitting.ok_or_else(|| bad("process.ioPriority.priority", priority, "it is from 0 to 7"))?;
    Ok((class, priority))
}

/// The kernel's number of a personality.
pub(crate) fn personality(wanted: &LinuxPersonality) -> Result<u32> {
    if wanted.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(not_supported("linux.personality.flags", "remove it from the spec"));
    }
    Ok(match wanted.domain() {
        LinuxPersonalityDomain::PerLinux => 0x0000,
        LinuxPersonalityDomain::PerLinux32 => 0x0008,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn planned(process: serde_json::Value) -> Result<SchedulePlan> {
        let mut whole = json!({"args": ["x"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
        whole.as_object_mut().unwrap().extend(process.as_object().unwrap().clone());
        plan(&serde_json::from_value(whole).unwrap())
    }

    #[test]
    fn what_goes_with_a_policy_goes_with_it_only() {
        let of = |scheduler| planned(json!({ "scheduler": scheduler }));
        let fifo = of(json!({"policy": "SCHED_FIFO", "priority": 10})).unwrap().scheduler.unwrap();
        assert_eq!((fifo.policy, fifo.priority), (1, 10));
        let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3});
        assert_eq!(of(deadline).unwrap().scheduler.unwrap().period, 3);
        for wrong in [
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            json!({"policy": "SCHED_BATCH", "priority": 1}),
            json!({"policy": "SCHED_RR", "period": 1}),
            json!({"policy": "SCHED_FIFO", "priority": -1}),
        ] {
            assert!(of(wrong.clone()).unwrap_err().to_string().contains("process.scheduler"), "{wrong}");
        }
    }

    #[test]
    fn flags_are_taken_by_the_specification_s_names_and_by_older_ones() {
        let of = |flags: &[&str], is_whole: bool| {
            let process = json!({"args": ["x"], "cwd": "/", "user": {"uid": 0, "gid": 0},
                "scheduler": {"policy": "SCHED_OTHER", "flags": flags}});
            let process: Process = match is_whole {
                true => {
                    let text = json!({"ociVersion": "1.2.0", "process": process}).to_string();
                    let spec: hako_oci::runtime::Spec = read(text.as_bytes()).unwrap().0;
                    spec.process().clone().unwrap()
                }
                false => read(process.to_string().as_bytes()).unwrap().0,
            };
            plan(&process).unwrap().scheduler.unwrap().flags
        };
        for is_whole in [true, false] {
            assert_eq!(of(&["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"], is_whole), 0x05);
            assert_eq!(of(&["SCHED_RESET_ON_FORK", "SCHED_FLAG_RECLAIM"], is_whole), 0x03);
        }
        assert!(read::<Process>(br#"{"scheduler": {"flags": ["SCHED_FLAG_NONE"]}}"#).is_err());
    }

    #[test]
    fn a_priority_for_disks_is_from_0_to_7() {
        let of =
            |priority| planned(json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": priority}}));
        assert_eq!(of(7).unwrap().io, Some((2, 7)));
        assert!(of(8).is_err() && of(-1).is_err());
    }
}
