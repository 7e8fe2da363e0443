//! Messages of apps without deployments and replica sets.

use super::core_v1::PersistentVolumeClaim;
use super::meta::{LabelSelector, ObjectMeta};
use super::pod::PodTemplateSpec;

messages! {
    ControllerRevision {
        1 metadata: ObjectMeta, 2 data: json kept, 3 revision: int kept,
    }
    DaemonSet {
        1 metadata: ObjectMeta, 2 spec: DaemonSetSpec, 3 status: DaemonSetStatus,
    }
    DaemonSetCondition {
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text, 5 message: text,
    }
    DaemonSetSpec {
        1 selector: LabelSelector nullable, 2 template: PodTemplateSpec kept,
        3 updateStrategy: DaemonSetUpdateStrategy, 4 minReadySeconds: int,
        6 revisionHistoryLimit: int nullable,
    }
    DaemonSetStatus {
        1 currentNumberScheduled: int kept, 2 numberMisscheduled: int kept,
        3 desiredNumberScheduled: int kept, 4 numberReady: int kept, 5 observedGeneration: int,
        6 updatedNumberScheduled: int, 7 numberAvailable: int, 8 numberUnavailable: int,
        9 collisionCount: int nullable, 10 conditions: [DaemonSetCondition],
    }
    DaemonSetUpdateStrategy {
        1 type: text, 2 rollingUpdate: RollingUpdateDaemonSet nullable,
    }
    RollingUpdateDaemonSet {
        1 maxUnavailable: int_or_text nullable, 2 maxSurge: int_or_text nullable,
    }
    RollingUpdateStatefulSetStrategy {
        1 partition: int nullable, 2 maxUnavailable: int_or_text nullable,
    }
    StatefulSet {
        1 metadata: ObjectMeta, 2 spec: StatefulSetSpec, 3 status: StatefulSetStatus,
    }
    StatefulSetCondition {
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text, 5 message: text,
    }
    StatefulSetOrdinals {
        1 start: int kept,
    }
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        1 whenDeleted: text, 2 whenScaled: text,
    }
    StatefulSetSpec {
        1 replicas: int nullable, 2 selector: LabelSelector nullable, 3 template: PodTemplateSpec kept,
        4 volumeClaimTemplates: [PersistentVolumeClaim], 5 serviceName: text kept,
        6 podManagementPolicy: text, 7 updateStrategy: StatefulSetUpdateStrategy,
        8 revisionHistoryLimit: int nullable, 9 minReadySeconds: int,
        10 persistentVolumeClaimRetentionPolicy: StatefulSetPersistentVolumeClaimRetentionPolicy nullable,
        11 ordinals: StatefulSetOrdinals nullable,
    }
    StatefulSetStatus {
        1 observedGeneration: int, 2 replicas: int kept, 3 readyReplicas: int, 4 currentReplicas: int,
        5 updatedReplicas: int, 6 currentRevision: text, 7 updateRevision: text,
        9 collisionCount: int nullable, 10 conditions: [StatefulSetCondition], 11 availableReplicas: int kept,
    }
    StatefulSetUpdateStrategy {
        1 type: text, 2 rollingUpdate: RollingUpdateStatefulSetStrategy nullable,
    }
}
