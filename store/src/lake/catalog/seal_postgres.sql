-- Rows that snapshots after $1 and up to $2 made, each as one text: all its columns but `end_snapshot`. The texts are
-- those of `seal.sql`, byte by byte.
SELECT '[' || array_to_string(ARRAY['"snapshot"', snapshot_id::text,
       to_json(to_char(snapshot_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"'))::text,
       schema_version::text, next_catalog_id::text, next_file_id::text], ',', 'null') || ']'
FROM ducklake_snapshot WHERE snapshot_id > $1 AND snapshot_id <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"changes"', snapshot_id::text, to_json(changes_made)::text,
       to_json(author)::text, to_json(commit_message)::text], ',', 'null') || ']'
FROM ducklake_snapshot_changes WHERE snapshot_id > $1 AND snapshot_id <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"schema"', schema_id::text, to_json(schema_uuid)::text, begin_snapshot::text,
       to_json(schema_name)::text, to_json(path)::text, path_is_relative::int::text], ',', 'null') || ']'
FROM ducklake_schema WHERE begin_snapshot > $1 AND begin_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"table"', table_id::text, to_json(table_uuid)::text, begin_snapshot::text,
       schema_id::text, to_json(table_name)::text, to_json(path)::text,
       path_is_relative::int::text], ',', 'null') || ']'
FROM ducklake_table WHERE begin_snapshot > $1 AND begin_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"tag"', object_id::text, begin_snapshot::text, to_json("key")::text,
       to_json("value")::text], ',', 'null') || ']'
FROM ducklake_tag WHERE begin_snapshot > $1 AND begin_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"column tag"', table_id::text, column_id::text, begin_snapshot::text,
       to_json("key")::text, to_json("value")::text], ',', 'null') || ']'
FROM ducklake_column_tag WHERE begin_snapshot > $1 AND begin_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"column"', column_id::text, begin_snapshot::text, table_id::text,
       column_order::text, to_json(column_name)::text, to_json(column_type)::text, to_json(initial_default)::text,
       to_json(default_value)::text, nulls_allowed::int::text, parent_column::text,
       to_json(default_value_type)::text, to_json(default_value_dialect)::text], ',', 'null') || ']'
FROM ducklake_column WHERE begin_snapshot > $1 AND begin_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"schema version"', begin_snapshot::text, schema_version::text,
       table_id::text], ',', 'null') || ']'
FROM ducklake_schema_versions WHERE begin_snapshot > $1 AND begin_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"data file"', data_file_id::text, table_id::text, begin_snapshot::text,
       file_order::text, to_json(path)::text, path_is_relative::int::text, to_json(file_format)::text,
       record_count::text, file_size_bytes::text, footer_size::text, row_id_start::text, partition_id::text,
       to_json(encryption_key)::text, mapping_id::text, partial_max::text], ',', 'null') || ']'
FROM ducklake_data_file WHERE begin_snapshot > $1 AND begin_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"column statistics"', s.data_file_id::text, s.table_id::text,
       s.column_id::text, s.column_size_bytes::text, s.value_count::text, s.null_count::text,
       to_json(s.min_value)::text, to_json(s.max_value)::text, s.contains_nan::int::text,
       to_json(s.extra_stats)::text], ',', 'null') || ']'
FROM ducklake_data_file f JOIN ducklake_file_column_stats s USING (data_file_id)
WHERE f.begin_snapshot > $1 AND f.begin_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"delete file"', delete_file_id::text, table_id::text, begin_snapshot::text,
       data_file_id::text, to_json(path)::text, path_is_relative::int::text, to_json(format)::text,
       delete_count::text, file_size_bytes::text, footer_size::text, to_json(encryption_key)::text,
       partial_max::text], ',', 'null') || ']'
FROM ducklake_delete_file WHERE begin_snapshot > $1 AND begin_snapshot <= $2
-- Rows that they ended.
UNION ALL
SELECT '[' || array_to_string(ARRAY['"data file ended"', data_file_id::text,
       end_snapshot::text], ',', 'null') || ']'
FROM ducklake_data_file WHERE end_snapshot > $1 AND end_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"delete file ended"', delete_file_id::text,
       end_snapshot::text], ',', 'null') || ']'
FROM ducklake_delete_file WHERE end_snapshot > $1 AND end_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"schema ended"', schema_id::text, end_snapshot::text], ',', 'null') || ']'
FROM ducklake_schema WHERE end_snapshot > $1 AND end_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"table ended"', table_id::text, end_snapshot::text], ',', 'null') || ']'
FROM ducklake_table WHERE end_snapshot > $1 AND end_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"column ended"', table_id::text, column_id::text,
       end_snapshot::text], ',', 'null') || ']'
FROM ducklake_column WHERE end_snapshot > $1 AND end_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"tag ended"', object_id::text, to_json("key")::text,
       end_snapshot::text], ',', 'null') || ']'
FROM ducklake_tag WHERE end_snapshot > $1 AND end_snapshot <= $2
UNION ALL
SELECT '[' || array_to_string(ARRAY['"column tag ended"', table_id::text, column_id::text, to_json("key")::text,
       end_snapshot::text], ',', 'null') || ']'
FROM ducklake_column_tag WHERE end_snapshot > $1 AND end_snapshot <= $2
