//! Messages of batch.

use super::cluster::ObjectReference;
use super::meta::{LabelSelector, ObjectMeta};
use super::pod::PodTemplateSpec;

messages! {
    CronJob {
        1 metadata: ObjectMeta, 2 spec: CronJobSpec, 3 status: CronJobStatus,
    }
    CronJobSpec {
        1 schedule: text kept, 2 startingDeadlineSeconds: int kept, 3 concurrencyPolicy: text,
        4 suspend: flag kept, 5 jobTemplate: JobTemplateSpec kept, 6 successfulJobsHistoryLimit: int kept,
        7 failedJobsHistoryLimit: int kept, 8 timeZone: text,
    }
    CronJobStatus {
        1 active: [ObjectReference], 4 lastScheduleTime: time, 5 lastSuccessfulTime: time,
    }
    Job {
        1 metadata: ObjectMeta, 2 spec: JobSpec, 3 status: JobStatus,
    }
    JobCondition {
        1 type: text kept, 2 status: text kept, 3 lastProbeTime: time, 4 lastTransitionTime: time,
        5 reason: text, 6 message: text,
    }
    JobSpec {
        1 parallelism: int kept, 2 completions: int kept, 3 activeDeadlineSeconds: int kept,
        4 selector: LabelSelector kept, 5 manualSelector: flag kept, 6 template: PodTemplateSpec kept,
        7 backoffLimit: int kept, 8 ttlSecondsAfterFinished: int kept, 9 completionMode: text,
        10 suspend: flag kept, 11 podFailurePolicy: PodFailurePolicy kept,
        12 backoffLimitPerIndex: int kept, 13 maxFailedIndexes: int kept, 14 podReplacementPolicy: text,
        15 managedBy: text, 16 successPolicy: SuccessPolicy kept,
    }
    JobStatus {
        1 conditions: [JobCondition], 2 startTime: time, 3 completionTime: time, 4 active: int kept,
        5 succeeded: int kept, 6 failed: int kept, 7 completedIndexes: text,
        8 uncountedTerminatedPods: UncountedTerminatedPods kept, 9 ready: int kept,
        10 failedIndexes: text, 11 terminating: int kept,
    }
    JobTemplateSpec {
        1 metadata: ObjectMeta, 2 spec: JobSpec,
    }
    PodFailurePolicy {
        1 rules: [PodFailurePolicyRule],
    }
    PodFailurePolicyOnExitCodesRequirement {
        1 containerName: text, 2 operator: text kept, 3 values: [int],
    }
    PodFailurePolicyOnPodConditionsPattern {
        1 type: text kept, 2 status: text,
    }
    PodFailurePolicyRule {
        1 action: text kept, 2 onExitCodes: PodFailurePolicyOnExitCodesRequirement kept,
        3 onPodConditions: [PodFailurePolicyOnPodConditionsPattern],
    }
    SuccessPolicy {
        1 rules: [SuccessPolicyRule],
    }
    SuccessPolicyRule {
        1 succeededIndexes: text, 2 succeededCount: int kept,
    }
    UncountedTerminatedPods {
        1 succeeded: [text], 2 failed: [text],
    }
}
