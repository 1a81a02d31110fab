//! The pages from outside, as a browser without script uses them.

mod api_keys;
mod groups;
mod pages;
mod pats;
mod protection;
mod sessions;
