import { access, constants } from 'node:fs/promises';
import { dirname } from 'node:path';
import { error, type Finding } from '../../config/finding.js';
import type { BbsConfig } from '../config.js';

/** Files that the board writes beside its rows. */
export async function checkFiles(config: BbsConfig): Promise<Finding[]> {
  const { access_log_path: accessLog, log_file: log = '' } = config;
  const findings = await Promise.all([checkFile('access_log_path', accessLog), checkFile('log_file', log)]);
  return findings.filter((finding) => finding !== undefined);
}

async function checkFile(key: string, path: string): Promise<Finding | undefined> {
  if (path === '') return undefined;
  const mode = constants.W_OK;
  try {
    await access(path, mode).catch(async (cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ENOENT') throw cause;
      await access(dirname(path), mode | constants.X_OK);
    });
    return undefined;
  } catch (cause) {
    return error(`${key}: ${path} cannot be written to (${(cause as NodeJS.ErrnoException).code})`);
  }
}
