//! One line of comma-separated values with quotes (RFC 4180), as flags use it.

/// Splits at commas; a field in double quotes may have commas, and quotes doubled.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let (mut fields, mut rest) = (Vec::new(), text);
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, tail) =
                rest.split_once(',').map_or((rest, None), |(field, tail)| (field, Some(tail)));
            if field.contains('"') {
                return Err(format!("{field:?} has a quote inside; put the whole field into double quotes"));
            }
            fields.push(field.to_owned());
            match tail {
                Some(tail) => rest = tail,
                None => return Ok(fields),
            }
            continue;
        };
        let (mut field, mut tail) = (String::new(), quoted);
        loop {
            let Some((part, after)) = tail.split_once('"') else {
                return Err(format!("the quote of {rest:?} is not closed"));
            };
            field.push_str(part);
            tail = after;
            match after.strip_prefix('"') {
                Some(after) => {
                    field.push('"');
                    tail = after;
                }
                None => break,
            }
        }
        fields.push(field);
        match tail.strip_prefix(',') {
            Some(tail) => rest = tail,
            None if tail.is_empty() => return Ok(fields),
            None => return Err(format!("there is {tail:?} after the closing quote")),
        }
    }
}
