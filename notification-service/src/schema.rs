//! Generated from the migrations; regenerate with `UPDATE_SCHEMA=1 cargo test -p <crate> schema_is_current`.

diesel::table! {
    attempts (org_id, notification_id, number) {
        org_id -> Uuid,
        notification_id -> Uuid,
        number -> Int4,
        epoch -> Int8,
        started_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        outcome -> Text,
        status -> Int4,
        detail -> Text,
    }
}

diesel::table! {
    channels (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        slug -> Text,
        name -> Text,
        team_id -> Nullable<Uuid>,
        kind -> Text,
        address_sealed -> Bytea,
        address_shown -> Text,
        address_digest -> Bytea,
        secret_sealed -> Nullable<Bytea>,
        disabled -> Bool,
        labels -> Jsonb,
        created_at -> Timestamptz,
        created_by -> Uuid,
        updated_at -> Timestamptz,
        updated_by -> Uuid,
        version -> Int8,
        archived_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    code_mails (address_digest, sent_at) {
        address_digest -> Bytea,
        sent_at -> Timestamptz,
    }
}

diesel::table! {
    contact_method_codes (org_id, contact_method_id) {
        org_id -> Uuid,
        contact_method_id -> Uuid,
        message_id -> Uuid,
        tries -> Int4,
        sent_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    contact_methods (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        kind -> Text,
        address_sealed -> Bytea,
        address_shown -> Text,
        address_digest -> Bytea,
        secret_sealed -> Nullable<Bytea>,
        disabled -> Bool,
        verified_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        created_by -> Uuid,
        updated_at -> Timestamptz,
        updated_by -> Uuid,
        version -> Int8,
        archived_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    groups_seen (org_id, kind, group_id) {
        org_id -> Uuid,
        kind -> Text,
        group_id -> Uuid,
        user_ids -> Array<Uuid>,
        names -> Array<Text>,
        seen_at -> Timestamptz,
    }
}

diesel::table! {
    messages (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        send_key -> Text,
        subject -> Text,
        text_body -> Text,
        json_body -> Text,
        incident_id -> Nullable<Uuid>,
        run_id -> Nullable<Uuid>,
        nobody_reachable -> Bool,
        actor_kind -> Int4,
        actor_id -> Text,
        actor_name -> Text,
        trace -> Text,
        created_at -> Timestamptz,
        complete -> Bool,
        carries_code -> Bool,
    }
}

diesel::table! {
    notifications (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        key -> Text,
        message_id -> Uuid,
        status -> Text,
        kind -> Text,
        channel_id -> Nullable<Uuid>,
        contact_method_id -> Nullable<Uuid>,
        user_id -> Nullable<Uuid>,
        recipient -> Text,
        address_shown -> Text,
        incident_id -> Nullable<Uuid>,
        run_id -> Nullable<Uuid>,
        order_key -> Text,
        sequence -> Int8,
        decided_at -> Timestamptz,
        decided_status -> Nullable<Text>,
        spent -> Int4,
        failing_told -> Bool,
        notes -> Nullable<Jsonb>,
        created_at -> Timestamptz,
        delivered_at -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
        due_at -> Nullable<Timestamptz>,
        lease_until -> Nullable<Timestamptz>,
        epoch -> Int8,
        attempts -> Int4,
    }
}

diesel::table! {
    people (org_id, user_id) {
        org_id -> Uuid,
        user_id -> Uuid,
        name -> Text,
        verified_digest -> Nullable<Bytea>,
        inactive -> Bool,
        version -> Int8,
        seen_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query! {
    attempts,
    channels,
    code_mails,
    contact_method_codes,
    contact_methods,
    groups_seen,
    messages,
    notifications,
    people,
}
