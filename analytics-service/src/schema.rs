//! Generated from the migrations; regenerate with `UPDATE_SCHEMA=1 cargo test -p <crate> schema_is_current`.

diesel::table! {
    incident_records (org_id, incident_id) {
        org_id -> Uuid,
        incident_id -> Uuid,
        version -> Int8,
        number -> Int8,
        title -> Text,
        status -> Text,
        severity -> Text,
        urgency -> Text,
        service_id -> Uuid,
        service_name -> Text,
        team_id -> Nullable<Uuid>,
        team_name -> Nullable<Text>,
        created_at -> Timestamptz,
        first_acknowledged_at -> Nullable<Timestamptz>,
        resolved_at -> Nullable<Timestamptz>,
        auto_resolved -> Bool,
        escalations -> Int4,
        reopen_count -> Int4,
        merged -> Bool,
        mtta_ms -> Nullable<Int8>,
        mttr_ms -> Nullable<Int8>,
    }
}
