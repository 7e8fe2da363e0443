//! `PriorityLevelConfiguration`.

use super::columns::{Column, age, name};
use super::{BASE, Faults, GROUP, KindRow, Place, Subresource, mandatory, meta, typed_conditions};
use crate::kinds::value::{at, object_mut, set_default, text};
use jiff::Timestamp;
use serde_json::{Map, Value};

pub(in crate::kinds) const ROW: KindRow = KindRow {
    kind: "PriorityLevelConfiguration",
    plural: "prioritylevelconfigurations",
    singular: "prioritylevelconfiguration",
    subresources: &[Subresource::status(GROUP, "v1", "PriorityLevelConfiguration")],
    type_name: "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
    columns: &[
        Column::NAME,
        Column::text("Type", "Whether requests of this level are limited."),
        Column::text("NominalConcurrencyShares", "The level's share of requests at the same time."),
        Column::text("Queues", "How many queues there are."),
        Column::text("HandSize", "Among how many queues a flow chooses."),
        Column::text("QueueLengthLimit", "How many requests may wait in a queue."),
        Column::AGE,
    ],
    cells,
    default,
    validate,
    prepare_create,
    ..BASE
};

const QUEUES_MAX: i64 = 10_000_000;
/// Bits of a hash by which flows choose their queues.
const HASH_BITS: i64 = 60;

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let limited = at(object, &["spec", "limited"]);
    let shown = |path: &[&str]| {
        let number = limited.and_then(|limited| at(limited, path)).cloned();
        number.unwrap_or_else(|| "<none>".into())
    };
    vec![
        name(object),
        text(object, &["spec", "type"]).into(),
        shown(&["nominalConcurrencyShares"]),
        shown(&["limitResponse", "queuing", "queues"]),
        shown(&["limitResponse", "queuing", "handSize"]),
        shown(&["limitResponse", "queuing", "queueLengthLimit"]),
        age(object, now),
    ]
}

fn default(object: &mut Value) {
    let inner = |spec: &mut Map<String, Value>, name: &str, shares: i64| {
        if let Some(level) = spec.get_mut(name).and_then(Value::as_object_mut) {
            set_default(level, "nominalConcurrencyShares", shares);
            set_default(level, "lendablePercent", 0);
        }
    };
    if let Some(spec) = object_mut(object, &["spec"]) {
        inner(spec, "exempt", 0);
        inner(spec, "limited", 30);
    }
    let path = ["spec", "limited", "limitResponse", "queuing"];
    if at(object, &path).is_some()
        && let Some(queuing) = object_mut(object, &path)
    {
        for (name, value) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
            if queuing.get(name).and_then(Value::as_i64) == Some(0) {
                queuing.remove(name);
            }
            set_default(queuing, name, value);
        }
    }
    object_mut(object, &["status"]);
}

fn prepare_create(object: &mut Value) {
    meta::start(object);
    object_mut(object, &["status"]);
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    let name = text(object, &["metadata", "name"]);
    let (kind, exempt, limited) = (spec.at(&["type"]), spec.at(&["exempt"]), spec.at(&["limited"]));
    if (name == "exempt") != (kind.text() == "Exempt") {
        faults.push(kind.invalid_text("type must be 'Exempt' if and only if name is 'exempt'"));
    }
    match kind.text() {
        "Exempt" if limited.is_set() => {
            faults.push(limited.forbidden("must be nil if the type is not Limited"));
        }
        "Exempt" => shares(&exempt, &mut faults),
        "Limited" => {
            if exempt.is_set() {
                faults.push(exempt.forbidden("must be nil if the type is Limited"));
            }
            if limited.is_set() {
                self::limited(&limited, &mut faults);
            } else {
                faults.push(limited.required("must not be empty when type is Limited"));
            }
        }
        _ => faults.push(kind.not_supported(&["Exempt", "Limited"])),
    }
    fixed(&spec, name, &mut faults);
    typed_conditions(&Place::of(object).at(&["status", "conditions"]), &mut faults);
    faults
}

/// The specs of levels that every cluster has are fixed, but for what the exempt one lends.
fn fixed(spec: &Place<'_>, name: &str, faults: &mut Faults) {
    let Some(mut wanted) = mandatory::spec(ROW.plural, name) else { return };
    let mut given = spec.value.clone();
    let mut but = "";
    if name == "exempt" {
        but = " except the 'spec.exempt' field";
        for spec in [&mut wanted, &mut given] {
            spec.as_object_mut().and_then(|map| map.remove("exempt"));
        }
    }
    if given != wanted {
        faults.push(spec.invalid(&format!("spec of '{name}'{but} must equal the fixed value")));
    }
}

fn shares(level: &Place<'_>, faults: &mut Faults) {
    let (shares, lendable) = (level.at(&["nominalConcurrencyShares"]), level.at(&["lendablePercent"]));
    if shares.number() < 0 {
        faults.push(shares.invalid("must be a non-negative integer"));
    }
    if !(0..=100).contains(&lendable.number()) {
        faults.push(lendable.invalid("must be between 0 and 100, inclusive"));
    }
}

fn limited(level: &Place<'_>, faults: &mut Faults) {
    shares(level, faults);
    let borrowing = level.at(&["borrowingLimitPercent"]);
    if borrowing.number() < 0 {
        faults.push(borrowing.invalid("if specified, must be a non-negative integer"));
    }
    let response = level.at(&["limitResponse"]);
    let (kind, queuing) = (response.at(&["type"]), response.at(&["queuing"]));
    match kind.text() {
        "Reject" if queuing.is_set() => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            faults.push(queuing.forbidden(detail));
        }
        "Reject" => {}
        "Queue" if queuing.is_set() => queues(&queuing, faults),
        "Queue" => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            faults.push(queuing.required(detail));
        }
        _ => faults.push(kind.not_supported(&["Queue", "Reject"])),
    }
}

fn queues(queuing: &Place<'_>, faults: &mut Faults) {
    let (limit, queues, hand) =
        (queuing.at(&["queueLengthLimit"]), queuing.at(&["queues"]), queuing.at(&["handSize"]));
    for number in [&limit, &queues, &hand] {
        if number.number() <= 0 {
            faults.push(number.invalid_number("must be positive"));
        }
    }
    let (deck, size) = (queues.number(), hand.number());
    if deck > QUEUES_MAX {
        faults.push(queues.invalid(&format!("must not be greater than {QUEUES_MAX}")));
    }
    if size > deck {
        faults.push(hand.invalid(&format!("should not be greater than queues ({deck})")));
    } else if size > 0 && !fits_hash(deck, size) {
        faults.push(hand.invalid(&format!(
            "required entropy bits of deckSize {deck} and handSize {size} should not be greater than {HASH_BITS}"
        )));
    }
}

/// Whether a hash has bits enough to draw a hand from a deck: `size * log2(deck)`.
fn fits_hash(deck: i64, size: i64) -> bool {
    let power = u32::try_from(size).ok().and_then(|size| i128::from(deck).checked_pow(size));
    power.is_some_and(|power| power <= 1 << HASH_BITS)
}
