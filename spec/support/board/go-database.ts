import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { createConnection } from 'mysql2/promise';
import pg from 'pg';
import type { DatabaseConfig } from './databases.js';

/**
 * A database as a Go board leaves it, made from docs/protocol/bbs.md §15 and nothing of the board's own storage: tables,
 * and values encrypted by hand.
 */

const long = { mysql: 'LONGTEXT', postgres: 'TEXT' };
const medium = { mysql: 'MEDIUMTEXT', postgres: 'TEXT' };
const name = 'VARCHAR(255)';
const reason = `VARCHAR(1024) NOT NULL DEFAULT ''`;
const time = 'BIGINT DEFAULT 0';
const count = 'INT NOT NULL DEFAULT 0';

type Column = string | typeof long;

const tables: Record<string, Record<string, Column>> = {
  configurations: { id: `${name} PRIMARY KEY`, value: name },
  domains: { domain: `${name} PRIMARY KEY`, expire_time: time },
  desired_lrps: {
    ...{ process_guid: `${name} PRIMARY KEY`, domain: `${name} NOT NULL`, log_guid: `${name} NOT NULL` },
    ...{ annotation: long, instances: 'INT NOT NULL', memory_mb: 'INT NOT NULL', disk_mb: 'INT NOT NULL' },
    ...{ rootfs: 'VARCHAR(1024) NOT NULL', routes: long, volume_placement: long },
    ...{ modification_tag_epoch: `${name} NOT NULL`, modification_tag_index: 'INT', run_info: long },
    ...{ placement_tags: 'TEXT', max_pids: count, metric_tags: medium, update_strategy: count },
  },
  actual_lrps: {
    ...{ process_guid: name, instance_index: 'INT', evacuating: 'BOOL DEFAULT false', domain: `${name} NOT NULL` },
    ...{
      state: `${name} NOT NULL`,
      instance_guid: `${name} NOT NULL DEFAULT ''`,
      cell_id: `${name} NOT NULL DEFAULT ''`,
    },
    ...{ placement_error: reason, since: time, net_info: long, modification_tag_epoch: `${name} NOT NULL` },
    ...{ modification_tag_index: 'INT', crash_count: count, crash_reason: reason, expire_time: time, presence: count },
    ...{ internal_routes: medium, metric_tags: medium, routable: 'BOOL DEFAULT false' },
    ...{ availability_zone: `${name} NOT NULL DEFAULT ''`, PRIMARY: 'KEY (process_guid, instance_index, presence)' },
  },
  tasks: {
    ...{ guid: `${name} PRIMARY KEY`, domain: `${name} NOT NULL`, updated_at: time, created_at: time },
    ...{ first_completed_at: time, state: 'INT', cell_id: `${name} NOT NULL DEFAULT ''`, result: long },
    ...{ failed: 'BOOL DEFAULT false', failure_reason: reason, task_definition: long, rejection_count: count },
    rejection_reason: reason,
  },
  bbs_health_check: { id: 'INT PRIMARY KEY', time: 'BIGINT NOT NULL' },
};

export type Row = Record<string, unknown>;

export interface GoDatabase {
  insert(table: string, row: Row): Promise<void>;
  rows(table: string): Promise<Row[]>;
  stop(): Promise<void>;
}

/** Makes the tables in an empty database, with the version and the label of the key. */
export async function makeGoDatabase(config: DatabaseConfig, keyLabel: string): Promise<GoDatabase> {
  const { flavour, query, stop } = await connect(config);
  for (const [table, columns] of Object.entries(tables)) {
    const list = Object.entries(columns).map(
      ([column, type]) => `${column} ${typeof type === 'string' ? type : type[flavour]}`,
    );
    await query(`CREATE TABLE ${table} (${list.join(', ')})`, []);
  }
  const database: GoDatabase = {
    async insert(table, row) {
      const places = Object.keys(row).map((_, index) => (flavour === 'mysql' ? '?' : `$${index + 1}`));
      await query(`INSERT INTO ${table} (${Object.keys(row)}) VALUES (${places})`, Object.values(row));
    },
    rows: (table) => query(`SELECT * FROM ${table}`, []),
    stop,
  };
  await database.insert('configurations', { id: 'version', value: '{"CurrentVersion":1772581987}' });
  await database.insert('configurations', { id: 'encryption_key_label', value: keyLabel });
  return database;
}

/** `02`, then in base64: length of the label, label, nonce, ciphertext and tag. */
export function seal(plaintext: Buffer | string, label: string, passphrase: string): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', keyOf(passphrase), nonce);
  const sealed = [cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
  const bytes = Buffer.concat([Buffer.of(label.length), Buffer.from(label), nonce, ...sealed]);
  return `02${bytes.toString('base64')}`;
}

/** @throws when it is not sealed with that key under that label */
export function unseal(value: unknown, label: string, passphrase: string): Buffer {
  const text = String(value);
  const bytes = Buffer.from(text.slice(2), 'base64');
  const start = 1 + label.length;
  if (!text.startsWith('02') || bytes[0] !== label.length || bytes.toString('latin1', 1, start) !== label) {
    throw new Error(`not sealed with the key ${label}`);
  }
  const decipher = createDecipheriv('aes-256-gcm', keyOf(passphrase), bytes.subarray(start, start + 12));
  decipher.setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(start + 12, -16)), decipher.final()]);
}

function keyOf(passphrase: string): Buffer {
  return createHash('sha256').update(passphrase).digest();
}

interface Connection {
  flavour: keyof typeof long;
  query(sql: string, parameters: unknown[]): Promise<Row[]>;
  stop(): Promise<void>;
}

async function connect({ database_driver, database_connection_string: text }: DatabaseConfig): Promise<Connection> {
  if (database_driver === 'postgres') {
    const client = new pg.Client({ connectionString: text });
    await client.connect();
    const query = async (sql: string, parameters: unknown[]) => (await client.query(sql, parameters)).rows as Row[];
    return { flavour: 'postgres', query, stop: () => client.end() };
  }
  const [, user, password, host, port, database] = /^(.*?):(.*)@tcp\((.*):(\d+)\)\/(\w+)/.exec(text)!;
  const connection = await createConnection({
    ...{ user: user!, password: password!, host: host!, port: Number(port), database: database! },
    ...{ supportBigNumbers: true, bigNumberStrings: true },
  });
  return {
    flavour: 'mysql',
    query: async (sql, parameters) => (await connection.query(sql, parameters))[0] as Row[],
    stop: () => connection.end(),
  };
}
