import { isSameSecret } from './secret.js';
import type { Credentials } from './url.js';

/**
 * Whether an `Authorization` header names exactly this user and password. Takes the same time whatever differs.
 */
export function hasCredentials(header: string | undefined, { user, password }: Credentials): boolean {
  const [, token = ''] = /^basic +(\S+) *$/i.exec(header ?? '') ?? [];
  return isSameSecret(Buffer.from(token, 'base64').toString(), `${user}:${password}`);
}
