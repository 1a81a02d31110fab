//! What a caller may do: a closed list of operations, one bit each.
//!
//! Names are exactly those of Cube (permission model and scope identifiers of the SuperMQ era). Operations on
//! entities that no cube service has (clients, channels, groups, dashboards, messages) are accepted as names
//! and kept, and never act: see [`OperationName`].

mod name;
mod set;

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use name::OperationName;
pub use set::OperationSet;

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
