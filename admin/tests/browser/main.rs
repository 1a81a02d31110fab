//! The pages in a real browser, through a real proxy: Chromium by WebDriver, on the demo. `tests/ui/run.sh` starts both.

mod access;
mod keys;
mod life;
mod playground;
mod support;
