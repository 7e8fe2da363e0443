//! Which type may stand for which (cel-go's `checker/types.go` tells the rules).

use crate::Type;
use std::collections::HashMap;

/// What unknown types have turned out to be.
#[derive(Debug, Default)]
pub(super) struct Substitution {
    known: HashMap<u32, Type>,
    next: u32,
}

impl Substitution {
    /// A type not known yet. The numbers of signatures' own parameters are below all of these.
    pub(super) fn fresh(&mut self) -> Type {
        self.next += 1;
        Type::Param(super::FIRST_FRESH + self.next)
    }

    /// `ty` with each parameter of a signature made a fresh one.
    pub(super) fn instantiate(&mut self, ty: &Type, fresh: &mut HashMap<u32, Type>) -> Type {
        match ty {
            Type::Param(number) if *number < super::FIRST_FRESH => {
                fresh.entry(*number).or_insert_with(|| self.fresh()).clone()
            }
            other => other.with_parts(&mut |part| self.instantiate(part, fresh)),
        }
    }

    /// `ty` with everything known filled in; what stays unknown is dynamic if `settle` says so.
    pub(super) fn resolve(&self, ty: &Type, settle: bool) -> Type {
        match ty {
            Type::Param(number) => match self.known.get(number) {
                Some(known) => self.resolve(known, settle),
                None if settle => Type::Dyn,
                None => ty.clone(),
            },
            other => other.with_parts(&mut |part| self.resolve(part, settle)),
        }
    }

    /// Whether values of `from` may be given where `to` is wanted; if not, nothing is learnt.
    pub(super) fn assign(&mut self, to: &Type, from: &Type) -> bool {
        let before = self.known.clone();
        let fits = self.unify(from, to);
        if !fits {
            self.known = before;
        }
        fits
    }

    /// The same for several pairs at once.
    pub(super) fn assign_all(&mut self, to: &[Type], from: &[Type]) -> bool {
        let before = self.known.clone();
        let fits = to.len() == from.len() && to.iter().zip(from).all(|(to, from)| self.unify(from, to));
        if !fits {
            self.known = before;
        }
        fits
    }

    fn unify(&mut self, left: &Type, right: &Type) -> bool {
        if left == right {
            return true;
        }
        match (left, right) {
            (other, Type::Param(number)) | (Type::Param(number), other) => self.bind(*number, other),
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::Null, other) | (other, Type::Null) => other.is_nullable(),
            (Type::Type(_), Type::Type(_)) => true,
            (left, right) => left.name() == right.name() && self.unify_parts(left, right),
        }
    }

    fn unify_parts(&mut self, left: &Type, right: &Type) -> bool {
        let (left, right) = (left.parts(), right.parts());
        left.len() == right.len() && left.iter().zip(&right).all(|(left, right)| self.unify(left, right))
    }

    fn bind(&mut self, number: u32, ty: &Type) -> bool {
        if let Type::Param(other) = ty
            && *other == number
        {
            return true;
        }
        if let Some(known) = self.known.get(&number).cloned() {
            if !self.unify(ty, &known) {
                return false;
            }
            let general = more_general(ty, &known);
            if !self.mentions(&general, number) {
                self.known.insert(number, general);
            }
            return true;
        }
        if self.mentions(ty, number) {
            return false;
        }
        self.known.insert(number, ty.clone());
        true
    }

    /// Whether `ty` holds the unknown type `number`: a type cannot be a part of itself.
    fn mentions(&self, ty: &Type, number: u32) -> bool {
        match ty {
            Type::Param(other) if *other == number => true,
            Type::Param(other) => self.known.get(other).is_some_and(|known| self.mentions(known, number)),
            other => other.parts().into_iter().any(|part| self.mentions(part, number)),
        }
    }
}

fn more_general(left: &Type, right: &Type) -> Type {
    if is_as_general(left, right) { left.clone() } else { right.clone() }
}

/// Whether `left` says no more than `right` does.
fn is_as_general(left: &Type, right: &Type) -> bool {
    match (left, right) {
        (Type::Dyn, _) => true,
        (_, Type::Dyn) => false,
        (Type::Param(_), _) => true,
        (_, Type::Param(_)) => false,
        // A nullable type takes null too.
        (Type::Null, other) if *other != Type::Null => false,
        (left, right) => {
            left.parts().iter().zip(right.parts()).all(|(left, right)| is_as_general(left, right))
        }
    }
}
