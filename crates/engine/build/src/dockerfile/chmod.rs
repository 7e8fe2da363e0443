//! `--chmod`: an octal mode, or a symbolic one as chmod(1) has it.

/// What `--chmod` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMode(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Octal(u32),
    Symbolic(Vec<Clause>),
}

/// One of the comma-separated parts: who, and what is done to them, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Clause {
    /// Permission bits of user, group and others that count: `0o700`, `0o070`, `0o007` or their union.
    who: u32,
    actions: Vec<(Operator, Permissions)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permissions {
    /// `r`, `w`, `x` as 4, 2, 1; `X`; `s`; `t`.
    Bits { rwx: u32, conditional_x: bool, set_id: bool, sticky: bool },
    /// Those that user (6), group (3) or others (0) have; the number is the shift.
    Of(u32),
}

impl FileMode {
    /// Reads `755`, `0o4755` is not one, `u=rwX,go=rX`, `+x`, `g=u`. Fails with the text and what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text}: expected an octal mode such as 755 or a symbolic one such as u=rwX,go=rX");
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(wrong)?;
            return Ok(Self(Kind::Octal(mode)));
        }
        if text.is_empty() || text.len() > 256 {
            return Err(wrong());
        }
        let clauses: Option<Vec<_>> = text.split(',').map(clause).collect();
        clauses.map(|clauses| Self(Kind::Symbolic(clauses))).ok_or_else(wrong)
    }

    /// The mode, 12 bits, that a file with mode `old` gets.
    #[must_use]
    pub fn apply(&self, old: u32, is_directory: bool) -> u32 {
        let old = old & 0o7777;
        match &self.0 {
            Kind::Octal(mode) => *mode,
            Kind::Symbolic(clauses) => {
                clauses.iter().fold(old, |mode, clause| clause.apply(mode, is_directory))
            }
        }
    }
}

fn clause(text: &str) -> Option<Clause> {
    let start = text.find(['+', '-', '='])?;
    let mut who = 0;
    for c in text[..start].chars() {
        who |= match c {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => 0o777,
            _ => return None,
        };
    }
    if who == 0 {
        // No umask here: a mode must not depend on who runs the build.
        who = 0o777;
    }
    let (mut actions, mut rest) = (Vec::new(), &text[start..]);
    while let Some(sign) = rest.chars().next() {
        let operator = match sign {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
        actions.push((operator, permissions(&rest[1..end])?));
        rest = &rest[end..];
    }
    Some(Clause { who, actions })
}

fn permissions(text: &str) -> Option<Permissions> {
    match text {
        "u" => return Some(Permissions::Of(6)),
        "g" => return Some(Permissions::Of(3)),
        "o" => return Some(Permissions::Of(0)),
        _ => {}
    }
    let (mut rwx, mut conditional_x, mut set_id, mut sticky) = (0, false, false, false);
    for c in text.chars() {
        match c {
            'r' => rwx |= 4,
            'w' => rwx |= 2,
            'x' => rwx |= 1,
            'X' => conditional_x = true,
            's' => set_id = true,
            't' => sticky = true,
            _ => return None,
        }
    }
    Some(Permissions::Bits { rwx, conditional_x, set_id, sticky })
}

impl Clause {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        self.actions.iter().fold(mode, |mode, (operator, permissions)| {
            let bits = self.bits(*permissions, mode, is_directory);
            match operator {
                Operator::Add => mode | bits,
                Operator::Remove => mode & !bits,
                Operator::Set => (mode & !self.cleared(is_directory)) | bits,
            }
        })
    }

    fn bits(&self, permissions: Permissions, mode: u32, is_directory: bool) -> u32 {
        match permissions {
            Permissions::Of(shift) => (((mode >> shift) & 7) * 0o111) & self.who,
            Permissions::Bits { rwx, conditional_x, set_id, sticky } => {
                let x = u32::from(conditional_x && (is_directory || mode & 0o111 != 0));
                let mut bits = ((rwx | x) * 0o111) & self.who;
                if set_id {
                    bits |= self.set_id_bits();
                }
                if sticky && self.who & 0o007 != 0 {
                    bits |= 0o1000;
                }
                bits
            }
        }
    }

    fn set_id_bits(&self) -> u32 {
        let user = if self.who & 0o700 == 0 { 0 } else { 0o4000 };
        let group = if self.who & 0o070 == 0 { 0 } else { 0o2000 };
        user | group
    }

    /// What `=` takes away: set-id bits too, but not those of directories, as in GNU's chmod.
    fn cleared(&self, is_directory: bool) -> u32 {
        let set_id = if is_directory { 0 } else { self.set_id_bits() };
        let sticky = if self.who & 0o007 == 0 { 0 } else { 0o1000 };
        self.who | set_id | sticky
    }
}
