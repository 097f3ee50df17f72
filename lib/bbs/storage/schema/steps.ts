import type { Flavour } from '../../../database/database.js';

/** One of upstream's migrations (docs/protocol/bbs.md §15, Migrations). */
export interface Step {
  version: number;
  /** None where the columns are as they should be already. */
  statements(flavour: Exclude<Flavour, 'sqlite3'>): string[];
  /** Rows must be read and written anew, too (`metric-tags-move.ts`). */
  movesMetricTags?: true;
}

/** What a new database begins with, and the last that this program knows. */
export const currentVersion = 1772581987;
/** Older databases have routes that are not encrypted, or tables that upstream itself threw away. */
export const oldestVersion = 1474993971;

const forMysql = (...statements: string[]) => ({ mysql: statements, postgres: [] });
const forBoth = (...statements: string[]) => ({ mysql: statements, postgres: statements });

/** A step that is repeated after it was broken off finds its column there: see `migrations.ts`. */
const table: readonly [version: number, statements: Record<'mysql' | 'postgres', string[]>][] = [
  [1481761088, forBoth('ALTER TABLE desired_lrps ADD COLUMN max_pids INT NOT NULL DEFAULT 0')],
  [
    1502289152,
    {
      mysql: [`ALTER TABLE desired_lrps MODIFY rootfs VARCHAR(1024) NOT NULL DEFAULT ''`],
      postgres: ['ALTER TABLE desired_lrps ALTER rootfs TYPE VARCHAR(1024)'],
    },
  ],
  [1522700600, forBoth('ALTER TABLE tasks ADD COLUMN rejection_count INT NOT NULL DEFAULT 0')],
  [1523050077, forBoth(`ALTER TABLE tasks ADD COLUMN rejection_reason VARCHAR(255) NOT NULL DEFAULT ''`)],
  [
    1528928964,
    {
      mysql: [
        `ALTER TABLE tasks MODIFY rejection_reason VARCHAR(1024) NOT NULL DEFAULT '',
         MODIFY failure_reason VARCHAR(1024) NOT NULL DEFAULT ''`,
      ],
      postgres: [
        'ALTER TABLE tasks ALTER rejection_reason TYPE VARCHAR(1024), ALTER failure_reason TYPE VARCHAR(1024)',
      ],
    },
  ],
  [
    1529530809,
    {
      mysql: [
        'ALTER TABLE actual_lrps ADD COLUMN presence INT NOT NULL DEFAULT 0',
        'UPDATE actual_lrps SET presence = 1 WHERE evacuating = true',
        'ALTER TABLE actual_lrps DROP PRIMARY KEY, ADD PRIMARY KEY (process_guid, instance_index, presence)',
      ],
      postgres: [
        'ALTER TABLE actual_lrps ADD COLUMN presence INT NOT NULL DEFAULT 0',
        'UPDATE actual_lrps SET presence = 1 WHERE evacuating = true',
        `ALTER TABLE actual_lrps DROP CONSTRAINT actual_lrps_pkey,
         ADD PRIMARY KEY (process_guid, instance_index, presence)`,
      ],
    },
  ],
  [
    1643660541,
    {
      mysql: ['ALTER TABLE actual_lrps ADD COLUMN internal_routes MEDIUMTEXT'],
      postgres: ['ALTER TABLE actual_lrps ADD COLUMN internal_routes TEXT'],
    },
  ],
  [
    1674146125,
    forMysql(
      `ALTER TABLE desired_lrps MODIFY annotation LONGTEXT, MODIFY routes LONGTEXT NOT NULL,
       MODIFY volume_placement LONGTEXT NOT NULL, MODIFY run_info LONGTEXT NOT NULL`,
      'ALTER TABLE actual_lrps MODIFY net_info LONGTEXT NOT NULL',
      'ALTER TABLE tasks MODIFY result LONGTEXT, MODIFY task_definition LONGTEXT NOT NULL',
    ),
  ],
  [
    1676360874,
    {
      mysql: ['ALTER TABLE actual_lrps ADD COLUMN metric_tags MEDIUMTEXT'],
      postgres: ['ALTER TABLE actual_lrps ADD COLUMN metric_tags TEXT'],
    },
  ],
  [
    1686692176,
    forBoth(
      'ALTER TABLE actual_lrps ADD COLUMN routable BOOL NOT NULL DEFAULT false',
      `UPDATE actual_lrps SET routable = true WHERE state = 'RUNNING'`,
    ),
  ],
  [1698182853, forBoth(`ALTER TABLE actual_lrps ADD COLUMN availability_zone VARCHAR(255) NOT NULL DEFAULT ''`)],
  [
    1722634733,
    {
      mysql: ['ALTER TABLE desired_lrps ADD COLUMN metric_tags MEDIUMTEXT'],
      postgres: ['ALTER TABLE desired_lrps ADD COLUMN metric_tags TEXT'],
    },
  ],
  [
    1764949919,
    {
      mysql: [
        'CREATE TABLE IF NOT EXISTS bbs_health_check (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, time BIGINT NOT NULL)',
      ],
      postgres: ['CREATE TABLE IF NOT EXISTS bbs_health_check (id SERIAL PRIMARY KEY, time BIGINT NOT NULL)'],
    },
  ],
  [currentVersion, forBoth('ALTER TABLE desired_lrps ADD COLUMN update_strategy INT NOT NULL DEFAULT 0')],
];

/** Oldest first. */
export const steps: readonly Step[] = table.map(([version, statements]) => ({
  version,
  statements: (flavour) => statements[flavour],
  ...(version === 1722634733 && { movesMetricTags: true as const }),
}));
