//! Messages of autoscaling/v1.

use super::meta::ObjectMeta;

messages! {
    CrossVersionObjectReference {
        1 kind: text kept, 2 name: text kept, 3 apiVersion: text,
    }
    HorizontalPodAutoscaler {
        1 metadata: ObjectMeta, 2 spec: HorizontalPodAutoscalerSpec, 3 status: HorizontalPodAutoscalerStatus,
    }
    HorizontalPodAutoscalerSpec {
        1 scaleTargetRef: CrossVersionObjectReference kept, 2 minReplicas: int nullable,
        3 maxReplicas: int kept, 4 targetCPUUtilizationPercentage: int nullable,
    }
    HorizontalPodAutoscalerStatus {
        1 observedGeneration: int nullable, 2 lastScaleTime: time nullable, 3 currentReplicas: int kept,
        4 desiredReplicas: int kept, 5 currentCPUUtilizationPercentage: int nullable,
    }
}
