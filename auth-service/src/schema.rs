//! Generated from the migrations; regenerate with `UPDATE_SCHEMA=1 cargo test -p <crate> schema_is_current`.

diesel::table! {
    api_keys (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        name -> Text,
        prefix -> Text,
        hash -> Bytea,
        scopes -> Array<Text>,
        user_id -> Nullable<Uuid>,
        service_id -> Nullable<Uuid>,
        expires_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        created_by -> Text,
        updated_at -> Timestamptz,
        updated_by -> Text,
        revoked_at -> Nullable<Timestamptz>,
        version -> Int8,
    }
}

diesel::table! {
    audit (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        at -> Timestamptz,
        actor_kind -> Text,
        actor_id -> Uuid,
        actor_name -> Text,
        action -> Text,
        subject_kind -> Text,
        subject_id -> Uuid,
        before -> Nullable<Jsonb>,
        after -> Nullable<Jsonb>,
        request_id -> Uuid,
    }
}

diesel::table! {
    organizations (org_id) {
        org_id -> Uuid,
        slug -> Text,
        name -> Text,
        time_zone -> Text,
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
    refresh_tokens (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        session_id -> Uuid,
        hash -> Bytea,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        spent_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sessions (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        created_at -> Timestamptz,
        last_used_at -> Timestamptz,
        expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        revoked_reason -> Nullable<Text>,
        version -> Int8,
    }
}

diesel::table! {
    signing_keys (kid) {
        kid -> Text,
        sealed_seed -> Bytea,
        public_key -> Bytea,
        created_at -> Timestamptz,
        retired_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    team_members (org_id, team_id, user_id) {
        org_id -> Uuid,
        team_id -> Uuid,
        user_id -> Uuid,
        role -> Text,
        added_at -> Timestamptz,
        added_by -> Text,
    }
}

diesel::table! {
    teams (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        slug -> Text,
        name -> Text,
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
    users (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        email -> Text,
        name -> Text,
        role -> Text,
        password_hash -> Nullable<Text>,
        time_zone -> Text,
        locale -> Nullable<Text>,
        status -> Text,
        labels -> Jsonb,
        created_at -> Timestamptz,
        created_by -> Text,
        updated_at -> Timestamptz,
        updated_by -> Text,
        archived_at -> Nullable<Timestamptz>,
        version -> Int8,
    }
}

diesel::allow_tables_to_appear_in_same_query! {
    api_keys,
    audit,
    organizations,
    refresh_tokens,
    sessions,
    signing_keys,
    team_members,
    teams,
    users,
}
