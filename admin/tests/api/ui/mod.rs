//! The pages from outside, as a browser without script uses them.

mod pages;
mod pats;
mod protection;
mod sessions;
