//! The SQL of the log and the rows that it answers with.

use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text};
use uuid::Uuid;

pub(super) const TOPIC: &str = "SELECT id, name, partitions, log_id FROM topics WHERE name = $1";

// Only a prefix goes, and never the newest chunk: the next offset is read from it.
pub(super) const TRIM: &str = "
WITH topic AS (
    SELECT t.id, a.partition, pulseops.now() - t.retention_ms * interval '1 millisecond' AS cutoff
    FROM (SELECT $1 AS topic_id, $2 AS partition) a JOIN topics t ON t.id = a.topic_id
),
head AS (
    SELECT l.base_offset, l.written_at < t.cutoff AS expired
    FROM topic t CROSS JOIN LATERAL (
        SELECT base_offset, written_at FROM log
        WHERE topic_id = t.id AND partition = t.partition ORDER BY base_offset LIMIT $3) l
),
bound AS (
    SELECT least(
        coalesce((SELECT min(base_offset) FROM head WHERE NOT expired), (SELECT max(base_offset) + 1 FROM head)),
        (SELECT l.base_offset FROM topic t CROSS JOIN LATERAL (
            SELECT base_offset FROM log
            WHERE topic_id = t.id AND partition = t.partition ORDER BY base_offset DESC LIMIT 1) l)
    ) AS keep_from
)
DELETE FROM log l USING topic t
WHERE l.topic_id = t.id AND l.partition = t.partition AND l.base_offset < (SELECT keep_from FROM bound)";

// The lock makes one relay the leader while the statement runs. A second one that saw the same rows
// as unsent finds them changed in UPDATE and leaves them alone.
pub(super) const RELAY: &str = "
WITH leader AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(hashtextextended('pulseops relay ' || current_schema(), 0)) AS won
),
waiting AS MATERIALIZED (
    SELECT o.id, octet_length(o.frame) AS size FROM outbox o
    WHERE (SELECT won FROM leader) AND o.sent_at IS NULL AND o.id BETWEEN $1 AND $2
      AND (o.held_at IS NULL OR $3)
      AND NOT EXISTS (
        SELECT FROM outbox h WHERE h.held_at IS NOT NULL AND h.aggregate_id = o.aggregate_id AND h.id < o.id)
    ORDER BY o.id LIMIT $4
),
picked AS MATERIALIZED (
    SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM waiting) w WHERE before < $5
),
moved AS (
    UPDATE outbox o SET sent_at = pulseops.now(), held_at = NULL FROM picked p
    WHERE o.id = p.id AND o.sent_at IS NULL
    RETURNING o.id, o.topic, o.partition, o.frame
),
pieces AS (
    SELECT id, topic, partition, frame,
        (sum(octet_length(frame)) OVER (PARTITION BY topic, partition ORDER BY id) - octet_length(frame)) / $6 AS piece
    FROM moved
),
chunks AS (
    SELECT topic, partition, piece, count(*)::int4 AS count, string_agg(frame, ''::bytea ORDER BY id) AS chunk
    FROM pieces GROUP BY topic, partition, piece
),
appended AS MATERIALIZED (
    SELECT topic, pulseops_bus.append(topic,
        array_agg(partition ORDER BY partition, piece),
        array_agg(count ORDER BY partition, piece),
        array_agg(chunk ORDER BY partition, piece)) AS count
    FROM chunks GROUP BY topic ORDER BY topic
),
reached AS (
    -- Fewer than there might have been: nothing else waits, whoever sent it.
    SELECT CASE WHEN (SELECT won FROM leader) AND (SELECT count(*) FROM waiting) = (SELECT count(*) FROM picked)
        AND (SELECT count(*) FROM waiting) < $7 THEN (SELECT max(id) FROM outbox) ELSE (SELECT max(id) FROM moved) END AS id
)
SELECT (SELECT won FROM leader) AS won, coalesce((SELECT sum(count) FROM appended), 0)::int8 AS count,
    -- Neither what is held nor what waits behind it is sent.
    (SELECT least(r.id, (SELECT min(id) - 1 FROM outbox WHERE held_at IS NOT NULL))
     FROM reached r WHERE r.id IS NOT NULL) AS last_id,
    (SELECT array_agg(topic) FROM appended) AS topics,
    pg_snapshot_xmin(pg_current_snapshot())::text::int8 AS oldest_open,
    pg_snapshot_xmax(pg_current_snapshot())::text::int8 AS next_open";

pub(super) const BOUNDS: &str = "
SELECT p.partition,
    coalesce((SELECT l.base_offset FROM log l WHERE l.topic_id = p.topic_id AND l.partition = p.partition
              ORDER BY l.base_offset LIMIT 1), 0) AS first,
    coalesce((SELECT l.base_offset + l.count FROM log l WHERE l.topic_id = p.topic_id AND l.partition = p.partition
              ORDER BY l.base_offset DESC LIMIT 1), 0) AS next
FROM partitions p WHERE p.topic_id = $1 ORDER BY p.partition";

pub(super) const SINCE: &str = "
SELECT p.partition,
    (SELECT l.base_offset FROM log l
     WHERE l.topic_id = p.topic_id AND l.partition = p.partition AND l.written_at >= $1
     ORDER BY l.base_offset LIMIT 1) AS first
FROM partitions p WHERE p.topic_id = $2";

pub(super) const CREATE: &str = "
WITH made AS (
    INSERT INTO topics (name, partitions, log_id, retention_ms, created_at)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING RETURNING id, partitions
)
INSERT INTO partitions (topic_id, partition)
SELECT id, generate_series(0, partitions - 1) FROM made";

#[derive(diesel::QueryableByName)]
pub(super) struct TopicRow {
    #[diesel(sql_type = Integer)]
    pub(super) id: i32,
    #[diesel(sql_type = Text)]
    pub(super) name: String,
    #[diesel(sql_type = Integer)]
    pub(super) partitions: i32,
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    pub(super) log_id: Uuid,
}

#[derive(diesel::QueryableByName)]
pub(super) struct CountRow {
    #[diesel(sql_type = BigInt)]
    pub(super) count: i64,
}

#[derive(diesel::QueryableByName)]
pub(super) struct RelayRow {
    #[diesel(sql_type = Bool)]
    pub(super) won: bool,
    #[diesel(sql_type = BigInt)]
    pub(super) count: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) last_id: Option<i64>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub(super) topics: Option<Vec<String>>,
    #[diesel(sql_type = BigInt)]
    pub(super) oldest_open: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) next_open: i64,
}

#[derive(diesel::QueryableByName)]
pub(super) struct BoundsRow {
    #[diesel(sql_type = Integer)]
    pub(super) partition: i32,
    #[diesel(sql_type = BigInt)]
    pub(super) first: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) next: i64,
}

#[derive(diesel::QueryableByName)]
pub(super) struct SinceRow {
    #[diesel(sql_type = Integer)]
    pub(super) partition: i32,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) first: Option<i64>,
}

#[derive(diesel::QueryableByName)]
pub(super) struct PartitionRow {
    #[diesel(sql_type = Integer)]
    pub(super) topic_id: i32,
    #[diesel(sql_type = Integer)]
    pub(super) partition: i32,
}
