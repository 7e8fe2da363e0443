//! Words and their variables. The forms and their results are those of the Dockerfile reference ("Environment
//! replacement").

use super::*;
use std::collections::HashMap;

fn expanded(word: &str) -> Result<String, String> {
    let variables = HashMap::from([
        ("a", "1"),
        ("empty", ""),
        ("b_2", "two"),
        ("str", "foobarbaz"),
        ("sp", "x  y"),
        ("g", "b*"),
    ]);
    expand(word, '\\', &|name| variables.get(name).map(|value| (*value).to_owned()))
}

fn are(cases: &[(&str, &str)]) {
    for (word, value) in cases {
        assert_eq!(expanded(word).as_deref(), Ok(*value), "{word}");
    }
}

#[test]
fn variables_expand_in_all_their_forms() {
    are(&[
        ("$a", "1"),
        ("${a}x", "1x"),
        ("$b_2-", "two-"),
        ("$nothing", ""),
        ("${nothing:-d}", "d"),
        ("${nothing-d}", "d"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${a:-d}", "1"),
        ("${a:+s}", "s"),
        ("${empty:+s}", ""),
        ("${empty+s}", "s"),
        ("${nothing+s}", ""),
        ("${nothing:-${a}}", "1"),
        ("${nothing:-a${empty:-b${a}}c}d", "ab1cd"),
        ("${a:?no}", "1"),
        ("${empty?no}", ""),
    ]);
}

#[test]
fn quotes_and_escapes_are_taken_away() {
    are(&[
        ("\\$a", "$a"),
        ("\\${a}", "${a}"),
        ("'$a'", "$a"),
        ("\"$a b\"", "1 b"),
        ("\"\\$a\\x\"", "$a\\x"),
        ("a\\ b", "a b"),
        ("a\\\\b", "a\\b"),
        ("'a\\'", "a\\"),
        ("\"a'b\"", "a'b"),
        ("x\\", "x"),
        ("\"'$a'\"", "'1'"),
        ("${nothing:-'$a'}", "$a"),
        ("\"${nothing:-\"q\"}\"", "q"),
    ]);
}

#[test]
fn dollars_that_name_nothing_stay_and_the_shells_own_are_empty() {
    are(&[
        ("$", "$"),
        ("a$.b", "a$.b"),
        ("$(a)", "$(a)"),
        ("x$-y", "xy"),
        ("$$", ""),
        ("$1a", "a"),
        ("$@@", "@"),
    ]);
}

#[test]
fn patterns_take_away_from_both_ends() {
    are(&[
        ("${str#f*b}", "arbaz"),
        ("${str##f*b}", "az"),
        ("${str%b*}", "foobar"),
        ("${str%%b*}", "foo"),
        ("${str#x}", "foobarbaz"),
        ("${str#???}", "barbaz"),
        ("${str%?}", "foobarba"),
        ("${str#*}", "foobarbaz"),
        ("${str##*}", ""),
        ("${str%%$g}", "foo"),
        ("${g%\\*}", "b"),
        ("${g#\\?}", "b*"),
        ("${nothing#a}", ""),
        ("${str#}", "foobarbaz"),
    ]);
}

#[test]
fn patterns_replace_once_or_everywhere() {
    are(&[
        ("${str/ba/fo}", "fooforbaz"),
        ("${str//ba/fo}", "fooforfoz"),
        ("${str//a?/}", "foobb"),
        ("${str/b*/$a}", "foo1"),
        ("${str//o/\\/}", "f\\/\\/barbaz"),
        ("${str//x/y}", "foobarbaz"),
        ("${str/$empty/w}", "wfoobarbaz"),
        ("${str//$empty/}", "foobarbaz"),
        ("${nothing/a/b}", ""),
    ]);
}

#[test]
fn words_that_cannot_be_expanded_say_why() {
    for (word, part) in [
        ("${a", "missing"),
        ("${}", "name"),
        ("${:-a}", "name"),
        ("${{a}", "name"),
        ("'a", "single quote"),
        ("\"a", "double quote"),
        ("\"a\\\"", "double quote"),
        ("${a:-b", "missing"),
        ("${nothing:?it is needed}", "variable nothing is required: it is needed"),
        ("${nothing?}", "not set"),
        ("${empty:?}", "it is empty"),
        ("${a:=x}", "no form of expansion"),
        ("${a:#x}", "no form of expansion"),
        ("${a@Q}", "no form of expansion"),
        ("${a/b}", "missing"),
        ("${a#\\b}", "escapes nothing"),
    ] {
        let error = expanded(word).unwrap_err();
        assert!(error.contains(part), "{word}: {error}");
    }
}

#[test]
fn expose_splits_what_its_variables_hold() {
    let words = |word: &str| expand_words(word, '\\', &|_| Some("80  443/udp".into())).unwrap();
    assert_eq!(words("$a"), ["80", "443/udp"]);
    assert_eq!(words("\"$a\""), ["80  443/udp"]);
    assert_eq!(words("1$a-2"), ["180", "443/udp-2"]);
}

#[test]
fn the_escape_may_be_a_backtick() {
    assert_eq!(expand("c:\\a`$b", '`', &|_| None).as_deref(), Ok("c:\\a$b"));
    assert_eq!(expand("\"`\"\\\"", '`', &|_| None).as_deref(), Ok("\"\\"));
}

#[test]
fn heredocs_expand_but_their_quotes_stay() {
    let text = |text: &str| expand_heredoc(text, &|name| (name == "a").then(|| "1".to_owned()));
    assert_eq!(text("it's \"$a\" and \\$a\n").as_deref(), Ok("it's \"1\" and $a\n"));
}

#[test]
fn it_is_told_which_variables_a_word_asks_for() {
    let found = expand_noting("$a ${b:-$c}", '\\', &|name| (name == "a").then(String::new)).unwrap();
    assert_eq!(found.used.iter().collect::<Vec<_>>(), ["a"]);
    assert_eq!(found.missing.iter().collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn expansion_and_its_work_are_bounded() {
    let long = "a".repeat(MAX_EXPANDED_BYTES / 2);
    let error = expand("$x$x$x", '\\', &|_| Some(long.clone())).unwrap_err();
    assert!(error.contains("more than"), "{error}");
    let word = format!("${{x//{}b/c}}", "a*".repeat(50));
    assert!(expand(&word, '\\', &|_| Some(long.clone())).unwrap_err().contains("too much work"));
    assert!(expand("${x//a/bbbb}", '\\', &|_| Some(long.clone())).unwrap_err().contains("more than"));
}

#[test]
fn modes_are_octal_or_symbolic() {
    for (mode, old, is_directory, new) in [
        ("755", 0o600, false, 0o755),
        ("4755", 0o600, false, 0o4755),
        ("0644", 0o777, false, 0o644),
        ("+x", 0o644, false, 0o755),
        ("u+x", 0o644, false, 0o744),
        ("a-w", 0o666, false, 0o444),
        ("g=u", 0o750, false, 0o770),
        ("o=g", 0o750, false, 0o755),
        ("u=rwX,go=rX", 0o600, false, 0o644),
        ("u=rwX,go=rX", 0o700, false, 0o755),
        ("u=rwX,go=rX", 0o600, true, 0o755),
        ("go=", 0o777, false, 0o700),
        ("u+s,g+s", 0o755, false, 0o6755),
        ("+t", 0o755, true, 0o1755),
        ("u+x-w", 0o644, false, 0o544),
        ("a=rwx", 0o4000, false, 0o777),
        ("ug=rw,o=r", 0o2755, true, 0o2664),
    ] {
        assert_eq!(FileMode::parse(mode).unwrap().apply(old, is_directory), new, "{mode} {old:o}");
    }
    for mode in ["", "8", "77777", "u", "x+r", "u+z", "u=rw,", "0x1ff", "u+r w"] {
        assert!(FileMode::parse(mode).is_err(), "{mode:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_word_makes_expansion_panic(word in "([$\\\\'\"{}:#%/*?<+-]|a|é| |\\$\\{a){0,40}") {
        let lookup = |name: &str| (name == "a").then(|| "a/b é*".to_owned());
        let _ = (expand(&word, '\\', &lookup), expand_words(&word, '`', &lookup), expand_heredoc(&word, &lookup));
        let _ = FileMode::parse(&word);
    }

    #[test]
    fn plain_words_expand_to_themselves(word in "[a-zA-Z0-9 /:._-]{0,40}") {
        proptest::prop_assert_eq!(expanded(&word), Ok(word));
    }

    #[test]
    fn single_quotes_keep_everything(word in "[^']{0,40}") {
        proptest::prop_assert_eq!(expanded(&format!("'{word}'")), Ok(word));
    }

    #[test]
    fn any_octal_mode_is_taken_as_it_is(mode in 0_u32..0o10000, old in 0_u32..0o10000) {
        proptest::prop_assert_eq!(FileMode::parse(&format!("{mode:o}")).unwrap().apply(old, false), mode);
    }
}
