import { randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileAtomically } from '../../files/atomic-write.js';

const password = z.string().min(16).default(randomPassword);

/** What a file lacks, because an older version wrote it, is made up like the rest. */
const secretsSchema = z.object({
  client_token: password,
  staging_password: password,
  bulk_password: password,
  internal_password: password,
  space_guid: z.string().default(() => randomUUID()),
});

/** What an installation makes up for itself, once: URLs that were given out must work after a restart. */
export type Secrets = z.output<typeof secretsSchema>;

/**
 * Reads the installation's secrets, or makes them at the first start (mode 0600).
 * @throws when the file is there and unreadable or malformed
 */
export async function loadOrCreateSecrets(path: string): Promise<Secrets> {
  const text = await readIfPresent(path);
  let secrets: Secrets;
  try {
    secrets = secretsSchema.parse(text === undefined ? {} : JSON.parse(text));
  } catch (error) {
    throw new Error(`${path} is malformed`, { cause: error });
  }
  const complete = `${JSON.stringify(secrets)}\n`;
  if (complete !== text) await writeFileAtomically(path, complete);
  return secrets;
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}

function randomPassword(): string {
  return randomBytes(24).toString('hex');
}
