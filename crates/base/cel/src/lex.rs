//! From characters to tokens (langdef.md, "Syntax").

use crate::{Issue, literal};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Ident(String),
    Int(i64),
    /// An integer literal of 2^63, legal only behind a minus.
    MinInt,
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    True,
    False,
    Null,
    In,
    /// Operators and brackets, spelled.
    Op(&'static str),
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct Spanned {
    pub token: Token,
    pub at: u32,
}

/// Longest first, so that `==` is not read as two signs.
const OPERATORS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "(", ")", "[", "]", "{", "}", ".", ",", "-", "!", "?", ":",
    "+", "*", "/", "%",
];

struct Lexer<'s> {
    chars: &'s [char],
    at: usize,
}

/// All tokens of `source`, the last of which is [`Token::End`].
pub(crate) fn tokens(source: &[char]) -> Result<Vec<Spanned>, Issue> {
    let mut lexer = Lexer { chars: source, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.skip_blank();
        let at = lexer.at as u32;
        let token = lexer.token()?;
        let end = token == Token::End;
        found.push(Spanned { token, at });
        if end {
            return Ok(found);
        }
    }
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip_blank(&mut self) {
        while let Some(c) = self.peek(0) {
            if c == '/' && self.peek(1) == Some('/') {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.at += 1;
                }
            } else if matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}') {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<Token, Issue> {
        let Some(c) = self.peek(0) else { return Ok(Token::End) };
        if let Some(prefix) = self.string_prefix() {
            return self.string(prefix);
        }
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit())) {
            return self.number();
        }
        if c == '_' || c.is_ascii_alphabetic() {
            return Ok(self.word());
        }
        self.operator(c)
    }

    fn operator(&mut self, c: char) -> Result<Token, Issue> {
        for operator in OPERATORS {
            if operator.chars().enumerate().all(|(i, o)| self.peek(i) == Some(o)) {
                self.at += operator.len();
                return Ok(Token::Op(operator));
            }
        }
        Err(Issue::syntax(self.at as u32, format!("token recognition error at: '{c}'")))
    }

    fn word(&mut self) -> Token {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c == '_' || c.is_ascii_alphanumeric()) {
            self.at += 1;
        }
        let word: String = self.chars[start..self.at].iter().collect();
        match word.as_str() {
            "true" => Token::True,
            "false" => Token::False,
            "null" => Token::Null,
            "in" => Token::In,
            _ => Token::Ident(word),
        }
    }

    /// The letters before a quote: any of `r` and `b`, each at most once.
    fn string_prefix(&self) -> Option<Prefix> {
        let mut prefix = Prefix::default();
        for ahead in 0..3 {
            match self.peek(ahead)? {
                'r' | 'R' if !prefix.raw => prefix.raw = true,
                'b' | 'B' if !prefix.bytes => prefix.bytes = true,
                '"' | '\'' => return Some(Prefix { len: ahead, ..prefix }),
                _ => return None,
            }
        }
        None
    }

    fn string(&mut self, prefix: Prefix) -> Result<Token, Issue> {
        let start = self.at as u32;
        self.at += prefix.len;
        let quote = self.peek(0).unwrap_or('"');
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let marks = if triple { 3 } else { 1 };
        self.at += marks;
        let body = self.at;
        while !self.closes(quote, marks) {
            match self.peek(0) {
                None => return Err(Issue::syntax(start, "unterminated string literal".into())),
                Some('\n' | '\r') if !triple => {
                    return Err(Issue::syntax(start, "a line ends inside a string literal".into()));
                }
                Some('\\') if !prefix.raw => self.at += 2,
                Some(_) => self.at += 1,
            }
        }
        let text = &self.chars[body..self.at.min(self.chars.len())];
        self.at += marks;
        literal::unquote(text, prefix.raw, prefix.bytes).map_err(|why| Issue::syntax(start, why))
    }

    fn closes(&self, quote: char, marks: usize) -> bool {
        (0..marks).all(|ahead| self.peek(ahead) == Some(quote))
    }

    fn number(&mut self) -> Result<Token, Issue> {
        let start = self.at;
        let hex = self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X'));
        if hex {
            self.at += 2;
            self.skip_while(|c| c.is_ascii_hexdigit());
        } else {
            self.skip_while(|c| c.is_ascii_digit());
        }
        let float = !hex && self.fraction_and_exponent();
        let text: String = self.chars[start..self.at].iter().collect();
        let unsigned = !float && matches!(self.peek(0), Some('u' | 'U'));
        if unsigned {
            self.at += 1;
        }
        literal::number(&text, float, unsigned).map_err(|why| Issue::syntax(start as u32, why))
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn fraction_and_exponent(&mut self) -> bool {
        let mut float = false;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            float = true;
            self.at += 1;
            self.skip_while(|c| c.is_ascii_digit());
        }
        let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
        if matches!(self.peek(0), Some('e' | 'E')) && self.peek(1 + sign).is_some_and(|c| c.is_ascii_digit())
        {
            float = true;
            self.at += 1 + sign;
            self.skip_while(|c| c.is_ascii_digit());
        }
        float
    }
}

#[derive(Default, Clone, Copy)]
struct Prefix {
    raw: bool,
    bytes: bool,
    len: usize,
}
