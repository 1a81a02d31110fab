//! cube-admin, the control plane: who there is, what they may do, where models are served; and the feed that puts it in force.
//!
//! ```text
//! http, ui → app → store        feed ← store            cli → http
//! ```
//!
//! Read in this order: [`store`] (what is kept, and how a change is made), [`app`] (the rules), [`http`] (the API), `ui` (the pages), [`feed`] (how
//! proxies hear of it), [`cli`] (the same for people with a shell), [`ops`] (how it does).
//!
//! SQL never leaves `store`, status codes never leave `http` and `ui`.
#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
pub mod clock;
pub mod feed;
pub mod figures;
pub mod http;
pub mod listener;
pub mod oidc;
pub mod ops;
pub mod scim;
pub mod secrets;
pub mod serve;
pub mod settings;
pub mod store;
mod ui;
pub mod upkeep;
