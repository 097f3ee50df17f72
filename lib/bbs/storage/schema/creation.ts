import type { Flavour } from '../../../database/database.js';

/**
 * The statements that make the board's tables in an empty database, as upstream's migrations leave them
 * (docs/protocol/bbs.md §15); columns in the order in which they came to be.
 */
export function creationStatements(flavour: Flavour): string[] {
  const { longText, mediumText, serial } = kinds[flavour];
  return [
    `CREATE TABLE domains (
      domain VARCHAR(255) PRIMARY KEY,
      expire_time BIGINT DEFAULT 0
    )`,
    `CREATE TABLE desired_lrps (
      process_guid VARCHAR(255) PRIMARY KEY,
      domain VARCHAR(255) NOT NULL,
      log_guid VARCHAR(255) NOT NULL,
      annotation ${longText},
      instances INT NOT NULL,
      memory_mb INT NOT NULL,
      disk_mb INT NOT NULL,
      rootfs VARCHAR(1024) NOT NULL,
      routes ${longText} NOT NULL,
      volume_placement ${longText} NOT NULL,
      modification_tag_epoch VARCHAR(255) NOT NULL,
      modification_tag_index INT,
      run_info ${longText} NOT NULL,
      placement_tags TEXT,
      max_pids INT NOT NULL DEFAULT 0,
      metric_tags ${mediumText},
      update_strategy INT NOT NULL DEFAULT 0
    )`,
    `CREATE TABLE actual_lrps (
      process_guid VARCHAR(255) NOT NULL,
      instance_index INT NOT NULL,
      evacuating BOOL NOT NULL DEFAULT false,
      domain VARCHAR(255) NOT NULL,
      state VARCHAR(255) NOT NULL,
      instance_guid VARCHAR(255) NOT NULL DEFAULT '',
      cell_id VARCHAR(255) NOT NULL DEFAULT '',
      placement_error VARCHAR(1024) NOT NULL DEFAULT '',
      since BIGINT DEFAULT 0,
      net_info ${longText} NOT NULL,
      modification_tag_epoch VARCHAR(255) NOT NULL,
      modification_tag_index INT,
      crash_count INT NOT NULL DEFAULT 0,
      crash_reason VARCHAR(1024) NOT NULL DEFAULT '',
      expire_time BIGINT DEFAULT 0,
      presence INT NOT NULL DEFAULT 0,
      internal_routes ${mediumText},
      metric_tags ${mediumText},
      routable BOOL NOT NULL DEFAULT false,
      availability_zone VARCHAR(255) NOT NULL DEFAULT '',
      PRIMARY KEY (process_guid, instance_index, presence)
    )`,
    `CREATE TABLE tasks (
      guid VARCHAR(255) PRIMARY KEY,
      domain VARCHAR(255) NOT NULL,
      updated_at BIGINT DEFAULT 0,
      created_at BIGINT DEFAULT 0,
      first_completed_at BIGINT DEFAULT 0,
      state INT,
      cell_id VARCHAR(255) NOT NULL DEFAULT '',
      result ${longText},
      failed BOOL DEFAULT false,
      failure_reason VARCHAR(1024) NOT NULL DEFAULT '',
      task_definition ${longText} NOT NULL,
      rejection_count INT NOT NULL DEFAULT 0,
      rejection_reason VARCHAR(1024) NOT NULL DEFAULT ''
    )`,
    ...indices.map(({ table, column }) => `CREATE INDEX ${table}_${column}_idx ON ${table} (${column})`),
    `CREATE TABLE IF NOT EXISTS bbs_health_check (id ${serial} PRIMARY KEY, time BIGINT NOT NULL)`,
  ];
}

/** Where versions and labels stand; it is there before all others. */
export const configurationsStatement =
  'CREATE TABLE IF NOT EXISTS configurations (id VARCHAR(255) PRIMARY KEY, value VARCHAR(255))';

const kinds: Record<Flavour, { longText: string; mediumText: string; serial: string }> = {
  sqlite3: { longText: 'TEXT', mediumText: 'TEXT', serial: 'INTEGER' },
  mysql: { longText: 'LONGTEXT', mediumText: 'MEDIUMTEXT', serial: 'INT NOT NULL AUTO_INCREMENT' },
  postgres: { longText: 'TEXT', mediumText: 'TEXT', serial: 'SERIAL' },
};

const indexedColumns: Record<string, readonly string[]> = {
  domains: ['expire_time'],
  desired_lrps: ['domain'],
  actual_lrps: ['domain', 'cell_id', 'since', 'state', 'expire_time'],
  tasks: ['domain', 'state', 'cell_id', 'updated_at', 'created_at', 'first_completed_at'],
};

const indices = Object.entries(indexedColumns).flatMap(([table, columns]) =>
  columns.map((column) => ({ table, column })),
);
