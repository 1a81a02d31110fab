//! The API from outside: the real program on ports of its own, with a state directory of its own.

mod api_keys;
mod cli;
mod corpus;
mod deployments;
mod description;
mod domains;
mod feed;
mod invitations;
mod lists;
mod models;
mod oidc;
mod ops;
mod pats;
mod prefer;
mod replicas;
mod reports;
mod roles;
mod routes;
mod scim;
mod scopes;
mod support;
mod tls;
mod tokens;
mod ui;
mod users;
mod verify;
