//! The API from outside: the real program on ports of its own, with a state directory of its own.

mod support;
mod tokens;
mod users;
