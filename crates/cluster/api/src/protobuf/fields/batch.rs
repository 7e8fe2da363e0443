//! Messages of batch.

use super::cluster::ObjectReference;
use super::meta::{LabelSelector, ObjectMeta};
use super::pod::PodTemplateSpec;

messages! {
    CronJob {
        1 metadata: ObjectMeta, 2 spec: CronJobSpec, 3 status: CronJobStatus,
    }
    CronJobSpec {
        1 schedule: text kept, 2 startingDeadlineSeconds: int nullable, 3 concurrencyPolicy: text,
        4 suspend: flag nullable, 5 jobTemplate: JobTemplateSpec kept,
        6 successfulJobsHistoryLimit: int nullable, 7 failedJobsHistoryLimit: int nullable,
        8 timeZone: text nullable,
    }
    CronJobStatus {
        1 active: [ObjectReference], 4 lastScheduleTime: time nullable, 5 lastSuccessfulTime: time nullable,
    }
    Job {
        1 metadata: ObjectMeta, 2 spec: JobSpec, 3 status: JobStatus,
    }
    JobCondition {
        1 type: text kept, 2 status: text kept, 3 lastProbeTime: time, 4 lastTransitionTime: time,
        5 reason: text, 6 message: text,
    }
    JobSpec {
        1 parallelism: int nullable, 2 completions: int nullable, 3 activeDeadlineSeconds: int nullable,
        4 selector: LabelSelector nullable, 5 manualSelector: flag nullable, 6 template: PodTemplateSpec kept,
        7 backoffLimit: int nullable, 8 ttlSecondsAfterFinished: int nullable,
        9 completionMode: text nullable, 10 suspend: flag nullable,
        11 podFailurePolicy: PodFailurePolicy nullable, 12 backoffLimitPerIndex: int nullable,
        13 maxFailedIndexes: int nullable, 14 podReplacementPolicy: text nullable,
        15 managedBy: text nullable, 16 successPolicy: SuccessPolicy nullable,
    }
    JobStatus {
        1 conditions: [JobCondition], 2 startTime: time nullable, 3 completionTime: time nullable,
        4 active: int, 5 succeeded: int, 6 failed: int, 7 completedIndexes: text,
        8 uncountedTerminatedPods: UncountedTerminatedPods nullable, 9 ready: int nullable,
        10 failedIndexes: text nullable, 11 terminating: int nullable,
    }
    JobTemplateSpec {
        1 metadata: ObjectMeta, 2 spec: JobSpec,
    }
    PodFailurePolicy {
        1 rules: [PodFailurePolicyRule],
    }
    PodFailurePolicyOnExitCodesRequirement {
        1 containerName: text nullable, 2 operator: text kept, 3 values: [int],
    }
    PodFailurePolicyOnPodConditionsPattern {
        1 type: text kept, 2 status: text kept,
    }
    PodFailurePolicyRule {
        1 action: text kept, 2 onExitCodes: PodFailurePolicyOnExitCodesRequirement nullable,
        3 onPodConditions: [PodFailurePolicyOnPodConditionsPattern],
    }
    SuccessPolicy {
        1 rules: [SuccessPolicyRule],
    }
    SuccessPolicyRule {
        1 succeededIndexes: text nullable, 2 succeededCount: int nullable,
    }
    UncountedTerminatedPods {
        1 succeeded: [text], 2 failed: [text],
    }
}
