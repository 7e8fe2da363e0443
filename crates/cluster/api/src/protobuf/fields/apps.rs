//! Workloads.

use super::meta::{LabelSelector, ObjectMeta};
use super::pod::PodTemplateSpec;

messages! {
    Deployment {
        1 metadata: ObjectMeta, 2 spec: DeploymentSpec, 3 status: DeploymentStatus,
    }
    DeploymentCondition {
        1 type: text kept, 2 status: text kept, 4 reason: text, 5 message: text, 6 lastUpdateTime: time,
        7 lastTransitionTime: time,
    }
    DeploymentSpec {
        1 replicas: int nullable, 2 selector: LabelSelector nullable, 3 template: PodTemplateSpec kept,
        4 strategy: DeploymentStrategy, 5 minReadySeconds: int, 6 revisionHistoryLimit: int nullable,
        7 paused: flag, 9 progressDeadlineSeconds: int nullable,
    }
    DeploymentStatus {
        1 observedGeneration: int, 2 replicas: int, 3 updatedReplicas: int, 4 availableReplicas: int,
        5 unavailableReplicas: int, 6 conditions: [DeploymentCondition], 7 readyReplicas: int,
        8 collisionCount: int nullable, 9 terminatingReplicas: int nullable,
    }
    DeploymentStrategy {
        1 type: text, 2 rollingUpdate: RollingUpdateDeployment nullable,
    }
    ReplicaSet {
        1 metadata: ObjectMeta, 2 spec: ReplicaSetSpec, 3 status: ReplicaSetStatus,
    }
    ReplicaSetCondition {
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text, 5 message: text,
    }
    ReplicaSetSpec {
        1 replicas: int nullable, 2 selector: LabelSelector nullable, 3 template: PodTemplateSpec,
        4 minReadySeconds: int,
    }
    ReplicaSetStatus {
        1 replicas: int kept, 2 fullyLabeledReplicas: int, 3 observedGeneration: int, 4 readyReplicas: int,
        5 availableReplicas: int, 6 conditions: [ReplicaSetCondition], 7 terminatingReplicas: int nullable,
    }
    RollingUpdateDeployment {
        1 maxUnavailable: int_or_text nullable, 2 maxSurge: int_or_text nullable,
    }
}
