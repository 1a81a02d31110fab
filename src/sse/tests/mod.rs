mod events;
mod oracle;
mod reader;
