mod json;
mod multipart;
mod splice;
