import { quoteJson } from '../../../bbs/messages/json/text.js';
import type { BbsSession } from './session/bbs-session.js';

/** Prints the domains that are fresh. */
export async function domains({ call, output }: BbsSession): Promise<void> {
  const { domains: found } = await call('Domains');
  for (const domain of found) output.line(output.isJson ? quoteJson(domain) : domain);
}

/** Makes a domain fresh for so many seconds; 0: for ever. */
export async function setDomain({ call }: BbsSession, domain: string, ttl: number): Promise<void> {
  await call('UpsertDomain', { domain, ttl });
}
