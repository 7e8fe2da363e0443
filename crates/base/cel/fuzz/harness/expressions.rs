//! An expression in the first line, then what it is about: JSON that is of a declared type in the second line, of none in the
//! third. Whatever they are, the expression is refused or comes to the same each time, costs no more than it may, and makes
//! no JSON that cannot be read.

use std::sync::LazyLock;

use hako_cel::{Declared, Env, ListKind, Value};
use serde_json::Value as Json;

const LIMIT: u64 = 100_000;
/// One more step is taken before the cost is looked at, of which the most costly is the search of a pattern.
const STEP: u64 = LIMIT;

static SELF: LazyLock<Declared> = LazyLock::new(typed);
static ANY: LazyLock<Declared> = LazyLock::new(Declared::dynamic);

fn typed() -> Declared {
    let field = |name: &str, declared: Declared| (name.to_owned(), declared, false);
    Declared::object(
        "Self",
        [
            field("text", Declared::string(Some(64))),
            field("number", Declared::int()),
            field("share", Declared::double()),
            field("is", Declared::bool()),
            field("at", Declared::date_time()),
            field("during", Declared::duration()),
            field("octets", Declared::bytes(Some(64))),
            field("either", Declared::int_or_string(None)),
            field("list", Declared::list(Declared::string(Some(16)), Some(16), ListKind::Set)),
            field("map", Declared::map(Declared::int(), Some(16))),
        ],
    )
}

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or("");
    let (source, about, any) = (line(), line(), line());
    let json = |text: &str| serde_json::from_str::<Json>(text).unwrap_or_default();
    let (about, any) = (json(about), json(any));
    let env = Env::new().with("self", SELF.clone()).with("any", ANY.clone()).with_bind().for_mutations();
    let (first, again) = (env.compile(source), env.compile(source));
    let (program, again) = match (first, again) {
        (Ok(program), Ok(again)) => (program, again),
        (first, again) => {
            let said = first.err().map(|error| error.to_string());
            assert_eq!(said, again.err().map(|error| error.to_string()), "{source}");
            let said = said.unwrap_or_default();
            assert!(said.len() <= 100 * (source.len() + 200), "{source}: {said}");
            return;
        }
    };
    let values = [Value::json(&about, &SELF), Value::json(&any, &ANY)];
    let (one, other) = (program.evaluate(values.as_slice(), LIMIT), again.evaluate(values.as_slice(), LIMIT));
    assert_eq!(one.cost, other.cost, "{source}");
    assert!(one.cost <= LIMIT + STEP || one.result.is_err(), "{source}: {}", one.cost);
    assert!(program.estimate().min <= program.estimate().max, "{source}");
    let shown = |value: &Value<'_>| value.to_json().map_err(|error| error.to_string());
    match (&one.result, &other.result) {
        (Ok(value), Ok(same)) => assert_eq!(shown(value), shown(same), "{source}"),
        (Err(error), Err(same)) => assert_eq!(error.to_string(), same.to_string(), "{source}"),
        (one, other) => panic!("{source}: {one:?}, {other:?}"),
    }
}
