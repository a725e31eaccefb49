platform::schema_tests!(crate::world::OURS);
