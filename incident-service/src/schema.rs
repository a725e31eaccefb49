//! Generated from the migrations; regenerate with `UPDATE_SCHEMA=1 cargo test -p <crate> schema_is_current`.

diesel::table! {
    alerts (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        service_id -> Uuid,
        incident_id -> Nullable<Uuid>,
        source_kind -> Text,
        source_id -> Uuid,
        source_name -> Text,
        dedup_key -> Text,
        status -> Text,
        severity -> Text,
        title -> Text,
        labels -> Jsonb,
        attributes -> Jsonb,
        value -> Nullable<Float8>,
        count -> Int8,
        started_at -> Timestamptz,
        last_at -> Timestamptz,
        resolved_at -> Nullable<Timestamptz>,
        auto_resolve_ms -> Nullable<Int8>,
        version -> Int8,
        due_at -> Nullable<Timestamptz>,
        lease_until -> Nullable<Timestamptz>,
        epoch -> Int8,
        attempts -> Int4,
    }
}

diesel::table! {
    incident_assignees (org_id, user_id, incident_id) {
        org_id -> Uuid,
        user_id -> Uuid,
        incident_id -> Uuid,
    }
}

diesel::table! {
    incident_counters (org_id) {
        org_id -> Uuid,
        last -> Int8,
    }
}

diesel::table! {
    incidents (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        number -> Int8,
        title -> Text,
        description -> Text,
        severity -> Text,
        urgency -> Text,
        status -> Text,
        service_id -> Uuid,
        team_id -> Nullable<Uuid>,
        team_name -> Text,
        assignee_ids -> Array<Uuid>,
        source -> Jsonb,
        labels -> Jsonb,
        custom_fields -> Nullable<Jsonb>,
        links -> Jsonb,
        images -> Jsonb,
        runbook_url -> Nullable<Text>,
        conference_url -> Nullable<Text>,
        external_refs -> Jsonb,
        created_at -> Timestamptz,
        first_acknowledged_at -> Nullable<Timestamptz>,
        acknowledged_at -> Nullable<Timestamptz>,
        acknowledged_by -> Nullable<Jsonb>,
        resolved_at -> Nullable<Timestamptz>,
        resolved_by -> Nullable<Jsonb>,
        auto_resolved -> Bool,
        resolution_note -> Text,
        reopen_count -> Int4,
        snoozed_until -> Nullable<Timestamptz>,
        merged_into_id -> Nullable<Uuid>,
        version -> Int8,
    }
}

diesel::table! {
    rule_sets (org_id, service_id) {
        org_id -> Uuid,
        service_id -> Uuid,
        version -> Int8,
    }
}

diesel::table! {
    rules (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        service_id -> Uuid,
        slug -> Text,
        name -> Text,
        selection -> Text,
        cost -> Int8,
        condition -> Jsonb,
        group_by -> Array<Text>,
        generation -> Int8,
        severity -> Text,
        dedup_key -> Text,
        title -> Text,
        cooldown_ms -> Int8,
        auto_resolve_ms -> Nullable<Int8>,
        disabled -> Bool,
        labels -> Jsonb,
        created_at -> Timestamptz,
        created_by -> Text,
        updated_at -> Timestamptz,
        updated_by -> Text,
        archived_at -> Nullable<Timestamptz>,
        version -> Int8,
    }
}

diesel::table! {
    seen_events (org_id, service_id, event_hash) {
        org_id -> Uuid,
        service_id -> Uuid,
        event_hash -> Uuid,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    services (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        slug -> Text,
        name -> Text,
        description -> Text,
        team_id -> Nullable<Uuid>,
        team_name -> Text,
        policy_id -> Nullable<Uuid>,
        policy_name -> Text,
        labels -> Jsonb,
        runbook_url -> Nullable<Text>,
        links -> Jsonb,
        urgency_rule -> Text,
        paused_until -> Nullable<Timestamptz>,
        auto_resolve_ms -> Nullable<Int8>,
        created_at -> Timestamptz,
        created_by -> Text,
        updated_at -> Timestamptz,
        updated_by -> Text,
        archived_at -> Nullable<Timestamptz>,
        version -> Int8,
    }
}

diesel::table! {
    timeline (org_id, incident_id, at, id) {
        org_id -> Uuid,
        incident_id -> Uuid,
        id -> Uuid,
        at -> Timestamptz,
        kind -> Text,
        actor -> Jsonb,
        data -> Bytea,
    }
}

diesel::table! {
    windows (org_id, rule_id, group_hash) {
        org_id -> Uuid,
        rule_id -> Uuid,
        group_hash -> Uuid,
        generation -> Int8,
        state -> Bytea,
        expires_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query! {
    alerts,
    incident_assignees,
    incident_counters,
    incidents,
    rule_sets,
    rules,
    seen_events,
    services,
    timeline,
    windows,
}
