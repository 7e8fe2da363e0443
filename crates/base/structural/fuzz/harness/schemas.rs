//! A schema in the first line, an object in the second one and what it was before in the third. What a schema makes of an
//! object it makes of it once: dropped and filled in again, it stays as it is.

use hako_structural::{
    Patterns, Schema, check_schema, default, duplicates, fill, prune, validate, validate_update,
};
use serde_json::Value;

/// Faults of one object that anybody is told: a mebibyte of them, each of which takes some bytes.
const MOST_FAULTS: usize = 20_000;

pub fn run(data: &[u8]) {
    let lines: Vec<Value> =
        data.split(|byte| *byte == b'\n').map_while(|line| serde_json::from_slice(line).ok()).collect();
    let Some(json) = lines.first() else { return };
    let checked = check_schema(json, "schema", false, &mut Patterns::default());
    if let Err(faults) = &checked {
        assert!(!faults.is_empty() && faults.len() < MOST_FAULTS);
    }
    let is_sound = checked.is_ok();
    let Ok(schema) = Schema::read(json, "schema") else { return };
    let old = lines.get(2).unwrap_or(&Value::Null);
    for object in lines.iter().skip(1).chain([&Value::Object(serde_json::Map::new())]) {
        by(&schema, object, old, is_sound);
    }
}

fn by(schema: &Schema, object: &Value, old: &Value, is_sound: bool) {
    let mut made = object.clone();
    prune(&mut made, schema);
    let mut again = made.clone();
    assert_eq!(prune(&mut again, schema), [""; 0]);
    assert_eq!(made, again);
    fill(&mut made, schema);
    again = made.clone();
    default(&mut again, schema);
    assert_eq!(made, again, "what is filled in is whole");
    if is_sound && made.is_object() {
        assert_eq!(prune(&mut again, schema), [""; 0], "what is filled in is known");
    }
    let faults = validate(&made, schema);
    assert!(faults.len() < MOST_FAULTS);
    assert_eq!(validate(&made, schema), faults);
    assert_eq!(validate_update(&made, &made, schema), []);
    let _ = validate_update(&made, old, schema);
    let _ = duplicates(&made, schema);
}
