import { access, constants } from 'node:fs/promises';
import { dirname } from 'node:path';
import { error, type Finding, note, warning } from '../../config/finding.js';
import type { BbsConfig } from '../config.js';
import { KeyRing } from '../storage/encryption/key-ring.js';
import { type DatabaseState, examineDatabase } from '../storage/examination.js';
import { databaseOptions } from '../storage/open-store.js';

const key = 'database_connection_string';
/** Who asks does not want to wait for as long as the board would. */
const longestMs = 5000;

/** Whether the database answers, and whether this board could take it with its encryption keys. */
export async function checkDatabase(config: BbsConfig): Promise<Finding[]> {
  let keys: KeyRing;
  try {
    keys = new KeyRing({ activeLabel: config.active_key_label, passphrases: config.encryption_keys });
  } catch (cause) {
    return [error((cause as Error).message)];
  }
  const { database_driver: driver, database_connection_string: path } = config;
  if (driver === 'sqlite3') {
    const fault = await accessFault(path, constants.W_OK);
    if (fault === 'ENOENT') return checkNewFile(path);
    if (fault !== undefined) return [error(`${key}: ${path} cannot be written to (${fault})`)];
  }
  const options = databaseOptions(config);
  const limits = {
    connectTimeoutMs: Math.min(options.connectTimeoutMs!, longestMs),
    queryTimeoutMs: Math.min(options.queryTimeoutMs!, longestMs),
    maxConnections: 1,
  };
  try {
    return describe(config, await examineDatabase({ ...options, ...limits }, keys));
  } catch (cause) {
    const { message } = cause as Error;
    // Some name the key of the configuration themselves.
    return [error(/^(?:sql|encryption)_\w+: /.test(message) ? message : `${key}: ${message}`)];
  }
}

function describe(config: BbsConfig, { serverVersion, version, isOld, keyLabel }: DatabaseState): Finding[] {
  const { database_driver: driver, active_key_label: activeLabel } = config;
  const server = `${key}: ${driver} ${serverVersion}`;
  if (version === undefined) return [note(`${server}, without tables: they will be made`)];
  const findings = [note(`${server}, with tables of version ${version}`)];
  if (isOld) findings.push(warning(`${key}: the next start migrates the tables; make a copy of them before`));
  if (keyLabel !== undefined && keyLabel !== activeLabel) {
    findings.push(warning(`active_key_label: rows have the key ${keyLabel}; the next start encrypts them anew`));
  }
  return findings;
}

async function checkNewFile(path: string): Promise<Finding[]> {
  const fault = await accessFault(dirname(path), constants.W_OK | constants.X_OK);
  if (fault === undefined) return [note(`${key}: ${path} is not there yet: it will be made`)];
  return [error(`${key}: ${path} cannot be made in its directory (${fault})`)];
}

async function accessFault(path: string, mode: number): Promise<string | undefined> {
  return access(path, mode).then(
    () => undefined,
    ({ code }: NodeJS.ErrnoException) => code,
  );
}
