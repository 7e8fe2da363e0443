//! Numbers that are integers, however they are written.

use serde_json::{Number, Value};

/// Beyond this not every integer is a number of its own in floating point, and upstream's form has an exponent in the end.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Writes `5.0` and `5e0` as `5` wherever it is: so upstream's encoder does, and what reads integers finds them.
pub(super) fn write_plainly(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(integer) = number.as_f64().and_then(integer) {
                *number = integer;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(write_plainly),
        Value::Object(members) => members.values_mut().for_each(write_plainly),
        _ => {}
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only integers well within the range are cast")]
fn integer(number: f64) -> Option<Number> {
    (number.fract() == 0.0 && number.abs() <= EXACT).then(|| Number::from(number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_without_a_fraction_and_other_numbers_stay() {
        let sent = r#"{"a":5.0,"b":[-3.0,{"c":1e3}],"d":0.5,"e":-0.0,"f":1e300,"g":7,"h":"5.0"}"#;
        let mut value: Value = serde_json::from_str(sent).unwrap();
        write_plainly(&mut value);
        let wanted = r#"{"a":5,"b":[-3,{"c":1000}],"d":0.5,"e":0,"f":1e+300,"g":7,"h":"5.0"}"#;
        assert_eq!(value.to_string(), wanted);
    }
}
