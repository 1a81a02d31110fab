//! The pages from outside, as a browser without script uses them.

mod pats;
mod protection;
mod sessions;
