import { randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileAtomically } from '../files/atomic-write.js';

const secretsSchema = z.object({
  client_token: z.string().min(16),
  staging_password: z.string().min(16),
  space_guid: z.string(),
});

/** What an installation makes up for itself, once: URLs that were given out must work after a restart. */
export type Secrets = z.output<typeof secretsSchema>;

/**
 * Reads the installation's secrets, or makes them at the first start (mode 0600).
 * @throws when the file is there and unreadable or malformed
 */
export async function loadOrCreateSecrets(path: string): Promise<Secrets> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const secrets: Secrets = {
      client_token: randomBytes(24).toString('hex'),
      staging_password: randomBytes(24).toString('hex'),
      space_guid: randomUUID(),
    };
    await writeFileAtomically(path, `${JSON.stringify(secrets)}\n`);
    return secrets;
  }
  try {
    return secretsSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(`${path} is malformed`, { cause: error });
  }
}
