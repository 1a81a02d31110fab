pub(crate) mod generate;
mod json;
mod multipart;
mod oracle;
mod splice;
