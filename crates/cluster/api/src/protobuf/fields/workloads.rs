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
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text,
        5 message: text,
    }
    DaemonSetSpec {
        1 selector: LabelSelector kept, 2 template: PodTemplateSpec kept,
        3 updateStrategy: DaemonSetUpdateStrategy kept, 4 minReadySeconds: int kept,
        6 revisionHistoryLimit: int kept,
    }
    DaemonSetStatus {
        1 currentNumberScheduled: int kept, 2 numberMisscheduled: int kept,
        3 desiredNumberScheduled: int kept, 4 numberReady: int kept, 5 observedGeneration: int kept,
        6 updatedNumberScheduled: int kept, 7 numberAvailable: int kept, 8 numberUnavailable: int kept,
        9 collisionCount: int kept, 10 conditions: [DaemonSetCondition],
    }
    DaemonSetUpdateStrategy {
        1 type: text, 2 rollingUpdate: RollingUpdateDaemonSet kept,
    }
    RollingUpdateDaemonSet {
        1 maxUnavailable: int_or_text kept, 2 maxSurge: int_or_text kept,
    }
    RollingUpdateStatefulSetStrategy {
        1 partition: int kept, 2 maxUnavailable: int_or_text kept,
    }
    StatefulSet {
        1 metadata: ObjectMeta, 2 spec: StatefulSetSpec, 3 status: StatefulSetStatus,
    }
    StatefulSetCondition {
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text,
        5 message: text,
    }
    StatefulSetOrdinals {
        1 start: int kept,
    }
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        1 whenDeleted: text, 2 whenScaled: text,
    }
    StatefulSetSpec {
        1 replicas: int kept, 2 selector: LabelSelector kept, 3 template: PodTemplateSpec kept,
        4 volumeClaimTemplates: [PersistentVolumeClaim], 5 serviceName: text, 6 podManagementPolicy: text,
        7 updateStrategy: StatefulSetUpdateStrategy kept, 8 revisionHistoryLimit: int kept,
        9 minReadySeconds: int kept,
        10 persistentVolumeClaimRetentionPolicy: StatefulSetPersistentVolumeClaimRetentionPolicy kept,
        11 ordinals: StatefulSetOrdinals kept,
    }
    StatefulSetStatus {
        1 observedGeneration: int kept, 2 replicas: int kept, 3 readyReplicas: int kept,
        4 currentReplicas: int kept, 5 updatedReplicas: int kept, 6 currentRevision: text,
        7 updateRevision: text, 9 collisionCount: int kept, 10 conditions: [StatefulSetCondition],
        11 availableReplicas: int kept,
    }
    StatefulSetUpdateStrategy {
        1 type: text, 2 rollingUpdate: RollingUpdateStatefulSetStrategy kept,
    }
}
