//! The API from outside: the real program on ports of its own, with a state directory of its own.

mod domains;
mod feed;
mod reports;
mod invitations;
mod roles;
mod support;
mod tokens;
mod users;
