//! A running cube-admin, and a client of it.

mod browser;
mod database;
mod places;
mod server;

pub(crate) use browser::{Browser, between};
pub(crate) use places::text;
pub(crate) use serde_json::{Value, json};
pub(crate) use server::{ADMIN, Answer, Server, node_token, post_to_feed, request};
