mod history;
mod schema;
