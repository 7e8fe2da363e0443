//! The command line that others see of this process.
#![expect(unsafe_code, reason = "the kernel shows the bytes where execve put them, and nothing else")]

use std::fs;
use std::io;
use std::ptr;

use crate::SingleThreaded;

/// Where fields of /proc/PID/stat are behind the name, which may hold anything: `arg_start`, `arg_end`, `env_start`, `env_end`
/// (proc_pid_stat(5), fields 48 to 51).
const FIRST: usize = 45;

/// The memory in which the kernel shows the command line of this process, and those that are copied of it.
#[derive(Clone, Copy, Debug)]
pub struct Title {
    start: usize,
    /// Of the words alone.
    words: usize,
    /// With the environment, which lies behind them.
    whole: usize,
}

impl Title {
    /// Looks at /proc, which has to be the host's.
    ///
    /// # Errors
    /// When there is none, or it tells nothing that can be true.
    pub fn of_own() -> io::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat")?)
            .ok_or_else(|| io::Error::other("/proc does not tell where the command line is"))
    }

    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(FIRST).map(|field| field.trim_end().parse::<usize>().ok());
        let [start, end, env_start, env_end] = [(); 4].map(|()| fields.next().flatten());
        let (start, end) = (start.filter(|start| *start != 0)?, end?);
        let words = end.checked_sub(start).filter(|length| *length > 1)?;
        let behind = env_end.filter(|_| env_start == Some(end)).and_then(|end| end.checked_sub(start));
        Some(Self { start, words, whole: behind.filter(|whole| *whole > words).unwrap_or(words) })
    }

    /// Shows these words instead, cut to the room that there is. The environment may be overwritten: this process must not
    /// read it any more.
    pub fn show(self, _word: &SingleThreaded, words: &[&str]) {
        let text = line(words, self.words, self.whole);
        debug_assert!(text.len() <= self.whole, "{} bytes in {}", text.len(), self.whole);
        let place = ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: execve put the words and the environment there, one behind the other, on the stack, which is mapped and writable for as
        // long as this process lives. `text` is no longer than they are. There is no other thread that could read them meanwhile, and
        // each string that somebody has a pointer into still ends inside, for the last byte of either part that was written is zero.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), place, text.len()) };
    }
}

/// The bytes of the whole place that are to be written. Where they do not fit in that of the words, the kernel shows one string up to its
/// zero, if the last byte of that place is none.
fn line(words: &[&str], room: usize, whole: usize) -> Vec<u8> {
    let joined = |between: &str| {
        let mut text = words.join(between).into_bytes();
        text.push(0);
        text
    };
    let mut text = joined("\0");
    if text.len() > room && whole > room {
        text = joined(" ");
        text.truncate(whole - 1);
        text.resize(whole, 0);
        return text;
    }
    text.truncate(room - 1);
    text.resize(room, 0);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_command_line_is_is_read_behind_any_name() {
        let title = Title::of_own().unwrap();
        let shown = fs::read("/proc/self/cmdline").unwrap();
        assert_eq!(title.words, shown.len());
        let fields = |numbers: [usize; 4]| {
            let zeros = "0 ".repeat(FIRST - 1);
            format!("1 (a) 7 (b) S {zeros}{} {} {} {} 0\n", numbers[0], numbers[1], numbers[2], numbers[3])
        };
        let found = Title::parse(&fields([100, 120, 120, 150])).unwrap();
        assert_eq!((found.start, found.words, found.whole), (100, 20, 50));
        let apart = Title::parse(&fields([100, 120, 130, 150])).unwrap();
        assert_eq!((apart.words, apart.whole), (20, 20));
        // What others are told, who may not look.
        assert!(Title::parse(&fields([0, 0, 0, 0])).is_none());
        assert!(Title::parse("").is_none() && Title::parse("1 (x) S").is_none());
    }

    #[test]
    fn words_that_fit_are_apart_and_others_are_one_string() {
        assert_eq!(line(&["ab", "c"], 8, 20), b"ab\0c\0\0\0\0");
        assert_eq!(line(&["ab", "c"], 5, 5), b"ab\0c\0");
        assert_eq!(line(&["ab", "c"], 3, 6), b"ab c\0\0");
        assert_eq!(line(&["abcd", "efgh"], 3, 6), b"abcd \0");
        assert_eq!(line(&["abcd", "efgh"], 3, 3), b"ab\0");
    }
}
