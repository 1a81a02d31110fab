mod events;
mod reader;
