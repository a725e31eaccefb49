//! Generated from the migrations; regenerate with `UPDATE_SCHEMA=1 cargo test -p <crate> schema_is_current`.

diesel::table! {
    escalation_policies (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        slug -> Text,
        name -> Text,
        levels -> Bytea,
        target_names -> Jsonb,
        repeat -> Int4,
        labels -> Jsonb,
        created_at -> Timestamptz,
        created_by -> Text,
        updated_at -> Timestamptz,
        updated_by -> Text,
        version -> Int8,
        archived_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    incident_states (org_id, incident_id) {
        org_id -> Uuid,
        incident_id -> Uuid,
        number -> Int8,
        status -> Text,
        version -> Int8,
        at -> Timestamptz,
    }
}

diesel::table! {
    run_steps (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        run_id -> Uuid,
        path -> Text,
        kind -> Text,
        outcome -> Text,
        detail -> Text,
        attempt -> Int4,
        level -> Int4,
        round -> Int4,
        started_at -> Timestamptz,
        ended_at -> Timestamptz,
        entry -> Nullable<Text>,
        noted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    runs (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        program_id -> Uuid,
        name -> Text,
        incident_id -> Uuid,
        incident_number -> Int8,
        origin -> Text,
        trigger_event -> Uuid,
        trigger_version -> Int8,
        depth -> Int4,
        trace -> Text,
        status -> Text,
        program -> Jsonb,
        state -> Jsonb,
        incident -> Bytea,
        nudges -> Int4,
        hold_until -> Nullable<Timestamptz>,
        decided_at -> Timestamptz,
        created_at -> Timestamptz,
        started_at -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
        detail -> Text,
        due_at -> Nullable<Timestamptz>,
        lease_until -> Nullable<Timestamptz>,
        epoch -> Int8,
        attempts -> Int4,
    }
}

diesel::table! {
    workflows (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        slug -> Text,
        name -> Text,
        triggers -> Array<Text>,
        condition -> Text,
        cost -> Int8,
        service_ids -> Array<Uuid>,
        hold_paging_ms -> Int8,
        steps -> Bytea,
        disabled -> Bool,
        labels -> Jsonb,
        created_at -> Timestamptz,
        created_by -> Text,
        updated_at -> Timestamptz,
        updated_by -> Text,
        version -> Int8,
        archived_at -> Nullable<Timestamptz>,
    }
}

diesel::allow_tables_to_appear_in_same_query! {
    escalation_policies,
    incident_states,
    run_steps,
    runs,
    workflows,
}
