platform::schema_tests!(crate::OURS);
