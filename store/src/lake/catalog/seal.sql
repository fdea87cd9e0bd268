-- Rows that snapshots after ?1 and up to ?2 made, each as one text: all its columns but `end_snapshot`.
SELECT json_array('snapshot', snapshot_id, snapshot_time, schema_version, next_catalog_id, next_file_id)
FROM ducklake_snapshot WHERE snapshot_id > ?1 AND snapshot_id <= ?2
UNION ALL
SELECT json_array('changes', snapshot_id, changes_made, author, commit_message)
FROM ducklake_snapshot_changes WHERE snapshot_id > ?1 AND snapshot_id <= ?2
UNION ALL
SELECT json_array('schema', schema_id, schema_uuid, begin_snapshot, schema_name, path, path_is_relative)
FROM ducklake_schema WHERE begin_snapshot > ?1 AND begin_snapshot <= ?2
UNION ALL
SELECT json_array('table', table_id, table_uuid, begin_snapshot, schema_id, table_name, path, path_is_relative)
FROM ducklake_table WHERE begin_snapshot > ?1 AND begin_snapshot <= ?2
UNION ALL
SELECT json_array('tag', object_id, begin_snapshot, "key", "value")
FROM ducklake_tag WHERE begin_snapshot > ?1 AND begin_snapshot <= ?2
UNION ALL
SELECT json_array('column tag', table_id, column_id, begin_snapshot, "key", "value")
FROM ducklake_column_tag WHERE begin_snapshot > ?1 AND begin_snapshot <= ?2
UNION ALL
SELECT json_array('column', column_id, begin_snapshot, table_id, column_order, column_name, column_type,
                  initial_default, default_value, nulls_allowed, parent_column, default_value_type,
                  default_value_dialect)
FROM ducklake_column WHERE begin_snapshot > ?1 AND begin_snapshot <= ?2
UNION ALL
SELECT json_array('schema version', begin_snapshot, schema_version, table_id)
FROM ducklake_schema_versions WHERE begin_snapshot > ?1 AND begin_snapshot <= ?2
UNION ALL
SELECT json_array('data file', data_file_id, table_id, begin_snapshot, file_order, path, path_is_relative,
                  file_format, record_count, file_size_bytes, footer_size, row_id_start, partition_id,
                  encryption_key, mapping_id, partial_max)
FROM ducklake_data_file WHERE begin_snapshot > ?1 AND begin_snapshot <= ?2
UNION ALL
SELECT json_array('column statistics', s.data_file_id, s.table_id, s.column_id, s.column_size_bytes,
                  s.value_count, s.null_count, s.min_value, s.max_value, s.contains_nan, s.extra_stats)
-- CROSS: SQLite keeps to this order. It would go through the statistics of all files, which are very many.
FROM ducklake_data_file f CROSS JOIN ducklake_file_column_stats s USING (data_file_id)
WHERE f.begin_snapshot > ?1 AND f.begin_snapshot <= ?2
UNION ALL
SELECT json_array('delete file', delete_file_id, table_id, begin_snapshot, data_file_id, path,
                  path_is_relative, format, delete_count, file_size_bytes, footer_size, encryption_key, partial_max)
FROM ducklake_delete_file WHERE begin_snapshot > ?1 AND begin_snapshot <= ?2
-- Rows that they ended.
UNION ALL
SELECT json_array('data file ended', data_file_id, end_snapshot)
FROM ducklake_data_file WHERE end_snapshot > ?1 AND end_snapshot <= ?2
UNION ALL
SELECT json_array('delete file ended', delete_file_id, end_snapshot)
FROM ducklake_delete_file WHERE end_snapshot > ?1 AND end_snapshot <= ?2
UNION ALL
SELECT json_array('schema ended', schema_id, end_snapshot)
FROM ducklake_schema WHERE end_snapshot > ?1 AND end_snapshot <= ?2
UNION ALL
SELECT json_array('table ended', table_id, end_snapshot)
FROM ducklake_table WHERE end_snapshot > ?1 AND end_snapshot <= ?2
UNION ALL
SELECT json_array('column ended', table_id, column_id, end_snapshot)
FROM ducklake_column WHERE end_snapshot > ?1 AND end_snapshot <= ?2
UNION ALL
SELECT json_array('tag ended', object_id, "key", end_snapshot)
FROM ducklake_tag WHERE end_snapshot > ?1 AND end_snapshot <= ?2
UNION ALL
SELECT json_array('column tag ended', table_id, column_id, "key", end_snapshot)
FROM ducklake_column_tag WHERE end_snapshot > ?1 AND end_snapshot <= ?2
