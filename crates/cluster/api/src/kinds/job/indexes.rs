//! Indexes as a job's status and policies write them: `1,3-5,7`.

/// Why a text is no list of indexes.
#[derive(Debug, thiserror::Error)]
pub(super) enum ParseIndexesError {
    /// More than a first and a last.
    #[error(
        "the fragment {0:?} violates the requirement that an index interval can have at most two parts separated by \
         '-'"
    )]
    Parts(String),
    /// No number.
    #[error("cannot convert string to integer for index: {0:?}")]
    Number(String),
    /// The job has fewer.
    #[error("too large index: {0:?}")]
    TooLarge(String),
    /// Each index once, the smallest first.
    #[error("non-increasing order, previous: {previous}, current: {current}")]
    Order {
        /// What came before.
        previous: i64,
        /// What does not come after it.
        current: i64,
    },
}

/// The intervals of a list, first and last of each.
pub(super) fn parse(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, ParseIndexesError> {
    let mut intervals: Vec<(i64, i64)> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = interval(part, completions)?;
        if let Some(&(_, previous)) = intervals.last()
            && previous >= first
        {
            return Err(ParseIndexesError::Order { previous, current: first });
        }
        intervals.push((first, last));
    }
    Ok(intervals)
}

fn interval(part: &str, completions: i64) -> Result<(i64, i64), ParseIndexesError> {
    let limits: Vec<&str> = part.split('-').collect();
    let index = |text: &str| match text.parse::<i64>() {
        Err(_) => Err(ParseIndexesError::Number(text.to_owned())),
        Ok(index) if index >= completions => Err(ParseIndexesError::TooLarge(text.to_owned())),
        Ok(index) => Ok(index),
    };
    match limits.as_slice() {
        [one] => index(one).map(|one| (one, one)),
        [first, last] => match (index(first)?, index(last)?) {
            (previous, current) if previous >= current => Err(ParseIndexesError::Order { previous, current }),
            interval => Ok(interval),
        },
        _ => Err(ParseIndexesError::Parts(part.to_owned())),
    }
}

/// How many indexes there are.
pub(super) fn count(intervals: &[(i64, i64)]) -> i64 {
    intervals.iter().map(|(first, last)| last - first + 1).sum()
}

/// The first index that two lists share.
pub(super) fn overlap(one: &[(i64, i64)], other: &[(i64, i64)]) -> Option<i64> {
    let shared = |a: &(i64, i64), b: &(i64, i64)| (a.0.max(b.0) <= a.1.min(b.1)).then(|| a.0.max(b.0));
    one.iter().flat_map(|a| other.iter().filter_map(move |b| shared(a, b))).min()
}
