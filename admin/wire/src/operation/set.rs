//! Sets of operations.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Operation;

/// A set of operations: one machine word, compared and intersected with one instruction.
///
/// On the wire: a list of names in the order of [`Operation::ALL`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct OperationSet(u64);

impl OperationSet {
    /// No operation.
    pub const EMPTY: Self = Self(0);
    /// Every operation.
    pub const ALL: Self = Self(u64::MAX >> (64 - Operation::ALL.len()));
    /// Everything that uses or lists a model: what makes a model visible to a caller.
    pub const LLM: Self = Self::of(&[
        Operation::LlmCreate,
        Operation::LlmUpdate,
        Operation::LlmRead,
        Operation::LlmDelete,
        Operation::LlmChatCompletions,
        Operation::LlmCompletions,
        Operation::LlmEmbeddings,
        Operation::LlmTranscription,
        Operation::LlmTranslation,
        Operation::LlmUtility,
        Operation::LlmPooling,
        Operation::LlmClassification,
        Operation::LlmScoring,
        Operation::LlmRerank,
    ]);
    /// What makes a member an administrator of a domain (Cube's derived `admin` permission).
    pub const ADMIN: Self = Self::of(&[
        Operation::Read,
        Operation::Update,
        Operation::Enable,
        Operation::Disable,
        Operation::Delete,
        Operation::ManageRole,
        Operation::AddRoleUsers,
        Operation::RemoveRoleUsers,
        Operation::ViewRoleUsers,
    ]);

    /// The set of exactly these operations.
    #[must_use]
    pub const fn of(operations: &[Operation]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < operations.len() {
            bits |= operations[at].bit();
            at += 1;
        }
        Self(bits)
    }

    /// The set with these bits; bits that no operation has are dropped.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// One bit per operation, see [`Operation::bit`].
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether `operation` is in the set.
    #[must_use]
    pub const fn contains(self, operation: Operation) -> bool {
        self.0 & operation.bit() != 0
    }

    /// Whether every operation of `other` is in the set.
    #[must_use]
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds `operation`.
    pub const fn insert(&mut self, operation: Operation) {
        self.0 |= operation.bit();
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The operations, in the order of their bits.
    pub fn iter(self) -> impl Iterator<Item = Operation> {
        Operation::ALL.iter().copied().filter(move |operation| self.contains(*operation))
    }

    /// The set that a holder of these role *actions* may perform.
    ///
    /// A role holds actions; a few operations have no action of their own and follow from another one: `list` from
    /// `read`, the invitation operations from `manage_role`.
    #[must_use]
    pub const fn with_implied(self) -> Self {
        let mut set = self;
        if set.contains(Operation::Read) {
            set.insert(Operation::List);
        }
        if set.contains(Operation::ManageRole) {
            set.insert(Operation::SendInvitation);
            set.insert(Operation::ListDomainInvitation);
            set.insert(Operation::DeleteInvitation);
        }
        set
    }
}

impl FromIterator<Operation> for OperationSet {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        let mut set = Self::EMPTY;
        for operation in operations {
            set.insert(operation);
        }
        set
    }
}

impl fmt::Debug for OperationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Operation::name)).finish()
    }
}

impl Serialize for OperationSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.count_ones() as usize))?;
        for operation in self.iter() {
            list.serialize_element(&operation)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for OperationSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = OperationSet;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of operation names")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<OperationSet, A::Error> {
                let mut set = OperationSet::EMPTY;
                while let Some(operation) = names.next_element()? {
                    set.insert(operation);
                }
                Ok(set)
            }
        }
        deserializer.deserialize_seq(Names)
    }
}
