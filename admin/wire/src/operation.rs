//! What a caller may do: a closed list of operations, one bit each.
//!
//! Names are exactly those of Cube (permission model and scope identifiers of the SuperMQ era). Operations on
//! entities that no cube service has (clients, channels, groups, dashboards, messages) are accepted as names
//! and kept, and never act: see [`OperationName`].

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! operations {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// One thing that a scope or a role can allow in a domain.
        ///
        /// The list is closed: the number of a variant is its bit in [`OperationSet`], inside one process only.
        /// On the wire an operation is its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Operation {
            $(#[doc = concat!("`", $name, "`")] $variant),+
        }

        impl Operation {
            /// Every operation, in the order of their bits.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name on the wire, in the API and in logs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }

            /// The operation with exactly this name, if there is one. Case matters.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

operations! {
    Read = "read",
    Update = "update",
    Delete = "delete",
    Enable = "enable",
    Disable = "disable",
    List = "list",
    ManageRole = "manage_role",
    AddRoleUsers = "add_role_users",
    RemoveRoleUsers = "remove_role_users",
    ViewRoleUsers = "view_role_users",
    SendInvitation = "send_invitation",
    ListDomainInvitation = "list_domain_invitation",
    DeleteInvitation = "delete_invitation",
    LlmCreate = "llm_create",
    LlmUpdate = "llm_update",
    LlmRead = "llm_read",
    LlmDelete = "llm_delete",
    LlmChatCompletions = "llm_chat_completions",
    LlmCompletions = "llm_completions",
    LlmEmbeddings = "llm_embeddings",
    LlmTranscription = "llm_transcription",
    LlmTranslation = "llm_translation",
    LlmUtility = "llm_utility",
    LlmPooling = "llm_pooling",
    LlmClassification = "llm_classification",
    LlmScoring = "llm_scoring",
    LlmRerank = "llm_rerank",
    LlmManageRole = "llm_manage_role",
    LlmAddRoleUsers = "llm_add_role_users",
    LlmRemoveRoleUsers = "llm_remove_role_users",
    LlmViewRoleUsers = "llm_view_role_users",
    AuditLogRead = "audit_log_read",
    AuditLogExport = "audit_log_export",
    AuditLogManageRole = "audit_log_manage_role",
    AuditLogAddRoleUsers = "audit_log_add_role_users",
    AuditLogRemoveRoleUsers = "audit_log_remove_role_users",
    AuditLogViewRoleUsers = "audit_log_view_role_users",
}

const _: () = assert!(Operation::ALL.len() <= 64, "one bit each in a u64");

impl Operation {
    /// The operation's bit in an [`OperationSet`].
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Operation;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an operation")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Operation, E> {
                Operation::from_name(name)
                    .ok_or_else(|| E::custom(format_args!("unknown operation `{name}`")))
            }
        }
        deserializer.deserialize_str(Name)
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

/// The name of an operation as a scope or a role carries it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OperationName {
    /// One of ours: it acts.
    Acting(Operation),
    /// Any other name. Whether it is accepted depends on the entity it is for ([`Self::is_known`]).
    Stored(Box<str>),
}

/// Name families of entities that the SuperMQ era had and cube has not. Kept so that imported rows stay valid.
const STORED_FAMILIES: [&str; 7] =
    ["client_", "channel_", "group_", "role_", "dashboard_", "message_", "alarm_"];

/// Single names of the same kind.
const STORED_NAMES: [&str; 12] = [
    "create_clients",
    "list_clients",
    "create_channels",
    "list_channels",
    "create_groups",
    "list_groups",
    "create",
    "freeze",
    "list_invitation",
    "view_invitation",
    "accept_invitation",
    "reject_invitation",
];

impl OperationName {
    /// The name as an operation, if it acts.
    #[must_use]
    pub const fn acting(&self) -> Option<Operation> {
        match self {
            Self::Acting(operation) => Some(*operation),
            Self::Stored(_) => None,
        }
    }

    /// Whether a scope or a role on a *domain* may carry this name: ours, or of a known family that never acts.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::Acting(_) => true,
            Self::Stored(name) => {
                STORED_NAMES.contains(&&**name)
                    || STORED_FAMILIES
                        .iter()
                        .any(|family| name.len() > family.len() && name.starts_with(family))
            }
        }
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Acting(operation) => operation.name(),
            Self::Stored(name) => name,
        }
    }
}

impl From<&str> for OperationName {
    fn from(name: &str) -> Self {
        Operation::from_name(name).map_or_else(|| Self::Stored(name.into()), Self::Acting)
    }
}

impl From<Operation> for OperationName {
    fn from(operation: Operation) -> Self {
        Self::Acting(operation)
    }
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for OperationName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for OperationName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = OperationName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an operation")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<OperationName, E> {
                Ok(name.into())
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_own_bit_and_finds_itself_by_name() {
        let mut seen = OperationSet::EMPTY;
        for &operation in Operation::ALL {
            assert!(!seen.contains(operation), "{operation} shares a bit");
            seen.insert(operation);
            assert_eq!(Operation::from_name(operation.name()), Some(operation));
        }
        assert_eq!(seen, OperationSet::ALL);
        assert_eq!(seen.iter().count(), Operation::ALL.len());
    }

    #[test]
    fn names_are_matched_exactly() {
        for name in ["", "READ", "read ", " read", "llm_", "llm_chat", "llm_chat_completions_permission", "*"]
        {
            assert_eq!(Operation::from_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_set_is_a_list_of_names_in_json_and_an_unknown_name_is_an_error() {
        let set: OperationSet = serde_json::from_str(r#"["llm_read","read","read"]"#).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["read","llm_read"]"#);
        let error = serde_json::from_str::<OperationSet>(r#"["execute"]"#).unwrap_err();
        assert!(error.to_string().contains("unknown operation `execute`"), "{error}");
    }

    #[test]
    fn reading_implies_listing_and_managing_roles_implies_invitations_and_nothing_else() {
        let read = OperationSet::of(&[Operation::Read]).with_implied();
        assert_eq!(read, OperationSet::of(&[Operation::Read, Operation::List]));
        let manage = OperationSet::of(&[Operation::ManageRole]).with_implied();
        assert_eq!(manage.iter().count(), 4);
        let chat = OperationSet::of(&[Operation::LlmChatCompletions]);
        assert_eq!(chat.with_implied(), chat);
    }

    #[test]
    fn families_of_entities_that_cube_has_not_are_known_and_anything_else_is_not() {
        for name in ["client_read", "channel_connect_to_channel", "group_create", "create_clients", "freeze"]
        {
            let name = OperationName::from(name);
            assert!(name.is_known() && name.acting().is_none(), "{name}");
        }
        for name in ["execute", "write", "client_", "llm_chat", ""] {
            assert!(!OperationName::from(name).is_known(), "{name:?}");
        }
        assert_eq!(OperationName::from("llm_read").acting(), Some(Operation::LlmRead));
    }
}
