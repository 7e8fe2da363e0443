//! "Did you mean": the known word nearest to one that is not known.

/// How far a word may be to be meant.
const MAX_DISTANCE: usize = 2;

/// The option nearest to `word`, case aside; `None` where none is near.
pub(crate) fn nearest<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(64).flat_map(char::to_lowercase).collect();
    options
        .into_iter()
        .map(|option| {
            let chars: Vec<char> = option.chars().take(64).flat_map(char::to_lowercase).collect();
            (distance(&word, &chars), option)
        })
        .filter(|(distance, option)| *distance <= MAX_DISTANCE && *distance > 0 && *distance < option.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, option)| option)
}

/// `, did you mean X?`, or nothing.
pub(crate) fn did_you_mean<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, options).map(|option| format!(", did you mean {option}?")).unwrap_or_default()
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let width = b.len() + 1;
    let mut rows: Vec<Vec<usize>> = vec![(0..width).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, y) in b.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(x != y);
            row[j + 1] = replaced.min(row[j] + 1).min(rows[i][j + 1] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(rows[i - 1][j - 1] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
