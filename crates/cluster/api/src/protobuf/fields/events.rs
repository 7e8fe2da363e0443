//! Messages of events.k8s.io.

use super::cluster::{EventSource, ObjectReference};
use super::meta::ObjectMeta;

messages! {
    Event {
        1 metadata: ObjectMeta, 2 eventTime: micro_time, 3 series: EventSeries nullable,
        4 reportingController: text, 5 reportingInstance: text, 6 action: text, 7 reason: text,
        8 regarding: ObjectReference, 9 related: ObjectReference nullable, 10 note: text, 11 type: text,
        12 deprecatedSource: EventSource, 13 deprecatedFirstTimestamp: time, 14 deprecatedLastTimestamp: time,
        15 deprecatedCount: int,
    }
    EventSeries {
        1 count: int kept, 2 lastObservedTime: micro_time,
    }
}
