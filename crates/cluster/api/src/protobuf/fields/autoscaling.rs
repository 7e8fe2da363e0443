//! Messages of autoscaling/v2.

use super::meta::{LabelSelector, ObjectMeta};

messages! {
    ContainerResourceMetricSource {
        1 name: text kept, 2 target: MetricTarget kept, 3 container: text kept,
    }
    ContainerResourceMetricStatus {
        1 name: text kept, 2 current: MetricValueStatus kept, 3 container: text kept,
    }
    CrossVersionObjectReference {
        1 kind: text kept, 2 name: text kept, 3 apiVersion: text,
    }
    ExternalMetricSource {
        1 metric: MetricIdentifier kept, 2 target: MetricTarget kept,
    }
    ExternalMetricStatus {
        1 metric: MetricIdentifier kept, 2 current: MetricValueStatus kept,
    }
    HPAScalingPolicy {
        1 type: text kept, 2 value: int kept, 3 periodSeconds: int kept,
    }
    HPAScalingRules {
        1 selectPolicy: text nullable, 2 policies: [HPAScalingPolicy],
        3 stabilizationWindowSeconds: int nullable, 4 tolerance: quantity nullable,
    }
    HorizontalPodAutoscaler {
        1 metadata: ObjectMeta, 2 spec: HorizontalPodAutoscalerSpec, 3 status: HorizontalPodAutoscalerStatus,
    }
    HorizontalPodAutoscalerBehavior {
        1 scaleUp: HPAScalingRules nullable, 2 scaleDown: HPAScalingRules nullable,
    }
    HorizontalPodAutoscalerCondition {
        1 type: text kept, 2 status: text kept, 3 lastTransitionTime: time, 4 reason: text, 5 message: text,
    }
    HorizontalPodAutoscalerSpec {
        1 scaleTargetRef: CrossVersionObjectReference kept, 2 minReplicas: int nullable,
        3 maxReplicas: int kept, 4 metrics: [MetricSpec],
        5 behavior: HorizontalPodAutoscalerBehavior nullable,
    }
    HorizontalPodAutoscalerStatus {
        1 observedGeneration: int nullable, 2 lastScaleTime: time nullable, 3 currentReplicas: int,
        4 desiredReplicas: int kept, 5 currentMetrics: [MetricStatus],
        6 conditions: [HorizontalPodAutoscalerCondition],
    }
    MetricIdentifier {
        1 name: text kept, 2 selector: LabelSelector nullable,
    }
    MetricSpec {
        1 type: text kept, 2 object: ObjectMetricSource nullable, 3 pods: PodsMetricSource nullable,
        4 resource: ResourceMetricSource nullable, 5 external: ExternalMetricSource nullable,
        7 containerResource: ContainerResourceMetricSource nullable,
    }
    MetricStatus {
        1 type: text kept, 2 object: ObjectMetricStatus nullable, 3 pods: PodsMetricStatus nullable,
        4 resource: ResourceMetricStatus nullable, 5 external: ExternalMetricStatus nullable,
        7 containerResource: ContainerResourceMetricStatus nullable,
    }
    MetricTarget {
        1 type: text kept, 2 value: quantity nullable, 3 averageValue: quantity nullable,
        4 averageUtilization: int nullable,
    }
    MetricValueStatus {
        1 value: quantity nullable, 2 averageValue: quantity nullable, 3 averageUtilization: int nullable,
    }
    ObjectMetricSource {
        1 describedObject: CrossVersionObjectReference kept, 2 target: MetricTarget kept,
        3 metric: MetricIdentifier kept,
    }
    ObjectMetricStatus {
        1 metric: MetricIdentifier kept, 2 current: MetricValueStatus kept,
        3 describedObject: CrossVersionObjectReference kept,
    }
    PodsMetricSource {
        1 metric: MetricIdentifier kept, 2 target: MetricTarget kept,
    }
    PodsMetricStatus {
        1 metric: MetricIdentifier kept, 2 current: MetricValueStatus kept,
    }
    ResourceMetricSource {
        1 name: text kept, 2 target: MetricTarget kept,
    }
    ResourceMetricStatus {
        1 name: text kept, 2 current: MetricValueStatus kept,
    }
}
