mod filters;
mod fixture;
mod history;
mod schema;

use analytics_service::{MIGRATIONS, NAME};
use platform::migrate::Migrations;

const OURS: Migrations = Migrations { owner: NAME, dir: &MIGRATIONS };
